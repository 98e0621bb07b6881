//! What the catalog has against events, and what events tell the catalog.

use std::num::NonZeroUsize;
use std::sync::Arc;

use hookyard_core::catalog::CatalogEntry;
use hookyard_core::port::{Catalog, Discovery};
use hookyard_core::rules::Rules;
use hookyard_core::{Event, EventType, Fault, Refusal, RefusalReason, Timestamp, limits};
use hookyard_telemetry::Metrics;
use hookyard_telemetry::label::{Source, Warned};
use lru::LruCache;

/// Types remembered as known to the catalog: what it holds at most, and as many again.
const MET_MOST: NonZeroUsize = NonZeroUsize::new(2 * limits::DISCOVERED_MOST).expect("not zero");

/// The event types as a router sees them.
pub struct Types {
    rules: Rules,
    met: LruCache<EventType, ()>,
    metrics: Metrics,
}

impl Types {
    pub fn new(metrics: Metrics) -> Self {
        Self { rules: Rules::default(), met: LruCache::new(MET_MOST), metrics }
    }

    /// Whether what is remembered of the catalog still counts.
    pub fn hold(&self, catalog: u64) -> bool {
        self.rules.hold(catalog)
    }

    /// The rules anew. What was met is to be met again: an administrator may have removed it.
    pub fn learn(&mut self, rules: Rules) {
        self.rules = rules;
        self.met.clear();
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
    pub fn meet(&mut self, event: &Event, now: Timestamp) -> Option<CatalogEntry> {
        let is_new = self.met.put(event.event_type.clone(), ()).is_none();
        is_new.then(|| CatalogEntry::seen(event, now))
    }
}

/// Tells the catalog of a type it may not know. What cannot be told now is told by the next router that meets it.
pub async fn discover(catalog: Arc<dyn Catalog>, entry: CatalogEntry, metrics: Metrics) -> Result<(), Fault> {
    match catalog.discover(&entry, limits::DISCOVERED_MOST).await? {
        Discovery::Known => {}
        Discovery::Added => tracing::info!(event_type = %entry.name, "an event type was seen for the first time"),
        Discovery::Full => metrics.event_types_undiscovered_total.inc(),
    }
    Ok(())
}
