//! The dispatcher's view of endpoints: cached for seconds while the directory answers, for minutes while it does not.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hookyard_core::port::{Directory, Looked};
use hookyard_core::{AppId, Clock, Delivery, Endpoint, EndpointId, Fault, FaultKind, Timestamp, Trigger};
use lru::LruCache;
use url::Url;

/// How long a look-up is good: an edit, pause, rotation or deletion is honoured within 5 s, this and one round trip.
const FRESH: Duration = Duration::from_secs(3);
/// A directory that did not answer is not asked again for this long.
const SILENCE: Duration = Duration::from_secs(1);
/// Endpoints kept: at a few kilobytes each, some hundred megabytes at the very most.
const CACHED: NonZeroUsize = NonZeroUsize::new(50_000).expect("not zero");

/// What is known of an endpoint.
#[derive(Clone, Debug)]
pub enum Seen {
    /// It exists.
    Known {
        /// As it was within the last seconds, or before the directory went away.
        endpoint: Arc<Endpoint>,
        /// Whether it, and its application, want deliveries.
        active: bool,
        /// Most deliveries per second to all endpoints of its application.
        app_rate: Option<u16>,
        /// A number for the host of its URL.
        host: u64,
    },
    /// It was deleted.
    Deleted,
    /// It is not in the directory, and was not when this process first looked, then by the monotonic clock.
    Missing(Duration),
    /// Nobody can say now.
    Unknown,
}

type Key = (AppId, EndpointId);

#[derive(Clone)]
struct Cached {
    seen: Seen,
    /// When it was asked for, by the monotonic clock.
    at: Duration,
    /// The newest counter that was known of before it was read.
    as_of: u64,
}

impl Cached {
    /// Whether it may be used for this delivery: what was answered before its event was accepted, or somebody asked for it, counts.
    fn is_good_for(&self, delivery: &Delivery, now: Timestamp, passed: Duration) -> bool {
        let was_asked_for = delivery.trigger != Trigger::Routed && delivery.attempt == 1;
        self.as_of >= delivery.as_of && (!was_asked_for || passed.saturating_sub(self.at) < now.since(delivery.due))
    }
}

/// The view.
pub struct View {
    directory: Arc<dyn Directory>,
    clock: Arc<dyn Clock>,
    cache: Mutex<LruCache<Key, Cached>>,
    silent_until: Mutex<Duration>,
    /// How long the last known copy serves while the directory is away.
    lasting: Duration,
}

impl View {
    pub fn new(directory: Arc<dyn Directory>, clock: Arc<dyn Clock>, lasting: Duration) -> Self {
        let (cache, silent_until) = (Mutex::new(LruCache::new(CACHED)), Mutex::default());
        Self { directory, clock, cache, silent_until, lasting }
    }

    /// The endpoints of deliveries as they are now, each once, in one round trip for those not fresh. Faults only when the store is the
    /// wrong one.
    pub async fn get<'a>(&self, deliveries: impl Iterator<Item = &'a Delivery>) -> Result<HashMap<Key, Seen>, Fault> {
        self.directory.standing()?;
        let (now, passed) = (self.clock.now(), self.clock.monotonic());
        let age = |cached: &Cached| passed.saturating_sub(cached.at);
        let (mut seen, mut stale) = (HashMap::new(), HashMap::new());
        {
            let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            for delivery in deliveries {
                let key = (delivery.message.app, delivery.endpoint);
                let cached = cache.get(&key);
                let is_fresh = |cached: &Cached| age(cached) < FRESH && cached.is_good_for(delivery, now, passed);
                if !cached.is_some_and(is_fresh) {
                    let as_of = stale.entry(key).or_insert(cached.map_or(0, |cached| cached.as_of));
                    *as_of = delivery.as_of.max(*as_of);
                }
                let lasting = cached.filter(|cached| age(cached) < self.lasting);
                seen.entry(key).or_insert_with(|| lasting.map_or(Seen::Unknown, |cached| cached.seen.clone()));
            }
        }
        if stale.is_empty() || passed < *self.silent_until.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(seen);
        }
        let (keys, counters): (Vec<Key>, Vec<u64>) = stale.into_iter().unzip();
        match self.directory.look_up(&keys).await {
            Ok(found) => self.remember(&mut seen, keys.into_iter().zip(counters).zip(found), passed),
            Err(fault) if fault.kind == FaultKind::WrongDataset => return Err(fault),
            Err(fault) => {
                tracing::warn!(error = fault.chain(), "the directory is away; the last known endpoints serve");
                *self.silent_until.lock().unwrap_or_else(PoisonError::into_inner) = self.clock.monotonic() + SILENCE;
            }
        }
        Ok(seen)
    }

    fn remember(&self, seen: &mut HashMap<Key, Seen>, found: impl Iterator<Item = ((Key, u64), Looked)>, at: Duration) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        for ((key, as_of), looked) in found {
            let fresh = match looked {
                Looked::Found { endpoint, app_disabled, app_rate } => {
                    let active = !endpoint.disabled && !app_disabled;
                    let host = host_of(&endpoint.url);
                    Seen::Known { endpoint, active, app_rate, host }
                }
                Looked::Deleted => Seen::Deleted,
                Looked::Absent => {
                    let known = cache.peek(&key).map(|cached| cached.seen.clone());
                    known.filter(|seen| matches!(seen, Seen::Missing(_))).unwrap_or_else(|| {
                        tracing::error!(endpoint = %key.1, "an endpoint is neither there nor deleted; its deliveries wait");
                        Seen::Missing(at)
                    })
                }
            };
            cache.put(key, Cached { seen: fresh.clone(), at, as_of });
            seen.insert(key, fresh);
        }
    }
}

/// Equal for endpoints of one host.
fn host_of(url: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use hookyard_testkit::builders::{Builders, StepClock};
    use hookyard_testkit::memory::MemoryDirectory;

    use super::*;

    #[tokio::test]
    async fn what_is_missing_is_known_since_it_was_first_looked_for() {
        let clock = StepClock::at(Timestamp::from_millis(1_700_000_000_000));
        let builders = Builders::new(Arc::new(clock.clone()), 1);
        let delivery = builders.delivery(builders.app().id);
        let view = View::new(Arc::new(MemoryDirectory::default()), Arc::new(clock.clone()), Duration::from_secs(60));
        let since = clock.monotonic();
        for _ in 0..5 {
            let seen = view.get(std::iter::once(&delivery)).await.expect("answered");
            let seen = seen.into_values().next();
            assert!(matches!(seen, Some(Seen::Missing(first)) if first == since), "{seen:?}");
            clock.step(Duration::from_secs(600));
        }
    }
}
