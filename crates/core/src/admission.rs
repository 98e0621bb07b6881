//! Whether a delivery may leave now. Pure: stores keep what is known of an endpoint and apply steps to it, dispatchers ask.
//!
//! The breaker follows the circuit breaker pattern: closed, open after silence, and half-open while probes are out.

mod breaker;
mod decision;
mod evidence;
mod gate;
mod known;
mod rate;
mod streak;
mod text;

#[cfg(test)]
mod tests;

pub use breaker::{BreakerRule, BreakerState, News, OPEN_FOR, PROBE_LEASE};
pub use decision::{Decision, Deferral, Reason, Reservation};
pub use evidence::{LEAST as LEAST_JUDGED, SILENT_LEAST, SILENT_PERCENT};
pub use gate::{Gate, GateId, Learned, Pass, Passed, SLOW_FOR, Step};
pub use known::{Follower, KnownGates, Mark, READ_EVERY, Reading};
pub use rate::{HORIZON, SOON};
pub use streak::{Alarm, DISABLE_AFTER};
pub use text::BadGate;
