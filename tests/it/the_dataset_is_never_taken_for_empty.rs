//! An emptied store is not an empty one: claiming stops, HTTP answers 503, the alarm is raised, and nothing is acked as "nobody
//! subscribed" or discarded as "endpoint deleted", until an operator accepts.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hookyard_e2e::amqp::Amqp;
use hookyard_e2e::receiver::Answer;
use hookyard_e2e::world::redis_at;
use hookyard_e2e::{Api, World, eventually};
use hookyard_node::{Roles, Running, tools};
use reqwest::Method;
use serde_json::json;

async fn empty_the_store(world: &World) -> Result<()> {
    let mut store = redis_at(&world.redis.as_ref().context("a store")?.url()).await?;
    redis::cmd("FLUSHALL").query_async::<()>(&mut store).await?;
    Ok(())
}

fn metric(running: &Running, line: &str) -> bool {
    String::from_utf8_lossy(&running.metrics.render()).lines().any(|found| found == line)
}

/// Events published now must wait, and deliveries already routed must not end.
async fn nothing_moves(world: &World, running: &Running, amqp: &Amqp, event: &str) -> Result<()> {
    eventually("the alarm", async || metric(running, "hookyard_dataset_wrong 1")).await?;
    eventually("not ready", async || !running.is_ready().await).await?;
    amqp.raw("a", event, &[], b"{}").await?;
    let api = Api::of(running)?;
    let (status, answer) =
        api.try_call(Method::POST, "/app/default/msg", Some(&json!({"eventType": "a", "payload": {}}))).await?;
    ensure!(status == 503 && answer["code"] == "unavailable", "{status} {answer}");
    let (status, answer) = api.try_call(Method::GET, "/app", None).await?;
    ensure!(status == 503, "{status} {answer}");
    // A delivery that is due in this time must not end.
    let before = world.receiver.hits().len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    ensure!(world.receiver.hits().len() == before, "something was sent from an unverified store");
    ensure!(metric(running, "hookyard_router_events_total{outcome=\"unmatched\"} 0"), "acked as nobody subscribed");
    ensure!(metric(running, "hookyard_deliveries_completed_total{result=\"discarded\"} 0"), "discarded as deleted");
    ensure!(amqp.depth("dead").await? == 0 && amqp.depth("rejected").await? == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_store_stops_everything_until_an_operator_accepts() -> Result<()> {
    // The first calls fail, so that deliveries wait in a delay tier while the store is emptied.
    let world = World::with(|_, before| Answer::Status(if before == 0 { 500 } else { 204 })).await?;
    let running = world.start().await?;
    let (api, amqp) = (Api::of(&running)?, world.amqp().await?);
    api.endpoint("default", &world.receiver.url("/e"), json!({"retrySchedule": [2, 2]})).await?;
    amqp.raw("a", "before", &[], b"{}").await?;
    eventually("the first attempt", async || world.receiver.hits().len() == 1).await?;
    empty_the_store(&world).await?;
    nothing_moves(&world, &running, &amqp, "while-running").await?;
    // And again with every role restarted.
    running.close().await;
    let running = world.start_unready(Roles::ALL, world.config()).await?;
    nothing_moves(&world, &running, &amqp, "after-restart").await?;

    let settings = world.settings()?;
    let report = tools::show_dataset(&settings).await?;
    ensure!(!report.good && report.dataset.is_none() && report.explanation.contains("dataset accept"), "{report:?}");
    let report = tools::accept_dataset(&settings).await?;
    ensure!(report.good && report.anchor == "same", "{report:?}");
    eventually("ready again", async || running.is_ready().await).await?;
    // The endpoints are gone with the store; what the administrator creates anew works.
    let api = Api::of(&running)?;
    api.endpoint("default", &world.receiver.url("/new"), json!({})).await?;
    amqp.raw("a", "after", &[], b"{}").await?;
    eventually("the new endpoint's event", async || world.receiver.at("/new").iter().any(|hit| hit.body == "{}")).await?;
    running.drain().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_another_installation_is_not_used() -> Result<()> {
    let (world, other) = (World::new().await?, World::new().await?);
    for world in [&world, &other] {
        world.start().await?.drain().await;
    }
    let mut config = world.config();
    config.redis_url = other.redis.as_ref().map(hookyard_e2e::services::PrivateRedis::url);
    let running = world.start_unready(Roles::ALL, config.clone()).await?;
    eventually("the alarm", async || metric(&running, "hookyard_dataset_wrong 1")).await?;
    ensure!(!running.is_ready().await);
    let report = tools::show_dataset(&config.judge()?).await?;
    ensure!(!report.good && report.anchor == "other", "{report:?}");
    running.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_sealing_key_is_an_error_at_the_start() -> Result<()> {
    let world = World::new().await?;
    world.start().await?.drain().await;
    let mut config = world.config();
    config.secret_key = Some("b3RoZXItb3RoZXItb3RoZXItb3RoZXItb3RoZXItMzI=".into());
    let running = world.start_unready(Roles::ALL, config).await?;
    let fault = tokio::time::timeout(Duration::from_secs(30), running.failed()).await.context("it goes on")?;
    ensure!(fault.chain().contains("not among the configured ones"), "{}", fault.chain());
    running.close().await;
    Ok(())
}
