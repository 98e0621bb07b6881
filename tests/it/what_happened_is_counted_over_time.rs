//! Charts: what happened in an application, minute by minute, equals what was sent and received.

use anyhow::{Context as _, Result, ensure};
use hookyard_e2e::receiver::Answer;
use hookyard_e2e::{Api, Backend, World, eventually};
use reqwest::Method;
use serde_json::{Value, json};

on_both_backends! {
    counts_equal_what_was_sent_and_received;
}

const EVENTS: u64 = 4;

fn sum(data: &Value, of: impl Fn(&Value) -> Option<u64>) -> Result<u64> {
    Ok(data.as_array().context("buckets")?.iter().filter_map(of).sum())
}

async fn counts_equal_what_was_sent_and_received(backend: Backend) -> Result<()> {
    let script = |hit: &hookyard_e2e::receiver::Hit, _: usize| Answer::Status(if hit.path == "/bad" { 500 } else { 200 });
    let world = World::on_with(backend, script).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    api.endpoint("default", &world.receiver.url("/ok"), json!({})).await?;
    let bad = api.endpoint("default", &world.receiver.url("/bad"), json!({})).await?;
    for number in 0..EVENTS {
        world.publish(&api, "a", &format!("evt-{number}"), "{}").await?;
    }
    eventually("all of it happened", async || world.receiver.hits().len() as u64 == EVENTS * 4).await?;
    let total =
        async |query: &str| -> Result<Value> { Ok(api.get(&format!("/stats?app=default{query}")).await?["total"].take()) };
    let expected = json!({"success": EVENTS, "http_5xx": EVENTS * 3});
    eventually("it is counted", async || {
        total("").await.is_ok_and(|total| total["attempts"] == expected && total["deadLetters"] == EVENTS)
    })
    .await?;
    let found = api.get("/stats?app=default&bucket=60").await?;
    ensure!(found["total"]["events"] == EVENTS && found["total"]["p50Ms"].is_u64() && found["bucket"] == 60, "{found}");
    ensure!(sum(&found["data"], |bucket| bucket["events"].as_u64())? == EVENTS);
    ensure!(sum(&found["data"], |bucket| bucket["attempts"]["http_5xx"].as_u64())? == EVENTS * 3);
    ensure!(sum(&found["latency"], |place| place["count"].as_u64())? == EVENTS * 4);
    let buckets = found["data"].as_array().context("buckets")?.len();
    ensure!((1440..=1442).contains(&buckets), "{buckets}");
    ensure!(total("&until=2020-01-01T00:00:00Z").await?["events"] == 0);
    let hourly = api.get(&format!("/app/default/endpoint/{bad}/stats/hourly")).await?;
    ensure!(sum(&hourly["data"], |hour| hour["fail"].as_u64())? == EVENTS, "{hourly}");
    ensure!(hourly["data"].as_array().is_some_and(|hours| hours.len() == 25), "{hourly}");
    for bad in ["/stats", "/stats?app=default&bucket=7", "/stats?app=default&bucket=60&since=2020-01-01T00:00:00Z"] {
        let (status, answer) = api.try_call(Method::GET, bad, None).await?;
        ensure!(status == 422, "{bad}: {status} {answer}");
    }
    running.drain().await;
    Ok(())
}
