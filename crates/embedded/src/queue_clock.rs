//! The time by which deliveries in the file are due. A correction of the machine's clock does not move it: what was due in four seconds
//! is due in four seconds, whichever hour it is then.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hookyard_core::{Clock, Timestamp};
use rusqlite::{Connection, OptionalExtension as _};

/// The machine's clock was corrected if it moved by so much more, or less, than time passed. A clock that is only adjusted gains or
/// loses half a millisecond in a second at most.
const CORRECTED_BY: i64 = 1_000;

/// A machine without a clock of its own has the right time within this after it started.
const SETTLES_WITHIN: Duration = Duration::from_secs(120);

/// The clock of the queue.
pub struct QueueClock {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    /// By how much it is ahead of the machine's clock, in milliseconds.
    ahead: i64,
    is_saved: bool,
    /// When this process opened the file, by the monotonic clock.
    begun: Duration,
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
        Ok(Self { clock, state: Mutex::new(State { ahead, is_saved: true, begun: monotonic, wall, monotonic }) })
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
        let state = self.look();
        Some(state.ahead).filter(|_| !state.is_saved)
    }

    /// The file says now that it is ahead by so much.
    pub fn saved(&self, ahead: i64) {
        let mut state = self.look();
        state.is_saved = state.ahead == ahead;
    }

    fn look(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (wall, monotonic) = (self.clock.now().as_millis(), self.clock.monotonic());
        let passed = i64::try_from(monotonic.saturating_sub(state.monotonic).as_millis()).unwrap_or(i64::MAX);
        let moved = wall.saturating_sub(state.wall).saturating_sub(passed);
        // A clock that is set on soon after the start was wrong then: the file was written by a right one.
        let was_wrong = moved > 0 && monotonic.saturating_sub(state.begun) < SETTLES_WITHIN;
        if moved.abs() >= CORRECTED_BY {
            tracing::warn!(by_ms = moved, "the machine's clock was corrected");
        }
        if moved.abs() >= CORRECTED_BY && !was_wrong {
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

#[cfg(test)]
mod tests {
    use hookyard_testkit::StepClock;

    use super::*;

    /// A clock that is corrected.
    struct Corrected(StepClock, Mutex<i64>);

    #[async_trait::async_trait]
    impl Clock for Corrected {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.0.now().as_millis() + *self.1.lock().expect("no holder panics"))
        }

        fn monotonic(&self) -> Duration {
            self.0.monotonic()
        }

        async fn sleep(&self, time: Duration) {
            self.0.sleep(time).await;
        }
    }

    fn file() -> Connection {
        let connection = Connection::open_in_memory().expect("memory");
        connection.execute("CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL)", []).expect("a table");
        connection
    }

    #[test]
    fn what_is_due_in_ten_seconds_is_whichever_hour_it_is_then_also_after_a_restart() {
        const HOUR: i64 = 3_600_000;
        for correction in [-HOUR, HOUR] {
            let (file, steps) = (file(), StepClock::default());
            let machine = Arc::new(Corrected(steps.clone(), Mutex::default()));
            let clock = QueueClock::of(&file, Arc::clone(&machine) as _).expect("read");
            steps.step(SETTLES_WITHIN);
            let due = clock.due(machine.now().plus(Duration::from_secs(10)));
            *machine.1.lock().expect("no holder panics") += correction;
            assert_eq!(due - clock.now(), 10_000, "{correction}");
            steps.step(Duration::from_secs(4));
            assert_eq!(due - clock.now(), 6_000, "{correction}");
            let ahead = clock.unsaved().expect("it changed");
            save(&file, ahead).expect("saved");
            clock.saved(ahead);
            assert_eq!(clock.unsaved(), None);
            let restarted = QueueClock::of(&file, Arc::clone(&machine) as _).expect("read");
            assert_eq!(due - restarted.now(), 6_000, "{correction}");
        }
    }

    #[test]
    fn a_clock_that_was_wrong_at_the_start_delays_nothing_when_it_is_right() {
        let (file, steps) = (file(), StepClock::default());
        let machine = Arc::new(Corrected(steps.clone(), Mutex::new(-12 * 3_600_000)));
        let clock = QueueClock::of(&file, Arc::clone(&machine) as _).expect("read");
        // By a process before this one, whose clock was right.
        let due = steps.now().as_millis();
        steps.step(Duration::from_secs(20));
        *machine.1.lock().expect("no holder panics") = 0;
        assert!(clock.now() >= due);
    }
}
