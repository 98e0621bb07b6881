//! In front of the permits: what the installation knows of an endpoint, and what the endpoint may have of this dispatcher.
//!
//! Decisions come from memory. The gates that are not ordinary are read each second; the store is asked per delivery only for those,
//! and for those with a limit of their own. While the store is away everybody passes whom this process does not know better, and keeps
//! its share of a rate.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hookyard_core::gate::{Alarm, Follower, HORIZON, News, Pass, Passed, READ_EVERY, Reading, Step};
use hookyard_core::port::Gates;
use hookyard_core::{
    AttemptClass, AttemptResult, BreakerState, Clock, Delivery, EndpointId, Gate, GateId, Lane, Timestamp, Trigger,
};
use hookyard_telemetry::Metrics;
use hookyard_telemetry::label::{BreakerMove, NotClosed, Parked};
use lru::LruCache;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::dispatcher::{DispatcherConfig, Seams};
use crate::health::{Health, Place, Share, WAIT_MOST};
use crate::newcomers::{self, Newcomers};
use crate::permits::Permits;
use crate::turns::Turns;

/// Endpoints whose latency is remembered.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(50_000).expect("not zero");
/// One whose average is above this takes the slow lane.
const SLOW: Duration = Duration::from_secs(2);
/// Time between two of those that waited for an opening's end: 500 a second, which most endpoints take, and of which a dispatcher puts
/// those aside again with little effort whose endpoint does not.
const RETURNING: Duration = Duration::from_millis(2);
/// How long a delivery is put aside, at least and at most, for whose endpoint, one of many that nobody has seen answer, is no place: half
/// as long as it waited already. What hangs does so for [`hookyard_core::limits::ATTEMPT_TIMEOUT`].
const NEWCOMER_WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(15)];
/// How late a delivery may come for its slot: a delay's last hop, and a busy broker. After that, such as when no dispatcher ran for a
/// while, it asks for another, so that what is late does not come all at once.
const SLOT_KEEPS: Duration = Duration::from_secs(10);

/// The gatekeeper.
pub struct Gatekeeper {
    gates: Arc<dyn Gates>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    permits: Arc<Permits>,
    /// Dispatchers alive, this one included: each has its share of what an endpoint allows.
    dispatchers: watch::Receiver<usize>,
    /// Requests at once to an endpoint that has not earned more.
    least: usize,
    open_for: [Duration; 4],
    disable_after: Option<Duration>,
    newcomers: Newcomers,
    /// The gates that are not ordinary, as last read or passed.
    known: Mutex<HashMap<GateId, Gate>>,
    /// The store did not answer: until then it is not asked again.
    away_until: Mutex<Option<Instant>>,
    health: Mutex<LruCache<EndpointId, Health>>,
    turns: Mutex<LruCache<GateId, Arc<Turns>>>,
}

/// What an endpoint, and its application, want kept to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Least time between two deliveries.
    pub interval: Option<Duration>,
    /// Least time between two deliveries to endpoints of its application.
    pub app_interval: Option<Duration>,
    /// Most requests at once, over all dispatchers.
    pub in_flight: Option<u16>,
    /// A number for its host.
    pub host: u64,
}

/// What a delivery may do.
pub enum Entry<'a> {
    /// Go on; its place is free again when this is dropped.
    In(Inside<'a>),
    /// Take the slow lane.
    Divert,
    /// Wait.
    Park(Wait),
}

/// Until when a delivery waits, and why.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    pub at: Timestamp,
    pub why: Parked,
    /// Whether that is a slot of its own at its endpoint's gate.
    pub has_slot: bool,
    /// Whether it is one at its application's.
    pub has_app_slot: bool,
}

/// A place at an endpoint, taken.
pub struct Inside<'a> {
    keeper: &'a Gatekeeper,
    endpoint: EndpointId,
    since: Option<Timestamp>,
    /// Whether it goes in to find out.
    is_probe: bool,
    /// Its place among those that nobody has seen answer.
    newcomer: Option<newcomers::Place>,
}

impl Inside<'_> {
    /// The request leaves now: what it waited for a permit until then is not its endpoint's doing.
    pub fn leaves(&mut self) {
        let now = self.keeper.clock.now();
        self.since = Some(now);
        self.keeper.change(self.endpoint, |health| health.leaves(now));
    }

    /// Its place is free again; whether it went in to find out.
    pub fn ends(self) -> bool {
        self.is_probe
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if let Some(health) = self.keeper.health().get_mut(&self.endpoint) {
            health.release(self.since);
        }
    }
}

/// What an attempt says of its receiver.
fn news_of(result: &AttemptResult) -> News {
    match result.class {
        AttemptClass::Success => News::Success,
        // That outbound safety refused an address, or we stopped, says nothing of the receiver.
        AttemptClass::Blocked | AttemptClass::Canceled => News::Nothing,
        // An answer that was not read to its end held a place until its time was over.
        AttemptClass::Timeout => News::Silence,
        _ if result.status.is_some() => News::Refusal,
        _ => News::Silence,
    }
}

/// Whether nothing but a probe may pass.
fn is_shut(gate: &Gate, now: Timestamp) -> bool {
    gate.breaker(now) != BreakerState::Closed || gate.shut_until(now).is_some()
}

/// Whether a delivery came for the slot it waited for.
fn is_on_time(delivery: &Delivery, now: Timestamp) -> bool {
    delivery.not_before.is_some_and(|slot| now.since(slot) <= SLOT_KEEPS)
}

impl Gatekeeper {
    pub fn new(seams: &Seams, permits: Arc<Permits>, config: &DispatcherConfig) -> Self {
        let permits_of_fast = permits.most(Lane::Fast);
        Self {
            gates: Arc::clone(&seams.gates),
            clock: Arc::clone(&seams.clock),
            metrics: seams.metrics.clone(),
            permits,
            dispatchers: seams.dispatchers.clone(),
            least: usize::from(config.per_endpoint_concurrency),
            open_for: config.open_for,
            disable_after: config.disable_after,
            newcomers: Newcomers::new(permits_of_fast, usize::from(config.per_endpoint_concurrency)),
            known: Mutex::default(),
            away_until: Mutex::default(),
            health: Mutex::new(LruCache::new(REMEMBERED)),
            turns: Mutex::new(LruCache::new(REMEMBERED)),
        }
    }

    /// Reads the gates each second, until `stop`.
    pub async fn follow(&self, stop: &CancellationToken) {
        let mut follower = Follower::default();
        loop {
            let now = self.clock.now();
            match follower.read(&*self.gates, now).await {
                Ok(reading) => self.note(reading, now),
                Err(fault) => tracing::debug!(error = fault.chain(), "the gates cannot be read; the last known ones count"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(READ_EVERY) => {}
            }
        }
    }

    fn note(&self, reading: Reading, now: Timestamp) {
        let mut known = self.known();
        reading.note(&mut known, now);
        let standing = |state| known.values().filter(|gate| gate.breaker(now) == state).count();
        let breakers = &self.metrics.endpoint_breakers;
        breakers.set(NotClosed::Open, standing(BreakerState::Open));
        breakers.set(NotClosed::HalfOpen, standing(BreakerState::HalfOpen));
    }

    /// Until when a delivery waits whose endpoint is left alone. Without letting it in when it is not: that is for [`Self::enter`].
    pub async fn turn_away(&self, delivery: &Delivery, limits: Limits) -> Option<Timestamp> {
        let (endpoint, now) = (delivery.endpoint, self.clock.now());
        // Whoever asks for one more attempt wants to know, whatever the breaker says.
        if delivery.trigger == Trigger::Resend || !self.gate(endpoint.into()).is_left_alone(now) {
            return None;
        }
        let step = Step::Ask { limit: limits.interval, spacing: self.spacing(endpoint, now) };
        match self.step(endpoint.into(), step).await {
            (Pass::Later(at), gate) if gate.breaker(now) != BreakerState::Closed => Some(at),
            _ => None,
        }
    }

    /// Lets a delivery in, or says where it is to wait.
    pub async fn enter(&self, delivery: &Delivery, lane: Lane, limits: Limits) -> Entry<'_> {
        let endpoint = delivery.endpoint;
        let now = self.clock.now();
        let gate = self.gate(endpoint.into());
        if lane == Lane::Fast && gate.is_slow(now) && gate.shut_until(now).is_none() {
            return Entry::Divert;
        }
        let has_slot = delivery.has_slot && is_on_time(delivery, now);
        // A delivery that comes for its slot keeps it.
        let may_be_newcomer = lane == Lane::Fast && !has_slot;
        let mut wait = Wait {
            at: now,
            why: Parked::RateLimited,
            has_slot,
            has_app_slot: delivery.has_app_slot && is_on_time(delivery, now),
        };
        let mut leaves_at = now;
        // Whoever asks for one more attempt wants to know, whatever the breaker says.
        let asks = if is_shut(&gate, now) { delivery.trigger != Trigger::Resend } else { limits.interval.is_some() };
        if asks {
            let step = Step::Admit { limit: limits.interval, spacing: self.spacing(endpoint, now), has_slot: wait.has_slot };
            match self.step(endpoint.into(), step).await {
                (Pass::Later(at), gate) => {
                    wait.why = match gate.breaker(now) {
                        BreakerState::Closed if gate.shut_until(now).is_some() => Parked::Held,
                        BreakerState::Closed => Parked::RateLimited,
                        BreakerState::Open | BreakerState::HalfOpen => Parked::BreakerOpen,
                    };
                    // At the horizon nothing was taken; and what waited for a breaker asks for a place under its endpoint's limit
                    // when that has closed.
                    wait.has_slot = wait.why != Parked::BreakerOpen && at < now.plus(HORIZON);
                    let has_app_slot = wait.has_app_slot && wait.why != Parked::BreakerOpen;
                    return Entry::Park(Wait { at, has_app_slot, ..wait });
                }
                // The one that finds out does not wait for those that hang.
                (Pass::Probe, gate) => {
                    if gate.is_first_probe() {
                        self.breaker_moved(endpoint, BreakerState::HalfOpen);
                    }
                    self.change(endpoint, Health::take);
                    return Entry::In(Inside { keeper: self, endpoint, since: None, is_probe: true, newcomer: None });
                }
                (Pass::GoAt(at), _) => leaves_at = at,
                (Pass::Go | Pass::Learned(_), _) => {}
            }
            wait.has_slot = limits.interval.is_some();
        }
        let limits = Limits { interval: limits.interval.filter(|_| asks), ..limits };
        if let Some(interval) = limits.app_interval {
            let step = Step::Admit { limit: Some(interval), spacing: interval, has_slot: wait.has_app_slot };
            match self.step(delivery.message.app.into(), step).await.0 {
                Pass::Later(at) => {
                    self.stay_back(endpoint.into(), limits.interval).await;
                    return Entry::Park(Wait { at, has_app_slot: at < now.plus(HORIZON), ..wait });
                }
                Pass::GoAt(at) => leaves_at = leaves_at.max(at),
                Pass::Go | Pass::Probe | Pass::Learned(_) => {}
            }
            wait.has_app_slot = true;
        }
        if !self.permits.wait_here(leaves_at.since(now)).await {
            self.stay_back_from_both(delivery, limits).await;
            return Entry::Park(Wait { at: leaves_at, ..wait });
        }
        self.take_place(delivery, limits, wait, may_be_newcomer).await
    }

    /// Waits for a place in memory, if one will be free soon.
    async fn take_place(&self, delivery: &Delivery, limits: Limits, wait: Wait, may_be_newcomer: bool) -> Entry<'_> {
        let endpoint = delivery.endpoint;
        loop {
            let (share, now) = (self.share(limits), self.clock.now());
            let (place, is_known) = {
                let mut all = self.health();
                let health = all.get_or_insert_mut(endpoint, Health::default);
                (health.place(share, now), health.is_known())
            };
            match place {
                Place::Free => {
                    let inside = Inside { keeper: self, endpoint, since: None, is_probe: false, newcomer: None };
                    let is_newcomer = may_be_newcomer && !is_known;
                    return if is_newcomer { self.as_newcomer(inside, delivery, limits).await } else { Entry::In(inside) };
                }
                Place::Soon => {
                    let released = self.health().get_or_insert_mut(endpoint, Health::default).wait();
                    // Time runs out too: an endpoint that hangs releases nobody.
                    drop(tokio::time::timeout(WAIT_MOST / 2, released.notified()).await);
                    self.change(endpoint, Health::waited);
                }
                Place::TooLate(spacing) => {
                    let Pass::Later(at) = self.step(endpoint.into(), Step::Reserve { spacing }).await.0 else { continue };
                    self.stay_back_from_both(delivery, limits).await;
                    let is_slot = at < now.plus(HORIZON);
                    let (has_slot, has_app_slot) = (is_slot, is_slot && wait.has_app_slot);
                    return Entry::Park(Wait { at, why: Parked::Busy, has_slot, has_app_slot });
                }
            }
        }
    }

    /// Takes a place of its application's and its host's newcomers too. Last: deliveries that wait for a place at their endpoint would
    /// have all of these.
    async fn as_newcomer<'a>(&'a self, mut inside: Inside<'a>, delivery: &Delivery, limits: Limits) -> Entry<'a> {
        inside.newcomer = self.newcomers.enter(delivery.message.app, limits.host).await;
        if inside.newcomer.is_some() {
            return Entry::In(inside);
        }
        drop(inside);
        self.stay_back_from_both(delivery, limits).await;
        let (now, [least, most]) = (self.clock.now(), NEWCOMER_WAITS);
        let at = now.plus((now.since(delivery.due) / 2).clamp(least, most));
        Entry::Park(Wait { at, why: Parked::Busy, has_slot: false, has_app_slot: false })
    }

    /// A delivery that its endpoint's and its application's gates let pass does not leave yet.
    async fn stay_back_from_both(&self, delivery: &Delivery, limits: Limits) {
        self.stay_back(delivery.endpoint.into(), limits.interval).await;
        self.stay_back(delivery.message.app.into(), limits.app_interval).await;
    }

    /// A delivery that a limited gate let pass does not leave yet.
    async fn stay_back(&self, id: GateId, limit: Option<Duration>) {
        if let Some(interval) = limit {
            self.step(id, Step::StayBack { interval }).await;
        }
    }

    fn share(&self, limits: Limits) -> Share {
        let dispatchers = *self.dispatchers.borrow();
        let in_flight = limits.in_flight.map(|most| (usize::from(most) / dispatchers.max(1)).max(1));
        Share {
            least: self.least,
            most: self.permits.most_of_one(),
            in_flight,
            waiting: self.permits.waiting_for_one(),
            scarce: self.permits.are_scarce(),
        }
    }

    /// Learns from an attempt; what people want to know of what came of it.
    pub async fn observe(
        &self,
        endpoint: EndpointId,
        result: &AttemptResult,
        is_probe: bool,
        hold_until: Option<Timestamp>,
    ) -> Option<Alarm> {
        let news = news_of(result);
        let slow = news != News::Nothing && {
            let share = self.share(Limits::default());
            let mut average = Duration::ZERO;
            let is_silent = news == News::Silence;
            self.change(endpoint, |health| average = health.sample(result.duration, is_silent, share));
            result.class == AttemptClass::Timeout || average > SLOW
        };
        let tells = slow || hold_until.is_some() || self.gate(endpoint.into()).awaits(news, self.clock.now());
        if !tells && !is_probe {
            return None;
        }
        let step = Step::Observe { news, is_probe, slow, hold_until, open_for: self.open_for };
        self.learn(endpoint, step).await
    }

    /// A probe did not leave.
    pub async fn found_nothing_out(&self, endpoint: EndpointId) {
        let (news, open_for) = (News::Nothing, self.open_for);
        self.step(endpoint.into(), Step::Observe { news, is_probe: true, slow: false, hold_until: None, open_for }).await;
    }

    /// A delivery was given up because its endpoint did not take it.
    pub async fn lose(&self, endpoint: EndpointId) -> Option<Alarm> {
        self.learn(endpoint, Step::Lose { disable_after: self.disable_after }).await
    }

    /// Nothing known of an endpoint counts any more.
    pub async fn forget(&self, endpoint: EndpointId) {
        self.step(endpoint.into(), Step::Reset).await;
    }

    /// Does a step, and returns what people want to know of what came of it.
    async fn learn(&self, endpoint: EndpointId, step: Step) -> Option<Alarm> {
        let Pass::Learned(learned) = self.step(endpoint.into(), step).await.0 else { return None };
        if let Some(to) = learned.breaker {
            self.breaker_moved(endpoint, to);
        }
        learned.alarm
    }

    fn breaker_moved(&self, endpoint: EndpointId, to: BreakerState) {
        self.metrics.endpoint_breaker_transitions_total.inc(BreakerMove::to(to));
        tracing::info!(%endpoint, state = to.as_str(), "breaker");
    }

    /// Does a step; what came of it, and the gate after it.
    async fn step(&self, id: GateId, step: Step) -> (Pass, Gate) {
        let turns = Arc::clone(self.turns().get_or_insert(id, Arc::default));
        turns.step(step, |steps| self.pass(id, steps)).await
    }

    /// Does steps for everybody, or, while the store is away, for this process.
    async fn pass(&self, id: GateId, steps: Vec<Step>) -> Passed {
        let now = self.clock.now();
        let passed = if self.is_away() {
            self.pass_alone(id, &steps, now)
        } else {
            self.gates.steps(id, &steps, now).await.unwrap_or_else(|fault| {
                tracing::debug!(error = fault.chain(), "a gate is passed on what this process knows");
                // Those whose turn comes next do not wait for the store as long as this one did.
                *self.away_until() = Some(Instant::now() + READ_EVERY);
                self.pass_alone(id, &steps, now)
            })
        };
        let mut known = self.known();
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
        let shared = steps.iter().map(|step| match *step {
            Step::StayBack { interval } => Step::StayBack { interval: interval * dispatchers },
            Step::Admit { limit, spacing, has_slot } => {
                let (limit, spacing) = (limit.map(|interval| interval * dispatchers), spacing * dispatchers);
                Step::Admit { limit, spacing, has_slot }
            }
            Step::Ask { limit, spacing } => {
                Step::Ask { limit: limit.map(|interval| interval * dispatchers), spacing: spacing * dispatchers }
            }
            other => other,
        });
        self.gate(id).steps(&shared.collect::<Vec<_>>(), now)
    }

    fn is_away(&self) -> bool {
        self.away_until().is_some_and(|until| until > Instant::now())
    }

    fn away_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.away_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time between two slots of what waits. How long a silent endpoint let requests hang says nothing of what it takes once it
    /// answers: what waits for that comes back at a pace of its own.
    fn spacing(&self, endpoint: EndpointId, now: Timestamp) -> Duration {
        if self.gate(endpoint.into()).breaker(now) != BreakerState::Closed {
            return RETURNING;
        }
        self.health().get_or_insert_mut(endpoint, Health::default).spacing(self.least, now)
    }

    fn change(&self, endpoint: EndpointId, change: impl FnOnce(&mut Health)) {
        change(self.health().get_or_insert_mut(endpoint, Health::default));
    }

    fn gate(&self, id: GateId) -> Gate {
        self.known().get(&id).copied().unwrap_or_default()
    }

    fn known(&self) -> MutexGuard<'_, HashMap<GateId, Gate>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn health(&self) -> MutexGuard<'_, LruCache<EndpointId, Health>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turns(&self) -> MutexGuard<'_, LruCache<GateId, Arc<Turns>>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
