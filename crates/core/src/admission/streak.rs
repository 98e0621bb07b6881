//! How long an endpoint took nothing, and what follows from that.

use std::time::Duration;

use crate::clock::Timestamp;

/// How long an endpoint may take nothing before it is disabled, by default: a receiver mended after a long weekend is still served.
pub const DISABLE_AFTER: Duration = Duration::from_secs(5 * 24 * 3600);
/// Deliveries given up meanwhile before it is disabled: a few say nothing.
const LOST_LEAST: u32 = 20;
/// When to warn, in fifths of the time after which it is disabled.
const WARNINGS: [u32; 2] = [1, 3];
/// A streak that nothing was added to for so long is over: its endpoint hardly receives anything, or is there no longer. Nothing waits
/// longer for an endpoint.
pub(super) const OVER_AFTER: Duration = Duration::from_secs(2 * 24 * 3600);

/// Failures with no success between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Streak {
    /// The first of them.
    pub since: Timestamp,
    /// The last.
    pub last: Timestamp,
    /// Deliveries given up.
    pub lost: u32,
    /// Warnings given.
    pub warned: u8,
}

/// Something about an endpoint that people want to know. It is told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// Its breaker opened.
    Failing,
    /// It took nothing for long.
    Warning {
        /// Since then.
        since: Timestamp,
        /// It will be disabled then.
        disabled_at: Timestamp,
    },
    /// It took nothing for so long that it is to be disabled.
    Disable {
        /// Since then.
        since: Timestamp,
    },
    /// Its breaker closed.
    Recovered,
}

impl Streak {
    pub(super) fn begun(now: Timestamp) -> Self {
        Self { since: now, last: now, lost: 0, warned: 0 }
    }

    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.last.plus(OVER_AFTER) <= now
    }

    /// One more delivery was given up.
    pub(super) fn lose(&mut self, disable_after: Option<Duration>, now: Timestamp) -> Option<Alarm> {
        (self.last, self.lost) = (now, self.lost.saturating_add(1));
        let (after, since) = (disable_after?, self.since);
        let lasts = now.since(since);
        if lasts >= after && self.lost >= LOST_LEAST {
            return Some(Alarm::Disable { since });
        }
        let due = WARNINGS.iter().filter(|fifths| lasts >= after / 5 * **fifths).count();
        let due = u8::try_from(due).unwrap_or(u8::MAX);
        (due > self.warned).then(|| {
            self.warned = due;
            Alarm::Warning { since, disabled_at: since.plus(after) }
        })
    }
}
