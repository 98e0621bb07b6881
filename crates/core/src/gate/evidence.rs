//! What the last attempts say of an endpoint's silence: of those within ten seconds, and of the last twenty.

use std::fmt;
use std::str::FromStr;

use super::text::BadGate;
use crate::clock::Timestamp;

/// Attempts that must have ended before anything is judged.
pub const LEAST: usize = 20;
/// The share of silence, in hundredths, from which an endpoint is left alone.
pub const SILENT_PERCENT: u32 = 95;
/// What ended longer ago does not count, where as many as [`LEAST`] ended within it.
const WINDOW_SECONDS: u32 = 10;
/// What ended longer ago never counts: nobody is protected from so few.
const OLDEST_SECONDS: u32 = 3600;

const SECONDS: usize = WINDOW_SECONDS as usize;

/// Attempts that ended, and of those the ones without any answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    ended: u32,
    silent: u32,
}

/// The evidence, by whole seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Evidence {
    /// When attempts began to be counted without a pause of a window's length.
    begun: u32,
    /// The last second in which one ended.
    newest: u32,
    /// By second, of a second `s` at `s` modulo their number.
    window: [Count; SECONDS],
    /// The last ones, oldest first, and how many there are: when each ended, and whether in silence.
    last: [(u32, bool); LEAST],
    known: usize,
}

fn second(at: Timestamp) -> u32 {
    u32::try_from(at.as_millis().div_euclid(1000)).unwrap_or_default()
}

impl Evidence {
    /// One more attempt ended.
    pub(super) fn add(&mut self, is_silent: bool, now: Timestamp) {
        let now = second(now);
        self.turn_to(now);
        let count = &mut self.window[now as usize % SECONDS];
        count.ended = count.ended.saturating_add(1);
        count.silent = count.silent.saturating_add(u32::from(is_silent));
        if self.known == LEAST {
            self.last.rotate_left(1);
            self.known -= 1;
        }
        self.last[self.known] = (now, is_silent);
        self.known += 1;
    }

    /// Forgets what is older than the window; a clock that was set back begins anew.
    fn turn_to(&mut self, now: u32) {
        let passed = now.checked_sub(self.newest);
        if passed.is_none_or(|passed| passed >= WINDOW_SECONDS) {
            let last_hour = passed.filter(|passed| *passed < OLDEST_SECONDS).map(|_| (self.last, self.known));
            let (last, known) = last_hour.unwrap_or_default();
            *self = Self { begun: now, last, known, ..Self::default() };
        } else {
            for stale in self.newest + 1..=now {
                self.window[stale as usize % SECONDS] = Count::default();
            }
        }
        self.newest = now;
    }

    /// Attempts, and silent ones, that are judged: those of a full window if they are enough, else the last ones if those are.
    fn judged(&self) -> Option<Count> {
        let sum = |sum: Count, count: &Count| Count { ended: sum.ended + count.ended, silent: sum.silent + count.silent };
        let window = self.window.iter().fold(Count::default(), sum);
        if window.ended as usize >= LEAST {
            // The first seconds of many attempts at once say little: by chance alone some are silent in a row.
            return (self.newest - self.begun + 1 >= WINDOW_SECONDS).then_some(window);
        }
        let is_recent = self.last[0].0 + OLDEST_SECONDS > self.newest;
        (self.known == LEAST && is_recent).then(|| self.of_the_last())
    }

    fn of_the_last(&self) -> Count {
        let last = &self.last[..self.known];
        let silent = last.iter().filter(|(_, is_silent)| *is_silent).count();
        Count { ended: len(last.len()), silent: len(silent) }
    }

    /// Whether the endpoint is silent.
    pub(super) fn is_of_silence(&self) -> bool {
        self.judged().is_some_and(|Count { ended, silent }| silent * 100 >= ended * SILENT_PERCENT)
    }

    /// Whether an answer could matter: half of the last ones were silent. Who answers mostly need not be counted.
    pub(super) fn leans_to_silence(&self) -> bool {
        let Count { ended, silent } = self.of_the_last();
        silent * 2 >= ended && ended > 0
    }

    pub(super) fn has_silence(&self) -> bool {
        self.window.iter().any(|count| count.silent > 0) || self.of_the_last().silent > 0
    }

    /// Whether it says nothing any more.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        let passed = second(now).saturating_sub(self.newest);
        passed >= OLDEST_SECONDS || (passed >= WINDOW_SECONDS && !self.leans_to_silence())
    }
}

fn len(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl fmt::Display for Evidence {
    /// `begun,newest,second=ended/silent …,last: second…` with `!` behind the silent ones; seconds before the newest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},", self.newest, self.newest - self.begun)?;
        for ago in 0..WINDOW_SECONDS {
            let Count { ended, silent } = self.window[(self.newest.wrapping_sub(ago)) as usize % SECONDS];
            if ended > 0 {
                write!(f, "{ago}={ended}/{silent} ")?;
            }
        }
        f.write_str(",")?;
        for (at, is_silent) in &self.last[..self.known] {
            write!(f, "{}{} ", self.newest - at, if *is_silent { "!" } else { "" })?;
        }
        Ok(())
    }
}

impl FromStr for Evidence {
    type Err = BadGate;

    fn from_str(text: &str) -> Result<Self, BadGate> {
        let number = |text: &str| text.parse::<u32>().map_err(|_| BadGate);
        let [newest, begun, window, last] = text.split(',').collect::<Vec<_>>()[..] else { return Err(BadGate) };
        let newest = number(newest)?;
        let before = |ago: u32| newest.checked_sub(ago).ok_or(BadGate);
        let mut evidence = Self { begun: before(number(begun)?)?, newest, ..Self::default() };
        for count in window.split_whitespace() {
            let (ago, counts) = count.split_once('=').ok_or(BadGate)?;
            let (ended, silent) = counts.split_once('/').ok_or(BadGate)?;
            let ago = number(ago).ok().filter(|ago| *ago < WINDOW_SECONDS).ok_or(BadGate)?;
            evidence.window[before(ago)? as usize % SECONDS] = Count { ended: number(ended)?, silent: number(silent)? };
        }
        for ended in last.split_whitespace() {
            let (ago, is_silent) = ended.strip_suffix('!').map_or((ended, false), |ago| (ago, true));
            let place = evidence.last.get_mut(evidence.known).ok_or(BadGate)?;
            *place = (before(number(ago)?)?, is_silent);
            evidence.known += 1;
        }
        Ok(evidence)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    /// When, after so many attempts a second of which every so-manyth is answered, an endpoint counts as silent.
    fn silent_after(per_second: u32, answered_every: u32, seconds: u32) -> Option<u32> {
        let mut evidence = Evidence::default();
        (0..seconds * per_second).find(|number| {
            let now = START.plus(Duration::from_secs(1) / per_second * *number);
            evidence.add(number % answered_every != answered_every - 1, now);
            evidence.is_of_silence()
        })
    }

    #[test]
    fn nineteen_of_twenty_without_an_answer_are_silence_once_ten_seconds_or_twenty_are_seen() {
        let never = u32::MAX;
        assert_eq!(silent_after(1, never, 60), Some(19), "the last twenty, where ten seconds hold fewer");
        assert_eq!(silent_after(100, never, 60), Some(900), "the tenth second has begun");
        assert_eq!(silent_after(100, 20, 60), Some(900), "nineteen of twenty");
        assert_eq!(silent_after(100, 19, 60), None, "eighteen of nineteen");
        for per_second in [1, 3, 10, 100, 1000] {
            assert_eq!(silent_after(per_second, 10, 120), None, "one in ten is answered, at {per_second}/s");
        }
    }

    #[test]
    fn a_restart_of_the_receiver_is_no_silence() {
        let mut evidence = Evidence::default();
        for tenth in 0..600_u32 {
            let is_restarting = (300..340).contains(&tenth);
            (0..10).for_each(|_| evidence.add(is_restarting, START.plus(Duration::from_millis(100) * tenth)));
            assert!(!evidence.is_of_silence(), "after {tenth} tenths");
        }
    }

    #[test]
    fn what_is_old_does_not_count() {
        let mut evidence = Evidence::default();
        let hours = |count: u32| START.plus(Duration::from_secs(3600) * count);
        (0..19).for_each(|_| evidence.add(true, START));
        evidence.add(true, hours(1));
        assert!(!evidence.is_of_silence(), "the others are an hour old");
        assert!(!evidence.is_over(hours(1)) && evidence.is_over(hours(2)));
        evidence.add(false, hours(1).plus(Duration::from_secs(1)));
        evidence.add(false, hours(1).plus(Duration::from_secs(1)));
        assert!(!evidence.leans_to_silence() && evidence.is_over(hours(1).plus(Duration::from_secs(11))), "it answers");
    }

    #[test]
    fn a_clock_that_is_set_back_begins_anew() {
        let mut evidence = Evidence::default();
        (0..15).for_each(|_| evidence.add(true, START.plus(Duration::from_secs(3600))));
        (0..15).for_each(|_| evidence.add(true, START));
        assert!(!evidence.is_of_silence() && evidence.known == 15);
    }
}
