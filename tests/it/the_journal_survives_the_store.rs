//! The store down for twenty seconds: deliveries of already routed events go on, and their attempts are in the journal afterwards.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hookyard_e2e::receiver::Answer;
use hookyard_e2e::{Api, World, eventually};
use serde_json::json;

const EVENTS: usize = 40;
const OUTAGE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_go_on_without_the_store_and_no_attempt_goes_unrecorded() -> Result<()> {
    // Each event fails once and is due again during the outage.
    let mut world = World::with(|_, before| Answer::Status(if before == 0 { 500 } else { 204 })).await?;
    let running = world.start().await?;
    let (api, amqp) = (Api::of(&running)?, world.amqp().await?);
    let endpoint = api.endpoint("default", &world.receiver.url("/e"), json!({"retrySchedule": [4, 4]})).await?;
    for number in 0..EVENTS {
        amqp.raw("a", &format!("event-{number}"), &[], b"{}").await?;
    }
    eventually("the first attempts", async || world.receiver.hits().len() == EVENTS).await?;
    let recorded = async || {
        let mut count = 0;
        let mut iterator = String::new();
        loop {
            let page = api.get(&format!("/app/default/attempt/endpoint/{endpoint}?limit=100{iterator}")).await.ok()?;
            count += page["data"].as_array()?.len();
            if page["done"] == true {
                return Some(count);
            }
            iterator = format!("&iterator={}", page["iterator"].as_str()?);
        }
    };
    // Written down, too: what is not yet would be spilled with the others.
    eventually("they are in the journal", async || recorded().await == Some(EVENTS)).await?;
    let begun = Instant::now();
    world.redis.as_mut().context("a store")?.kill9();
    eventually("the second attempts", async || world.receiver.hits().len() == 2 * EVENTS).await?;
    ensure!(begun.elapsed() < OUTAGE, "they waited for the store");
    // Published now, an event waits: it cannot be routed.
    amqp.raw("a", "during", &[], b"{}").await?;
    eventually("the spill holds the attempts", async || {
        String::from_utf8_lossy(&running.metrics.render()).contains(&format!("hookyard_journal_spilled_total {EVENTS}"))
    })
    .await?;
    tokio::time::sleep(OUTAGE.saturating_sub(begun.elapsed())).await;
    ensure!(world.receiver.hits().len() == 2 * EVENTS, "an event was routed without the store");
    world.redis.as_mut().context("a store")?.restart()?;
    eventually("the event that waited", async || world.receiver.counts().len() == EVENTS + 1).await?;
    // Two for each event, and two for the one that waited.
    eventually("every attempt is in the journal", async || recorded().await == Some(2 * EVENTS + 2)).await?;
    ensure!(amqp.depth("journal").await? == 0, "the spill is drained");
    running.drain().await;
    Ok(())
}
