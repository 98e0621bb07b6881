//! In front of the permits: what the installation knows of an endpoint, and what the endpoint may have of this dispatcher.
//!
//! Decisions come from memory. The endpoints that are not ordinary are read each second; the store is asked per delivery only for those,
//! and for those with a limit of their own. While the store is away everybody passes whom this process does not know better.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hookyard_core::gate::{Pass, Step};
use hookyard_core::port::Gates;
use hookyard_core::{AttemptClass, AttemptResult, BreakerState, Clock, Delivery, EndpointId, Gate, Lane, Timestamp, Trigger};
use hookyard_telemetry::Metrics;
use hookyard_telemetry::label::{BreakerMove, Parked};
use lru::LruCache;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How often the gates are read.
const READ_EVERY: Duration = Duration::from_secs(1);
/// Endpoints whose latency is remembered.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(50_000).expect("not zero");
/// Requests to one endpoint at once while nobody knows how fast it is, or it is not.
const CAP: usize = 8;
/// An endpoint whose average is below this has earned more.
const QUICK: Duration = Duration::from_millis(100);
/// One whose average is above this takes the slow lane.
const SLOW: Duration = Duration::from_secs(2);
/// The longest a delivery waits in memory for its endpoint: what must wait longer is put aside, and gives its place to others.
const WAIT_MOST: Duration = Duration::from_millis(250);
/// Least time between two slots of what waits for an endpoint: so much a second is drained when it recovers.
const SPACING_LEAST: Duration = Duration::from_millis(5);
/// Part of the latest sample in the average.
const LATEST: f64 = 0.2;

/// The gatekeeper.
pub struct Gatekeeper {
    gates: Arc<dyn Gates>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    /// Most requests to one endpoint, earned.
    cap_most: usize,
    open_for: [Duration; 4],
    /// The gates that are not ordinary, as last read or passed.
    known: Mutex<HashMap<EndpointId, Gate>>,
    health: Mutex<LruCache<EndpointId, Health>>,
}

/// How an endpoint does, as this process sees it.
#[derive(Default)]
struct Health {
    /// When each request in flight left.
    in_flight: Vec<Timestamp>,
    waiting: usize,
    average: Option<Duration>,
    released: Arc<Notify>,
}

/// What a delivery may do.
pub enum Entry<'a> {
    /// Go on; its place is free again when this is dropped.
    In(Inside<'a>),
    /// Take the slow lane.
    Divert,
    /// Wait until then.
    Park(Timestamp, Parked),
}

/// A request to an endpoint, counted.
pub struct Inside<'a> {
    keeper: &'a Gatekeeper,
    endpoint: EndpointId,
    since: Timestamp,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let mut all = self.keeper.health();
        if let Some(health) = all.get_mut(&self.endpoint) {
            if let Some(place) = health.in_flight.iter().position(|since| *since == self.since) {
                health.in_flight.swap_remove(place);
            }
            health.released.notify_one();
        }
    }
}

/// Whether a claim may go in now.
enum Place {
    Free(Timestamp),
    Soon,
    TooLate(Duration),
}

impl Health {
    /// What the next request may take: the average, or what the oldest one out there has taken already.
    fn expected(&self, now: Timestamp) -> Duration {
        let oldest = self.in_flight.iter().min().map_or(Duration::ZERO, |since| now.since(*since));
        self.average.unwrap_or_default().max(oldest)
    }

    fn cap(&self, most: usize, now: Timestamp) -> usize {
        let is_quick = self.average.is_some() && self.expected(now) <= QUICK;
        if is_quick { most.max(CAP) } else { CAP }
    }
}

impl Gatekeeper {
    pub fn new(
        gates: Arc<dyn Gates>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
        fast_permits: usize,
        open_for: [Duration; 4],
    ) -> Self {
        let (known, health) = (Mutex::default(), Mutex::new(LruCache::new(REMEMBERED)));
        // A quarter: four such endpoints at once leave nothing to spare, and no single one takes half.
        Self { gates, clock, metrics, cap_most: fast_permits / 4, open_for, known, health }
    }

    /// Reads the gates each second, until `stop`.
    pub async fn follow(&self, stop: &CancellationToken) {
        loop {
            match self.gates.gates(self.clock.now()).await {
                Ok(gates) => *self.known() = gates.into_iter().collect(),
                Err(fault) => tracing::debug!(error = fault.chain(), "the gates cannot be read; the last known ones count"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(READ_EVERY) => {}
            }
        }
    }

    /// Lets a delivery in, or says where it is to wait. `limit` is the least time between two of its endpoint.
    pub async fn enter(&self, delivery: &Delivery, lane: Lane, limit: Option<Duration>) -> Entry<'_> {
        let endpoint = delivery.endpoint;
        let now = self.clock.now();
        let gate = self.known().get(&endpoint).copied().unwrap_or_default();
        let shut = gate.shut_until(now).is_some();
        if lane == Lane::Fast && gate.is_slow(now) && !shut {
            return Entry::Divert;
        }
        // Whoever asks for one more attempt wants to know, whatever the breaker says.
        let asks = (gate.breaker(now) != BreakerState::Closed || shut) && delivery.trigger != Trigger::Resend;
        if asks || limit.is_some() {
            let step = Step::Admit { limit, spacing: self.spacing(endpoint, now), has_slot: delivery.has_slot };
            if let Pass::Later(at) = self.step(endpoint, step, now).await {
                return Entry::Park(at, if asks { Parked::BreakerOpen } else { Parked::RateLimited });
            }
        }
        let mut released = None;
        loop {
            let now = self.clock.now();
            match self.place(endpoint, now) {
                Place::Free(since) => return Entry::In(Inside { keeper: self, endpoint, since }),
                Place::Soon => {
                    let released = released.get_or_insert_with(|| self.released(endpoint));
                    self.wait(endpoint, released).await;
                }
                Place::TooLate(spacing) => {
                    let at = match self.step(endpoint, Step::Reserve { spacing }, now).await {
                        Pass::Later(at) => at,
                        Pass::Go | Pass::Probe => now.plus(spacing),
                    };
                    return Entry::Park(at, Parked::Busy);
                }
            }
        }
    }

    /// Learns from an attempt.
    pub async fn observe(&self, endpoint: EndpointId, result: &AttemptResult, hold_until: Option<Timestamp>) {
        let average = self.sample(endpoint, result.duration);
        let success = result.class == AttemptClass::Success;
        let slow = result.class == AttemptClass::Timeout || average > SLOW;
        // That outbound safety refused an address says nothing of the receiver.
        let is_news = result.class != AttemptClass::Blocked && (!success || slow || self.known().contains_key(&endpoint));
        if is_news {
            let step = Step::Observe { success, slow, hold_until, open_for: self.open_for };
            self.step(endpoint, step, self.clock.now()).await;
        }
    }

    /// Does a step for everybody, or, while the store is away, for this process.
    async fn step(&self, endpoint: EndpointId, step: Step, now: Timestamp) -> Pass {
        let before = self.known().get(&endpoint).copied().unwrap_or_default();
        let (pass, gate) = match self.gates.step(endpoint, step, now).await {
            Ok(done) => done,
            Err(fault) => {
                tracing::debug!(error = fault.chain(), "a gate is passed on what this process knows");
                let mut gate = before;
                (gate.step(step, now), gate)
            }
        };
        let mut known = self.known();
        if gate.is_ordinary(now) {
            known.remove(&endpoint);
        } else {
            known.insert(endpoint, gate);
        }
        drop(known);
        let to = gate.breaker(now);
        if to != before.breaker(now) {
            self.metrics.endpoint_breaker_transitions_total.inc(BreakerMove::to(to));
            tracing::info!(%endpoint, state = to.as_str(), "breaker");
        }
        pass
    }

    /// Takes a place, if there is one, or says whether one comes soon enough.
    fn place(&self, endpoint: EndpointId, now: Timestamp) -> Place {
        let mut all = self.health();
        let health = all.get_or_insert_mut(endpoint, Health::default);
        let (cap, expected) = (health.cap(self.cap_most, now), health.expected(now));
        if health.in_flight.len() < cap {
            health.in_flight.push(now);
            if health.waiting > 0 && health.in_flight.len() < cap {
                // It has earned more than it had.
                health.released.notify_one();
            }
            return Place::Free(now);
        }
        let (ahead, at_once) = (u32::try_from(health.waiting + 1).unwrap_or(u32::MAX), u32::try_from(cap).unwrap_or(1));
        if expected.saturating_mul(ahead) / at_once < WAIT_MOST {
            return Place::Soon;
        }
        Place::TooLate((expected / at_once).max(SPACING_LEAST))
    }

    fn released(&self, endpoint: EndpointId) -> Arc<Notify> {
        Arc::clone(&self.health().get_or_insert_mut(endpoint, Health::default).released)
    }

    /// Waits for a place to become free, or until it is time to judge anew. A place that became free since is remembered.
    async fn wait(&self, endpoint: EndpointId, released: &Notify) {
        self.change(endpoint, |health| health.waiting += 1);
        // Time runs out too: an endpoint that hangs releases nobody.
        drop(tokio::time::timeout(WAIT_MOST / 2, released.notified()).await);
        self.change(endpoint, |health| health.waiting = health.waiting.saturating_sub(1));
    }

    /// Time between two slots of what waits.
    fn spacing(&self, endpoint: EndpointId, now: Timestamp) -> Duration {
        let mut spacing = SPACING_LEAST;
        self.change(endpoint, |health| spacing = spacing.max(health.expected(now) / 8));
        spacing
    }

    fn sample(&self, endpoint: EndpointId, took: Duration) -> Duration {
        let mut average = took;
        self.change(endpoint, |health| {
            average = health.average.map_or(took, |known| known.mul_f64(1.0 - LATEST) + took.mul_f64(LATEST));
            health.average = Some(average);
        });
        average
    }

    fn change(&self, endpoint: EndpointId, change: impl FnOnce(&mut Health)) {
        change(self.health().get_or_insert_mut(endpoint, Health::default));
    }

    fn known(&self) -> MutexGuard<'_, HashMap<EndpointId, Gate>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn health(&self) -> MutexGuard<'_, LruCache<EndpointId, Health>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
