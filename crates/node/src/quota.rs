//! How many requests per second each token may make of this process.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

/// Tokens remembered: one that was forgotten merely begins with its whole burst again.
const TOKENS_MOST: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");
/// What may come at once: the requests of one second.
const BURST: Duration = Duration::from_secs(1);

/// Counts by the generic cell rate algorithm (ITU-T I.371): one moment per token, no window whose edge lets twice the rate through.
pub struct Quota {
    interval: Duration,
    /// When each token's next request would arrive if it kept to its rate.
    arrivals: Mutex<LruCache<String, Instant>>,
}

impl Quota {
    /// So many requests per second.
    pub fn new(per_second: NonZeroU32) -> Self {
        Self { interval: Duration::from_secs(1) / per_second.get(), arrivals: Mutex::new(LruCache::new(TOKENS_MOST)) }
    }

    /// Whether a request of this token may pass at `now`.
    pub fn admits(&self, token: &str, now: Instant) -> bool {
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        let arrival = arrivals.get(token).map_or(now, |arrival| (*arrival).max(now));
        let next = arrival + self.interval;
        let admitted = next.saturating_duration_since(now) <= BURST;
        if admitted {
            arrivals.put(token.to_owned(), next);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_window_holds_more_than_a_burst_above_the_rate() {
        let (quota, begin) = (Quota::new(NonZeroU32::new(10).expect("not zero")), Instant::now());
        let at = |ms| begin + Duration::from_millis(ms);
        // Ten times as often as allowed, for ten seconds.
        let admitted = (0..1000).filter(|step| quota.admits("a", at(step * 10))).count();
        assert!((100..=110).contains(&admitted), "{admitted}");
        assert!(quota.admits("b", at(0)), "another token has its own");
        let after_a_pause = (0..20).filter(|_| quota.admits("a", at(60_000))).count();
        assert_eq!(after_a_pause, 10, "a pause earns one burst");
    }
}
