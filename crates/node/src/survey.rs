//! What is looked at beside the flow, for metrics: what waits in the queues, and whether the delay tiers let go of what is in them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hookyard_core::canary::{self, Canaries};
use hookyard_core::delay::Tier;
use hookyard_core::fleet::QueueKind;
use hookyard_core::{Clock, Fault};
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
        let depths = match &backend {
            Backend::Cluster(cluster) => cluster.rabbit.depths().await,
            Backend::Embedded(embedded) => embedded.store.depths().await,
        };
        let depths = match depths {
            Ok(depths) => depths,
            Err(fault) => {
                tracing::debug!(error = fault.chain(), "nobody can say what waits in the queues");
                continue;
            }
        };
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
    let (mut canaries, mut sent_at) = (None, None);
    while goes_on(&mut ticks, &stop).await {
        let now = clock.now();
        match cluster.store.hold(LEASE, &id, LEASE_MS).await {
            Ok(true) => {}
            // Somebody else's now, who says how late they are; or nobody can say.
            Ok(false) => {
                (canaries, sent_at) = (None, None);
                Tier::all().for_each(|tier| metrics.delay_canary_late_seconds.set(tier, 0));
                continue;
            }
            Err(fault) => {
                tracing::debug!(error = fault.chain(), "nobody can say whose it is to send canaries");
                continue;
            }
        }
        let known = canaries.get_or_insert_with(|| Canaries::new(now));
        let is_due = sent_at.is_none_or(|at| now.since(at) >= canary::EVERY);
        let done: Result<(), Fault> = async {
            if is_due {
                cluster.rabbit.send_canaries(now).await?;
                sent_at = Some(now);
            }
            for (tier, sent) in cluster.rabbit.take_canaries().await? {
                known.came(tier, sent, clock.now());
            }
            Ok(())
        }
        .await;
        if let Err(fault) = done {
            tracing::debug!(error = fault.chain(), "canaries are not sent or not seen");
        }
        for tier in Tier::all() {
            let late = known.late(tier, clock.now()).as_secs();
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
