//! What is looked at beside the flow, for metrics: what waits in the queues, and whether the delay tiers let go of what is in them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hookyard_core::canary::{self, Canaries};
use hookyard_core::delay::Tier;
use hookyard_core::fleet::QueueKind;
use hookyard_core::{Clock, Timestamp};
use hookyard_telemetry::Metrics;
use tokio_util::sync::CancellationToken;

use crate::backend::{Backend, Cluster};

/// How often queues are counted: as often as metrics are commonly read.
const COUNT_EVERY: Duration = Duration::from_secs(15);
/// How often canaries are looked for; so exactly their time is known.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Whose lease it is to send them.
const LEASE: &str = "canary";
/// A process that was not heard of for so long sends none any more.
const LEASE_MS: u64 = 30_000;

/// Counts what waits in the queues and who consumes them, until `stop`.
pub async fn count_queues(backend: Backend, metrics: Metrics, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(COUNT_EVERY);
    while goes_on(&mut ticks, &stop).await {
        // What this process cannot count counts nothing here: others may, and the largest is taken.
        let depths = backend.depths().await.unwrap_or_else(|fault| {
            tracing::debug!(error = fault.chain(), "nobody can say what waits in the queues");
            Vec::new()
        });
        let mut of: BTreeMap<QueueKind, (u64, u32)> = QueueKind::ALL.into_iter().map(|kind| (kind, (0, 0))).collect();
        for depth in depths {
            let (messages, consumers) = of.entry(depth.kind).or_default();
            *messages += depth.messages;
            *consumers += depth.consumers.unwrap_or(0);
        }
        for (kind, (messages, consumers)) in of {
            metrics.queue_messages.set(kind, usize::try_from(messages).unwrap_or(usize::MAX));
            metrics.consumers_active.set(kind, usize::try_from(consumers).unwrap_or(usize::MAX));
        }
    }
}

/// Sends canaries through the tiers while this process has the lease, and says how late they are, until `stop`.
pub async fn send_canaries(cluster: Arc<Cluster>, id: String, clock: Arc<dyn Clock>, metrics: Metrics, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    let (mut canaries, mut sent_at) = (Canaries::default(), None);
    while goes_on(&mut ticks, &stop).await {
        let now = clock.now();
        let is_ours = match cluster.store.hold(LEASE, &id, LEASE_MS).await {
            Ok(is_ours) => is_ours,
            Err(fault) => {
                tracing::debug!(error = fault.chain(), "nobody can say whose it is to send canaries");
                false
            }
        };
        let send = sent_at.is_none_or(|at: Timestamp| now.since(at) >= canary::EVERY).then_some(now);
        let round = if is_ours { Some(cluster.rabbit.canaries(send).await) } else { None };
        match round {
            Some(Ok(round)) => {
                sent_at = send.or(sent_at);
                round.sent.into_iter().for_each(|tier| canaries.sent(tier, now));
                round.came.into_iter().for_each(|(tier, sent)| canaries.came(tier, sent, clock.now()));
            }
            Some(Err(fault)) => {
                tracing::debug!(error = fault.chain(), "canaries are not sent or not seen");
                (canaries, sent_at) = (Canaries::default(), None);
            }
            // Somebody else's, who says how late they are.
            None => (canaries, sent_at) = (Canaries::default(), None),
        }
        for tier in Tier::all() {
            let late = canaries.late(tier, clock.now()).as_secs();
            metrics.delay_canary_late_seconds.set(tier, usize::try_from(late).unwrap_or(usize::MAX));
        }
    }
}

/// Waits for the next turn; false when there is none.
async fn goes_on(ticks: &mut tokio::time::Interval, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        _ = ticks.tick() => true,
    }
}
