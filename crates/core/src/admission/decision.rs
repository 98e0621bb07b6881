//! What a delivery may do, decided from what the gates of its endpoint and of its application said.

use std::time::Duration;

use super::breaker::BreakerState;
use super::gate::{Gate, Pass};
use super::rate::HORIZON;
use crate::clock::Timestamp;
use crate::delivery::Delivery;

/// How late a delivery may come for its slot: a delay's last hop, and a busy broker. After that, such as when no dispatcher ran for a
/// while, it asks for another, so that what is late does not come all at once.
const SLOT_KEEPS: Duration = Duration::from_secs(10);

/// The slots of its own that a delivery has, and keeps while it waits: two flags of its message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reservation {
    /// At its endpoint's gate.
    pub endpoint: bool,
    /// At its application's.
    pub app: bool,
}

/// Why a delivery does not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its endpoint's breaker is open.
    BreakerOpen,
    /// Its receiver asked to be left alone.
    Held,
    /// Its endpoint, or its application, has a limit.
    RateLimited,
    /// There is no room: its endpoint has as many requests in flight as it may, or those like it have.
    Busy,
    /// There is no room, and its endpoint has not answered for a while.
    InDoubt,
}

/// What a delivery may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It leaves at this moment, which is now or soon.
    Proceed {
        /// When.
        at: Timestamp,
    },
    /// It leaves now, and finds out whether its endpoint answers.
    Probe,
    /// It waits.
    Defer(Deferral),
}

/// How a delivery waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deferral {
    /// Until then.
    pub until: Timestamp,
    /// Why.
    pub reason: Reason,
    /// What it keeps.
    pub keep: Reservation,
}

impl Reservation {
    /// What a delivery has that comes for its slots in time.
    pub fn of(delivery: &Delivery, now: Timestamp) -> Self {
        let is_on_time = delivery.not_before.is_some_and(|slot| now.since(slot) <= SLOT_KEEPS);
        Self { endpoint: delivery.reserved.endpoint && is_on_time, app: delivery.reserved.app && is_on_time }
    }

    /// Whether it is any.
    pub const fn is_some(self) -> bool {
        self.endpoint || self.app
    }
}

impl Decision {
    /// After `gate`, its endpoint's, let it pass like this.
    pub fn by_endpoint(pass: Pass, gate: &Gate, has: Reservation, now: Timestamp) -> Self {
        let until = match pass {
            Pass::Probe => return Self::Probe,
            Pass::GoAt(at) => return Self::Proceed { at },
            Pass::Go | Pass::Learned(_) => return Self::Proceed { at: now },
            Pass::Later(until) => until,
        };
        let is_shut = gate.shut_until(now).is_some();
        match gate.breaker(now) {
            // What waited for a breaker asks for a place under its endpoint's limit when that has closed.
            BreakerState::Open | BreakerState::HalfOpen => {
                Self::Defer(Deferral { until, reason: Reason::BreakerOpen, keep: Reservation::default() })
            }
            BreakerState::Closed => {
                let reason = if is_shut { Reason::Held } else { Reason::RateLimited };
                let keep = Reservation { endpoint: is_slot(until, now), ..has };
                Self::Defer(Deferral { until, reason, keep })
            }
        }
    }

    /// After its application's gate, which has no breaker, let it pass like this: when it leaves, or how it waits.
    ///
    /// # Errors
    /// When it waits.
    pub fn by_app(pass: Pass, has: Reservation, now: Timestamp) -> Result<Timestamp, Deferral> {
        match pass {
            Pass::Later(until) => {
                let keep = Reservation { app: is_slot(until, now), ..has };
                Err(Deferral { until, reason: Reason::RateLimited, keep })
            }
            Pass::GoAt(at) => Ok(at),
            Pass::Go | Pass::Probe | Pass::Learned(_) => Ok(now),
        }
    }
}

impl Deferral {
    /// There is no room at its endpoint before `until`, which is a slot there.
    pub fn without_room(until: Timestamp, has: Reservation, now: Timestamp) -> Self {
        let is_slot = is_slot(until, now);
        let keep = if is_slot { Reservation { endpoint: true, ..has } } else { Reservation::default() };
        Self { until, reason: Reason::Busy, keep }
    }

    /// There is no room, and there are no slots: it is not known how long the others take.
    pub fn without_slot(until: Timestamp, reason: Reason) -> Self {
        Self { until, reason, keep: Reservation::default() }
    }

    /// It may leave soon, and cannot wait for that where it is.
    pub fn without_patience(until: Timestamp, has: Reservation) -> Self {
        Self { until, reason: Reason::RateLimited, keep: has }
    }
}

/// At the horizon nothing was taken.
fn is_slot(until: Timestamp, now: Timestamp) -> bool {
    until < now.plus(HORIZON)
}
