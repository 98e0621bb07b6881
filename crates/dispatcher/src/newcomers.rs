//! Places in the fast lane for endpoints that nobody here has seen answer: not many for an application, or for a host. A thousand that hang
//! at once would have all there are, and what is for others would wait for their timeouts.

use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use hookyard_core::{AppId, Clock, within};
use lru::LruCache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::endpoint_state::WAIT_MOST;

/// Applications and hosts that are remembered: more than have newcomers at the same time.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");
/// The part of the fast lane's permits that newcomers of one application, or host, may have, as a divisor.
const PART: usize = 4;
/// Deliveries that wait for a place at the same time: each holds one in the window of what is claimed.
const WAITING: usize = 16;

/// The places.
pub struct Newcomers {
    most: usize,
    by_app: Places<AppId>,
    by_host: Places<u64>,
    clock: Arc<dyn Clock>,
    waiting: Semaphore,
}

/// A newcomer's place with its application, and with its host; free again when it is dropped.
pub struct Place {
    _places: [OwnedSemaphorePermit; 2],
}

struct Places<K: Hash + Eq>(Mutex<LruCache<K, Arc<Semaphore>>>);

impl Newcomers {
    /// Of so many permits; at least as many as one endpoint may have.
    pub fn new(permits: usize, least: usize, clock: Arc<dyn Clock>) -> Self {
        let places = (permits / PART).max(least).max(1);
        let (by_app, by_host) = (Places::new(), Places::new());
        Self { most: places, by_app, by_host, clock, waiting: Semaphore::new(WAITING) }
    }

    /// A place, if one is free soon: who is quick makes room for the next within moments.
    pub async fn enter(&self, app: AppId, host: u64) -> Option<Place> {
        let both = [self.by_app.of(app, self.most), self.by_host.of(host, self.most)];
        if let [Ok(app), Ok(host)] = both.clone().map(Semaphore::try_acquire_owned) {
            return Some(Place { _places: [app, host] });
        }
        let _waiting = self.waiting.try_acquire().ok()?;
        let [app, host] = both.map(Semaphore::acquire_owned);
        // One after the other, and in this order by all: nobody holds what another waits for in turn.
        let places = async { Some([app.await.ok()?, host.await.ok()?]) };
        let places = within(&*self.clock, WAIT_MOST, places).await.flatten()?;
        Some(Place { _places: places })
    }
}

impl<K: Hash + Eq> Places<K> {
    fn new() -> Self {
        Self(Mutex::new(LruCache::new(REMEMBERED)))
    }

    fn of(&self, key: K, most: usize) -> Arc<Semaphore> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(places.get_or_insert(key, || Arc::new(Semaphore::new(most))))
    }
}

#[cfg(test)]
mod tests {
    use hookyard_testkit::PausedClock;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_application_and_a_host_have_some_each_and_who_leaves_makes_room() {
        let newcomers = Newcomers::new(32, 4, Arc::new(PausedClock::default()));
        let app = |number| AppId::from_bytes([number; 20]);
        let mut inside = Vec::new();
        for host in 0..8 {
            inside.push(newcomers.enter(app(1), host).await.expect("there are eight"));
        }
        assert!(newcomers.enter(app(1), 100).await.is_none(), "the application has its own");
        assert!(newcomers.enter(app(2), 100).await.is_some(), "another one has, too");
        let (waiting, ()) = tokio::join!(newcomers.enter(app(1), 100), async { drop(inside.pop()) });
        assert!(waiting.is_some());
        for number in 3..10 {
            inside.push(newcomers.enter(app(number), 0).await.expect("of one host there may be eight"));
        }
        assert!(newcomers.enter(app(20), 0).await.is_none(), "whosever they are");
        let begun = tokio::time::Instant::now();
        let all = futures_util::future::join_all((0..1_000).map(|_| newcomers.enter(app(20), 0))).await;
        assert!(all.iter().all(Option::is_none) && begun.elapsed() < WAIT_MOST * 2, "{:?}", begun.elapsed());
    }
}
