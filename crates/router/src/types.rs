//! What the catalog has against events, and what events tell the catalog.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hookyard_core::catalog::CatalogEntry;
use hookyard_core::port::{Catalog, Discovery};
use hookyard_core::rules::Rules;
use hookyard_core::{Event, EventType, Refusal, RefusalReason, Timestamp, limits};
use hookyard_telemetry::Metrics;
use hookyard_telemetry::label::{Source, Warned};
use lru::LruCache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Types remembered as known to the catalog: what it holds at most, and as many again.
const MET_MOST: NonZeroUsize = NonZeroUsize::new(2 * limits::DISCOVERED_MOST).expect("not zero");

/// Told at once: where types are data, a store that is slow must not gather thousands of them.
const TOLD_AT_ONCE: usize = 16;

/// The event types as a router sees them.
pub struct Types {
    rules: Rules,
    met: Met,
    telling: Arc<Semaphore>,
    metrics: Metrics,
}

/// Types that the catalog was told of.
type Met = Arc<Mutex<LruCache<EventType, ()>>>;

impl Types {
    pub fn new(metrics: Metrics) -> Self {
        Self {
            rules: Rules::default(),
            met: Arc::new(Mutex::new(LruCache::new(MET_MOST))),
            telling: Arc::new(Semaphore::new(TOLD_AT_ONCE)),
            metrics,
        }
    }

    /// Whether what is remembered of the catalog still counts.
    pub fn hold(&self, catalog: u64) -> bool {
        self.rules.hold(catalog)
    }

    /// The rules anew. What was met is to be met again: an administrator may have removed it.
    pub fn learn(&mut self, rules: Rules) {
        for (name, error) in rules.unusable() {
            tracing::warn!(event_type = %name, error, "a schema cannot be used; events of its type are not judged");
        }
        self.rules = rules;
        lock(&self.met).clear();
    }

    /// Why the catalog wants this event refused; what else it has against it is counted.
    pub fn refuse(&self, event: &Event) -> Option<Refusal> {
        // Judged by intake over HTTP, whose word was given.
        if event.message_id.is_some() {
            return None;
        }
        for objection in self.rules.objections(event) {
            match objection.refusal.reason {
                _ if objection.is_fatal => return Some(objection.refusal),
                RefusalReason::ArchivedType => self.metrics.events_warned_total.inc((Source::Amqp, Warned::ArchivedType)),
                _ => self.metrics.events_warned_total.inc((Source::Amqp, Warned::SchemaViolation)),
            }
        }
        None
    }

    /// What is to be told to the catalog of an event: its type, the first time.
    pub fn meet(&self, event: &Event, now: Timestamp) -> Option<News> {
        let mut met = lock(&self.met);
        if met.get(&event.event_type).is_some() {
            return None;
        }
        // As many are being told as may be: it is met again.
        let telling = Arc::clone(&self.telling).try_acquire_owned().ok()?;
        met.put(event.event_type.clone(), ());
        let (met, metrics) = (Arc::clone(&self.met), self.metrics.clone());
        Some(News { entry: CatalogEntry::seen(event, now), met, metrics, _telling: telling })
    }
}

fn lock(met: &Met) -> MutexGuard<'_, LruCache<EventType, ()>> {
    met.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A type the catalog may not know.
pub struct News {
    entry: CatalogEntry,
    met: Met,
    metrics: Metrics,
    _telling: OwnedSemaphorePermit,
}

impl News {
    /// Tells the catalog; what it cannot be told now it is told when the type is met again.
    pub async fn tell(self, catalog: Arc<dyn Catalog>) {
        match catalog.discover(&self.entry, limits::DISCOVERED_MOST).await {
            Ok(Discovery::Known) => {}
            Ok(Discovery::Added) => tracing::info!(event_type = %self.entry.name, "an event type was seen for the first time"),
            Ok(Discovery::Full) => self.metrics.event_types_undiscovered_total.inc(),
            Err(fault) => {
                tracing::debug!(error = fault.chain(), "the catalog was not told of an event type");
                lock(&self.met).pop(&self.entry.name);
            }
        }
    }
}
