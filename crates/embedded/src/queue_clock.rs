//! The time by which deliveries in the file are due. A correction of the machine's clock does not move it: what was due in four seconds
//! is due in four seconds, whichever hour it is then.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hookyard_core::{Clock, Timestamp};
use rusqlite::{Connection, OptionalExtension as _};

/// The machine's clock was corrected if it moved by so much more, or less, than time passed. A clock that is only adjusted gains or
/// loses half a millisecond in a second at most.
const CORRECTED_BY: i64 = 1_000;

/// The clock of the queue.
pub struct QueueClock {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    /// By how much it is ahead of the machine's clock, in milliseconds.
    ahead: i64,
    is_saved: bool,
    /// What the machine's clocks showed last.
    wall: i64,
    monotonic: Duration,
}

impl QueueClock {
    /// The clock by which the rows of this file are due.
    pub fn of(connection: &Connection, clock: Arc<dyn Clock>) -> rusqlite::Result<Self> {
        let query = "SELECT value FROM counters WHERE name = 'queue_clock_ahead'";
        let ahead = connection.query_row(query, [], |row| row.get(0)).optional()?.unwrap_or_default();
        let (wall, monotonic) = (clock.now().as_millis(), clock.monotonic());
        Ok(Self { clock, state: Mutex::new(State { ahead, is_saved: true, wall, monotonic }) })
    }

    /// The present moment, in milliseconds.
    pub fn now(&self) -> i64 {
        let state = self.look();
        state.wall.saturating_add(state.ahead)
    }

    /// When something is due that is wanted at `at` by the machine's clock, in milliseconds.
    pub fn due(&self, at: Timestamp) -> i64 {
        at.as_millis().saturating_add(self.look().ahead)
    }

    /// By how much it is ahead, if the file does not say so yet.
    pub fn unsaved(&self) -> Option<i64> {
        let mut state = self.look();
        let unsaved = Some(state.ahead).filter(|_| !state.is_saved);
        state.is_saved = true;
        unsaved
    }

    fn look(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (wall, monotonic) = (self.clock.now().as_millis(), self.clock.monotonic());
        let passed = i64::try_from(monotonic.saturating_sub(state.monotonic).as_millis()).unwrap_or(i64::MAX);
        let moved = wall.saturating_sub(state.wall).saturating_sub(passed);
        if moved.abs() >= CORRECTED_BY {
            tracing::warn!(by_ms = moved, "the machine's clock was corrected");
            state.ahead -= moved;
            state.is_saved = false;
        }
        (state.wall, state.monotonic) = (wall, monotonic);
        state
    }
}

/// Writes down by how much it is ahead.
pub fn save(connection: &Connection, ahead: i64) -> rusqlite::Result<()> {
    let keep = "INSERT INTO counters (name, value) VALUES ('queue_clock_ahead', ?1)
                ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    connection.prepare_cached(keep)?.execute([ahead]).map(drop)
}
