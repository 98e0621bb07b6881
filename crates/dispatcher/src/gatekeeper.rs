//! In front of the permits: what the installation knows of an endpoint, and what the endpoint may have of this dispatcher.
//!
//! Decisions come from memory. The endpoints that are not ordinary are read each second; the store is asked per delivery only for those,
//! and for those with a limit of their own. While the store is away everybody passes whom this process does not know better.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hookyard_core::gate::{HORIZON, Pass, Step};
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
/// How late a delivery may come for its slot: a delay's last hop, and a busy broker. After that, such as when no dispatcher ran for a
/// while, it asks for another, so that what is late does not come all at once.
const SLOT_KEEPS: Duration = Duration::from_secs(10);
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
    /// The store did not answer: until then it is not asked again.
    away_until: Mutex<Option<Instant>>,
    health: Mutex<LruCache<EndpointId, Health>>,
}

/// How an endpoint does, as this process sees it.
#[derive(Default)]
struct Health {
    /// Places taken, by requests in flight and those that wait for a permit.
    taken: usize,
    /// When each request in flight left.
    in_flight: Vec<Timestamp>,
    waiting: usize,
    average: Option<Duration>,
    released: Arc<Notify>,
    /// Whoever takes a step at its gate: one after another, so that processes contend for a gate and not deliveries.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// What a delivery may do.
pub enum Entry<'a> {
    /// Go on; its place is free again when this is dropped.
    In(Inside<'a>),
    /// Take the slow lane.
    Divert,
    /// Wait until then; whether that is a slot of its own.
    Park { at: Timestamp, why: Parked, has_slot: bool },
}

/// A place at an endpoint, taken.
pub struct Inside<'a> {
    keeper: &'a Gatekeeper,
    endpoint: EndpointId,
    since: Option<Timestamp>,
}

impl Inside<'_> {
    /// The request leaves now: what it waited for a permit until then is not its endpoint's doing.
    pub fn leaves(&mut self) {
        let now = self.keeper.clock.now();
        self.since = Some(now);
        self.keeper.change(self.endpoint, |health| health.in_flight.push(now));
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let mut all = self.keeper.health();
        if let Some(health) = all.get_mut(&self.endpoint) {
            health.taken = health.taken.saturating_sub(1);
            if let Some(place) = health.in_flight.iter().position(|since| Some(*since) == self.since) {
                health.in_flight.swap_remove(place);
            }
            health.released.notify_one();
        }
    }
}

/// Whether a claim may go in now.
enum Place {
    Free,
    Soon,
    TooLate(Duration),
}

/// Whether nothing but a probe may pass.
fn is_shut(gate: &Gate, now: Timestamp) -> bool {
    gate.breaker(now) != BreakerState::Closed || gate.shut_until(now).is_some()
}

/// At the horizon nothing was taken; and what waited for a breaker asks for a place under its endpoint's limit when that has closed.
fn parked(at: Timestamp, why: Parked, now: Timestamp) -> Entry<'static> {
    Entry::Park { at, why, has_slot: why != Parked::BreakerOpen && at < now.plus(HORIZON) }
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
        Self { gates, clock, metrics, cap_most: fast_permits / 4, open_for, known, away_until: Mutex::default(), health }
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
        if lane == Lane::Fast && gate.is_slow(now) && gate.shut_until(now).is_none() {
            return Entry::Divert;
        }
        // Whoever asks for one more attempt wants to know, whatever the breaker says.
        let asks = if is_shut(&gate, now) { delivery.trigger != Trigger::Resend } else { limit.is_some() };
        if asks {
            let has_slot = delivery.has_slot && delivery.not_before.is_some_and(|slot| now.since(slot) <= SLOT_KEEPS);
            let step = Step::Admit { limit, spacing: self.spacing(endpoint, now), has_slot };
            match self.step(endpoint, step, now).await {
                (Pass::Later(at), gate) => {
                    return parked(at, if is_shut(&gate, now) { Parked::BreakerOpen } else { Parked::RateLimited }, now);
                }
                // The one that finds out does not wait for those that hang.
                (Pass::Probe, _) => {
                    self.change(endpoint, |health| health.taken += 1);
                    return Entry::In(Inside { keeper: self, endpoint, since: None });
                }
                (Pass::Go, _) => {}
            }
        }
        let mut released = None;
        loop {
            let now = self.clock.now();
            match self.place(endpoint, now) {
                Place::Free => return Entry::In(Inside { keeper: self, endpoint, since: None }),
                Place::Soon => {
                    let released = released.get_or_insert_with(|| self.released(endpoint));
                    self.wait(endpoint, released).await;
                }
                Place::TooLate(spacing) => {
                    let at = match self.step(endpoint, Step::Reserve { spacing }, now).await.0 {
                        Pass::Later(at) => at,
                        Pass::Go | Pass::Probe => now.plus(spacing),
                    };
                    return parked(at, Parked::Busy, now);
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

    /// Does a step for everybody, or, while the store is away, for this process; what came of it, and the gate after it.
    async fn step(&self, endpoint: EndpointId, step: Step, now: Timestamp) -> (Pass, Gate) {
        let turn = Arc::clone(&self.health().get_or_insert_mut(endpoint, Health::default).turn);
        let _turn = turn.lock().await;
        let before = self.known().get(&endpoint).copied().unwrap_or_default();
        let alone = || {
            let mut gate = before;
            (gate.step(step, now), gate)
        };
        let (pass, gate) = if self.is_away() {
            alone()
        } else {
            match self.gates.step(endpoint, step, now).await {
                Ok(done) => done,
                Err(fault) => {
                    tracing::debug!(error = fault.chain(), "a gate is passed on what this process knows");
                    // Those whose turn comes next do not wait for the store as long as this one did.
                    *self.away_until() = Some(Instant::now() + READ_EVERY);
                    alone()
                }
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
        (pass, gate)
    }

    fn is_away(&self) -> bool {
        self.away_until().is_some_and(|until| until > Instant::now())
    }

    fn away_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.away_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place, if there is one, or says whether one comes soon enough.
    fn place(&self, endpoint: EndpointId, now: Timestamp) -> Place {
        let mut all = self.health();
        let health = all.get_or_insert_mut(endpoint, Health::default);
        let (cap, expected) = (health.cap(self.cap_most, now), health.expected(now));
        if health.taken < cap {
            health.taken += 1;
            if health.waiting > 0 && health.taken < cap {
                // It has earned more than it had.
                health.released.notify_one();
            }
            return Place::Free;
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
