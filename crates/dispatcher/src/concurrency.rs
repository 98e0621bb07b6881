//! Requests in flight: a bounded number, in two pools, so that endpoints that hang hold none of those for endpoints that answer.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hookyard_core::{AppId, Clock, Lane};
use tokio::sync::{Semaphore, SemaphorePermit};

/// The slow lane's part of the permits, as a divisor.
const SLOW_PART: usize = 4;
/// No single endpoint has more than this part of the fast permits, as a divisor: four such at once leave nothing to spare.
const ONE_PART: usize = 4;
/// The longest wait for a moment of its own in memory, rather than in another tier.
const WAIT_MOST: Duration = Duration::from_secs(1);
/// Part of all that may wait beside them for moments of their own, as a divisor.
const WAITING_PART: usize = 8;
/// When less than this part is free, as a divisor, no endpoint earns more of them.
const SCARCE_PART: usize = 5;
/// The part of the fast permits, as a divisor, that one application, and one host, may have while others want them.
const TENANT_PART: usize = 4;
/// When less than this part is free, as a divisor, what is left is for applications and hosts that have less than their part.
const OTHERS_PART: usize = 10;

/// To whom the fast permits belong that are left, as far as one application and one host are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Any of its endpoints may have one.
    AnyEndpoints,
    /// It has its part: its quick endpoints may have one.
    QuickOnes,
    /// It has its part: none of its endpoints may have one.
    Others,
}

/// The permits.
pub struct Permits {
    fast: Semaphore,
    slow: Semaphore,
    /// Deliveries that may wait where they are for a moment of their own: each holds a place in the window of what is claimed.
    waiting: Semaphore,
    clock: Arc<dyn Clock>,
    /// Deliveries that have a fast permit, or a place and wait for one.
    counted: AtomicUsize,
    by_app: Counts<AppId>,
    by_host: Counts<u64>,
    fast_total: usize,
    all: usize,
}

impl Permits {
    /// So many in all.
    pub fn new(all: usize, clock: Arc<dyn Clock>) -> Self {
        let all = all.max(SLOW_PART);
        let slow = all / SLOW_PART;
        let fast_total = all - slow;
        let waiting = Semaphore::new((all / WAITING_PART).max(1));
        let (fast, slow) = (Semaphore::new(fast_total), Semaphore::new(slow));
        let (counted, by_app, by_host) = (AtomicUsize::new(0), Counts::default(), Counts::default());
        Self { fast, slow, waiting, clock, counted, by_app, by_host, fast_total, all }
    }

    /// Most requests of a lane.
    pub fn most(&self, lane: Lane) -> usize {
        match lane {
            Lane::Fast => self.fast_total,
            Lane::Slow => self.all - self.fast_total,
        }
    }

    /// Waits where one is, for so long; whether that was done, which it is not if too many do, or it is too long.
    pub async fn wait_here(&self, rest: Duration) -> bool {
        if rest.is_zero() {
            return true;
        }
        let Some(_place) = self.waiting.try_acquire().ok().filter(|_| rest <= WAIT_MOST) else { return false };
        self.clock.sleep(rest).await;
        true
    }

    /// Waits for one.
    pub async fn take(&self, lane: Lane) -> Option<SemaphorePermit<'_>> {
        let pool = match lane {
            Lane::Fast => &self.fast,
            Lane::Slow => &self.slow,
        };
        // Neither is ever closed.
        pool.acquire().await.ok()
    }

    /// Most that one endpoint may come to have.
    pub fn most_of_one(&self) -> usize {
        self.fast_total / ONE_PART
    }

    /// Most that may wait for one endpoint: a quarter of what is claimed at once, which is a quarter more than all permits.
    pub fn waiting_for_one(&self) -> usize {
        (self.all * 5 / 4 / 4).max(1)
    }

    /// Whether the fast ones are nearly all taken.
    pub fn are_scarce(&self) -> bool {
        self.fast.available_permits() < self.fast_total / SCARCE_PART
    }

    /// To whom those belong that are left, if an application's endpoint at a host wants a fast one.
    pub fn left(&self, app: AppId, host: u64) -> Left {
        let part = (self.fast_total / TENANT_PART).max(1);
        let left = self.fast_total.saturating_sub(self.counted.load(Ordering::Relaxed));
        if left > self.fast_total / SCARCE_PART || (self.by_app.of(&app) < part && self.by_host.of(&host) < part) {
            return Left::AnyEndpoints;
        }
        if left > self.fast_total / OTHERS_PART { Left::QuickOnes } else { Left::Others }
    }

    /// Counts one more of theirs, until this is dropped.
    pub fn count(&self, app: AppId, host: u64) -> Counted<'_> {
        self.counted.fetch_add(1, Ordering::Relaxed);
        self.by_app.change(app, |count| count + 1);
        self.by_host.change(host, |count| count + 1);
        Counted { permits: self, app, host }
    }
}

/// One of an application's, and a host's, that has a fast permit or waits for one.
pub struct Counted<'a> {
    permits: &'a Permits,
    app: AppId,
    host: u64,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.permits.counted.fetch_sub(1, Ordering::Relaxed);
        self.permits.by_app.change(self.app, |count| count - 1);
        self.permits.by_host.change(self.host, |count| count - 1);
    }
}

/// How many are whose; of whom there are none, nothing is kept.
struct Counts<K>(Mutex<HashMap<K, usize>>);

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq> Counts<K> {
    fn of(&self, key: &K) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied().unwrap_or_default()
    }

    fn change(&self, key: K, change: impl FnOnce(usize) -> usize) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = change(counts.get(&key).copied().unwrap_or_default());
        if count == 0 {
            counts.remove(&key)
        } else {
            counts.insert(key, count)
        };
    }
}

#[cfg(test)]
mod tests {
    use hookyard_testkit::StepClock;

    use super::*;

    #[tokio::test]
    async fn the_last_fast_permits_are_not_for_an_application_or_a_host_that_has_its_part() {
        let permits = Permits::new(64, Arc::new(StepClock::default()));
        let app = |number| AppId::from_bytes([number; 20]);
        let mut taken = Vec::new();
        for host in 0..12 {
            taken.push((permits.count(app(1), host), permits.take(Lane::Fast).await));
        }
        assert_eq!(permits.left(app(1), 100), Left::AnyEndpoints, "there are enough for all");
        for (count, left) in [(28, Left::QuickOnes), (4, Left::Others)] {
            for _ in 0..count {
                taken.push((permits.count(app(2), 100), permits.take(Lane::Fast).await));
            }
            assert_eq!([permits.left(app(1), 200), permits.left(app(3), 100)], [left; 2]);
            assert_eq!(permits.left(app(3), 200), Left::AnyEndpoints);
        }
        taken.clear();
        assert_eq!(permits.left(app(1), 200), Left::AnyEndpoints);
    }
}
