//! What the last attempts say of an endpoint's silence: of those within ten seconds, and of the last twenty.

use std::fmt;
use std::str::FromStr;

use super::text::BadGate;
use crate::clock::Timestamp;

/// Attempts that must have ended before anything is judged.
pub const LEAST: u32 = 20;
/// The share of silence, in hundredths, from which an endpoint is left alone.
pub const SILENT_PERCENT: u8 = 95;
/// The least share that can be asked for. Answers are counted only while half of the last attempts were silent: shares near a half are
/// overstated.
pub const SILENT_LEAST: u8 = 75;
/// What ended longer ago does not count, where as many as [`LEAST`] ended within it.
const WINDOW_SECONDS: u32 = 10;
/// What ended longer ago never counts: nobody is protected from so few.
const OLDEST_SECONDS: u32 = 3600;

const SECONDS: usize = WINDOW_SECONDS as usize;

/// Attempts that ended, and of those the ones without any answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    ended: u16,
    silent: u16,
}

/// The evidence, by whole seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Evidence {
    /// Since when every attempt was counted: no pause of a window's length, and no answers left out.
    begun: u32,
    /// The last second in which one ended.
    newest: u32,
    /// By second, of a second `s` at `s` modulo their number.
    window: [Count; SECONDS],
    /// When each of the last ones ended, oldest first, and a bit for each that did in silence.
    last: [u32; LEAST as usize],
    silent: u32,
    known: u32,
}

fn second(at: Timestamp) -> u32 {
    u32::try_from(at.as_millis().div_euclid(1000)).unwrap_or_default()
}

impl Evidence {
    /// One more attempt ended.
    pub(super) fn add(&mut self, is_silent: bool, now: Timestamp) {
        // Clocks of two processes differ a little.
        let is_behind = |now: u32| now < self.newest && self.newest - now < WINDOW_SECONDS;
        let now = Some(second(now)).filter(|now| !is_behind(*now)).unwrap_or(self.newest);
        self.turn_to(now);
        if !self.leans_to_silence() {
            // Until here answers went by uncounted: the window is of no use until all have been told for its length.
            self.begun = now;
        }
        let count = &mut self.window[now as usize % SECONDS];
        count.ended = count.ended.saturating_add(1);
        count.silent = count.silent.saturating_add(u16::from(is_silent));
        if self.known == LEAST {
            self.last.rotate_left(1);
            self.silent >>= 1;
            self.known -= 1;
        }
        self.last[self.known as usize] = now;
        self.silent |= u32::from(is_silent) << self.known;
        self.known += 1;
    }

    /// Forgets what is older than the window; a clock that was set back begins anew.
    fn turn_to(&mut self, now: u32) {
        let passed = now.checked_sub(self.newest);
        if passed.is_none_or(|passed| passed >= WINDOW_SECONDS) {
            let is_within_an_hour = passed.is_some_and(|passed| passed < OLDEST_SECONDS);
            let (known, silent) = if is_within_an_hour { (self.known, self.silent) } else { (0, 0) };
            *self = Self { begun: now, newest: now, window: Default::default(), last: self.last, silent, known };
        } else {
            for stale in self.newest + 1..=now {
                self.window[stale as usize % SECONDS] = Count::default();
            }
        }
        self.newest = now;
    }

    /// Attempts, and silent ones, that are judged: those of a full window if they are enough, else the last ones if those are.
    fn judged(&self) -> Option<(u32, u32)> {
        let sum = |(ended, silent): (u32, u32), count: &Count| (ended + u32::from(count.ended), silent + u32::from(count.silent));
        let window = self.window.iter().fold((0, 0), sum);
        if window.0 >= LEAST {
            // The first seconds of many attempts at once say little: by chance alone some are silent in a row.
            return (self.newest - self.begun + 1 >= WINDOW_SECONDS).then_some(window);
        }
        let is_recent = self.last[0] + OLDEST_SECONDS > self.newest;
        (self.known == LEAST && is_recent).then(|| (self.known, self.silent.count_ones()))
    }

    /// Whether the endpoint is silent.
    pub(super) fn is_of_silence(&self, percent: u8) -> bool {
        self.judged().is_some_and(|(ended, silent)| silent * 100 >= ended * u32::from(percent))
    }

    /// Whether an answer could matter: half of the last ones were silent. Who answers mostly need not be counted.
    pub(super) fn leans_to_silence(&self) -> bool {
        self.silent.count_ones() * 2 >= self.known && self.known > 0
    }

    pub(super) fn has_silence(&self) -> bool {
        self.window.iter().any(|count| count.silent > 0) || self.silent > 0
    }

    /// Whether it says nothing any more.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        let passed = second(now).saturating_sub(self.newest);
        passed >= OLDEST_SECONDS || (passed >= WINDOW_SECONDS && !self.leans_to_silence())
    }
}

impl fmt::Display for Evidence {
    /// `newest,begun,second=ended/silent …,second …` with `!` behind the silent ones of the last; all but the newest are seconds before it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},", self.newest, self.newest - self.begun)?;
        for ago in 0..WINDOW_SECONDS {
            let Count { ended, silent } = self.window[(self.newest.wrapping_sub(ago)) as usize % SECONDS];
            if ended > 0 {
                write!(f, "{ago}={ended}/{silent} ")?;
            }
        }
        f.write_str(",")?;
        for (place, at) in (0..self.known).zip(self.last) {
            write!(f, "{}{} ", self.newest - at, if self.silent >> place & 1 == 1 { "!" } else { "" })?;
        }
        Ok(())
    }
}

impl FromStr for Evidence {
    type Err = BadGate;

    fn from_str(text: &str) -> Result<Self, BadGate> {
        let number = |text: &str| text.parse::<u32>().map_err(|_| BadGate);
        let count_of = |text: &str| text.parse::<u16>().map_err(|_| BadGate);
        let [newest, begun, window, last] = text.split(',').collect::<Vec<_>>()[..] else { return Err(BadGate) };
        let newest = number(newest)?;
        let before = |ago: u32| newest.checked_sub(ago).ok_or(BadGate);
        let mut evidence = Self { begun: before(number(begun)?)?, newest, ..Self::default() };
        for count in window.split_whitespace() {
            let (ago, counts) = count.split_once('=').ok_or(BadGate)?;
            let (ended, silent) = counts.split_once('/').ok_or(BadGate)?;
            let ago = number(ago).ok().filter(|ago| *ago < WINDOW_SECONDS).ok_or(BadGate)?;
            evidence.window[before(ago)? as usize % SECONDS] = Count { ended: count_of(ended)?, silent: count_of(silent)? };
        }
        for ended in last.split_whitespace() {
            let (ago, is_silent) = ended.strip_suffix('!').map_or((ended, false), |ago| (ago, true));
            let place = evidence.last.get_mut(evidence.known as usize).ok_or(BadGate)?;
            *place = before(number(ago)?)?;
            evidence.silent |= u32::from(is_silent) << evidence.known;
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
            evidence.is_of_silence(SILENT_PERCENT)
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
    fn clocks_of_two_processes_may_differ() {
        let mut evidence = Evidence::default();
        let opened = (0..3_000_u32).find(|number| {
            let skewed = if number % 2 == 0 { 1_500 } else { 0 };
            evidence.add(true, START.plus(Duration::from_millis(10) * *number + Duration::from_millis(skewed)));
            evidence.is_of_silence(SILENT_PERCENT)
        });
        assert!(opened.is_some_and(|number| number < 1_000), "{opened:?}");
    }

    #[test]
    fn what_is_old_does_not_count() {
        let mut evidence = Evidence::default();
        let hours = |count: u32| START.plus(Duration::from_secs(3600) * count);
        (0..19).for_each(|_| evidence.add(true, START));
        evidence.add(true, hours(1));
        assert!(!evidence.is_of_silence(SILENT_PERCENT), "the others are an hour old");
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
        assert!(!evidence.is_of_silence(SILENT_PERCENT) && evidence.known == 15);
    }
}
