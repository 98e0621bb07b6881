//! What an administrator changes of an endpoint holds for deliveries that wait already, within five seconds, on every dispatcher.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hookyard_e2e::receiver::Hit;
use hookyard_e2e::{Api, Backend, World, eventually};
use hookyard_node::Running;
use hookyard_node::roles::{Role, Roles};
use http::Method;
use serde_json::{Value, json};
use standardwebhooks::Webhook;

/// What is promised.
const WITHIN: Duration = Duration::from_secs(5);
/// Deliveries that wait, for half a minute at this rate.
const WAITING: usize = 900;
const RATE: u16 = 30;

on_both_backends! {
    an_event_accepted_after_the_answer_finds_the_endpoint_changed;
    changing_rotating_pausing_and_deleting_hold_for_what_waits;
}

/// Where there can be one.
async fn another_dispatcher(world: &World, backend: Backend) -> Result<Option<Running>> {
    match backend {
        Backend::Cluster => world.start_roles(Roles::of(&[Role::Dispatcher])).await.map(Some),
        Backend::Embedded => Ok(None),
    }
}

/// However warm every cache is: URL, headers and secret of the answer before count.
async fn an_event_accepted_after_the_answer_finds_the_endpoint_changed(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let more = another_dispatcher(&world, backend).await?;
    let api = Api::of(&running)?;
    let endpoint = api.endpoint("default", &world.receiver.url("/0"), json!({"uid": "changing"})).await?;
    let path = format!("/app/default/endpoint/{endpoint}");
    let warm = |round: usize| json!({"eventType": "warm", "eventId": format!("warm-{round}"), "payload": {}});
    for round in 1..=20 {
        api.post("/app/default/msg", &warm(round)).await?;
        eventually("it is delivered", async || world.receiver.hits().len() >= 3 * round - 2).await?;
        match round % 3 {
            0 => drop(
                api.call(Method::PUT, &format!("{path}/headers"), Some(&json!({"headers": {"x-round": round.to_string()}})))
                    .await?,
            ),
            1 => drop(api.call(Method::PATCH, &path, Some(&json!({"url": world.receiver.url(&format!("/{round}"))}))).await?),
            _ => drop(api.post(&format!("{path}/secret/rotate"), &json!({"gracePeriodSeconds": 0})).await?),
        }
        let secret = api.secret("default", &endpoint).await?;
        let event = api.post("/app/default/msg", &json!({"eventType": "a", "payload": {"round": round}})).await?;
        let example = api.post(&format!("{path}/send-example"), &json!({"eventType": "a"})).await?;
        for message in [event, example] {
            let of_it = || world.receiver.hits().into_iter().find(|hit| hit.id == message["id"].as_str().unwrap_or_default());
            eventually("it is delivered", async || of_it().is_some()).await?;
            is_as_of_round(round, &of_it().context("the delivery")?, &secret)?;
        }
    }
    if let Some(more) = more {
        more.drain().await;
    }
    running.drain().await;
    Ok(())
}

fn is_as_of_round(round: usize, hit: &Hit, secret: &str) -> Result<()> {
    ensure!(hit.path == format!("/{}", (round - 1) / 3 * 3 + 1), "round {round}: {}", hit.path);
    let shown = hit.headers.get("x-round").and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    ensure!(shown.unwrap_or(0) == round / 3 * 3, "round {round}: {:?}", hit.headers);
    let verified = Webhook::new(secret)?.verify(&hit.body, &hit.headers);
    ensure!(verified.is_ok(), "round {round}: the new secret signs it: {verified:?}");
    Ok(())
}

async fn changing_rotating_pausing_and_deleting_hold_for_what_waits(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let more = another_dispatcher(&world, backend).await?;
    let api = Api::of(&running)?;
    let endpoint = api.endpoint("default", &world.receiver.url("/old"), json!({"throttleRate": RATE})).await?;
    let path = format!("/app/default/endpoint/{endpoint}");
    api.publish_many("a", 0..WAITING).await?;
    let seen = |path: &'static str| move |hit: &Hit| hit.path == path;
    eventually("it has begun", async || world.receiver.hits().iter().any(seen("/old"))).await?;

    let change = async |change: Value| api.call(Method::PATCH, &path, Some(&change)).await;
    change(json!({"url": world.receiver.url("/new")})).await?;
    holds_within_the_promise(&world, "every request goes to the new URL", |hit| hit.path == "/new").await?;

    api.post(&format!("{path}/secret/rotate"), &json!({})).await?;
    let is_signed_twice = |hit: &Hit| {
        let signatures = hit.headers.get("webhook-signature").and_then(|value| value.to_str().ok()).unwrap_or_default();
        signatures.split(' ').count() == 2
    };
    holds_within_the_promise(&world, "every request has the new signature too", is_signed_twice).await?;

    change(json!({"disabled": true})).await?;
    nothing_comes_after_the_promise(&world, "it is paused").await?;
    eventually("what came up meanwhile is dead, and can be replayed", async || {
        let dead = api.get("/app/default/dead-letter?reason=endpoint_inactive").await;
        dead.is_ok_and(|found| found["data"].as_array().is_some_and(|data| !data.is_empty()))
    })
    .await?;
    change(json!({"disabled": false})).await?;
    // What waited may have come up, and be dead, by now.
    api.publish_many("a", WAITING..2 * WAITING).await?;
    let before = world.receiver.hits().len();
    eventually("it goes on", async || world.receiver.hits().len() > before).await?;
    api.call(Method::DELETE, &path, None).await?;
    nothing_comes_after_the_promise(&world, "it is deleted").await?;
    if let Some(more) = more {
        more.drain().await;
    }
    running.drain().await;
    Ok(())
}

/// From five seconds after now on, whatever comes is so; and something comes.
async fn holds_within_the_promise(world: &World, what: &str, holds: impl Fn(&Hit) -> bool) -> Result<()> {
    let promised = Instant::now() + WITHIN;
    let late = || world.receiver.hits().into_iter().filter(|hit| hit.at > promised).collect::<Vec<_>>();
    eventually("more come", async || late().len() > usize::from(RATE)).await?;
    let broken = late().into_iter().find(|hit| !holds(hit));
    ensure!(broken.is_none(), "{what}: {broken:?}");
    Ok(())
}

async fn nothing_comes_after_the_promise(world: &World, what: &str) -> Result<()> {
    let promised = Instant::now() + WITHIN;
    // Long enough for what is spaced at this rate to be missed.
    tokio::time::sleep(WITHIN + Duration::from_millis(1_500)).await;
    let last = world.receiver.hits().iter().map(|hit| hit.at).max().context("requests")?;
    ensure!(last < promised, "{what}, and a request came {:?} too late", last.duration_since(promised));
    Ok(())
}
