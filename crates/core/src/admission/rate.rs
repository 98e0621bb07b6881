//! Slots of time, and rates: the generic cell rate algorithm (ITU-T I.371) used as a scheduler. A delivery that must wait takes a moment of its
//! own, so that what waits never comes back all at once. The same algorithm judges what leaves, so that a rate is kept also when many
//! come late for their slots.

use std::time::Duration;

use super::gate::Pass;
use crate::clock::Timestamp;

/// No slot is later than this: a delivery that must wait longer asks again then.
pub const HORIZON: Duration = Duration::from_secs(3600);
/// What leaves so soon is waited for where it is.
pub const SOON: Duration = Duration::from_secs(1);
/// What a limited endpoint may get at once after a pause: what its rate allows in a second.
const BURST: Duration = Duration::from_secs(1);

/// The slots of one gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rate {
    /// No slot before this one is free.
    pub next_slot: Micros,
    /// When what left under a limit would have left at even distances.
    pub departures: Micros,
}

impl Rate {
    /// A delivery wants to leave, at a distance of `interval` from the one before.
    pub(super) fn admit(&mut self, interval: Duration, has_slot: bool, now: Timestamp) -> Pass {
        // What is unused of one second may be used at once.
        let burst = BURST.saturating_sub(interval);
        let slot = self.next_slot.minus(burst).until();
        if !has_slot && slot > now {
            return self.take(slot, self.next_slot.plus(interval), now);
        }
        let at = self.departures.minus(burst).until().max(now);
        if at > now.plus(SOON) {
            return self.slot(at, interval, now);
        }
        self.departures = self.departures.max(Micros::of(at)).plus(interval);
        if !has_slot {
            self.next_slot = self.next_slot.max(Micros::of(now)).plus(interval);
        }
        if at > now { Pass::GoAt(at) } else { Pass::Go }
    }

    /// The first free slot from `earliest` on.
    pub(super) fn slot(&mut self, earliest: Timestamp, spacing: Duration, now: Timestamp) -> Pass {
        let slot = self.next_slot.max(Micros::of(earliest));
        self.take(slot.until(), slot.plus(spacing), now)
    }

    fn take(&mut self, slot: Timestamp, next_slot: Micros, now: Timestamp) -> Pass {
        if slot > now.plus(HORIZON) {
            // Beyond what is given out: nothing is taken, and it is asked for again.
            return Pass::Later(now.plus(HORIZON));
        }
        self.next_slot = next_slot;
        Pass::Later(slot)
    }

    /// A part of `within`, another one after each slot that is taken.
    pub(super) fn spread(&self, within: Duration) -> Duration {
        let within = u64::try_from(within.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(self.next_slot.0.unsigned_abs() % within)
    }

    /// What was to leave does not.
    pub(super) fn stay_back(&mut self, interval: Duration) {
        self.departures = self.departures.minus(interval);
    }

    /// What comes now does not queue behind those that have slots.
    pub(super) fn forget_slots(&mut self, now: Timestamp) {
        self.next_slot = Micros::of(now);
    }

    /// As it is after the clock was set back.
    pub(super) fn set_back(self, by: Duration) -> Self {
        Self { next_slot: self.next_slot.minus(by), departures: self.departures.minus(by) }
    }

    /// Whether a slot was given that is still to come.
    pub(super) fn is_awaited(&self, now: Timestamp) -> bool {
        self.next_slot > Micros::of(now)
    }

    /// Whether it says as much as one that nothing happened to.
    pub(super) fn is_at_rest(&self, now: Timestamp) -> bool {
        self.next_slot.max(self.departures) <= Micros::of(now)
    }
}

/// A moment in microseconds since the Unix epoch: a millisecond holds several slots of a high rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Micros(pub i64);

impl Micros {
    pub(super) fn of(at: Timestamp) -> Self {
        Self(at.as_millis().saturating_mul(1_000))
    }

    pub(super) fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    pub(super) fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The millisecond it lies in, or before.
    pub(super) fn until(self) -> Timestamp {
        Timestamp::from_millis(self.0.saturating_add(999).div_euclid(1_000))
    }
}
