//! The right to make an attempt, and everything that was taken for it.

use std::time::Duration;

use hookyard_core::admission::{BreakerRule, News, Step};
use hookyard_core::{EndpointId, GateId};
use tokio::sync::SemaphorePermit;

use crate::concurrency::Counted;
use crate::endpoint_state::{EndpointState, EndpointStates};
use crate::newcomers;
use crate::shared_gates::SharedGates;

/// The right to make an attempt. Dropped before its request leaves, it gives back what was taken for it at the gates; its places are
/// free again whenever it ends.
pub struct Ticket<'a> {
    gates: &'a SharedGates,
    states: &'a EndpointStates,
    endpoint: EndpointId,
    has_place: bool,
    /// When its request left, by the monotonic clock.
    since: Option<Duration>,
    /// What its endpoint's and its application's limits let leave.
    departures: Vec<Departure>,
    probe: Option<Probe<'a>>,
    newcomer: Option<newcomers::Place>,
    counted: Option<Counted<'a>>,
    permit: Option<SemaphorePermit<'a>>,
}

/// One that a limited gate let leave.
#[derive(Clone, Copy, Debug)]
pub struct Departure {
    pub gate: GateId,
    /// Least time between two of them.
    pub interval: Duration,
}

/// The duty to find out whether an endpoint answers. Dropped without news, it makes way for another.
pub struct Probe<'a> {
    gates: &'a SharedGates,
    endpoint: EndpointId,
    rule: BreakerRule,
    is_told: bool,
}

impl<'a> Ticket<'a> {
    /// With nothing taken yet.
    pub fn new(gates: &'a SharedGates, states: &'a EndpointStates, endpoint: EndpointId) -> Self {
        Self {
            gates,
            states,
            endpoint,
            has_place: false,
            since: None,
            departures: Vec::new(),
            probe: None,
            newcomer: None,
            counted: None,
            permit: None,
        }
    }

    /// A limited gate let it leave.
    pub fn owes(&mut self, departure: Departure) {
        self.departures.push(departure);
    }

    /// A place at its endpoint was taken for it.
    pub fn has_place(&mut self) {
        self.has_place = true;
    }

    /// It is counted among its application's and its host's.
    pub fn counts(&mut self, counted: Counted<'a>) {
        self.counted = Some(counted);
    }

    /// It has a place among those whose endpoint never answered.
    pub fn is_of_newcomer(&mut self, place: newcomers::Place) {
        self.newcomer = Some(place);
    }

    /// It goes to find out, wherever others are; it takes a place beyond what its endpoint may have.
    pub fn of_probe(mut self, probe: Probe<'a>) -> Self {
        self.states.with(self.endpoint, EndpointState::take);
        self.has_place = true;
        self.probe = Some(probe);
        self
    }

    /// It has a permit.
    pub fn has_permit(&mut self, permit: Option<SemaphorePermit<'a>>) {
        self.permit = permit;
    }

    /// Its request leaves at `now`: what it waited for a permit until then is not its endpoint's doing.
    pub fn leaves(&mut self, now: Duration) {
        self.departures.clear();
        self.since = Some(now);
        self.states.with(self.endpoint, |state| state.leaves(now));
    }

    /// Its places are free again; what is left is the duty to tell, if it went to find out.
    pub fn ends(mut self) -> Option<Probe<'a>> {
        self.probe.take()
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        for Departure { gate, interval } in self.departures.drain(..) {
            self.gates.give_back(gate, Step::StayBack { interval });
        }
        if self.has_place {
            self.states.with(self.endpoint, |state| state.release(self.since));
        }
    }
}

impl<'a> Probe<'a> {
    pub fn new(gates: &'a SharedGates, endpoint: EndpointId, rule: BreakerRule) -> Self {
        Self { gates, endpoint, rule, is_told: false }
    }

    /// Its news are told now.
    pub fn has_news(mut self) {
        self.is_told = true;
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        if self.is_told {
            return;
        }
        let (news, rule) = (News::Nothing, self.rule);
        let step = Step::Observe { news, is_probe: true, slow: false, hold_until: None, rule };
        self.gates.give_back(self.endpoint.into(), step);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hookyard_core::Clock as _;
    use hookyard_core::admission::{LEAST_JUDGED, Pass};
    use hookyard_core::port::Gates;
    use hookyard_telemetry::Metrics;
    use hookyard_testkit::memory::MemoryGates;
    use hookyard_testkit::{Builders, StepClock};
    use tokio::sync::watch;

    use super::*;

    fn gates(clock: &StepClock) -> SharedGates {
        of_store(&(Arc::<MemoryGates>::default() as _), clock)
    }

    fn of_store(store: &Arc<dyn Gates>, clock: &StepClock) -> SharedGates {
        SharedGates::new(Arc::clone(store), Arc::new(clock.clone()), Metrics::unregistered(), watch::Sender::new(1).subscribe())
    }

    #[tokio::test]
    async fn what_was_let_leave_and_does_not_is_given_back() {
        let (clock, states) = (StepClock::default(), EndpointStates::default());
        let (gates, interval) = (gates(&clock), Duration::from_millis(900));
        let endpoint = Builders::new(Arc::new(clock.clone()), 1).endpoint_id();
        let admit = Step::Admit { limit: Some(interval), spacing: interval, has_slot: true };
        for _ in 0..10 {
            assert_eq!(gates.step(endpoint.into(), admit).await.0, Pass::Go);
            let mut ticket = Ticket::new(&gates, &states, endpoint);
            ticket.owes(Departure { gate: endpoint.into(), interval });
        }
        let mut ticket = Ticket::new(&gates, &states, endpoint);
        assert_eq!(gates.step(endpoint.into(), admit).await.0, Pass::Go);
        ticket.owes(Departure { gate: endpoint.into(), interval });
        ticket.leaves(clock.monotonic());
        drop(ticket);
        let next = gates.step(endpoint.into(), admit).await.0;
        assert!(matches!(next, Pass::GoAt(_) | Pass::Later(_)), "what left is not given back: {next:?}");
    }

    /// Opens the breaker of an endpoint, and lets its pause pass.
    async fn open(gates: &SharedGates, clock: &StepClock, endpoint: EndpointId, rule: BreakerRule) {
        for _ in 0..LEAST_JUDGED {
            let silent = Step::Observe { news: News::Silence, is_probe: false, slow: false, hold_until: None, rule };
            gates.step(endpoint.into(), silent).await;
            clock.step(Duration::from_secs(1));
        }
        clock.step(rule.open_for[0]);
    }

    #[tokio::test]
    async fn a_probe_without_news_makes_way_for_another() {
        let (clock, rule) = (StepClock::default(), BreakerRule::default());
        let store: Arc<dyn Gates> = Arc::<MemoryGates>::default();
        let (gates, of_another) = (of_store(&store, &clock), of_store(&store, &clock));
        let endpoint = Builders::new(Arc::new(clock.clone()), 1).endpoint_id();
        open(&gates, &clock, endpoint, rule).await;
        let admit = Step::Admit { limit: None, spacing: Duration::from_millis(1), has_slot: false };
        for _ in 0..3 {
            assert_eq!(gates.step(endpoint.into(), admit).await.0, Pass::Probe);
            assert!(matches!(gates.step(endpoint.into(), admit).await.0, Pass::Later(_)), "one is out");
            drop(Probe::new(&gates, endpoint, rule));
        }
        assert_eq!(gates.step(endpoint.into(), admit).await.0, Pass::Probe);
        drop(Probe::new(&gates, endpoint, rule));
        assert!(matches!(of_another.step(endpoint.into(), admit).await.0, Pass::Later(_)), "another process was not told");
        gates.flush().await;
        assert_eq!(of_another.step(endpoint.into(), admit).await.0, Pass::Probe);
    }
}
