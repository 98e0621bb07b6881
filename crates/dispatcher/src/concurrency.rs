//! Requests in flight: a bounded number, in two pools, so that endpoints that hang hold none of those for endpoints that answer.

use std::time::Duration;

use hookyard_core::Lane;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The slow lane's part of the permits, as a divisor.
const SLOW_PART: usize = 4;
/// No single endpoint has more than this part of the fast permits, as a divisor: four such at once leave nothing to spare.
const ONE_PART: usize = 4;
/// The longest wait for a moment of its own in memory, rather than in another tier.
const WAIT_MOST: Duration = Duration::from_secs(1);
/// Part of all that may wait beside them for moments of their own, as a divisor.
const WAITING_PART: usize = 8;
/// When less than this part is free, as a divisor, nobody earns more of them.
const SCARCE_PART: usize = 5;

/// The permits.
pub struct Permits {
    fast: Semaphore,
    slow: Semaphore,
    /// Deliveries that may wait where they are for a moment of their own: each holds a place in the window of what is claimed.
    waiting: Semaphore,
    fast_total: usize,
    all: usize,
}

impl Permits {
    /// So many in all.
    pub fn new(all: usize) -> Self {
        let all = all.max(SLOW_PART);
        let slow = all / SLOW_PART;
        let fast_total = all - slow;
        let waiting = Semaphore::new((all / WAITING_PART).max(1));
        Self { fast: Semaphore::new(fast_total), slow: Semaphore::new(slow), waiting, fast_total, all }
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
        tokio::time::sleep(rest).await;
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
}
