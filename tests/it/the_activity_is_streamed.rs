//! The live stream: attempts as they happen, of one application, and what was in between for who comes back.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::StreamExt as _;
use hookyard_e2e::{Api, Backend, World};
use reqwest::Method;
use serde_json::{Value, json};

on_both_backends! {
    attempts_are_seen_as_they_happen_and_who_comes_back_misses_nothing;
}

/// A stream being read.
struct Stream {
    chunks: futures_util::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    buffer: String,
}

/// One event: its kind, its id and its data.
type Event = (String, String, Value);

impl Stream {
    async fn open(api: &Api, query: &str, last: Option<&str>) -> Result<Self> {
        let response = api.stream(&format!("/activity?{query}"), last).await?;
        ensure!(response.status() == 200, "{}", response.status());
        ensure!(response.headers()["content-type"] == "text/event-stream");
        Ok(Self { chunks: response.bytes_stream().boxed(), buffer: String::new() })
    }

    /// The next event; heartbeats are passed over.
    async fn next(&mut self) -> Result<Event> {
        loop {
            if let Some(end) = self.buffer.find("\n\n") {
                let block: String = self.buffer.drain(..end + 2).collect();
                let field = |name: &str| {
                    let line = block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
                    line.trim_start_matches(':').trim().to_owned()
                };
                let (kind, id, data) = (field("event"), field("id"), field("data"));
                if !kind.is_empty() {
                    return Ok((kind, id, serde_json::from_str(&data)?));
                }
                continue;
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.chunks.next()).await.context("nothing comes")?;
            self.buffer.push_str(&String::from_utf8(chunk.context("the stream ended")??.to_vec())?);
        }
    }

    /// Reads to the end.
    async fn end(mut self) -> Result<()> {
        let reading = async { while self.chunks.next().await.is_some_and(|chunk| chunk.is_ok()) {} };
        tokio::time::timeout(Duration::from_secs(10), reading).await.context("the stream does not end")
    }
}

async fn attempts_are_seen_as_they_happen_and_who_comes_back_misses_nothing(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let endpoint = api.endpoint("default", &world.receiver.url("/hook"), json!({})).await?;
    api.post("/app", &json!({"name": "Other", "uid": "other"})).await?;
    api.endpoint("other", &world.receiver.url("/other"), json!({})).await?;
    let mut all = Stream::open(&api, "app=default", None).await?;
    let mut failures = Stream::open(&api, "app=default&status=2", None).await?;
    // Another application's are none of this stream's.
    api.post("/app/other/msg", &json!({"eventType": "a", "payload": {}})).await?;
    world.publish(&api, "user.created", "evt-1", r#"{"secret": "payload"}"#).await?;
    let (kind, first, seen) = all.next().await?;
    ensure!(kind == "attempt" && seen["id"] == first.as_str() && seen["endpointId"] == endpoint.as_str(), "{seen}");
    ensure!(seen["eventType"] == "user.created" && seen["outcome"] == "success" && seen["response"] == "", "{seen}");
    drop(all);
    for number in 2..5 {
        world.publish(&api, "user.created", &format!("evt-{number}"), "{}").await?;
    }
    // A receiver that is not there: what fails passes the other stream's filter.
    api.endpoint("default", "http://127.0.0.1:9999/", json!({"eventTypes": ["broken"], "retrySchedule": []})).await?;
    world.publish(&api, "broken", "evt-5", "{}").await?;
    let (_, _, failure) = failures.next().await?;
    ensure!(failure["outcome"] == "connect" && failure["deadReason"] == "attempts_exhausted", "{failure}");
    // Who comes back gets what happened meanwhile, and then what happens.
    let mut back = Stream::open(&api, "app=default", Some(&first)).await?;
    let mut types = Vec::new();
    while types.len() < 5 {
        let (kind, id, seen) = back.next().await?;
        ensure!(kind == "attempt" && id != first, "{kind} {id}");
        types.push(seen["eventType"].as_str().context("a type")?.to_owned());
    }
    types.sort();
    // The type that is broken at one endpoint goes to the other as well.
    ensure!(types == ["broken", "broken", "user.created", "user.created", "user.created"], "{types:?}");
    for (path, wanted) in [("/activity", 422), ("/activity?app=nobody", 404), ("/activity?app=default&status=9", 422)] {
        let (status, answer) = api.try_call(Method::GET, path, None).await?;
        ensure!(status == wanted, "{path}: {status} {answer}");
    }
    // A stop does not wait for those who watch.
    let (ended, ()) = tokio::join!(back.end(), running.drain());
    ended
}
