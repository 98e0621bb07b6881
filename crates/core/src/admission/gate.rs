//! The gate in front of an endpoint: its breaker, and time slots for what must wait. Pure; stores keep a [`Gate`] per endpoint that is
//! not ordinary and apply [`Step`]s to it, each of which happened or did not.
//!
//! The breaker follows the circuit breaker pattern: closed, open after silence, and half-open while probes are out. Slots are given by the generic cell rate algorithm (ITU-T I.371) used as a scheduler: whoever must wait takes a moment of its own, so that
//! what waits never comes back all at once. The same algorithm judges what leaves, so that a rate is kept also when many come late for
//! their slots.

mod breaker;
mod evidence;
mod known;
mod streak;
mod text;

use std::time::Duration;

use crate::clock::Timestamp;
use crate::id::{AppId, EndpointId, ID_BYTES};
use breaker::Breaker;
use streak::{OVER_AFTER, Streak};

pub use breaker::{BreakerState, News, OPEN_FOR, PROBE_LEASE};
pub use evidence::{LEAST as LEAST_JUDGED, SILENT_PERCENT};
pub use known::{Follower, KnownGates, Mark, READ_EVERY, Reading};
pub use streak::{Alarm, DISABLE_AFTER};
pub use text::BadGate;

/// An endpoint that timed out, or answers slowly, is slow for so long.
pub const SLOW_FOR: Duration = Duration::from_secs(60);
/// Nobody is given a slot later than this: whoever must wait longer asks again then.
pub const HORIZON: Duration = Duration::from_secs(3600);
/// What leaves so soon is waited for where it is.
pub const SOON: Duration = Duration::from_secs(1);
/// A refusal is written down again after so long: when the last one was is asked for by the day.
const STREAK_EVERY: Duration = Duration::from_secs(60);
/// What a limited endpoint may get at once after a pause: what its rate allows in a second.
const BURST: Duration = Duration::from_secs(1);
/// What is routed while a breaker is open comes back within this part of the opening after its end, as a divisor, so that it is not there
/// all at once.
const DETOUR_PART: u32 = 8;
/// But within no less, and no more, than this: no delivery waits long for an endpoint that is back.
const DETOUR_LEAST: Duration = Duration::from_secs(5);
const DETOUR_MOST: Duration = Duration::from_secs(60);
/// Whose gate: an endpoint's, or that of all endpoints of an application, which knows a rate and no breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GateId([u8; ID_BYTES]);

impl GateId {
    /// As stores keep it: the bytes of the id behind it, which no other kind of thing shares.
    pub const fn as_bytes(&self) -> &[u8; ID_BYTES] {
        &self.0
    }

    /// From a slice that must be as long as an id.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl From<EndpointId> for GateId {
    fn from(endpoint: EndpointId) -> Self {
        Self(*endpoint.as_bytes())
    }
}

impl From<AppId> for GateId {
    fn from(app: AppId) -> Self {
        Self(*app.as_bytes())
    }
}

/// What the installation knows of an endpoint that is not ordinary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    breaker: Breaker,
    /// No slot before this one is free.
    next_slot: Micros,
    /// When what left under a limit would have left at even distances.
    departures: Micros,
    /// The receiver asked to be left alone until then.
    hold_until: Timestamp,
    /// It counts as slow until then.
    slow_until: Timestamp,
    /// Its failures, if it took nothing since.
    streak: Option<Streak>,
}

/// A moment in microseconds since the Unix epoch: a millisecond holds several slots of a high rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Micros(i64);

impl Micros {
    fn of(at: Timestamp) -> Self {
        Self(at.as_millis().saturating_mul(1_000))
    }

    fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The millisecond it lies in, or before.
    fn until(self) -> Timestamp {
        Timestamp::from_millis(self.0.saturating_add(999).div_euclid(1_000))
    }
}

/// Something that happens at a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A delivery wants to leave.
    Admit {
        /// Least time between two of them, if the endpoint is limited.
        limit: Option<Duration>,
        /// Time between two slots while it is closed to all.
        spacing: Duration,
        /// Whether it waited for a slot of its own, which is now.
        has_slot: bool,
    },
    /// A delivery wants to know whether it has to wait, before it wants to leave.
    Ask {
        /// Least time between two of them, if the endpoint is limited.
        limit: Option<Duration>,
        /// Time between two slots while it is closed to all.
        spacing: Duration,
    },
    /// A delivery that a limit let pass does not leave yet: it takes a slot, or waits at another gate.
    StayBack {
        /// Least time between two of them.
        interval: Duration,
    },
    /// A delivery takes a slot because its turn does not come soon enough.
    Reserve {
        /// Time between two slots.
        spacing: Duration,
    },
    /// An attempt was made.
    Observe {
        /// What it says of the endpoint.
        news: News,
        /// Whether it was let through to find out.
        is_probe: bool,
        /// Whether it, or the average of late, was slow.
        slow: bool,
        /// The receiver asked to be left alone until then.
        hold_until: Option<Timestamp>,
        /// How long the breaker opens; see [`OPEN_FOR`]. Without length, it does not.
        open_for: [Duration; 4],
    },
    /// A delivery was given up.
    Lose {
        /// How long the endpoint may take nothing before it is disabled, if it ever is.
        disable_after: Option<Duration>,
    },
    /// The endpoint is another one now: nothing known of it counts.
    Reset,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Go on.
    Go,
    /// Go on then, which is within [`SOON`], and without asking again.
    GoAt(Timestamp),
    /// Go on, and be the one that finds out.
    Probe,
    /// Not before then, which is a slot of its own unless it lies at the horizon.
    Later(Timestamp),
    /// It was learned.
    Learned(Learned),
}

/// What something said of an endpoint led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// Where its breaker moved, if it did.
    pub breaker: Option<BreakerState>,
    /// What people want to know.
    pub alarm: Option<Alarm>,
}

/// Steps done together: nobody else's came between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// What came of each.
    pub passes: Vec<Pass>,
    /// The gate after the last.
    pub after: Gate,
}

impl Gate {
    /// Does steps at `now`, one after another.
    pub fn steps(self, steps: &[Step], now: Timestamp) -> Passed {
        let mut after = self;
        let passes = steps.iter().map(|step| after.step(*step, now)).collect();
        Passed { passes, after }
    }

    /// Does a step at `now`.
    pub fn step(&mut self, step: Step, now: Timestamp) -> Pass {
        match step {
            Step::Admit { limit, spacing, has_slot } => self.admit(limit, spacing, has_slot, now),
            Step::Ask { limit, spacing } => self.turned_away(limit, spacing, now).unwrap_or(Pass::Go),
            Step::Reserve { spacing } => self.slot(now, spacing, now),
            Step::StayBack { interval } => {
                self.departures = self.departures.minus(interval);
                Pass::Go
            }
            Step::Observe { news, is_probe, slow, hold_until, open_for } => {
                if slow {
                    self.slow_until = self.slow_until.max(now.plus(SLOW_FOR));
                }
                self.hold_until = self.hold_until.max(hold_until.unwrap_or_default());
                let before = self.breaker;
                self.breaker = before.after(news, is_probe, open_for, self.next_slot > Micros::of(now), now);
                self.learn(before, news, now)
            }
            Step::Lose { disable_after } => {
                let alarm = self.streak.get_or_insert_with(|| Streak::begun(now)).lose(disable_after, now);
                Pass::Learned(Learned { breaker: None, alarm })
            }
            Step::Reset => {
                *self = Self::default();
                Pass::Go
            }
        }
    }

    fn learn(&mut self, before: Breaker, news: News, now: Timestamp) -> Pass {
        match news {
            News::Success => self.streak = None,
            News::Refusal | News::Silence => self.streak.get_or_insert_with(|| Streak::begun(now)).last = now,
            News::Nothing => {}
        }
        let breaker = before.moved_to(self.breaker);
        let alarm = match (before, breaker) {
            (Breaker::Closed(_), Some(BreakerState::Open)) => Some(Alarm::Failing),
            (_, Some(BreakerState::Closed)) => {
                // What waited has its slots; what comes now is not to queue behind them.
                self.next_slot = Micros::of(now);
                Some(Alarm::Recovered)
            }
            _ => None,
        };
        Pass::Learned(Learned { breaker, alarm })
    }

    fn admit(&mut self, limit: Option<Duration>, spacing: Duration, has_slot: bool, now: Timestamp) -> Pass {
        if let Some(pass) = self.turned_away(limit, spacing, now) {
            return pass;
        }
        if let Breaker::Open { .. } = self.breaker {
            self.breaker = self.breaker.probed(now);
            return Pass::Probe;
        }
        match limit {
            Some(interval) => self.admit_limited(interval, has_slot, now),
            None => Pass::Go,
        }
    }

    /// A slot, if nothing may leave now.
    fn turned_away(&mut self, limit: Option<Duration>, spacing: Duration, now: Timestamp) -> Option<Pass> {
        let apart = spacing.max(limit.unwrap_or_default());
        if self.hold_until > now {
            return Some(self.slot(self.hold_until, apart, now));
        }
        let shut_until = self.breaker.shut_until(now)?;
        // The moment itself is the probe's.
        Some(self.slot(shut_until.plus(spacing), apart, now))
    }

    fn admit_limited(&mut self, interval: Duration, has_slot: bool, now: Timestamp) -> Pass {
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
    fn slot(&mut self, earliest: Timestamp, spacing: Duration, now: Timestamp) -> Pass {
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

    /// The breaker at `now`.
    pub fn breaker(&self, now: Timestamp) -> BreakerState {
        self.breaker.state(now)
    }

    /// When what is routed now is to come by, if nothing may leave before the gate opens again.
    ///
    /// In the order in which it was routed it comes back, after the opening's end: all of an opening is not there at once.
    pub fn detour_until(&self, now: Timestamp) -> Option<Timestamp> {
        let until = self.shut_until(now)?;
        let Breaker::Open { since, until: opened_until, .. } = self.breaker else { return Some(until) };
        let (length, passed) = (opened_until.since(since), now.since(since));
        let within = (length / DETOUR_PART).clamp(DETOUR_LEAST, DETOUR_MOST);
        Some(until.plus(within.mul_f64((passed.as_secs_f64() / length.as_secs_f64().max(0.001)).min(1.0))))
    }

    /// Whether the first probe of an opening has just left.
    pub fn is_first_probe(&self) -> bool {
        matches!(self.breaker, Breaker::Open { ramp: Some(ramp), .. } if ramp.is_begun())
    }

    /// Whether who comes now is turned away because of its breaker.
    pub fn is_left_alone(&self, now: Timestamp) -> bool {
        let is_closed = self.breaker(now) == BreakerState::Closed;
        let mut gate = Self { hold_until: Timestamp::default(), ..*self };
        !is_closed && gate.turned_away(None, Duration::ZERO, now).is_some()
    }

    /// When something may leave again, if nothing may now.
    pub fn shut_until(&self, now: Timestamp) -> Option<Timestamp> {
        let open_until = match self.breaker {
            Breaker::Open { until, .. } => until,
            Breaker::Closed(_) => Timestamp::default(),
        };
        Some(open_until.max(self.hold_until)).filter(|until| *until > now)
    }

    /// The one predicate of the lanes: whether what goes to the endpoint takes the slow one.
    pub fn is_slow(&self, now: Timestamp) -> bool {
        self.slow_until > now || self.hold_until > now || self.breaker(now) != BreakerState::Closed
    }

    /// Whether an attempt that says this would change what is known, so that it must be told.
    pub fn awaits(&self, news: News, now: Timestamp) -> bool {
        let awaits_answers = match self.breaker {
            Breaker::Open { .. } => true,
            Breaker::Closed(evidence) => evidence.leans_to_silence(),
        };
        match news {
            News::Success => awaits_answers || self.streak.is_some(),
            News::Refusal => awaits_answers || self.streak.is_none_or(|streak| streak.last.plus(STREAK_EVERY) <= now),
            News::Silence => true,
            News::Nothing => false,
        }
    }

    /// What of it is to outlive a process that keeps it alone: what was learned, and no slots, and nothing of the last seconds.
    #[must_use]
    pub fn lasting(&self) -> Self {
        let breaker = if let Breaker::Closed(_) = self.breaker { Breaker::default() } else { self.breaker };
        Self { breaker, next_slot: Micros::default(), departures: Micros::default(), ..*self }
    }

    /// Whether nothing is left to remember.
    pub fn is_ordinary(&self, now: Timestamp) -> bool {
        let has_left = self.next_slot.max(self.departures) <= Micros::of(now);
        let is_over = self.streak.is_none_or(|streak| streak.is_over(now));
        let is_silent = match self.breaker {
            // As long as a streak is remembered.
            Breaker::Open { since, .. } => since.plus(OVER_AFTER) > now,
            Breaker::Closed(evidence) => !evidence.is_over(now),
        };
        is_over && has_left && !is_silent && self.slow_until <= now && self.hold_until <= now
    }
}

#[cfg(test)]
mod tests;
