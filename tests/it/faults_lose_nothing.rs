//! Whatever is killed, whenever: every event reaches every endpoint it was routed to, and what comes twice is recognisable.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hookyard_core::step::Step;
use hookyard_e2e::amqp::{Amqp, raw_properties};
use hookyard_e2e::process::{RoleProcess, free_address};
use hookyard_e2e::receiver::Answer;
use hookyard_e2e::{Api, World, eventually};
use hookyard_node::{Role, Roles};
use reqwest::Method;
use serde_json::json;

const ENDPOINTS: [&str; 3] = ["/a", "/b", "/c"];
/// Events a router may hold at once; each may be fanned out again after its kill.
const ROUTER_WINDOW: usize = 128;
/// Most requests in flight of a dispatcher in these tests.
const CONCURRENCY: usize = 32;
/// What a dispatcher holds at most: a quarter more than it may have in flight. A request that ended and is not written down yet is held,
/// and comes again after a kill.
const HELD: usize = CONCURRENCY * 5 / 4;

/// Publishes events 0..count with confirms and goes on where it was after a broken connection, as an upstream service would.
async fn publish_all(world: &World, count: usize) -> Result<()> {
    let mut next = 0;
    let mut failures = 0;
    while next < count {
        match publish_from(world, next, count).await {
            Ok(()) => return Ok(()),
            Err((confirmed, error)) => {
                next = confirmed;
                failures += 1;
                if failures > 600 {
                    bail!("the broker stays away: {error:#}");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    Ok(())
}

/// On an error: how many were surely confirmed.
async fn publish_from(world: &World, from: usize, count: usize) -> Result<(), (usize, anyhow::Error)> {
    let amqp: Amqp = world.amqp().await.map_err(|error| (from, error))?;
    let mut confirmed = from;
    while confirmed < count {
        let end = (confirmed + 50).min(count);
        let mut pending = Vec::new();
        for number in confirmed..end {
            let body = format!("{{\"number\":{number}}}");
            let properties = raw_properties("stream", &format!("event-{number}"), &[]);
            pending.push(amqp.begin("stream", properties, body.as_bytes()).await.map_err(|error| (confirmed, error))?);
        }
        for confirm in pending {
            confirm.await.map_err(|error| (confirmed, error))?;
        }
        confirmed = end;
    }
    Ok(())
}

/// Checks the ledger: every pair arrived, under one message id per event, with at most `extra` requests beyond the ones needed.
fn check_ledger(world: &World, pairs_expected: usize, needed_each: usize, extra: usize) -> Result<()> {
    let mut pairs: HashMap<(String, Vec<u8>), Vec<String>> = HashMap::new();
    for hit in world.receiver.hits() {
        pairs.entry((hit.path, hit.body.to_vec())).or_default().push(hit.id);
    }
    ensure!(pairs.len() == pairs_expected, "{} of {pairs_expected} pairs arrived", pairs.len());
    let mut ids: HashMap<Vec<u8>, String> = HashMap::new();
    let mut requests = 0;
    for ((_, body), of_pair) in pairs {
        requests += of_pair.len();
        for id in of_pair {
            let known = ids.entry(body.clone()).or_insert_with(|| id.clone());
            ensure!(*known == id, "an event came under two message ids");
        }
    }
    let duplicates = requests - pairs_expected * needed_each;
    ensure!(duplicates <= extra, "{duplicates} duplicates, at most {extra} were in flight");
    Ok(())
}

async fn set_up_endpoints(world: &World, endpoints: &[&str]) -> Result<()> {
    let running = world.start_roles(Roles::of(&[Role::Admin])).await?;
    let api = Api::of(&running)?;
    for path in endpoints {
        api.endpoint("default", &world.receiver.url(path), json!({})).await?;
    }
    running.drain().await;
    Ok(())
}

fn delivered_pairs(world: &World) -> usize {
    world.receiver.counts().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_router_and_dispatcher_mid_stream_loses_nothing() -> Result<()> {
    const EVENTS: usize = 2_000;
    let mut world = World::new().await?;
    world.concurrency = CONCURRENCY;
    set_up_endpoints(&world, &ENDPOINTS).await?;
    let mut router = RoleProcess::start(&world, &["router"], None)?;
    let mut dispatcher = RoleProcess::start(&world, &["dispatcher"], None)?;
    let (mut router_kills, mut dispatcher_kills) = (0, 0);
    let killing = async {
        for share in [0.1, 0.3, 0.5, 0.7, 0.9_f64] {
            #[expect(clippy::cast_precision_loss, reason = "a share of some thousand")]
            let reached = async || delivered_pairs(&world) as f64 > share * (EVENTS * ENDPOINTS.len()) as f64;
            eventually("the stream goes on", reached).await?;
            if router_kills == dispatcher_kills {
                router.kill9();
                router = RoleProcess::start(&world, &["router"], None)?;
                router_kills += 1;
            } else {
                dispatcher.kill9();
                dispatcher = RoleProcess::start(&world, &["dispatcher"], None)?;
                dispatcher_kills += 1;
            }
        }
        eventually("every pair", async || delivered_pairs(&world) == EVENTS * ENDPOINTS.len()).await
    };
    let (published, killed) = tokio::join!(publish_all(&world, EVENTS), killing);
    published?;
    killed?;
    let in_flight = dispatcher_kills * HELD + router_kills * ROUTER_WINDOW * ENDPOINTS.len();
    check_ledger(&world, EVENTS * ENDPOINTS.len(), 1, in_flight)?;
    // The attempts are in the journal, one each: killed roles left no gaps.
    ensure!(router.stop()? && dispatcher.stop()?, "a soft stop ends well");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_mid_stream_loses_nothing_and_retries_still_fire() -> Result<()> {
    const EVENTS: usize = 600;
    // Every pair fails once: each must come back out of a delay tier.
    let mut world = World::alone(|_, before| Answer::Status(if before == 0 { 500 } else { 200 })).await?;
    world.concurrency = CONCURRENCY;
    set_up_endpoints(&world, &ENDPOINTS).await?;
    let running = world.start_roles(Roles::of(&[Role::Router, Role::Dispatcher])).await?;
    let mut broker = world.rabbit.take().context("a broker of its own")?;
    let killing = async {
        for kill in 1..=2 {
            eventually("the stream goes on", async || delivered_pairs(&world) > kill * EVENTS * ENDPOINTS.len() / 4).await?;
            broker = tokio::task::spawn_blocking(move || {
                broker.kill9();
                broker.restart().map(|()| broker)
            })
            .await??;
        }
        eventually("every pair twice", async || {
            let counts = world.receiver.counts();
            counts.len() == EVENTS * ENDPOINTS.len() && counts.values().all(|count| *count >= 2)
        })
        .await
    };
    let (published, killed) = tokio::join!(publish_all(&world, EVENTS), killing);
    published?;
    killed?;
    // In flight at a broken session: requests, and what the router had published and not acked.
    check_ledger(&world, EVENTS * ENDPOINTS.len(), 2, 2 * (HELD + ROUTER_WINDOW * ENDPOINTS.len()))?;
    running.drain().await;
    Ok(())
}

/// A crash at a step repeats at most the request nobody wrote down. One test per step; the match below fails to compile when a new
/// step has none.
macro_rules! crashes {
    ($($test:ident $step:ident;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() -> Result<()> {
                crash_at(Step::$step).await
            }
        )*

        #[expect(dead_code, reason = "only its being exhaustive counts")]
        fn every_step_has_a_test(step: Step) {
            match step {
                $(Step::$step => {})*
            }
        }
    };
}

crashes! {
    crash_when_a_submission_is_identified SubmissionIdentified;
    crash_when_a_submission_is_accepted SubmissionAccepted;
    crash_when_an_event_is_claimed EventClaimed;
    crash_when_an_event_is_identified EventIdentified;
    crash_when_a_fan_out_is_begun FanOutBegun;
    crash_when_a_fan_out_is_done FanOutDone;
    crash_when_an_event_is_routed EventRouted;
    crash_when_a_delivery_is_claimed DeliveryClaimed;
    crash_when_an_attempt_is_sent AttemptSent;
    crash_when_an_attempt_is_recorded AttemptRecorded;
    crash_when_a_successor_is_published SuccessorPublished;
}

async fn crash_at(step: Step) -> Result<()> {
    // The step after a failure is only reached by one: there, every first call fails.
    let failures = usize::from(step == Step::SuccessorPublished);
    let mut world = World::with(move |_, before| Answer::Status(if before < failures { 500 } else { 204 })).await?;
    world.concurrency = 4;
    world.listen = Some(free_address()?);
    let role = match step {
        Step::SubmissionIdentified | Step::SubmissionAccepted => "ingest",
        Step::EventClaimed | Step::EventIdentified | Step::FanOutBegun | Step::FanOutDone | Step::EventRouted => "router",
        Step::DeliveryClaimed | Step::AttemptSent | Step::AttemptRecorded | Step::SuccessorPublished => "dispatcher",
    };
    // A dispatcher that crashes takes down every request it has in flight: one, so that only the step counts.
    let endpoints = if role == "dispatcher" { &ENDPOINTS[..1] } else { &ENDPOINTS[..] };
    set_up_endpoints(&world, endpoints).await?;
    let mut doomed = RoleProcess::start(&world, &[role], Some((step, 1)))?;
    let others = ["router", "dispatcher"].into_iter().filter(|other| *other != role);
    let others: Vec<RoleProcess> = others.map(|other| RoleProcess::start(&world, &[other], None)).collect::<Result<_>>()?;
    if role == "ingest" {
        publish_over_http(&world, &mut doomed).await?;
    } else {
        world.amqp().await?.raw("stream", "event-0", &[], b"{\"number\":0}").await?;
    }
    let ended_well = tokio::task::spawn_blocking(move || doomed.wait(Duration::from_secs(30))).await??;
    ensure!(!ended_well, "it should have crashed");
    let replacement = RoleProcess::start(&world, &[role], None)?;
    if role == "ingest" {
        retry_over_http(&world).await?;
    }
    let called = async || {
        let counts = world.receiver.counts();
        counts.len() == endpoints.len() && counts.values().all(|count| *count > failures)
    };
    eventually("every endpoint was called", called).await?;
    settle(&world).await?;
    // The one duplicate that cannot be avoided: the request left, and nobody wrote it down.
    let extra = usize::from(step == Step::AttemptSent);
    check_ledger(&world, endpoints.len(), 1 + failures, extra)?;
    drop((others, replacement));
    Ok(())
}

/// Until nothing is on its way any more: whatever would come twice has come.
async fn settle(world: &World) -> Result<()> {
    let amqp = world.amqp().await?;
    let queues = ["ingest", "dispatch.0", "dispatch.1", "delay.1s", "delay.2s", "journal"];
    let mut quiet = 0;
    eventually("the queues are empty", async || {
        let mut sum = 0;
        for queue in queues {
            sum += amqp.depth(queue).await.unwrap_or(1);
        }
        // What is unacked is not counted as ready: it must be quiet for a while.
        quiet = if sum == 0 { quiet + 1 } else { 0 };
        quiet > 40
    })
    .await
}

async fn publish_over_http(world: &World, doomed: &mut RoleProcess) -> Result<()> {
    let api = Api::at(&format!("http://{}", world.listen.context("an address")?), "publish")?;
    let body = json!({"eventType": "stream", "eventId": "event-0", "payload": {"number": 0}});
    eventually("the intake crashes over the request", async || {
        let answered = api.try_call(Method::POST, "/app/default/msg", Some(&body)).await;
        !doomed.is_alive() || answered.is_ok_and(|(status, _)| status == 202)
    })
    .await?;
    ensure!(!doomed.is_alive(), "it answered instead of crashing");
    Ok(())
}

/// The client got no answer and asks again: accepted, or already known.
async fn retry_over_http(world: &World) -> Result<()> {
    let api = Api::at(&format!("http://{}", world.listen.context("an address")?), "publish")?;
    let body = json!({"eventType": "stream", "eventId": "event-0", "payload": {"number": 0}});
    eventually("the intake answers", async || {
        let answered = api.try_call(Method::POST, "/app/default/msg", Some(&body)).await;
        answered.is_ok_and(|(status, _)| status == 202 || status == 409)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_stop_finishes_what_is_in_flight_and_repeats_nothing() -> Result<()> {
    let mut world = World::with(|_, _| Answer::Late(200, Duration::from_millis(700))).await?;
    world.concurrency = CONCURRENCY;
    set_up_endpoints(&world, &ENDPOINTS).await?;
    let dispatcher = RoleProcess::start(&world, &["router", "dispatcher"], None)?;
    publish_all(&world, 20).await?;
    eventually("requests are in flight", async || world.receiver.hits().len() >= 10).await?;
    let ended = tokio::task::spawn_blocking(move || dispatcher.stop()).await??;
    ensure!(ended, "a soft stop ends well");
    let _again = RoleProcess::start(&world, &["router", "dispatcher"], None)?;
    eventually("every pair", async || delivered_pairs(&world) == 20 * ENDPOINTS.len()).await?;
    settle(&world).await?;
    check_ledger(&world, 20 * ENDPOINTS.len(), 1, 0)
}
