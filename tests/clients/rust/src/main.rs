//! Every resource through the official Rust client: `hookyard-client-rust SERVER_URL TOKEN`. Ends with `ok`, or with what was wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::json;
use svix::api::{
    MessageAttemptListByEndpointOptions, MessageCreateOptions, MessageGetOptions, MessageListOptions, Svix, SvixOptions,
};
use svix::models::{
    AppPortalAccessIn, ApplicationIn, ApplicationPatch, EndpointHeadersIn, EndpointHeadersPatchIn, EndpointIn, EndpointPatch,
    EndpointSecretRotateIn, EndpointUpsertIn, EventExampleIn, EventTypeIn, EventTypePatch, EventTypeUpsertIn, MessageIn,
    MessageStatus, RecoverIn,
};
use svix::webhooks::Webhook;

const APP: &str = "rust";
/// The longest a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(60);

/// One request received.
#[derive(Clone)]
struct Hit {
    path: String,
    id: String,
    headers: HeaderMap,
    body: Bytes,
}

/// A receiver whose path `/flaky` answers 500 three times per message.
#[derive(Clone)]
struct Receiver {
    base: String,
    hits: Arc<Mutex<Vec<Hit>>>,
}

impl Receiver {
    async fn start() -> Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let receiver = Self { base: format!("http://{}", listener.local_addr()?), hits: Arc::default() };
        let app = Router::new().fallback(receive).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(receiver)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn hits(&self) -> Vec<Hit> {
        self.hits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn receive(State(receiver): State<Receiver>, uri: OriginalUri, headers: HeaderMap, body: Bytes) -> StatusCode {
    let id = headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    let hit = Hit { path: uri.path().to_owned(), id, headers, body };
    let mut hits = receiver.hits.lock().unwrap_or_else(PoisonError::into_inner);
    let before = hits.iter().filter(|other| other.path == hit.path && other.id == hit.id).count();
    let fails = hit.path == "/flaky" && before < 3;
    hits.push(hit);
    if fails { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::NO_CONTENT }
}

async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) -> Result<()> {
    let begun = Instant::now();
    while !condition().await {
        ensure!(begun.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn client(server_url: &str, token: &str) -> Svix {
    Svix::new(token.to_owned(), Some(SvixOptions { server_url: Some(server_url.to_owned()), ..SvixOptions::default() }))
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (server_url, token) = (arguments.next().context("SERVER_URL")?, arguments.next().context("TOKEN")?);
    let (svix, receiver) = (client(&server_url, &token), Receiver::start().await?);
    svix.health().get().await?;
    applications_and_types(&svix).await?;
    endpoints(&svix, &receiver).await?;
    messages(&svix, &receiver).await?;
    recovery(&svix, &receiver).await?;
    rotation(&svix, &receiver).await?;
    portal(&svix, &server_url).await?;
    the_end(&svix).await?;
    println!("ok");
    Ok(())
}

fn refused<T: Debug>(status: u16, result: Result<T, svix::error::Error>) -> Result<()> {
    match result {
        Err(svix::error::Error::Http(error)) => {
            ensure!(error.status.as_u16() == status && error.payload.is_some(), "{error:?}");
            Ok(())
        }
        other => bail!("expected {status}, not {other:?}"),
    }
}

async fn applications_and_types(svix: &Svix) -> Result<()> {
    let app = ApplicationIn { uid: Some(APP.into()), ..ApplicationIn::new("Rust".into()) };
    let created = svix.application().create(app.clone(), None).await?;
    ensure!(svix.application().get(APP.into()).await?.id == created.id);
    ensure!(svix.application().get_or_create(app.clone(), None).await?.id == created.id);
    refused(409, svix.application().create(app.clone(), None).await)?;
    let renamed = ApplicationIn { name: "Renamed".into(), ..app };
    ensure!(svix.application().upsert(APP.into(), renamed).await?.name == "Renamed");
    let patch = ApplicationPatch { name: Some("Patched".into()), ..ApplicationPatch::new() };
    ensure!(svix.application().patch(APP.into(), patch).await?.name == "Patched");
    ensure!(svix.application().list(None).await?.data.iter().any(|found| found.id == created.id));

    let schemas = json!({"1": {"type": "object"}});
    let new = EventTypeIn { schemas: Some(schemas.clone()), ..EventTypeIn::new("rs.created".into(), "Made".into()) };
    svix.event_type().create(new.clone(), None).await?;
    refused(409, svix.event_type().create(new, None).await)?;
    ensure!(svix.event_type().get("rs.created".into()).await?.schemas == Some(schemas));
    let changed = EventTypeUpsertIn::new("Changed".into());
    ensure!(svix.event_type().upsert("rs.created".into(), changed).await?.description == "Changed");
    let patch = EventTypePatch { deprecated: Some(true), ..EventTypePatch::new() };
    ensure!(svix.event_type().patch("rs.created".into(), patch).await?.deprecated);
    ensure!(svix.event_type().list(None).await?.data.iter().any(|found| found.name == "rs.created"));
    Ok(())
}

async fn endpoints(svix: &Svix, receiver: &Receiver) -> Result<()> {
    let ok = EndpointIn { uid: Some("ok".into()), ..EndpointIn::new(receiver.url("/ok")) };
    let created = svix.endpoint().create(APP.into(), ok, None).await?;
    let channels = Some(BTreeSet::from(["eu".to_owned()]));
    let flaky = EndpointIn { uid: Some("flaky".into()), channels, ..EndpointIn::new(receiver.url("/flaky")) };
    svix.endpoint().create(APP.into(), flaky, None).await?;
    let url = receiver.url("/ok");
    let update = EndpointUpsertIn { description: Some("two".into()), uid: Some("ok".into()), ..EndpointUpsertIn::new(url) };
    let updated = svix.endpoint().upsert(APP.into(), "ok".into(), update).await?;
    ensure!(updated.id == created.id && updated.description == "two");
    let patch = EndpointPatch { description: Some("three".into()), ..EndpointPatch::new() };
    ensure!(svix.endpoint().patch(APP.into(), "ok".into(), patch).await?.description == "three");
    let one = EndpointHeadersIn::new(BTreeMap::from([("x-one".into(), "1".into())]));
    svix.endpoint().set_headers(APP.into(), "ok".into(), one).await?;
    let two = EndpointHeadersPatchIn::new(BTreeMap::from([("x-two".into(), "2".into())]));
    svix.endpoint().patch_headers(APP.into(), "ok".into(), two).await?;
    ensure!(svix.endpoint().get_headers(APP.into(), "ok".into()).await?.headers.len() == 2);
    ensure!(svix.endpoint().list(APP.into(), None).await?.data.len() == 2);
    refused(404, svix.endpoint().get(APP.into(), "nobody".into()).await)
}

async fn messages(svix: &Svix, receiver: &Receiver) -> Result<()> {
    let payload = json!({"id": 1, "text": "ü"});
    let new = MessageIn { event_id: Some("one".into()), ..MessageIn::new("rs.created".into(), payload.clone()) };
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
    let options = MessageListOptions {
        event_types: Some(BTreeSet::from(["rs.created".to_owned()])),
        limit: Some(1),
        ..MessageListOptions::default()
    };
    ensure!(svix.message().list(APP.into(), Some(options)).await?.data[0].id == message.id);
    svix.message().create(APP.into(), MessageIn::new("rs.created".into(), json!({"id": 2})), None).await?;

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
            event_types: Some(BTreeSet::from(["rs.created".to_owned()])),
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
    let channels = Some(BTreeSet::from(["eu".to_owned()]));
    let new = MessageIn { channels, ..MessageIn::new("rs.created".into(), json!({"id": 3})) };
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

async fn rotation(svix: &Svix, receiver: &Receiver) -> Result<()> {
    let secret = async || svix.endpoint().get_secret(APP.into(), "ok".into()).await;
    let old = secret().await?.key;
    svix.endpoint().rotate_secret(APP.into(), "ok".into(), EndpointSecretRotateIn::new(), None).await?;
    let fresh = secret().await?.key;
    ensure!(old != fresh);
    // A dispatcher may know the endpoint as it was some seconds ago.
    eventually("both secrets sign", async || {
        let example = EventExampleIn::new("rs.created".into());
        let Ok(sent) = svix.endpoint().send_example(APP.into(), "ok".into(), example, None).await else { return false };
        let hit = async || receiver.hits().into_iter().find(|hit| hit.id == sent.id);
        if eventually("the example", async || hit().await.is_some()).await.is_err() {
            return false;
        }
        let Some(hit) = hit().await else { return false };
        let is_good = |key: &str| Webhook::new(key).is_ok_and(|webhook| webhook.verify(&hit.body, &hit.headers).is_ok());
        is_good(&old) && is_good(&fresh)
    })
    .await
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
    svix.event_type().delete("rs.created".into(), None).await?;
    ensure!(svix.event_type().get("rs.created".into()).await?.archived == Some(true));
    svix.application().delete(APP.into()).await?;
    refused(404, svix.application().get(APP.into()).await)
}
