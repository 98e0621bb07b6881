//! The gates as all processes share them.
//!
//! Those that are not ordinary are read each second; the store is asked per delivery only for those, and for those with a limit of their
//! own. While the store is away every delivery passes whose gate this process does not know, and keeps its share of a rate.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hookyard_core::admission::{Follower, Pass, Passed, READ_EVERY, Reading, Step};
use hookyard_core::port::Gates;
use hookyard_core::{BreakerState, Clock, Gate, GateId, Timestamp};
use hookyard_telemetry::Metrics;
use hookyard_telemetry::label::NotClosed;
use lru::LruCache;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::turns::Turns;

/// Gates at which steps may wait for each other at the same time.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(50_000).expect("not zero");

/// The gates.
pub struct SharedGates {
    gates: Arc<dyn Gates>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    /// Dispatchers alive, this one included: each has its share of what an endpoint allows.
    dispatchers: watch::Receiver<usize>,
    /// The gates that are not ordinary, as last read or passed.
    known: Mutex<HashMap<GateId, Gate>>,
    /// The store did not answer: until then, by the monotonic clock, it is not asked again.
    away_until: Mutex<Duration>,
    turns: Mutex<LruCache<GateId, Arc<Turns>>>,
    /// Gates at which something was given back that the store was not told of.
    given_back: Mutex<HashSet<GateId>>,
}

impl SharedGates {
    pub fn new(gates: Arc<dyn Gates>, clock: Arc<dyn Clock>, metrics: Metrics, dispatchers: watch::Receiver<usize>) -> Self {
        Self {
            gates,
            clock,
            metrics,
            dispatchers,
            known: Mutex::default(),
            away_until: Mutex::default(),
            turns: Mutex::new(LruCache::new(REMEMBERED)),
            given_back: Mutex::default(),
        }
    }

    /// Reads the gates each second, until `stop`.
    pub async fn follow(&self, stop: &CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.read_again_and_again() => {}
        }
    }

    async fn read_again_and_again(&self) {
        let mut follower = Follower::default();
        loop {
            match follower.read(&*self.gates, &*self.clock).await {
                Ok(reading) => self.note(reading, self.clock.now()),
                Err(fault) => tracing::debug!(error = fault.chain(), "the gates cannot be read; the last known ones count"),
            }
            self.clock.sleep(READ_EVERY).await;
        }
    }

    fn note(&self, reading: Reading, now: Timestamp) {
        let mut known = lock(&self.known);
        reading.note(&mut known, now);
        let standing = |state| known.values().filter(|gate| gate.breaker(now) == state).count();
        let breakers = &self.metrics.endpoint_breakers;
        breakers.set(NotClosed::Open, standing(BreakerState::Open));
        breakers.set(NotClosed::HalfOpen, standing(BreakerState::HalfOpen));
    }

    /// As far as this process knows it.
    pub fn gate(&self, id: GateId) -> Gate {
        lock(&self.known).get(&id).copied().unwrap_or_default()
    }

    /// Does a step; what came of it, and the gate after it.
    pub async fn step(&self, id: GateId, step: Step) -> (Pass, Gate) {
        self.turns(id).step(step, |steps| self.pass(id, steps)).await
    }

    /// Does a step before the next one at this gate, or with [`Self::flush`], without waiting for it.
    pub fn give_back(&self, id: GateId, step: Step) {
        self.turns(id).leave(step);
        lock(&self.given_back).insert(id);
    }

    /// Tells the store of what was given back. Each delivery does so at its end, those too that end after the process was told to stop.
    pub async fn flush(&self) {
        let gates = std::mem::take(&mut *lock(&self.given_back));
        for id in gates {
            self.turns(id).flush(|steps| self.pass(id, steps)).await;
        }
    }

    /// Does steps for all processes, or, while the store is away, for this one.
    async fn pass(&self, id: GateId, steps: Vec<Step>) -> Passed {
        let now = self.clock.now();
        let passed = if *lock(&self.away_until) > self.clock.monotonic() {
            self.pass_alone(id, &steps, now)
        } else {
            self.gates.steps(id, &steps, now).await.unwrap_or_else(|fault| {
                tracing::debug!(error = fault.chain(), "a gate is passed on what this process knows");
                // Those whose turn comes next do not wait for the store as long as this one did.
                *lock(&self.away_until) = self.clock.monotonic() + READ_EVERY;
                self.pass_alone(id, &steps, now)
            })
        };
        let mut known = lock(&self.known);
        if passed.after.is_ordinary(now) {
            known.remove(&id);
        } else {
            known.insert(id, passed.after);
        }
        drop(known);
        passed
    }

    /// On what this process knows: of each rate it has its share.
    fn pass_alone(&self, id: GateId, steps: &[Step], now: Timestamp) -> Passed {
        let dispatchers = u32::try_from(*self.dispatchers.borrow()).unwrap_or(u32::MAX).max(1);
        let shared = steps.iter().map(|step| step.at_distances_times(dispatchers));
        self.gate(id).steps(&shared.collect::<Vec<_>>(), now)
    }

    fn turns(&self, id: GateId) -> Arc<Turns> {
        Arc::clone(lock(&self.turns).get_or_insert(id, Arc::default))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
