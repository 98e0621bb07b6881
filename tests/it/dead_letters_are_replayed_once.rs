//! A replay of many dead letters, killed half-way and begun again: each is delivered, none is forgotten, and none is begun twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hookyard_e2e::process::{RoleProcess, free_address};
use hookyard_e2e::receiver::{Answer, Hit};
use hookyard_e2e::{Api, Backend, World, eventually, or_more};
use http::Method;
use serde_json::{Value, json};

/// Dead letters unless `HOOKYARD_TEST_REPLAYED` asks for more.
const LETTERS: usize = 1_000;
/// Most requests in flight, so that the number of repeated ones is bounded.
const CONCURRENCY: usize = 32;
/// What a dispatcher holds at most: a quarter more than it may have in flight. A request that ended and is not written down yet is held,
/// and comes again after a kill.
const HELD: usize = CONCURRENCY * 5 / 4;
/// Without one more for this long, there are no more.
const STANDSTILL: Duration = Duration::from_secs(60);

on_both_backends! {
    a_replay_killed_half_way_is_finished_and_begins_nothing_twice;
}

async fn a_replay_killed_half_way_is_finished_and_begins_nothing_twice(backend: Backend) -> Result<()> {
    let letters = or_more("HOOKYARD_TEST_REPLAYED", LETTERS);
    let is_mended = Arc::new(AtomicBool::new(false));
    let mended = Arc::clone(&is_mended);
    let script = move |_: &Hit, _: usize| Answer::Status(if mended.load(Ordering::SeqCst) { 200 } else { 500 });
    let mut world = World::on_with(backend, script).await?;
    let address = free_address()?;
    (world.listen, world.concurrency) = (Some(address), CONCURRENCY);
    let api = Api::at(&format!("http://{address}"), "admin")?;
    let start = async || -> Result<RoleProcess> {
        let process = RoleProcess::start(&world, &[], None)?;
        // With its broker, where there is one.
        let nothing = json!({"eventType": "nothing", "payload": {}});
        let accepts = async || api.try_call(Method::POST, "/app/default/msg", Some(&nothing)).await;
        eventually("it accepts events", async || accepts().await.is_ok_and(|(status, _)| status == 202)).await?;
        Ok(process)
    };
    let mut process = start().await?;
    api.endpoint("default", &world.receiver.url("/hook"), json!({"retrySchedule": [], "eventTypes": ["a"]})).await?;
    api.publish_many("a", 0..letters).await?;
    let stats = async || api.get("/stats?app=default").await.unwrap_or_default();
    reaches("all are dead", letters, async || number(&stats().await["total"]["deadLetters"])).await?;
    world.receiver.forget();
    is_mended.store(true, Ordering::SeqCst);

    let begun = api.post("/app/default/dead-letter/replay", &json!({"filter": {}})).await?;
    ensure!(begun["count"] == letters, "{begun}");
    let task = format!("/task/{}", begun["task"].as_str().context("a task")?);
    reaches("a third arrives", letters / 3, async || world.receiver.counts().len()).await?;
    process.kill9();
    let after_the_first = world.receiver.counts().len();
    ensure!(after_the_first < letters, "the kill came too late to say anything");
    let process = start().await?;
    reaches("all arrive", letters, async || world.receiver.counts().len()).await?;
    eventually("the task is finished", async || api.get(&task).await.is_ok_and(|task| task["status"] == "finished")).await?;
    eventually("none is dead", async || {
        api.get("/app/default/dead-letter").await.is_ok_and(|found| found["data"] == json!([]) && found["done"] == true)
    })
    .await?;
    // One more attempt of each and no more is written down; what was on its way at the kill may have been sent once more.
    reaches("all are written down", letters, async || number(&stats().await["total"]["attempts"]["success"])).await?;
    let written = number(&stats().await["total"]["attempts"]["success"]);
    let repeated = world.receiver.hits().len() - letters;
    ensure!(written == letters && repeated <= HELD, "{written} written, {repeated} repeated");
    process.stop()?;
    Ok(())
}

fn number(value: &Value) -> usize {
    value.as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or_default()
}

/// Waits as long as it grows.
async fn reaches(what: &str, wanted: usize, count: impl AsyncFn() -> usize) -> Result<()> {
    let (mut before, mut since) = (0, Instant::now());
    loop {
        let now = count().await;
        if now >= wanted {
            return Ok(());
        }
        if now > before {
            (before, since) = (now, Instant::now());
        }
        ensure!(since.elapsed() < STANDSTILL, "{what}: {now} of {wanted} and no more");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
