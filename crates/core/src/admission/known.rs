//! The gates that are not ordinary, as a process knows them: read whole now and then, and in between what changed.

use std::collections::HashMap;
use std::time::Duration;

use super::{Gate, GateId};
use crate::clock::{Clock, Timestamp};
use crate::fault::Fault;
use crate::port::Gates;

/// How often a process reads what changed. What is decided meanwhile on what was known, the next step at that gate sets right.
pub const READ_EVERY: Duration = Duration::from_secs(1);
/// How often everything is read again: what became ordinary by the passing of time is forgotten then.
const WHOLE_EVERY: Duration = Duration::from_secs(60);

/// The gates that are not ordinary, as they were read.
pub type KnownGates = HashMap<GateId, Gate>;

/// How far a reader has come; every store counts changes its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(pub u64);

/// Gates, read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// What to ask for the next time, where the store counts changes.
    pub mark: Option<Mark>,
    /// Whether these are all that are not ordinary, and not only what changed.
    pub is_whole: bool,
    /// The gates, some of them ordinary again if it is not whole.
    pub gates: Vec<(GateId, Gate)>,
}

/// Somebody who reads the gates again and again.
#[derive(Debug, Default)]
pub struct Follower {
    mark: Option<Mark>,
    /// By the monotonic clock.
    whole_at: Option<Duration>,
}

impl Follower {
    /// Reads what changed since the last time.
    ///
    /// # Errors
    /// When the store does not answer; what is known counts until it does.
    pub async fn read(&mut self, gates: &dyn Gates, clock: &dyn Clock) -> Result<Reading, Fault> {
        let passed = clock.monotonic();
        let is_due = self.whole_at.is_none_or(|at| passed.saturating_sub(at) >= WHOLE_EVERY);
        let reading = gates.changed(self.mark.filter(|_| !is_due), clock.now()).await?;
        self.mark = reading.mark;
        if reading.is_whole {
            self.whole_at = Some(passed);
        }
        Ok(reading)
    }
}

impl Reading {
    /// Writes down what was read.
    pub fn note(self, known: &mut KnownGates, now: Timestamp) {
        if self.is_whole {
            known.clear();
        }
        for (id, gate) in self.gates {
            if gate.is_ordinary(now) {
                known.remove(&id);
            } else {
                known.insert(id, gate);
            }
        }
    }
}
