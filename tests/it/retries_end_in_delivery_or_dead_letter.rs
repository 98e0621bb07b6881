//! Three attempts with their delays; then delivered, or dead with a reason and a history.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hookyard_core::{AttemptClass, DeadReason};
use hookyard_e2e::receiver::Answer;
use hookyard_e2e::world::DeadLetter;
use hookyard_e2e::{Api, Backend, World, eventually};
use reqwest::Method;
use serde_json::json;

on_both_backends! {
    a_receiver_that_fails_twice_is_delivered_on_the_third_attempt;
    a_receiver_that_always_fails_is_dead_after_exactly_three_attempts;
    each_way_of_failing_has_its_end;
    a_paused_endpoint_and_a_deleted_one_are_honoured_for_queued_deliveries;
}

async fn a_receiver_that_fails_twice_is_delivered_on_the_third_attempt(backend: Backend) -> Result<()> {
    let world = World::on_with(backend, |_, before| Answer::Status(if before < 2 { 500 } else { 200 })).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let endpoint = api.endpoint("default", &world.receiver.url("/flaky"), json!({})).await?;
    world.publish(&api, "a", "flaky", "{}").await?;
    eventually("three attempts", async || world.receiver.hits().len() == 3).await?;
    let hits = world.receiver.hits();
    ensure!(hits.iter().all(|hit| hit.id == hits[0].id), "one webhook-id");
    let gaps = [hits[1].at - hits[0].at, hits[2].at - hits[1].at];
    ensure!(gaps[0] >= Duration::from_secs(1) && gaps[1] >= Duration::from_secs(2), "not early: {gaps:?}");
    ensure!(gaps[0] < Duration::from_secs(4) && gaps[1] < Duration::from_secs(6), "not much later: {gaps:?}");
    let signatures: Vec<_> = hits.iter().map(|hit| hit.headers["webhook-timestamp"].clone()).collect();
    ensure!(signatures[0] != signatures[2], "each attempt is signed at its own time");
    let path = format!("/app/default/attempt/endpoint/{endpoint}");
    eventually("three attempts in the log", async || {
        api.get(&path).await.is_ok_and(|page| page["data"].as_array().is_some_and(|d| d.len() == 3))
    })
    .await?;
    let page = api.get(&path).await?;
    let statuses: Vec<_> = page["data"].as_array().context("a list")?.iter().map(|a| a["responseStatusCode"].as_u64()).collect();
    ensure!(statuses == [Some(200), Some(500), Some(500)], "newest first: {statuses:?}");
    ensure!(world.dead_letters(0).await?.is_empty());
    running.drain().await;
    Ok(())
}

async fn a_receiver_that_always_fails_is_dead_after_exactly_three_attempts(backend: Backend) -> Result<()> {
    let world = World::on_with(backend, |_, _| Answer::Full(503, vec![], "no")).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let endpoint = api.endpoint("default", &world.receiver.url("/down"), json!({})).await?;
    world.publish(&api, "a.b", "down", r#"{"keep":"me"}"#).await?;
    let DeadLetter { delivery, reason } = world.dead_letters(1).await?.remove(0);
    ensure!(reason == DeadReason::AttemptsExhausted);
    ensure!(delivery.message.event.event_type.as_str() == "a.b" && delivery.endpoint.to_string() == endpoint);
    ensure!(&delivery.message.event.data[..] == br#"{"keep":"me"}"#, "the payload is in it");
    let history: Vec<_> = delivery.history.iter().map(|past| (past.class, past.status)).collect();
    ensure!(history == [(AttemptClass::Http5xx, Some(503)); 3], "{history:?}");
    ensure!(world.receiver.hits().len() == 3, "exactly three attempts");
    running.drain().await;
    Ok(())
}

async fn each_way_of_failing_has_its_end(backend: Backend) -> Result<()> {
    let world = World::on_with(backend, |hit, _| match hit.path.as_str() {
        "/gone" => Answer::Status(410),
        "/abort" => Answer::Full(500, vec![("webhook-delivery", "abort-message")], ""),
        "/redirect" => Answer::Full(302, vec![("location", "http://127.0.0.1:1/")], ""),
        "/hang" => Answer::Late(200, Duration::from_secs(30)),
        _ => Answer::Status(200),
    })
    .await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let once = json!({"retrySchedule": [], "timeoutMs": 1000});
    let gone = api.endpoint("default", &world.receiver.url("/gone"), json!({})).await?;
    api.endpoint("default", &world.receiver.url("/abort"), json!({})).await?;
    for path in ["/redirect", "/hang"] {
        api.endpoint("default", &world.receiver.url(path), once.clone()).await?;
    }
    // Nobody listens there: connection refused, without a retry.
    api.endpoint("default", "http://127.0.0.1:9/", once.clone()).await.expect_err("port 9 is refused when saved");
    api.endpoint("default", "http://10.0.0.1/", once.clone()).await.expect_err("a private address is refused when saved");
    api.endpoint("default", "http://does-not-resolve.invalid/", once).await?;
    world.publish(&api, "a", "ends", "{}").await?;
    let mut ends = Vec::new();
    for DeadLetter { delivery, reason } in world.dead_letters(5).await? {
        let last = delivery.history.last().context("a history")?;
        ends.push((reason.as_str(), last.class.as_str(), delivery.history.len()));
    }
    ends.sort_unstable();
    let expected = [
        ("aborted", "http_5xx", 1),
        ("attempts_exhausted", "dns", 1),
        ("attempts_exhausted", "http_3xx", 1),
        ("attempts_exhausted", "timeout", 1),
        ("gone", "http_410", 1),
    ];
    ensure!(ends == expected, "{ends:?}");
    let state = async || api.get(&format!("/app/default/endpoint/{gone}")).await.map(|endpoint| endpoint["disabled"].clone());
    eventually("the gone endpoint is disabled", async || state().await.is_ok_and(|disabled| disabled == json!(true))).await?;
    running.drain().await;
    Ok(())
}

async fn a_paused_endpoint_and_a_deleted_one_are_honoured_for_queued_deliveries(backend: Backend) -> Result<()> {
    let world = World::on_with(backend, |_, _| Answer::Status(500)).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let later = json!({"retrySchedule": [6]});
    let paused = api.endpoint("default", &world.receiver.url("/paused"), later.clone()).await?;
    let deleted = api.endpoint("default", &world.receiver.url("/deleted"), later).await?;
    world.publish(&api, "a", "queued", "{}").await?;
    eventually("both first attempts", async || world.receiver.hits().len() == 2).await?;
    api.call(Method::PATCH, &format!("/app/default/endpoint/{paused}"), Some(&json!({"disabled": true}))).await?;
    api.call(Method::DELETE, &format!("/app/default/endpoint/{deleted}"), None).await?;
    let dead = world.dead_letters(1).await?;
    ensure!(dead[0].reason == DeadReason::EndpointInactive, "{dead:?}");
    eventually("the discarded one is counted", async || {
        let text = String::from_utf8_lossy(&running.metrics.render()).into_owned();
        text.contains("hookyard_deliveries_completed_total{result=\"discarded\"} 1")
    })
    .await?;
    ensure!(world.receiver.hits().len() == 2, "no further attempt");
    running.drain().await;
    Ok(())
}
