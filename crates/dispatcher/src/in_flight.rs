//! Attempts in flight in this process: a second copy of one waits for the first, and then finds its record.
//!
//! The record is the fence against repeating an attempt, but two copies of a delivery (from a fan-out that was repeated, or a
//! successor published twice) may be claimed before either is recorded.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use hookyard_core::AttemptId;
use tokio::sync::Notify;

/// Attempts being made.
#[derive(Default)]
pub struct InFlight {
    attempts: Mutex<HashSet<AttemptId>>,
    released: Notify,
}

/// The right to make an attempt; dropped, the next copy may look.
pub struct Held<'a> {
    in_flight: &'a InFlight,
    attempt: AttemptId,
}

impl InFlight {
    /// Waits until no copy of this attempt is being made. Whether one was: then its record must be looked for.
    pub async fn hold(&self, attempt: AttemptId) -> (Held<'_>, bool) {
        let mut waited = false;
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            // Registered before looking, so that a release between the two is not missed.
            released.as_mut().enable();
            if self.attempts.lock().unwrap_or_else(PoisonError::into_inner).insert(attempt) {
                return (Held { in_flight: self, attempt }, waited);
            }
            waited = true;
            released.await;
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.in_flight.attempts.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.attempt);
        self.in_flight.released.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_copy_waits_for_the_first_and_knows_it() {
        let in_flight = InFlight::default();
        let (one, other) = (AttemptId::from_bytes([1; 20]), AttemptId::from_bytes([2; 20]));
        let (first, waited) = in_flight.hold(one).await;
        assert!(!waited);
        assert!(!in_flight.hold(other).await.1, "another attempt does not wait");
        let release = async {
            tokio::task::yield_now().await;
            drop(first);
        };
        let (second, ()) = tokio::join!(in_flight.hold(one), release);
        assert!(second.1);
    }
}
