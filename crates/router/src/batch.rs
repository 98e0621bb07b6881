//! The second half of a batch: everything routed in it becomes durable, then its claims are settled.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use hookyard_core::journal::{Entry, MessageRecord};
use hookyard_core::port::{FannedOut, MarkerClaim, MarkerState};
use hookyard_core::step::Step;
use hookyard_core::{Claim, Clock, FanOut, Fault, FaultKind};
use hookyard_telemetry::label::Routed;
use hookyard_telemetry::traces::Open;

use crate::router::Seams;

/// Pause before asking a backend again that was away.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest wait for a backend with claims in hand. A broker takes back what is held for half an hour, and the whole session with it.
const HELD_MOST: Duration = Duration::from_secs(5 * 60);

/// One event, routed.
pub struct RoutedEvent {
    pub claim: Claim<()>,
    pub fan_out: FanOut,
    pub marker: Option<MarkerClaim>,
    /// By the monotonic clock.
    pub claimed_at: Duration,
    pub span: Open,
}

/// Fans out and records side by side; what is both is marked, then finished. A claim that cannot be settled is dropped: the event
/// comes again, and repeats the same ids.
pub async fn complete(seams: &Seams, events: Vec<RoutedEvent>) {
    let entries = events.iter().map(|event| {
        let routed_to = Some(Arc::clone(&event.fan_out.endpoints));
        Entry::Message(MessageRecord { message: Arc::clone(&event.fan_out.message), routed_to })
    });
    let entries: Arc<[Entry]> = entries.collect();
    let record = persistently("record messages", &*seams.clock, || seams.journal.record(Arc::clone(&entries)));
    let fan_out = join_all(events.into_iter().map(|event| fan_out(seams, event)));
    let (recorded, fanned_out) = tokio::join!(record, fan_out);
    if recorded.is_err() {
        return;
    }
    seams.tripwire.reached(Step::FanOutDone);
    let done: Vec<(FannedOut, Finished)> = fanned_out.into_iter().flatten().collect();
    let markers: Vec<MarkerClaim> = done.iter().filter_map(|(_, finished)| finished.marker.clone()).collect();
    // A marker that stays as it was only costs the suppression of a duplicate: that one then repeats the same ids.
    if persistently("mark events", &*seams.clock, || seams.directory.mark(&markers, MarkerState::Routed)).await.is_ok() {
        seams.tripwire.reached(Step::EventRouted);
    }
    // Side by side: where each is a write of its own, they share one.
    join_all(done.into_iter().map(|(event, finished)| finish(seams, event, finished))).await;
}

async fn finish(seams: &Seams, event: FannedOut, finished: Finished) {
    match seams.events.finish(event).await {
        Ok(()) => {
            count(seams, &finished);
            finished.span.end(seams.clock.now(), None);
        }
        Err(fault) => tracing::warn!(error = fault.chain(), "an event was routed and not acked; it will be recognised"),
    }
}

struct Finished {
    marker: Option<MarkerClaim>,
    endpoints: usize,
    claimed_at: Duration,
    span: Open,
}

async fn fan_out(seams: &Seams, event: RoutedEvent) -> Option<(FannedOut, Finished)> {
    let RoutedEvent { claim, fan_out, marker, claimed_at, span } = event;
    let finished = Finished { marker, endpoints: fan_out.endpoints.len(), claimed_at, span };
    match seams.events.fan_out(claim, fan_out).await {
        Ok(fanned_out) => Some((fanned_out, finished)),
        Err(fault) => {
            tracing::debug!(error = fault.chain(), "a fan-out was cut short; the event comes again");
            None
        }
    }
}

fn count(seams: &Seams, finished: &Finished) {
    let metrics = &seams.metrics;
    let outcome = if finished.endpoints == 0 { Routed::Unmatched } else { Routed::Routed };
    metrics.router_events_total.inc(outcome);
    metrics.router_deliveries_total.inc_by(u64::try_from(finished.endpoints).unwrap_or(u64::MAX));
    // A count of endpoints is far below 2^52.
    metrics.router_fanout_deliveries.observe(f64::from(u32::try_from(finished.endpoints).unwrap_or(u32::MAX)));
    let took = seams.clock.monotonic().saturating_sub(finished.claimed_at);
    metrics.router_duration_seconds.observe(took.as_secs_f64());
}

/// How long a backend that is away is waited for.
pub struct Patience<'a> {
    clock: &'a dyn Clock,
    what: &'static str,
    since: Duration,
    told: bool,
}

impl<'a> Patience<'a> {
    /// For this step, from now on.
    pub fn new(what: &'static str, clock: &'a dyn Clock) -> Self {
        Self { clock, what, since: clock.monotonic(), told: false }
    }

    /// A moment's wait after a fault of a backend that is away or wrong, for as long as claims may be held; any other fault is
    /// the caller's.
    pub async fn after(&mut self, fault: Fault) -> Result<(), Fault> {
        let what = self.what;
        let away = matches!(fault.kind, FaultKind::Unavailable | FaultKind::WrongDataset);
        if !away || self.clock.monotonic().saturating_sub(self.since) > HELD_MOST {
            tracing::error!(error = fault.chain(), "cannot {what}");
            return Err(fault);
        }
        if !self.told {
            tracing::warn!(error = fault.chain(), "cannot {what}; waiting");
            self.told = true;
        }
        self.clock.sleep(PAUSE).await;
        Ok(())
    }
}

/// Repeats a step while its backend is away.
pub async fn persistently<T, F: Future<Output = Result<T, Fault>>>(
    what: &'static str,
    clock: &dyn Clock,
    mut step: impl FnMut() -> F,
) -> Result<T, Fault> {
    let mut patience = Patience::new(what, clock);
    loop {
        match step().await {
            Ok(value) => return Ok(value),
            Err(fault) => patience.after(fault).await?,
        }
    }
}
