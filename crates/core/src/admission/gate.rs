//! The gate in front of an endpoint. Stores keep a [`Gate`] per endpoint that is not ordinary and apply [`Step`]s to it, each of which
//! happened or did not.

use std::time::Duration;

use super::breaker::{Breaker, BreakerRule, BreakerState, News};
use super::rate::Rate;
use super::streak::{Alarm, OVER_AFTER, Streak};
use crate::clock::Timestamp;
use crate::id::{AppId, EndpointId, ID_BYTES};

/// An endpoint that timed out, or answers slowly, is slow for so long.
pub const SLOW_FOR: Duration = Duration::from_secs(60);
/// A refusal is written down again after so long: when the last one was is asked for by the day.
const STREAK_EVERY: Duration = Duration::from_secs(60);
/// What is routed while a breaker is open comes back within this part of the opening after its end, as a divisor, so that it is not there
/// all at once.
const DETOUR_PART: u32 = 8;
/// But within no less, and no more, than this: no delivery waits long for an endpoint that is back.
const DETOUR_LEAST: Duration = Duration::from_secs(5);
const DETOUR_MOST: Duration = Duration::from_secs(15);
/// What comes while probes are out comes back spread over this time.
const PROBED_SPREAD: Duration = Duration::from_secs(2);
/// A step so long before the last one was done after the clock was set back; by less the clocks of two machines may differ.
const SET_BACK: Duration = Duration::from_secs(300);

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
    pub(super) breaker: Breaker,
    pub(super) rate: Rate,
    /// The receiver asked to be left alone until then.
    pub(super) hold_until: Timestamp,
    /// It counts as slow until then.
    pub(super) slow_until: Timestamp,
    /// Its failures, if it took nothing since.
    pub(super) streak: Option<Streak>,
    /// When the last step was done that changed anything.
    pub(super) as_of: Timestamp,
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
        /// When the breaker opens, and for how long.
        rule: BreakerRule,
    },
    /// A delivery was given up.
    Lose {
        /// How long the endpoint may take nothing before it is disabled, if it ever is.
        disable_after: Option<Duration>,
    },
    /// The endpoint is another one now: nothing known of it counts.
    Reset,
}

impl Step {
    /// The same for one of so many who cannot agree: each keeps its share of a rate.
    #[must_use]
    pub fn at_distances_times(self, sharing: u32) -> Self {
        match self {
            Self::StayBack { interval } => Self::StayBack { interval: interval * sharing },
            Self::Admit { limit, spacing, has_slot } => {
                Self::Admit { limit: limit.map(|interval| interval * sharing), spacing: spacing * sharing, has_slot }
            }
            Self::Ask { limit, spacing } => {
                Self::Ask { limit: limit.map(|interval| interval * sharing), spacing: spacing * sharing }
            }
            other => other,
        }
    }
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Go on.
    Go,
    /// Go on then, which is within [`SOON`](super::SOON), and without asking again.
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
        let before = self.at(now);
        let mut after = before;
        let passes = steps.iter().map(|step| after.step(*step, now)).collect();
        if after != before {
            after.as_of = after.as_of.max(now);
        }
        Passed { passes, after }
    }

    /// The gate at `now`. If the clock was set back since the last step that changed it, what lies in the future is as far away as it
    /// was then.
    fn at(self, now: Timestamp) -> Self {
        let back = self.as_of.since(now);
        if back < SET_BACK {
            return self;
        }
        let moved = |at: Timestamp| if at > now { at.minus(back) } else { at };
        Self {
            breaker: self.breaker.set_back(back),
            rate: self.rate.set_back(back),
            hold_until: moved(self.hold_until),
            slow_until: moved(self.slow_until),
            streak: self.streak.map(|streak| Streak { since: streak.since.min(now), last: streak.last.min(now), ..streak }),
            as_of: now,
        }
    }

    /// Does a step at `now`.
    pub(super) fn step(&mut self, step: Step, now: Timestamp) -> Pass {
        match step {
            Step::Admit { limit, spacing, has_slot } => self.admit(limit, spacing, has_slot, now),
            Step::Ask { limit, spacing } => self.turned_away(limit, spacing, now).unwrap_or(Pass::Go),
            Step::Reserve { spacing } => self.rate.slot(now, spacing, now),
            Step::StayBack { interval } => {
                self.rate.stay_back(interval);
                Pass::Go
            }
            Step::Observe { news, is_probe, slow, hold_until, rule } => {
                if slow {
                    self.slow_until = self.slow_until.max(now.plus(SLOW_FOR));
                }
                self.hold_until = self.hold_until.max(hold_until.unwrap_or_default());
                let before = self.breaker;
                self.breaker = before.after(news, is_probe, rule, self.rate.is_awaited(now), now);
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
            (Breaker::Closed(_), Some(BreakerState::Open)) => {
                // What waits comes back after the opening, whatever slots it had.
                self.rate.forget_slots(now);
                Some(Alarm::Failing)
            }
            (_, Some(BreakerState::Closed)) => {
                // What waited has its slots; what comes now is not to queue behind them.
                self.rate.forget_slots(now);
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
            Some(interval) => self.rate.admit(interval, has_slot, now),
            None => Pass::Go,
        }
    }

    /// A slot, if nothing may leave now.
    fn turned_away(&mut self, limit: Option<Duration>, spacing: Duration, now: Timestamp) -> Option<Pass> {
        let apart = spacing.max(limit.unwrap_or_default());
        if self.hold_until > now {
            return Some(self.rate.slot(self.hold_until, apart, now));
        }
        let shut_until = self.breaker.shut_until(now)?;
        // The moment itself is the probe's.
        let slot = self.rate.slot(shut_until.plus(spacing), apart, now);
        // While probes are out it is known soon what they found: what comes meanwhile does not go behind all that wait.
        Some(if self.breaker.is_probed() { Pass::Later(shut_until.plus(self.rate.spread(PROBED_SPREAD))) } else { slot })
    }

    /// The breaker at `now`.
    pub fn breaker(&self, now: Timestamp) -> BreakerState {
        self.at(now).breaker.state(now)
    }

    /// Since when the breaker is not closed, if it is not.
    pub fn open_since(&self, now: Timestamp) -> Option<Timestamp> {
        match self.at(now).breaker {
            Breaker::Open { since, .. } => Some(since),
            Breaker::Closed(_) => None,
        }
    }

    /// When what is routed now is to come by, if nothing may leave before the gate opens again.
    ///
    /// In the order in which it was routed it comes back, after the opening's end: all of an opening is not there at once.
    pub fn detour_until(&self, now: Timestamp) -> Option<Timestamp> {
        let until = self.shut_until(now)?;
        let Breaker::Open { since, until: opened_until, .. } = self.at(now).breaker else { return Some(until) };
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
        let mut gate = Self { hold_until: Timestamp::default(), ..self.at(now) };
        !is_closed && gate.turned_away(None, Duration::ZERO, now).is_some()
    }

    /// When something may leave again, if nothing may now.
    pub fn shut_until(&self, now: Timestamp) -> Option<Timestamp> {
        let Self { breaker, hold_until, .. } = self.at(now);
        let open_until = match breaker {
            Breaker::Open { until, .. } => until,
            Breaker::Closed(_) => Timestamp::default(),
        };
        Some(open_until.max(hold_until)).filter(|until| *until > now)
    }

    /// The one predicate of the lanes: whether what goes to the endpoint takes the slow one.
    pub fn is_slow(&self, now: Timestamp) -> bool {
        let gate = self.at(now);
        gate.slow_until > now || gate.hold_until > now || gate.breaker.state(now) != BreakerState::Closed
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
        Self { breaker, rate: Rate::default(), as_of: Timestamp::default(), ..*self }
    }

    /// Whether nothing is left to remember.
    pub fn is_ordinary(&self, now: Timestamp) -> bool {
        let gate = self.at(now);
        let is_over = gate.streak.is_none_or(|streak| streak.is_over(now));
        let is_silent = match gate.breaker {
            // As long as a streak is remembered.
            Breaker::Open { since, .. } => since.plus(OVER_AFTER) > now,
            Breaker::Closed(evidence) => !evidence.is_over(now),
        };
        is_over && gate.rate.is_at_rest(now) && !is_silent && gate.slow_until <= now && gate.hold_until <= now
    }
}
