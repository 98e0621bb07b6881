//! The journal with its spill: entries go to the store, or to a durable queue while the store is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hookyard_core::journal::{AttemptRecord, Entry};
use hookyard_core::port::{Journal, Spill};
use hookyard_core::{AttemptId, DeliveryKey, Fault, FaultKind};
use hookyard_redis::RedisJournal;
use tokio_util::sync::CancellationToken;

/// How often a journal that is away is asked whether it is back.
const PROBE: Duration = Duration::from_secs(1);

/// Longest time a spilled group is held while the journal is away: a broker takes back what is held for half an hour, and the whole
/// session with it.
const HELD_MOST: Duration = Duration::from_secs(5 * 60);

/// The journal, and where its entries go while it is away.
pub struct SpillingJournal {
    journal: RedisJournal,
    spill: Arc<dyn Spill>,
    away: AtomicBool,
}

impl SpillingJournal {
    /// Composes the two.
    pub fn new(journal: RedisJournal, spill: Arc<dyn Spill>) -> Arc<Self> {
        Arc::new(Self { journal, spill, away: AtomicBool::new(false) })
    }

    /// Asks each second whether a journal that was away is back.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if self.away.load(Ordering::Relaxed) && self.journal.probe().await.is_ok() {
                tracing::info!("the journal is back");
                self.away.store(false, Ordering::Relaxed);
            }
            pause(&stop).await;
        }
    }

    /// Writes spilled entries back, while the journal is there.
    pub async fn drain(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let claim = tokio::select! {
                () = stop.cancelled() => return,
                claim = self.spill.drain() => claim,
            };
            let Ok(claim) = claim else {
                pause(&stop).await;
                continue;
            };
            let (entries, claim) = claim.detach();
            match self.write_back(entries.into(), &stop).await {
                Some(Ok(())) => {}
                Some(Err(fault)) => {
                    tracing::error!(
                        error = fault.chain(),
                        "spilled entries can be neither written nor kept again; they come again"
                    );
                    continue;
                }
                None => return,
            }
            if let Err(fault) = self.spill.written(claim).await {
                tracing::debug!(
                    error = fault.chain(),
                    "a spilled entry was written and not acked; writing it again changes nothing"
                );
            }
        }
    }
}

impl SpillingJournal {
    /// Writes a spilled group, or puts it at the queue's end: when the journal refuses it, so that it stands in nobody's way, and
    /// when it stays away for long. `None` when stopped.
    async fn write_back(&self, entries: Arc<[Entry]>, stop: &CancellationToken) -> Option<Result<(), Fault>> {
        let begun = Instant::now();
        loop {
            if !self.away.load(Ordering::Relaxed) {
                match self.journal.record(Arc::clone(&entries)).await {
                    Ok(()) => return Some(Ok(())),
                    Err(fault) if fault.kind == FaultKind::Unavailable => self.note(&fault),
                    Err(fault) => {
                        tracing::error!(error = fault.chain(), "the journal refuses spilled entries; they wait");
                        pause(stop).await;
                        return Some(self.spill.keep(&entries).await);
                    }
                }
            }
            if begun.elapsed() > HELD_MOST {
                return Some(self.spill.keep(&entries).await);
            }
            if stop.is_cancelled() {
                return None;
            }
            pause(stop).await;
        }
    }

    fn note(&self, fault: &Fault) {
        if !self.away.swap(true, Ordering::Relaxed) {
            tracing::warn!(error = fault.chain(), "the journal is away; its entries wait in the broker");
        }
    }
}

async fn pause(stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(PROBE) => {}
    }
}

#[async_trait]
impl Journal for SpillingJournal {
    async fn record(&self, entries: Arc<[Entry]>) -> Result<(), Fault> {
        if !self.away.load(Ordering::Relaxed) {
            match self.journal.record(Arc::clone(&entries)).await {
                Ok(()) => return Ok(()),
                Err(fault) if fault.kind == FaultKind::Unavailable => self.note(&fault),
                // What was done is done: its record must not be lost for a fault of ours.
                Err(fault) => tracing::error!(error = fault.chain(), "the journal refuses entries; they wait in the broker"),
            }
        }
        self.spill.keep(&entries).await
    }

    async fn recorded(&self, delivery: DeliveryKey, attempt: AttemptId) -> Result<Option<AttemptRecord>, Fault> {
        if self.away.load(Ordering::Relaxed) {
            return Err(Fault::new(FaultKind::Unavailable, "look for an attempt"));
        }
        self.journal.recorded(delivery, attempt).await
    }
}
