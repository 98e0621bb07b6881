//! The breaker: closed, open after failures in a row, and half-open while one probe is out.

use std::time::Duration;

use crate::clock::Timestamp;

/// Failures in a row after which the breaker opens.
pub const FAILURES_TO_OPEN: u32 = 5;
/// How long it stays open: the first time, the second, and so on; every further time as the last.
pub const OPEN_FOR: [Duration; 4] =
    [Duration::from_secs(30), Duration::from_secs(2 * 60), Duration::from_secs(10 * 60), Duration::from_secs(3600)];
/// Failures farther apart than this are not in a row: nobody is protected from so few.
const ROW_ENDS_AFTER: Duration = Duration::from_secs(3600);

/// The breaker of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breaker {
    Closed {
        /// In a row.
        failures: u32,
        /// When the last of them was.
        last: Timestamp,
    },
    Open {
        /// When it opened this time.
        since: Timestamp,
        /// Then it may be probed.
        until: Timestamp,
        /// How often it opened without a success in between, from 0.
        level: u8,
        /// A probe is out, and may be until then.
        probed_until: Option<Timestamp>,
    },
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { failures: 0, last: Timestamp::default() }
    }
}

impl Breaker {
    /// As people see it at `now`.
    pub(super) fn state(self, now: Timestamp) -> BreakerState {
        match self {
            Self::Closed { .. } => BreakerState::Closed,
            Self::Open { until, probed_until, .. } if until <= now || probed_until.is_some() => BreakerState::HalfOpen,
            Self::Open { .. } => BreakerState::Open,
        }
    }

    /// Where an attempt moved it, if it did.
    pub(super) fn moved_to(self, after: Self) -> Option<BreakerState> {
        match (self, after) {
            (Self::Closed { .. }, Self::Open { .. }) => Some(BreakerState::Open),
            (Self::Open { until: before, .. }, Self::Open { until, .. }) if before != until => Some(BreakerState::Open),
            (Self::Open { .. }, Self::Closed { .. }) => Some(BreakerState::Closed),
            _ => None,
        }
    }

    /// The breaker after an attempt.
    pub(super) fn after(self, news: News, is_probe: bool, open_for: [Duration; 4], now: Timestamp) -> Self {
        match (self, news) {
            (_, News::Success) => Self::default(),
            _ if open_for[0].is_zero() => Self::default(),
            // Whoever comes next may find out instead.
            (Self::Open { since, until, level, .. }, News::Nothing) if is_probe => {
                Self::Open { since, until, level, probed_until: None }
            }
            (Self::Open { until, level, .. }, News::Failure) if is_probe && until <= now => {
                Self::opened(level.saturating_add(1), open_for, now)
            }
            // What was on its way when it opened says nothing new.
            (Self::Open { .. }, _) | (_, News::Nothing) => self,
            (Self::Closed { last, .. }, _) if last.plus(ROW_ENDS_AFTER) <= now => Self::Closed { failures: 1, last: now },
            (Self::Closed { failures, .. }, _) if failures + 1 >= FAILURES_TO_OPEN => Self::opened(0, open_for, now),
            (Self::Closed { failures, .. }, _) => Self::Closed { failures: failures + 1, last: now },
        }
    }

    fn opened(level: u8, open_for: [Duration; 4], now: Timestamp) -> Self {
        let length = open_for[usize::from(level).min(open_for.len() - 1)];
        Self::Open { since: now, until: now.plus(length), level, probed_until: None }
    }
}

/// The breaker as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// Deliveries go out.
    Closed,
    /// None does.
    Open,
    /// One may, to see.
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
    /// It did not.
    Failure,
    /// Nothing: it was not asked.
    Nothing,
}
