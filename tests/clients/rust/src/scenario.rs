//! Every resource through one release of the client, which is `super::svix`; `super::names` has what the others call differently.

use std::fmt::Debug;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;

use super::names::{APP, EndpointChange, EventTypeChange, Names as _, TYPE, only};
use super::svix::api::{
    BackgroundTaskListOptions, MessageAttemptListByEndpointOptions, MessageCreateOptions, MessageGetOptions, MessageListOptions,
    Svix, SvixOptions,
};
use super::svix::error::Error;
use super::svix::models::{
    AppPortalAccessIn, ApplicationIn, ApplicationPatch, BackgroundTaskStatus, BackgroundTaskType, EndpointHeadersIn,
    EndpointHeadersPatchIn, EndpointIn, EndpointPatch, EndpointSecretRotateIn, EventExampleIn, EventTypeIn, EventTypePatch,
    MessageIn, MessageStatus, RecoverIn, ReplayIn,
};
use super::svix::webhooks::Webhook;
use crate::receiver::{Receiver, eventually};

fn client(server_url: &str, token: &str) -> Svix {
    Svix::new(token.to_owned(), Some(SvixOptions { server_url: Some(server_url.to_owned()), ..SvixOptions::default() }))
}

/// Plays through every resource; everything is called what `APP` says.
pub async fn play(server_url: &str, token: &str) -> Result<()> {
    let (svix, receiver) = (client(server_url, token), Receiver::start().await?);
    svix.health().get().await?;
    applications_and_types(&svix).await?;
    endpoints(&svix, &receiver).await?;
    messages(&svix, &receiver).await?;
    recovery(&svix, &receiver).await?;
    replay(&svix, &receiver).await?;
    rotation(&svix, &receiver).await?;
    portal(&svix, server_url).await?;
    the_end(&svix).await
}

fn refused<T: Debug>(status: u16, result: Result<T, Error>) -> Result<()> {
    match result {
        Err(Error::Http(error)) => {
            ensure!(error.status.as_u16() == status && error.payload.is_some(), "{error:?}");
            Ok(())
        }
        other => bail!("expected {status}, not {other:?}"),
    }
}

/// The releases do not agree on the order in which `new` takes the two.
fn event_type(name: &str) -> EventTypeIn {
    EventTypeIn { name: name.into(), description: "Made".into(), ..EventTypeIn::new(String::new(), String::new()) }
}

async fn applications_and_types(svix: &Svix) -> Result<()> {
    let app = ApplicationIn { uid: Some(APP.into()), ..ApplicationIn::new("Rust".into()) };
    let created = svix.application().create(app.clone(), None).await?;
    ensure!(svix.application().get(APP.into()).await?.id == created.id);
    ensure!(svix.application().get_or_create(app.clone(), None).await?.id == created.id);
    refused(409, svix.application().create(app.clone(), None).await)?;
    let renamed = ApplicationIn { name: "Renamed".into(), ..app };
    ensure!(svix.change_application(renamed).await?.name == "Renamed");
    let patch = ApplicationPatch { name: Some("Patched".into()), ..ApplicationPatch::new() };
    ensure!(svix.application().patch(APP.into(), patch).await?.name == "Patched");
    ensure!(svix.application().list(None).await?.data.iter().any(|found| found.id == created.id));

    let schemas = json!({"1": {"type": "object"}});
    let new = EventTypeIn { schemas: Some(schemas.clone()), ..event_type(TYPE) };
    svix.event_type().create(new.clone(), None).await?;
    refused(409, svix.event_type().create(new, None).await)?;
    ensure!(svix.event_type().get(TYPE.into()).await?.schemas == Some(schemas));
    ensure!(svix.change_event_type(EventTypeChange::new("Changed".into())).await?.description == "Changed");
    let patch = EventTypePatch { deprecated: Some(true), ..EventTypePatch::new() };
    ensure!(svix.event_type().patch(TYPE.into(), patch).await?.deprecated);
    ensure!(svix.event_type().list(None).await?.data.iter().any(|found| found.name == TYPE));
    Ok(())
}

async fn endpoints(svix: &Svix, receiver: &Receiver) -> Result<()> {
    let ok = EndpointIn { uid: Some("ok".into()), ..EndpointIn::new(receiver.url("/ok")) };
    let created = svix.endpoint().create(APP.into(), ok, None).await?;
    let channels = Some(["eu".to_owned()].into());
    let flaky = EndpointIn { uid: Some("flaky".into()), channels, ..EndpointIn::new(receiver.url("/flaky")) };
    svix.endpoint().create(APP.into(), flaky, None).await?;
    let url = receiver.url("/ok");
    let change = EndpointChange { description: Some("two".into()), uid: Some("ok".into()), ..EndpointChange::new(url) };
    let updated = svix.change_endpoint("ok", change).await?;
    ensure!(updated.id == created.id && updated.description == "two");
    let patch = EndpointPatch { description: Some("three".into()), ..EndpointPatch::new() };
    ensure!(svix.endpoint().patch(APP.into(), "ok".into(), patch).await?.description == "three");
    let one = EndpointHeadersIn::new([("x-one".into(), "1".into())].into());
    svix.set_headers("ok", one).await?;
    let two = EndpointHeadersPatchIn::new([("x-two".into(), "2".into())].into());
    svix.endpoint().patch_headers(APP.into(), "ok".into(), two).await?;
    ensure!(svix.endpoint().get_headers(APP.into(), "ok".into()).await?.headers.len() == 2);
    ensure!(svix.endpoint().list(APP.into(), None).await?.data.len() == 2);
    refused(404, svix.endpoint().get(APP.into(), "nobody".into()).await)
}

async fn messages(svix: &Svix, receiver: &Receiver) -> Result<()> {
    let payload = json!({"id": 1, "text": "ü"});
    let new = MessageIn { event_id: Some("one".into()), ..MessageIn::new(TYPE.into(), payload.clone()) };
    let options = MessageCreateOptions { with_content: Some(true), ..MessageCreateOptions::default() };
    let message = svix.message().create(APP.into(), new.clone(), Some(options)).await?;
    ensure!(message.payload == payload);
    refused(409, svix.message().create(APP.into(), new, None).await)?;
    eventually("the first delivery", async || receiver.hits().iter().any(|hit| hit.path == "/ok")).await?;
    let hit = receiver.hits().into_iter().find(|hit| hit.path == "/ok").context("a hit")?;
    ensure!(hit.headers["x-one"] == "1" && hit.headers["x-two"] == "2");
    let key = svix.endpoint().get_secret(APP.into(), "ok".into()).await?.key;
    Webhook::new(&key)?.verify(&hit.body, &hit.headers)?;
    ensure!(Webhook::new(&format!("whsec_{}", "A".repeat(32)))?.verify(&hit.body, &hit.headers).is_err());
    ensure!(svix.message().get(APP.into(), message.id.clone(), None).await?.event_id.as_deref() == Some("one"));
    let options =
        MessageListOptions { event_types: Some([TYPE.to_owned()].into()), limit: Some(1), ..MessageListOptions::default() };
    ensure!(svix.message().list(APP.into(), Some(options)).await?.data[0].id == message.id);
    svix.message().create(APP.into(), MessageIn::new(TYPE.into(), json!({"id": 2})), None).await?;

    let of_message = async || svix.message_attempt().list_by_msg(APP.into(), message.id.clone(), None).await;
    eventually("the attempt is in the log", async || of_message().await.is_ok_and(|page| page.data.len() == 1)).await?;
    let attempt = of_message().await?.data.remove(0);
    ensure!(attempt.status == MessageStatus::Success && attempt.response_status_code == 204);
    ensure!(svix.message_attempt().get(APP.into(), message.id.clone(), attempt.id.clone(), None).await?.id == attempt.id);
    let destinations = svix.message_attempt().list_attempted_destinations(APP.into(), message.id.clone(), None).await?;
    ensure!(destinations.data.len() == 1 && destinations.data[0].id == attempt.endpoint_id);
    let attempted = svix.message_attempt().list_attempted_messages(APP.into(), "ok".into(), None).await?;
    ensure!(attempted.data.iter().any(|found| found.id == message.id));
    svix.message_attempt().resend(APP.into(), message.id.clone(), "ok".into(), None).await?;
    eventually("the resend", async || of_message().await.is_ok_and(|page| page.data.len() == 2)).await?;
    let to_endpoint = async |iterator| {
        let options = MessageAttemptListByEndpointOptions {
            status: Some(MessageStatus::Success),
            event_types: Some([TYPE.to_owned()].into()),
            limit: Some(2),
            iterator,
            ..MessageAttemptListByEndpointOptions::default()
        };
        svix.message_attempt().list_by_endpoint(APP.into(), "ok".into(), Some(options)).await
    };
    let page = to_endpoint(None).await?;
    ensure!(page.data.len() == 2 && !page.done);
    ensure!(to_endpoint(page.iterator).await?.done);
    svix.message_attempt().expunge_content(APP.into(), message.id.clone(), attempt.id).await?;
    svix.message().expunge_content(APP.into(), message.id.clone()).await?;
    let options = MessageGetOptions { with_content: Some(true) };
    let kept = svix.message().get(APP.into(), message.id, Some(options)).await?;
    ensure!(kept.payload == json!({"expired": true}));
    Ok(())
}

async fn recovery(svix: &Svix, receiver: &Receiver) -> Result<()> {
    let channels = Some(["eu".to_owned()].into());
    let new = MessageIn { channels, ..MessageIn::new(TYPE.into(), json!({"id": 3})) };
    let lost = svix.message().create(APP.into(), new, None).await?;
    let stats = async || svix.endpoint().get_stats(APP.into(), "flaky".into(), None).await;
    eventually("three failures", async || stats().await.is_ok_and(|stats| stats.fail == 1)).await?;
    let since = "2020-01-01T00:00:00Z".parse().context("a moment")?;
    svix.endpoint().recover(APP.into(), "flaky".into(), RecoverIn::new(since), None).await?;
    eventually("the recovery", async || stats().await.is_ok_and(|stats| stats.success == 1 && stats.fail == 0)).await?;
    let ids: Vec<String> = receiver.hits().into_iter().filter(|hit| hit.path == "/flaky").map(|hit| hit.id).collect();
    ensure!(ids == vec![lost.id; 4], "{ids:?}");
    Ok(())
}

async fn replay(svix: &Svix, receiver: &Receiver) -> Result<()> {
    let narrow = EndpointIn { uid: Some("narrow".into()), ..EndpointIn::new(receiver.url("/narrow")) };
    svix.endpoint().create(APP.into(), only(narrow, TYPE), None).await?;
    let other = format!("{TYPE}.other");
    svix.event_type().create(event_type(&other), None).await?;
    let unwanted = svix.message().create(APP.into(), MessageIn::new(other, json!({"id": 4})), None).await?;
    let wanted = svix.message().create(APP.into(), MessageIn::new(TYPE.into(), json!({"id": 5})), None).await?;
    let ids = || receiver.hits().into_iter().filter(|hit| hit.path == "/narrow").map(|hit| hit.id).collect::<Vec<_>>();
    eventually("the wanted one", async || ids().contains(&wanted.id)).await?;

    let since = "2020-01-01T00:00:00Z".parse().context("a moment")?;
    let begun = svix.endpoint().replay_missing(APP.into(), "narrow".into(), ReplayIn::new(since), None).await?;
    ensure!(begun.task == BackgroundTaskType::EndpointReplay);
    let get = async || svix.background_task().get(begun.id.clone()).await;
    eventually("its end", async || get().await.is_ok_and(|task| task.status == BackgroundTaskStatus::Finished)).await?;
    let options = BackgroundTaskListOptions { task: Some(BackgroundTaskType::EndpointReplay), ..Default::default() };
    ensure!(svix.background_task().list(Some(options)).await?.data.iter().any(|task| task.id == begun.id));
    eventually("the two earlier ones whose content is still there", async || ids().len() == 3).await?;
    ensure!(!ids().contains(&unwanted.id), "the filter was not heeded");
    svix.endpoint().delete(APP.into(), "narrow".into()).await?;
    Ok(())
}

async fn rotation(svix: &Svix, receiver: &Receiver) -> Result<()> {
    let secret = async || svix.endpoint().get_secret(APP.into(), "ok".into()).await;
    let old = secret().await?.key;
    svix.endpoint().rotate_secret(APP.into(), "ok".into(), EndpointSecretRotateIn::new(), None).await?;
    let fresh = secret().await?.key;
    ensure!(old != fresh);
    // What was changed counts for every message that is accepted after the answer.
    let sent = svix.endpoint().send_example(APP.into(), "ok".into(), EventExampleIn::new(TYPE.into()), None).await?;
    let example = || receiver.hits().into_iter().find(|hit| hit.id == sent.id);
    eventually("the example", async || example().is_some()).await?;
    let hit = example().context("the example")?;
    for key in [&old, &fresh] {
        Webhook::new(key)?.verify(&hit.body, &hit.headers).context("both secrets sign")?;
    }
    Ok(())
}

async fn portal(svix: &Svix, server_url: &str) -> Result<()> {
    let portal = svix.authentication().app_portal_access(APP.into(), AppPortalAccessIn::new(), None).await?;
    ensure!(portal.url.contains(&portal.token));
    let own = client(server_url, &portal.token);
    ensure!(own.endpoint().list(APP.into(), None).await?.data.len() == 2);
    refused(403, own.application().list(None).await)?;
    refused(403, own.endpoint().list("default".into(), None).await)?;
    own.authentication().logout(None).await?;
    eventually("the token is good no longer", async || refused(401, own.endpoint().list(APP.into(), None).await).is_ok()).await
}

async fn the_end(svix: &Svix) -> Result<()> {
    svix.endpoint().delete(APP.into(), "flaky".into()).await?;
    svix.event_type().delete(TYPE.into(), None).await?;
    ensure!(svix.event_type().get(TYPE.into()).await?.archived == Some(true));
    svix.application().delete(APP.into()).await?;
    refused(404, svix.application().get(APP.into()).await)
}
