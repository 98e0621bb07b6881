//! What happened, counted minute by minute: for charts, not for decisions.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::attempt::AttemptClass;
use crate::clock::Timestamp;
use crate::journal::AttemptRecord;

/// Upper bounds of how long attempts took, in ms: from a neighbour's to the longest allowed. What took longer is beyond the last.
pub const LATENCY_BOUNDS_MS: [u64; 13] = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 15_000, 30_000];
/// Places of a latency: one per bound, and the one beyond.
pub const LATENCIES: usize = LATENCY_BOUNDS_MS.len() + 1;

/// Something that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counted {
    /// An event was routed.
    Event,
    /// A delivery became a dead letter.
    DeadLetter,
    /// An attempt was made: its class, and the place of its duration among the bounds.
    Attempt(AttemptClass, usize),
}

/// How often something happened in a minute, counted from 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Which minute.
    pub minute: i64,
    /// What.
    pub counted: Counted,
    /// How often.
    pub times: u64,
}

/// The minute of a moment, counted from 1970.
pub fn minute_of(moment: Timestamp) -> i64 {
    moment.as_millis().div_euclid(60_000)
}

/// What two kinds of stores write for attempts: room for every latency, and then some.
const ATTEMPT_STEP: usize = 16;

impl Counted {
    /// Of an attempt.
    pub fn of(record: &AttemptRecord) -> Self {
        Self::Attempt(record.result.class, latency_of(record.result.duration))
    }

    /// A small number that stands for it in a store.
    pub fn code(self) -> usize {
        match self {
            Self::Event => 0,
            Self::DeadLetter => 1,
            Self::Attempt(class, latency) => {
                let class = AttemptClass::ALL.iter().position(|other| *other == class).unwrap_or(0);
                (class + 1) * ATTEMPT_STEP + latency
            }
        }
    }

    /// What a number stands for.
    pub fn from_code(code: usize) -> Option<Self> {
        match code {
            0 => Some(Self::Event),
            1 => Some(Self::DeadLetter),
            _ => {
                let (class, latency) = ((code / ATTEMPT_STEP).checked_sub(1)?, code % ATTEMPT_STEP);
                Some(Self::Attempt(*AttemptClass::ALL.get(class)?, latency)).filter(|_| latency < LATENCIES)
            }
        }
    }
}

fn latency_of(took: Duration) -> usize {
    let ms = took.as_millis();
    LATENCY_BOUNDS_MS.iter().position(|bound| ms <= u128::from(*bound)).unwrap_or(LATENCIES - 1)
}

/// Counts of some while, together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events routed.
    pub events: u64,
    /// Deliveries that became dead letters.
    pub dead_letters: u64,
    /// Attempts by class.
    pub attempts: BTreeMap<AttemptClass, u64>,
    /// Attempts by the place of their duration.
    pub latencies: [u64; LATENCIES],
}

impl Tally {
    /// Adds something that happened so often.
    pub fn add(&mut self, counted: Counted, times: u64) {
        match counted {
            Counted::Event => self.events += times,
            Counted::DeadLetter => self.dead_letters += times,
            Counted::Attempt(class, latency) => {
                *self.attempts.entry(class).or_default() += times;
                if let Some(place) = self.latencies.get_mut(latency) {
                    *place += times;
                }
            }
        }
    }

    /// How long the fastest `percent` of attempts took at most, in ms, read off between the bounds; `None` without attempts.
    pub fn percentile(&self, percent: u64) -> Option<u64> {
        let all: u64 = self.latencies.iter().sum();
        let wanted = (all * percent).div_ceil(100).max(1);
        let (mut below, mut from) = (0, 0);
        for (place, count) in self.latencies.iter().enumerate() {
            // Beyond the last bound nothing is known but that.
            let to = LATENCY_BOUNDS_MS.get(place).copied().unwrap_or(from);
            if *count > 0 && below + count >= wanted {
                return Some(from + (to - from) * (wanted - below) / count);
            }
            (below, from) = (below + count, to);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_code_stands_for_one_thing() {
        let attempts = AttemptClass::ALL.iter().flat_map(|class| (0..LATENCIES).map(|latency| Counted::Attempt(*class, latency)));
        let all: Vec<Counted> = [Counted::Event, Counted::DeadLetter].into_iter().chain(attempts).collect();
        let mut codes: Vec<usize> = all.iter().map(|counted| counted.code()).collect();
        assert!(all.iter().all(|counted| Counted::from_code(counted.code()) == Some(*counted)));
        codes.dedup();
        assert_eq!(codes.len(), all.len());
        assert_eq!((Counted::from_code(2), Counted::from_code(100_000)), (None, None));
    }

    proptest! {
        #[test]
        fn a_percentile_lies_between_the_bounds_of_what_it_counts(took in prop::collection::vec(0_u64..40_000, 1..200), percent in 1_u64..=100) {
            let mut tally = Tally::default();
            for ms in &took {
                tally.add(Counted::Attempt(AttemptClass::Success, latency_of(Duration::from_millis(*ms))), 1);
            }
            let mut sorted = took.clone();
            sorted.sort_unstable();
            let exact = sorted[usize::try_from((took.len() as u64 * percent).div_ceil(100)).expect("small") - 1];
            let place = latency_of(Duration::from_millis(exact));
            let low = place.checked_sub(1).map_or(0, |below| LATENCY_BOUNDS_MS[below]);
            let high = LATENCY_BOUNDS_MS.get(place).copied().unwrap_or(low);
            let read = tally.percentile(percent).expect("attempts");
            prop_assert!((low..=high).contains(&read), "{} in {}..={}", read, low, high);
        }
    }

    #[test]
    fn without_attempts_there_is_no_percentile() {
        assert_eq!(Tally::default().percentile(50), None);
    }
}
