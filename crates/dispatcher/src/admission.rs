//! Whether a delivery may leave now: what the installation knows of its endpoint, and what the endpoint may have of this dispatcher.
//!
//! A delivery that may leave gets a [`Ticket`], which owns everything that was taken for it. Given up early, it gives all of that back.

use std::sync::Arc;
use std::time::Duration;

use hookyard_core::admission::{Alarm, BreakerRule, Decision, Deferral, News, Pass, Reason, Reservation, Step};
use hookyard_core::{
    AppId, AttemptClass, AttemptResult, BreakerState, Clock, Delivery, Endpoint, EndpointId, Gate, GateId, Lane, Timestamp,
    Trigger, within,
};
use hookyard_telemetry::Metrics;
use hookyard_telemetry::label::BreakerMove;
use tokio::sync::watch;

use crate::concurrency::{Left, Permits};
use crate::dispatcher::{DispatcherConfig, Seams};
use crate::endpoint_state::{EndpointState, EndpointStates, Place, STALLED, Share};
use crate::newcomers::Newcomers;
use crate::shared_gates::SharedGates;
use crate::ticket::{Departure, Probe, Ticket};

/// One whose average is above this takes the slow lane.
const SLOW: Duration = Duration::from_secs(2);
/// Time between two of those that waited for an opening's end: a thousand a second, which is more than most endpoints take. What comes too
/// soon waits in slots as far apart as the endpoint answers.
const RETURNING: Duration = Duration::from_millis(1);
/// How long a delivery is put aside, at least and at most, whose endpoint may be silent. After [`hookyard_core::limits::ATTEMPT_TIMEOUT`]
/// that is known: then its breaker opens, or what waits leaves.
const DOUBT_WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(15)];
/// It is put aside for so many times as long as its endpoint did not answer: few come back before that is known, however many they are.
const DOUBT_TIMES: u32 = 4;
/// How often a delivery that waits for a place looks whether one still comes soon: an endpoint that hangs frees none.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What lets deliveries leave.
pub struct Admission {
    gates: SharedGates,
    states: EndpointStates,
    newcomers: Newcomers,
    permits: Arc<Permits>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    /// Dispatchers alive, this one included: each has its share of what an endpoint allows.
    dispatchers: watch::Receiver<usize>,
    /// Requests at once to an endpoint that has not earned more.
    least: usize,
    rule: BreakerRule,
    disable_after: Option<Duration>,
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
pub enum Admitted<'a> {
    /// Leave.
    In(Box<Ticket<'a>>),
    /// Take the slow lane.
    Divert,
    /// Wait.
    Defer(Deferral),
}

/// A delivery on its way in.
#[derive(Clone, Copy)]
struct Entrant<'a> {
    delivery: &'a Delivery,
    lane: Lane,
    limits: Limits,
}

impl Entrant<'_> {
    fn app(&self) -> AppId {
        self.delivery.message.app
    }

    fn endpoint(&self) -> EndpointId {
        self.delivery.endpoint
    }
}

/// Whether a customer or an operator asked for this attempt: it is made whatever the breaker says.
fn is_asked_for(delivery: &Delivery) -> bool {
    delivery.trigger == Trigger::Resend
}

/// Whether nothing but a probe may pass.
fn is_shut(gate: &Gate, now: Timestamp) -> bool {
    gate.breaker(now) != BreakerState::Closed || gate.shut_until(now).is_some()
}

impl Admission {
    pub fn new(seams: &Seams, permits: Arc<Permits>, config: &DispatcherConfig) -> Self {
        let least = usize::from(config.per_endpoint_concurrency);
        let (clock, dispatchers) = (Arc::clone(&seams.clock), seams.dispatchers.clone());
        let newcomers = Newcomers::new(permits.most(Lane::Fast), least, Arc::clone(&clock));
        let (gates, metrics) = (Arc::clone(&seams.gates), seams.metrics.clone());
        let gates = SharedGates::new(gates, Arc::clone(&clock), metrics.clone(), dispatchers.clone());
        let (states, rule, disable_after) = (EndpointStates::default(), config.breaker, config.disable_after);
        Self { gates, states, newcomers, permits, clock, metrics, dispatchers, least, rule, disable_after }
    }

    /// The gates behind it.
    pub fn gates(&self) -> &SharedGates {
        &self.gates
    }

    /// How long a delivery waits whose endpoint is left alone. Without letting it in when it is not: that is for [`Self::admit`].
    pub async fn turn_away(&self, delivery: &Delivery, limits: Limits) -> Option<Deferral> {
        let (endpoint, now) = (delivery.endpoint, self.clock.now());
        if is_asked_for(delivery) || !self.gates.gate(endpoint.into()).is_left_alone(now) {
            return None;
        }
        let step = Step::Ask { limit: limits.interval, spacing: self.spacing(endpoint, now) };
        let (pass, gate) = self.gates.step(endpoint.into(), step).await;
        match Decision::by_endpoint(pass, &gate, Reservation::default(), now) {
            Decision::Defer(deferral) if deferral.reason == Reason::BreakerOpen => Some(deferral),
            _ => None,
        }
    }

    /// Lets a delivery in, or says where it is to wait.
    pub async fn admit(&self, delivery: &Delivery, lane: Lane, limits: Limits) -> Admitted<'_> {
        let (now, entrant) = (self.clock.now(), Entrant { delivery, lane, limits });
        let gate = self.gates.gate(entrant.endpoint().into());
        if lane == Lane::Fast && gate.is_slow(now) && gate.shut_until(now).is_none() {
            return Admitted::Divert;
        }
        match self.pass_gates(entrant, &gate, now).await {
            Ok(ticket) => Admitted::In(Box::new(ticket)),
            Err(deferral) => Admitted::Defer(deferral),
        }
    }

    /// Past the gates of its endpoint and of its application, and to a place.
    async fn pass_gates(&self, entrant: Entrant<'_>, gate: &Gate, now: Timestamp) -> Result<Ticket<'_>, Deferral> {
        let Entrant { delivery, limits, .. } = entrant;
        let endpoint = entrant.endpoint();
        let (mut has, mut leaves_at) = (Reservation::of(delivery, now), now);
        let may_be_newcomer = entrant.lane == Lane::Fast && !has.endpoint;
        let is_limited = limits.interval.or(limits.app_interval).is_some();
        if is_limited && !is_shut(gate, now) {
            // Before the gates are asked: slots under these limits would be taken for nothing.
            let (share, passed) = (self.share_of(entrant), self.clock.monotonic());
            if let Some(oldest) = self.states.with(endpoint, |state| state.doubt(share, passed)) {
                return Err(self.in_doubt(oldest));
            }
        }
        let mut ticket = Ticket::new(&self.gates, &self.states, endpoint);
        let asks = if is_shut(gate, now) { !is_asked_for(delivery) } else { limits.interval.is_some() };
        if asks {
            let step = Step::Admit { limit: limits.interval, spacing: self.spacing(endpoint, now), has_slot: has.endpoint };
            let (pass, gate) = self.gates.step(endpoint.into(), step).await;
            match Decision::by_endpoint(pass, &gate, has, now) {
                Decision::Defer(deferral) => return Err(deferral),
                Decision::Probe => {
                    if gate.is_first_probe() {
                        self.breaker_moved(endpoint, BreakerState::HalfOpen);
                    }
                    // The one that finds out does not wait for those that hang.
                    return Ok(ticket.of_probe(Probe::new(&self.gates, endpoint, self.rule)));
                }
                Decision::Proceed { at } => leaves_at = at,
            }
            has.endpoint = limits.interval.is_some();
            if let Some(interval) = limits.interval {
                ticket.owes(Departure { gate: endpoint.into(), interval });
            }
        }
        if let Some(interval) = limits.app_interval {
            let gate: GateId = entrant.app().into();
            let step = Step::Admit { limit: Some(interval), spacing: interval, has_slot: has.app };
            leaves_at = leaves_at.max(Decision::by_app(self.gates.step(gate, step).await.0, has, now)?);
            has.app = true;
            ticket.owes(Departure { gate, interval });
        }
        if !self.permits.wait_here(leaves_at.since(now)).await {
            return Err(Deferral::without_patience(leaves_at, has));
        }
        self.take_place(entrant, ticket, has, may_be_newcomer).await
    }

    /// Waits for a place in memory, if one will be free soon.
    async fn take_place<'a>(
        &'a self,
        entrant: Entrant<'_>,
        mut ticket: Ticket<'a>,
        has: Reservation,
        may_be_newcomer: bool,
    ) -> Result<Ticket<'a>, Deferral> {
        let (endpoint, since) = (entrant.endpoint(), self.clock.monotonic());
        loop {
            let (share, passed) = (self.share_of(entrant), self.clock.monotonic());
            let waited = passed.saturating_sub(since);
            let (place, is_known) = self.states.with(endpoint, |state| (state.place(share, passed, waited), state.is_known()));
            match place {
                Place::Free => {
                    ticket.has_place();
                    if entrant.lane == Lane::Fast {
                        ticket.counts(self.permits.count(entrant.app(), entrant.limits.host));
                    }
                    let is_newcomer = may_be_newcomer && !is_known;
                    return if is_newcomer { self.as_newcomer(entrant, ticket).await } else { Ok(ticket) };
                }
                Place::Soon => {
                    let released = self.states.with(endpoint, EndpointState::wait);
                    within(&*self.clock, LOOK_AGAIN, released.notified()).await;
                    self.states.with(endpoint, EndpointState::waited);
                }
                Place::TooLate(spacing) => {
                    let (pass, _) = self.gates.step(endpoint.into(), Step::Reserve { spacing }).await;
                    let Pass::Later(until) = pass else { continue };
                    return Err(Deferral::without_room(until, has, self.clock.now()));
                }
                Place::InDoubt(oldest) => return Err(self.in_doubt(oldest)),
            }
        }
    }

    /// Takes a place of its application's and its host's newcomers too. Last: deliveries that wait for a place at their endpoint would
    /// have all of these.
    async fn as_newcomer<'a>(&'a self, entrant: Entrant<'_>, mut ticket: Ticket<'a>) -> Result<Ticket<'a>, Deferral> {
        if let Some(place) = self.newcomers.enter(entrant.app(), entrant.limits.host).await {
            ticket.is_of_newcomer(place);
            return Ok(ticket);
        }
        Err(self.without_slot(self.clock.now().since(entrant.delivery.due) / 2, Reason::Busy))
    }

    /// How a delivery waits whose endpoint has not answered for so long. In the slow lane only if that is long: a new endpoint that is quick
    /// does not belong there.
    fn in_doubt(&self, oldest: Duration) -> Deferral {
        self.without_slot(oldest * DOUBT_TIMES, if oldest >= STALLED { Reason::InDoubt } else { Reason::Busy })
    }

    /// How a delivery waits, so long if that is neither too short nor too long, until it is known whether its endpoint answers.
    fn without_slot(&self, wait: Duration, reason: Reason) -> Deferral {
        let [least, most] = DOUBT_WAITS;
        Deferral::without_slot(self.clock.now().plus(wait.clamp(least, most)), reason)
    }

    fn share_of(&self, entrant: Entrant<'_>) -> Share {
        let limits = entrant.limits;
        let left = match entrant.lane {
            Lane::Fast => self.permits.left(entrant.app(), limits.host),
            Lane::Slow => Left::AnyEndpoints,
        };
        Share { left, ..self.share(limits.in_flight) }
    }

    fn share(&self, in_flight: Option<u16>) -> Share {
        let dispatchers = *self.dispatchers.borrow();
        let in_flight = in_flight.map(|most| (usize::from(most) / dispatchers.max(1)).max(1));
        Share {
            least: self.least,
            most: self.permits.most_of_one(),
            in_flight,
            waiting: self.permits.waiting_for_one(),
            scarce: self.permits.are_scarce(),
            left: Left::AnyEndpoints,
        }
    }

    /// Learns from an attempt, which `probe` made if there is one; what people want to know of what came of it.
    pub async fn observe(
        &self,
        endpoint: &Endpoint,
        result: &AttemptResult,
        probe: Option<Probe<'_>>,
        hold_until: Option<Timestamp>,
    ) -> Option<Alarm> {
        let (news, endpoint, own) = (News::of(result), endpoint.id, endpoint.breaker_percent);
        let slow = news != News::Nothing && {
            let (share, is_silent) = (self.share(None), news == News::Silence);
            let now = self.clock.monotonic();
            let average = self.states.with(endpoint, |state| {
                if !is_silent {
                    state.answered(now);
                }
                state.sample(result.duration, is_silent, share)
            });
            result.class == AttemptClass::Timeout || average > SLOW
        };
        let tells = slow || hold_until.is_some() || self.gates.gate(endpoint.into()).awaits(news, self.clock.now());
        if !tells && probe.is_none() {
            return None;
        }
        let is_probe = probe.map(Probe::has_news).is_some();
        let rule = BreakerRule { silent_percent: own.unwrap_or(self.rule.silent_percent), ..self.rule };
        let step = Step::Observe { news, is_probe, slow, hold_until, rule };
        self.learn(endpoint, step).await
    }

    /// A delivery was given up because its endpoint did not take it.
    pub async fn lose(&self, endpoint: EndpointId) -> Option<Alarm> {
        self.learn(endpoint, Step::Lose { disable_after: self.disable_after }).await
    }

    /// Nothing known of an endpoint counts any more.
    pub async fn forget(&self, endpoint: EndpointId) {
        self.gates.step(endpoint.into(), Step::Reset).await;
    }

    /// Does a step, and returns what people want to know of what came of it.
    async fn learn(&self, endpoint: EndpointId, step: Step) -> Option<Alarm> {
        let Pass::Learned(learned) = self.gates.step(endpoint.into(), step).await.0 else { return None };
        if let Some(to) = learned.breaker {
            self.breaker_moved(endpoint, to);
        }
        learned.alarm
    }

    fn breaker_moved(&self, endpoint: EndpointId, to: BreakerState) {
        self.metrics.endpoint_breaker_transitions_total.inc(BreakerMove::to(to));
        tracing::info!(%endpoint, state = to.as_str(), "breaker");
    }

    /// Time between two slots of what waits. How long a silent endpoint let requests hang says nothing of what it takes once it
    /// answers: what waits for that comes back at a pace of its own.
    fn spacing(&self, endpoint: EndpointId, now: Timestamp) -> Duration {
        if self.gates.gate(endpoint.into()).breaker(now) != BreakerState::Closed {
            return RETURNING;
        }
        let passed = self.clock.monotonic();
        self.states.with(endpoint, |state| state.spacing(self.least, passed))
    }
}
