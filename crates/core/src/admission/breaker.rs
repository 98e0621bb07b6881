//! The breaker: closed, open after silence, and half-open while probes are out, of which more may be the more are answered.
//!
//! It is about silence alone. A receiver that answers, however wrongly, costs its neighbours nothing and is tried as the schedule says;
//! one that does not answer at all holds a place until its time is over.

use std::time::Duration;

use super::evidence::{Evidence, SILENT_PERCENT};
use crate::attempt::{AttemptClass, AttemptResult};
use crate::clock::Timestamp;
use crate::limits;

/// How long it stays open: the first time, the second, and so on; every further time as the last.
pub const OPEN_FOR: [Duration; 4] =
    [Duration::from_secs(30), Duration::from_secs(2 * 60), Duration::from_secs(10 * 60), Duration::from_secs(3600)];
/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerRule {
    /// The share of silence, in hundredths, from which it opens: [`SILENT_LEAST`](super::SILENT_LEAST) to 100, or 0 for never.
    pub silent_percent: u8,
    /// How long it opens; see [`OPEN_FOR`]. Without length, it does not.
    pub open_for: [Duration; 4],
}

impl Default for BreakerRule {
    fn default() -> Self {
        Self { silent_percent: SILENT_PERCENT, open_for: OPEN_FOR }
    }
}

impl BreakerRule {
    fn is_off(self) -> bool {
        self.silent_percent == 0 || self.open_for[0].is_zero()
    }
}

/// A probe may be out for this long before another replaces it: the longest attempt, and time to write it down.
pub const PROBE_LEASE: Duration = Duration::from_secs(limits::ATTEMPT_TIMEOUT_MOST.as_secs() + 15);
/// How long the others wait for what the first probe finds out, before they ask again.
const FIRST_ANSWERS: Duration = Duration::from_secs(5);
/// And for what the next ones do: the endpoint answers.
const NEXT_ANSWERS: Duration = Duration::from_secs(1);
/// A round of so many probes is none any more: when all of the round before were answered, the breaker closes.
const RAMP_ENDS: u16 = 8;

/// The breaker of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breaker {
    Closed(Evidence),
    Open {
        /// When it opened this time.
        since: Timestamp,
        /// Then it may be probed.
        until: Timestamp,
        /// How often it opened without an answer in between, from 0.
        level: u8,
        /// Probes are out, or were answered.
        ramp: Option<Ramp>,
    },
}

/// A round of probes: once all of them are answered, the next has twice as many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ramp {
    /// Probes of this round.
    pub most: u16,
    /// Of those, the ones that left.
    pub left: u16,
    /// Of those, the ones that were answered.
    pub answered: u16,
    /// Until then those that left may be out.
    pub out_until: Timestamp,
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed(Evidence::default())
    }
}

impl Ramp {
    fn of(most: u16) -> Self {
        Self { most, left: 0, answered: 0, out_until: Timestamp::default() }
    }

    /// Whether the first probe of an opening has just left.
    pub(super) fn is_begun(self) -> bool {
        self.left == 1 && !self.has_answers()
    }

    fn is_full(self) -> bool {
        self.left >= self.most
    }

    fn has_answers(self) -> bool {
        self.answered > 0 || self.most > 1
    }
}

impl Breaker {
    /// As people see it at `now`.
    pub(super) fn state(self, now: Timestamp) -> BreakerState {
        match self {
            Self::Closed(_) => BreakerState::Closed,
            Self::Open { until, ramp, .. } if until <= now || ramp.is_some() => BreakerState::HalfOpen,
            Self::Open { .. } => BreakerState::Open,
        }
    }

    /// Where an attempt moved it, if it did.
    pub(super) fn moved_to(self, after: Self) -> Option<BreakerState> {
        match (self, after) {
            (Self::Closed(_), Self::Open { .. }) => Some(BreakerState::Open),
            (Self::Open { until: before, .. }, Self::Open { until, .. }) if before < until => Some(BreakerState::Open),
            (Self::Open { .. }, Self::Closed(_)) => Some(BreakerState::Closed),
            _ => None,
        }
    }

    /// Until when nothing may leave, if that is not now: the opening's end, or, with enough probes out, when they are answered.
    pub(super) fn shut_until(self, now: Timestamp) -> Option<Timestamp> {
        let Self::Open { until, ramp, .. } = self else { return None };
        // Their news will be there sooner than their time is over.
        let answer = |ramp: Ramp| if ramp.has_answers() { NEXT_ANSWERS } else { FIRST_ANSWERS };
        let full = ramp.filter(|ramp| ramp.is_full()).map(|ramp| ramp.out_until.min(now.plus(answer(ramp))));
        Some(until.max(full.unwrap_or_default())).filter(|until| *until > now)
    }

    /// Whether probes are out, or were answered.
    pub(super) fn is_probed(self) -> bool {
        matches!(self, Self::Open { ramp: Some(_), .. })
    }

    /// A probe leaves.
    pub(super) fn probed(self, now: Timestamp) -> Self {
        let Self::Open { since, until, level, ramp } = self else { return self };
        // Those of a full round whose time is over are lost, with the processes that made them.
        let ramp = ramp.filter(|ramp| !ramp.is_full() || ramp.out_until > now).unwrap_or(Ramp::of(1));
        let ramp = Ramp { left: ramp.left + 1, out_until: now.plus(PROBE_LEASE), ..ramp };
        Self::Open { since, until, level, ramp: Some(ramp) }
    }

    /// The breaker after an attempt. With nothing waiting, the first answer closes it.
    pub(super) fn after(self, news: News, is_probe: bool, rule: BreakerRule, is_awaited: bool, now: Timestamp) -> Self {
        if rule.is_off() && news != News::Nothing {
            return Self::default();
        }
        match self {
            Self::Closed(mut evidence) => {
                // Answers alone are what everybody does: nothing is remembered of them.
                if news == News::Silence || (news != News::Nothing && evidence.has_silence()) {
                    evidence.add(news == News::Silence, now);
                }
                if evidence.is_of_silence(rule.silent_percent) { Self::opened(0, rule, now) } else { Self::Closed(evidence) }
            }
            Self::Open { since, until, level, ramp } => match (news, ramp) {
                (News::Success | News::Refusal, Some(ramp)) if is_probe => {
                    let ramp = Ramp { answered: ramp.answered.saturating_add(1), ..ramp };
                    let ramp = if ramp.answered >= ramp.most { Ramp::of(ramp.most.saturating_mul(2)) } else { ramp };
                    let is_over = ramp.most >= RAMP_ENDS || !is_awaited;
                    if is_over { Self::default() } else { Self::Open { since, until, level, ramp: Some(ramp) } }
                }
                // What was on its way when it opened says nothing new, be it an answer.
                (News::Success | News::Refusal, _) if now.since(since) < limits::ATTEMPT_TIMEOUT_MOST => self,
                (News::Success | News::Refusal, _) if !is_awaited => Self::default(),
                // Of an attempt that an operator or a customer asked for: deliveries that wait may probe now.
                (News::Success | News::Refusal, _) => Self::Open { since, until: until.min(now), level, ramp },
                // The next delivery may probe instead.
                (News::Nothing, Some(ramp)) if is_probe => {
                    let ramp = Ramp { left: ramp.left.saturating_sub(1), ..ramp };
                    Self::Open { since, until, level, ramp: Some(ramp).filter(|ramp| ramp.left > 0 || ramp.has_answers()) }
                }
                (News::Silence, Some(ramp)) if is_probe && until <= now => {
                    let level = if ramp.has_answers() { 0 } else { level.saturating_add(1) };
                    Self::opened(level, rule, now)
                }
                (News::Silence | News::Nothing, _) => self,
            },
        }
    }

    /// As it is after the clock was set back. Evidence begins anew by itself.
    pub(super) fn set_back(self, by: Duration) -> Self {
        match self {
            Self::Closed(_) => self,
            Self::Open { since, until, level, ramp } => {
                let ramp = ramp.map(|ramp| Ramp { out_until: ramp.out_until.minus(by), ..ramp });
                Self::Open { since: since.minus(by), until: until.minus(by), level, ramp }
            }
        }
    }

    fn opened(level: u8, rule: BreakerRule, now: Timestamp) -> Self {
        let length = rule.open_for[usize::from(level).min(rule.open_for.len() - 1)];
        Self::Open { since: now, until: now.plus(length), level, ramp: None }
    }
}

/// The breaker as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// Deliveries go out.
    Closed,
    /// None does.
    Open,
    /// Some may, to see.
    HalfOpen,
}

impl BreakerState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// Its name everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// What an attempt says of its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It took what was sent.
    Success,
    /// It answered, and did not take it.
    Refusal,
    /// It did not answer at all.
    Silence,
    /// Nothing: it was not asked.
    Nothing,
}

impl News {
    /// What an attempt says.
    pub fn of(result: &AttemptResult) -> Self {
        match result.class {
            AttemptClass::Success => Self::Success,
            // That outbound safety refused an address, or we stopped, says nothing of the receiver.
            AttemptClass::Blocked | AttemptClass::Canceled => Self::Nothing,
            // An answer that was not read to its end held a place until its time was over.
            AttemptClass::Timeout => Self::Silence,
            _ if result.status.is_some() => Self::Refusal,
            _ => Self::Silence,
        }
    }
}
