//! What routing one event costs, by how many endpoints there are: the router's own index, without broker and store.

use std::time::Instant;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use hookyard_core::id::ID_BYTES;
use hookyard_core::{AppId, AppRef, EndpointId, Event, Subscription, Subscriptions, Timestamp};

use crate::latency::percentile;
use crate::report::{Bound, say, verdict};
use crate::throughput::number;

const SIZES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// Endpoints of one application where there are many applications.
const PER_APP: usize = 100;
/// Kinds of events in use.
const TYPES: usize = 200;
/// Events routed per size.
const EVENTS: usize = 50_000;
/// Most microseconds at the 99th percentile with a million endpoints.
const MOST_US: f64 = 20.0;

/// Measures and prints.
pub fn measure() -> Result<()> {
    say("routing one event, in microseconds; an endpoint asks for three of 200 types or a prefix, every other one for a channel");
    for size in SIZES {
        let many = Index::of(size, PER_APP)?;
        let (p50, p99, hits) = many.route()?;
        say(&format!(
            "{size:>9} endpoints, {PER_APP} per application: p50 {p50:.2}, p99 {p99:.2}; {hits:.1} endpoints per event; {:.0} bytes per endpoint",
            many.bytes_each
        ));
        if size == SIZES[SIZES.len() - 1] {
            verdict("p99 of routing one event at a million endpoints, in microseconds", Some(p99), Bound::Most(MOST_US));
        }
    }
    let one = Index::of(100_000, 100_000)?;
    let (p50, p99, hits) = one.route()?;
    say(&format!("  100,000 endpoints of one application: p50 {p50:.2}, p99 {p99:.2}; {hits:.0} endpoints per event"));
    Ok(())
}

struct Index {
    apps: Vec<Subscriptions>,
    bytes_each: f64,
}

impl Index {
    fn of(endpoints: usize, per_app: usize) -> Result<Self> {
        let before = memory()?;
        let make = |app: usize| (0..per_app).map(move |place| subscription(app * per_app + place));
        let subscriptions = |app| make(app).collect::<Result<Vec<_>>>().map(Subscriptions::new);
        let apps = (0..endpoints / per_app).map(subscriptions).collect::<Result<Vec<_>>>()?;
        Ok(Self { apps, bytes_each: (memory()? - before) / number(endpoints) })
    }

    /// Median and 99th percentile in microseconds, and endpoints per event.
    fn route(&self) -> Result<(f64, f64, f64)> {
        let (mut took, mut hits) = (Vec::with_capacity(EVENTS), 0);
        for place in 0..EVENTS {
            // A prime apart, so that one after the other is not in the processor's cache.
            let app = &self.apps[(place * 7_919) % self.apps.len()];
            let event = event(place)?;
            let begun = Instant::now();
            hits += app.route(&event).len();
            took.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        took.sort_by(f64::total_cmp);
        Ok((percentile(&took, 50), percentile(&took, 99), number(hits) / number(EVENTS)))
    }
}

fn subscription(number: usize) -> Result<Subscription> {
    let mut id = [0; ID_BYTES];
    id[..8].copy_from_slice(&(number as u64).to_be_bytes());
    let kind = |of: usize| format!("kind{}.done", of % TYPES).parse();
    let event_types = if number.is_multiple_of(10) {
        vec![format!("kind{}.*", number % TYPES).parse().map_err(anyhow::Error::msg)?]
    } else {
        [number, number * 7 + 1, number * 13 + 2].into_iter().map(kind).collect::<Result<_, _>>().map_err(anyhow::Error::msg)?
    };
    let channels = if number.is_multiple_of(2) { vec![format!("client_{}", number % 50).parse()?] } else { Vec::new() };
    Ok(Subscription { endpoint: EndpointId::from_bytes(id), event_types, channels, active: true })
}

fn event(number: usize) -> Result<Event> {
    Ok(Event {
        app: AppRef::Id(AppId::from_bytes([1; ID_BYTES])),
        id: None,
        message_id: None,
        event_type: format!("kind{}.done", number % TYPES).parse()?,
        channels: vec![format!("client_{}", number % 50).parse()?],
        time: "2026-01-31T12:00:00Z".into(),
        context: None,
        content_type: "application/json".into(),
        data: Bytes::from_static(b"{}"),
        traceparent: None,
        accepted_at: Timestamp::from_millis(0),
        data_kept: None,
        tags: Vec::new(),
    })
}

/// Of this process, in bytes.
fn memory() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status").context("what this process takes")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("its memory")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib * 1024.0)
}
