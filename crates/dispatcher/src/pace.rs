//! How fast an endpoint takes what it gets, measured while it has as much as it may.
//!
//! Little's law tells the same of an endpoint whose requests all take about as long; where bursts go to it, what is in flight and how long
//! that takes are not of one moment, and what waits would get slots much farther apart than it could leave.

use std::time::Duration;

/// Part of the latest gap in the average: that of some thirty answers counts.
const LATEST: f64 = 1.0 / 32.0;

/// The pace of one endpoint. Moments are the monotonic clock's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// Time between two answers, on average.
    between: Option<Duration>,
    /// The last answer, or when the endpoint came to have as much as it may.
    last: Duration,
    /// Since then the endpoint has as much as it may.
    is_full: bool,
}

impl Pace {
    /// A delivery found no room. The time before that is idle, and says nothing.
    pub fn fills(&mut self, now: Duration) {
        if !self.is_full {
            (self.last, self.is_full) = (now, true);
        }
    }

    /// An answer came; `goes_on` if deliveries wait for the room it leaves.
    pub fn answered(&mut self, now: Duration, goes_on: bool) {
        if self.is_full {
            let gap = now.saturating_sub(self.last);
            self.between = Some(self.between.map_or(gap, |known| known.mul_f64(1.0 - LATEST) + gap.mul_f64(LATEST)));
        }
        (self.last, self.is_full) = (now, goes_on);
    }

    /// Time between two answers, if it was ever seen with as much as it may have.
    pub fn between(&self) -> Option<Duration> {
        self.between
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pace after answers so many milliseconds apart, in turn.
    fn after(gaps: &[u64], goes_on: bool) -> Option<Duration> {
        let (mut pace, mut now) = (Pace::default(), Duration::from_secs(1));
        pace.answered(now, goes_on);
        for gap in gaps {
            now += Duration::from_millis(*gap);
            pace.answered(now, goes_on);
        }
        pace.between()
    }

    #[test]
    fn bursts_are_averaged() {
        let bursts: Vec<u64> = (0..2_000).map(|number| if number % 10 == 0 { 20 } else { 0 }).collect();
        let between = after(&bursts, true).expect("measured");
        assert!(between > Duration::from_micros(1_500) && between < Duration::from_micros(2_500), "{between:?}");
    }

    #[test]
    fn idle_time_is_no_part_of_it() {
        let (mut pace, hour) = (Pace::default(), Duration::from_secs(3600));
        pace.answered(hour, false);
        pace.fills(hour * 2);
        pace.fills(hour * 2 + Duration::from_millis(1));
        pace.answered(hour * 2 + Duration::from_millis(5), true);
        assert_eq!(pace.between(), Some(Duration::from_millis(5)));
    }

    #[test]
    fn an_endpoint_with_nothing_to_do_shows_no_pace() {
        assert_eq!(after(&[1_000; 20], false), None);
    }
}
