//! What arrived in one round, and when.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The arrivals of one round: one place per event and endpoint.
pub struct Board {
    round: u32,
    endpoints: usize,
    begun: Instant,
    /// Nanoseconds from the board's beginning to the first arrival; zero before it.
    arrivals: Vec<AtomicU64>,
    distinct: AtomicUsize,
    repeated: AtomicUsize,
}

impl Board {
    /// A board on which nothing has arrived.
    pub fn new(round: u32, events: usize, endpoints: usize) -> Self {
        let arrivals = (0..events * endpoints).map(|_| AtomicU64::new(0)).collect();
        let (distinct, repeated) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { round, endpoints, begun: Instant::now(), arrivals, distinct, repeated }
    }

    /// The round this board is for.
    pub fn round(&self) -> u32 {
        self.round
    }

    /// Notes an arrival; `false` if this board has no place for it.
    pub fn note(&self, round: u32, number: usize, endpoint: usize) -> bool {
        if round != self.round || endpoint >= self.endpoints {
            return false;
        }
        let Some(place) = self.arrivals.get(number * self.endpoints + endpoint) else { return false };
        let nanos = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1);
        match place.compare_exchange(0, nanos, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => self.distinct.fetch_add(1, Ordering::Relaxed),
            Err(_) => self.repeated.fetch_add(1, Ordering::Relaxed),
        };
        true
    }

    /// Deliveries that arrived at least once.
    pub fn distinct(&self) -> usize {
        self.distinct.load(Ordering::Relaxed)
    }

    /// Deliveries this board waits for in all.
    pub fn expected(&self) -> usize {
        self.arrivals.len()
    }

    /// Arrivals of what had arrived before.
    pub fn repeated(&self) -> usize {
        self.repeated.load(Ordering::Relaxed)
    }

    /// From the first arrival to the last.
    pub fn span(&self) -> Duration {
        let times = || self.arrivals.iter().map(|at| at.load(Ordering::Relaxed)).filter(|at| *at > 0);
        let (first, last) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
        Duration::from_nanos(last - first)
    }

    /// When the first of an event's deliveries arrived.
    pub fn arrival(&self, number: usize) -> Option<Instant> {
        let places = self.arrivals.get(number * self.endpoints..(number + 1) * self.endpoints)?;
        let first = places.iter().map(|at| at.load(Ordering::Relaxed)).filter(|at| *at > 0).min()?;
        Some(self.begun + Duration::from_nanos(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_delivery_counts_once_and_other_rounds_not_at_all() {
        let board = Board::new(3, 2, 2);
        assert!(board.note(3, 0, 0) && board.note(3, 0, 0) && board.note(3, 1, 1));
        assert!(!board.note(2, 0, 1) && !board.note(3, 0, 2) && !board.note(3, 2, 0));
        assert_eq!((board.distinct(), board.repeated(), board.expected()), (2, 1, 4));
        assert!(board.arrival(0).is_some() && board.arrival(1).is_some() && board.arrival(2).is_none());
    }
}
