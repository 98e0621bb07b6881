//! The routing snapshots: one index per application, brought up to date by each batch's read.

use hookyard_core::directory::Version;
use hookyard_core::port::{Freshness, Remembered};
use hookyard_core::{AppId, EndpointId, Event, Subscriptions};
use hookyard_telemetry::Metrics;
use hookyard_telemetry::label::Lookup;
use lru::LruCache;

/// Endpoints held over all applications: at some 500 bytes each, half a gigabyte at the very most.
const ENDPOINTS_MOST: usize = 1_000_000;

struct Snapshot {
    version: Version,
    disabled: bool,
    subscriptions: Subscriptions,
}

/// The snapshots, least recently used ones dropped first.
pub struct Snapshots {
    by_app: LruCache<AppId, Snapshot>,
    endpoints: usize,
    metrics: Metrics,
}

/// Whether an application can be routed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its snapshot is current.
    Current,
    /// There is no such application.
    Gone,
    /// What the directory says of it is not to be trusted: wait.
    Untrusted,
}

impl Snapshots {
    pub fn new(metrics: Metrics) -> Self {
        Self { by_app: LruCache::unbounded(), endpoints: 0, metrics }
    }

    /// What is remembered of an application, to be asked about.
    pub fn remembered(&self, app: AppId) -> Remembered {
        Remembered { app, version: self.by_app.peek(&app).map(|snapshot| snapshot.version.clone()) }
    }

    /// Brings an application's snapshot up to date.
    pub fn refresh(&mut self, app: AppId, freshness: Freshness) -> Standing {
        match freshness {
            Freshness::Current => {
                self.metrics.subscriptions_lookups_total.inc(Lookup::Hit);
                self.by_app.promote(&app);
            }
            Freshness::Changed { version, disabled, put, removed } => {
                self.metrics.subscriptions_lookups_total.inc(Lookup::Changed);
                if let Some(snapshot) = self.by_app.get_mut(&app) {
                    let before = snapshot.subscriptions.len();
                    for subscription in put {
                        snapshot.subscriptions.put(subscription);
                    }
                    for endpoint in removed {
                        snapshot.subscriptions.remove(endpoint);
                    }
                    (snapshot.version, snapshot.disabled) = (version, disabled);
                    self.endpoints = self.endpoints - before + snapshot.subscriptions.len();
                }
            }
            Freshness::Replaced { version, disabled, all } => {
                self.metrics.subscriptions_lookups_total.inc(Lookup::Loaded);
                let snapshot = Snapshot { version, disabled, subscriptions: Subscriptions::new(all) };
                self.endpoints += snapshot.subscriptions.len();
                if let Some(old) = self.by_app.put(app, snapshot) {
                    self.endpoints -= old.subscriptions.len();
                }
            }
            Freshness::Gone => {
                if let Some(old) = self.by_app.pop(&app) {
                    self.endpoints -= old.subscriptions.len();
                }
                return Standing::Gone;
            }
            Freshness::Untrusted => return Standing::Untrusted,
        }
        Standing::Current
    }

    /// The endpoints an event of `app` goes to, and the counter by which they were chosen. `None` if there is no snapshot of it: nobody
    /// knows then, which is not nobody.
    pub fn route(&self, app: AppId, event: &Event) -> Option<(Vec<EndpointId>, u64)> {
        let snapshot = self.by_app.peek(&app)?;
        let endpoints = if snapshot.disabled { Vec::new() } else { snapshot.subscriptions.route(event) };
        Some((endpoints, snapshot.version.counter))
    }

    /// Forgets what was not used for longest, down to the limit. Only after a batch was routed: until then it needs all of its own.
    pub fn shrink(&mut self) {
        while self.endpoints > ENDPOINTS_MOST && self.by_app.len() > 1 {
            if let Some((_, old)) = self.by_app.pop_lru() {
                self.endpoints -= old.subscriptions.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hookyard_core::Subscription;

    use super::*;

    fn version(counter: u64) -> Version {
        Version { counter, nonce: Arc::from("n") }
    }

    fn subscription(id: u8) -> Subscription {
        Subscription { endpoint: EndpointId::from_bytes([id; 20]), event_types: vec![], channels: vec![], active: true }
    }

    #[test]
    fn changes_are_applied_and_counted() {
        let mut snapshots = Snapshots::new(Metrics::unregistered());
        let app = AppId::from_bytes([1; 20]);
        let all = vec![subscription(1), subscription(2)];
        snapshots.refresh(app, Freshness::Replaced { version: version(1), disabled: false, all });
        let put = vec![subscription(3)];
        let removed = vec![EndpointId::from_bytes([1; 20])];
        let standing = snapshots.refresh(app, Freshness::Changed { version: version(2), disabled: false, put, removed });
        assert_eq!(standing, Standing::Current);
        assert_eq!(snapshots.remembered(app).version, Some(version(2)));
        assert_eq!(snapshots.endpoints, 2);
        assert_eq!(snapshots.refresh(app, Freshness::Gone), Standing::Gone);
        assert_eq!((snapshots.endpoints, snapshots.remembered(app).version), (0, None));
    }
}
