//! What the metrics count is what happened: every counter of the flow against the ledger of the receivers and of what was published.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use hookyard_e2e::receiver::{Answer, Receiver};
use hookyard_e2e::{Api, Backend, World, eventually};
use serde_json::json;

on_both_backends! {
    every_counter_of_the_flow_says_what_happened;
}

const EVENTS: usize = 30;
/// Endpoints, and how many attempts each event costs there.
const ENDPOINTS: [(&str, usize); 4] = [("/ok", 1), ("/twice", 3), ("/never", 3), ("/busy", 2)];

/// Sums of a process's counters, by name and label values as they are written.
struct Metrics(String);

impl Metrics {
    async fn of(ops: SocketAddr) -> Result<Self> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self(client.get(format!("http://{ops}/metrics")).send().await?.text().await?))
    }

    /// The sum over all series of a family whose labels say all of these.
    fn sum(&self, family: &str, labels: &[&str]) -> usize {
        let name = format!("hookyard_{family}");
        let of = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            let is_wanted = series.split('{').next() == Some(&name) && labels.iter().all(|label| series.contains(label));
            is_wanted.then(|| value.parse::<f64>().ok()).flatten()
        };
        let sum: f64 = self.0.lines().filter_map(of).sum();
        format!("{sum:.0}").parse().unwrap_or(usize::MAX)
    }
}

/// Attempts by outcome class, as the receiver saw them.
fn ledger(receiver: &Receiver) -> BTreeMap<&'static str, usize> {
    let mut seen: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut classes = BTreeMap::new();
    for hit in receiver.hits() {
        let earlier = seen.entry((hit.path.clone(), hit.id.clone())).or_default();
        *classes.entry(class(&hit.path, *earlier)).or_default() += 1;
        *earlier += 1;
    }
    classes
}

/// How an attempt at this path ends, after so many earlier ones.
fn class(path: &str, earlier: usize) -> &'static str {
    match path {
        "/twice" if earlier < 2 => "http_5xx",
        "/never" => "http_4xx",
        "/busy" if earlier < 1 => "http_429",
        _ => "success",
    }
}

async fn every_counter_of_the_flow_says_what_happened(backend: Backend) -> Result<()> {
    let script = |hit: &hookyard_e2e::receiver::Hit, earlier: usize| match class(&hit.path, earlier) {
        "http_5xx" => Answer::Status(503),
        "http_4xx" => Answer::Status(400),
        "http_429" => Answer::Status(429),
        _ => Answer::Status(204),
    };
    let world = World::on_with(backend, script).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    for (path, _) in ENDPOINTS {
        api.endpoint("default", &world.receiver.url(path), json!({})).await?;
    }
    for number in 0..EVENTS {
        world.publish(&api, "thing.done", &format!("evt-{number}"), "{}").await?;
    }
    let attempts: usize = ENDPOINTS.iter().map(|(_, attempts)| attempts * EVENTS).sum();
    let counted = async |family, labels: &[&str]| Metrics::of(running.ops).await.map(|metrics| metrics.sum(family, labels));
    eventually("every delivery ends", async || {
        counted("deliveries_completed_total", &[]).await.is_ok_and(|ended| ended >= ENDPOINTS.len() * EVENTS)
    })
    .await?;
    eventually("every dead letter is listed", async || {
        let page = api.get("/app/default/dead-letter?limit=250").await;
        page.is_ok_and(|page| page["data"].as_array().is_some_and(|letters| letters.len() == EVENTS))
    })
    .await?;

    let metrics = Metrics::of(running.ops).await?;
    let ledger = ledger(&world.receiver);
    ensure!(ledger.values().sum::<usize>() == attempts, "{ledger:?}");
    let expect = |family: &str, labels: &[&str], wanted: usize| {
        let counted = metrics.sum(family, labels);
        ensure!(counted == wanted, "{family}{labels:?}: counted {counted}, happened {wanted}");
        Ok(())
    };
    expect("events_received_total", &[], EVENTS)?;
    expect("events_rejected_total", &[], 0)?;
    expect("events_duplicate_total", &[], 0)?;
    expect("event_payload_bytes_count", &[], EVENTS)?;
    expect("router_events_total", &["outcome=\"routed\""], EVENTS)?;
    expect("router_deliveries_total", &[], ENDPOINTS.len() * EVENTS)?;
    expect("router_fanout_deliveries_sum", &[], ENDPOINTS.len() * EVENTS)?;
    for (outcome, times) in &ledger {
        expect("delivery_attempts_total", &[&format!("outcome=\"{outcome}\"")], *times)?;
    }
    expect("delivery_attempts_total", &[], attempts)?;
    expect("delivery_attempts_total", &["attempt=\"1\""], ENDPOINTS.len() * EVENTS)?;
    expect("delivery_attempt_duration_seconds_count", &[], attempts)?;
    expect("delivery_connections_total", &[], attempts)?;
    expect("deliveries_completed_total", &["result=\"delivered\""], 3 * EVENTS)?;
    expect("deliveries_completed_total", &["result=\"dead\""], EVENTS)?;
    expect("delivery_end_to_end_seconds_count", &["result=\"delivered\""], 3 * EVENTS)?;
    expect("dead_letters_total", &["reason=\"attempts_exhausted\""], EVENTS)?;
    expect("dead_letters_total", &[], EVENTS)?;
    expect("delivery_retries_total", &[], attempts - ENDPOINTS.len() * EVENTS)?;
    expect("delivery_inflight", &["pool"], 0)?;

    of_what_is_done_again(&world, &api, running.ops).await?;
    running.drain().await;
    Ok(())
}

/// A duplicate, and what is done with the dead.
async fn of_what_is_done_again(world: &World, api: &Api, ops: SocketAddr) -> Result<()> {
    world.publish(api, "thing.done", "evt-0", "{}").await.ok();
    eventually("the duplicate is seen", async || {
        Metrics::of(ops).await.is_ok_and(|metrics| metrics.sum("events_duplicate_total", &[]) == 1)
    })
    .await?;
    let letters = api.get("/app/default/dead-letter?limit=5").await?;
    let ids: Vec<&str> =
        letters["data"].as_array().context("letters")?.iter().filter_map(|letter| letter["id"].as_str()).collect();
    api.post("/app/default/dead-letter/replay", &json!({ "ids": ids[..2] })).await?;
    api.post("/app/default/dead-letter/discard", &json!({ "ids": ids[2..] })).await?;
    let metrics = Metrics::of(ops).await?;
    let actions =
        ["replayed", "discarded"].map(|action| metrics.sum("dead_letter_actions_total", &[&format!("action=\"{action}\"")]));
    ensure!(actions == [2, 3], "{actions:?}");
    Ok(())
}
