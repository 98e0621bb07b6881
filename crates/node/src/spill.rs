//! The journal with its spill: entries go to the store, or to a durable queue while the store is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hookyard_core::journal::{AttemptFilter, AttemptRecord, AttemptsOf, Entry, MessageRecord, Page, PageRequest};
use hookyard_core::port::{Journal, Spill};
use hookyard_core::{AppId, AttemptId, DeliveryKey, Fault, FaultKind, MessageId};
use hookyard_redis::RedisJournal;
use tokio_util::sync::CancellationToken;

/// How often a journal that is away is asked whether it is back.
const PROBE: Duration = Duration::from_secs(1);

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
            let entries: Arc<[Entry]> = entries.into();
            // Held until it is written: a claim given back would only come again.
            while self.away.load(Ordering::Relaxed) || self.journal.record(Arc::clone(&entries)).await.is_err() {
                if stop.is_cancelled() {
                    return;
                }
                pause(&stop).await;
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
                Err(fault) if fault.kind == FaultKind::Unavailable => {
                    if !self.away.swap(true, Ordering::Relaxed) {
                        tracing::warn!(error = fault.chain(), "the journal is away; its entries wait in the broker");
                    }
                }
                Err(fault) => return Err(fault),
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

    async fn message(&self, app: AppId, message: MessageId) -> Result<Option<MessageRecord>, Fault> {
        self.journal.message(app, message).await
    }

    async fn messages(&self, app: AppId, page: PageRequest<MessageId>) -> Result<Page<MessageRecord>, Fault> {
        self.journal.messages(app, page).await
    }

    async fn attempts(
        &self,
        app: AppId,
        of: AttemptsOf,
        filter: &AttemptFilter,
        page: PageRequest<AttemptId>,
    ) -> Result<Page<AttemptRecord>, Fault> {
        self.journal.attempts(app, of, filter, page).await
    }
}
