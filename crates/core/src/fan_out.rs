//! A fan-out: one event on its way to many endpoints, each by the way that is its own now.

use std::sync::Arc;

use crate::admission::KnownGates;
use crate::clock::Timestamp;
use crate::delivery::{Delivery, Lane};
use crate::event::Message;
use crate::id::EndpointId;

/// One event's deliveries, decided.
#[derive(Clone, Debug)]
pub struct FanOut {
    /// The event.
    pub message: Arc<Message>,
    /// Who receives it.
    pub endpoints: Arc<[EndpointId]>,
    /// The counter of the application's part of the directory, by which its endpoints were chosen.
    pub as_of: u64,
    /// Whether a step before this one may have been done twice.
    pub maybe_repeat: bool,
    /// What is known of those in trouble, at `now`: what nobody can send now does not stand in the way of what somebody can.
    pub gates: Arc<KnownGates>,
    /// When it was decided.
    pub now: Timestamp,
}

impl FanOut {
    /// A fan-out while no endpoint is in trouble.
    pub fn untroubled(message: Arc<Message>, endpoints: Arc<[EndpointId]>) -> Self {
        Self { message, endpoints, as_of: 0, maybe_repeat: false, gates: Arc::default(), now: Timestamp::default() }
    }

    /// Whether any of its deliveries goes aside from the start.
    pub fn has_detours(&self) -> bool {
        let is_shut =
            |endpoint: &EndpointId| self.gates.get(&(*endpoint).into()).is_some_and(|gate| gate.detour_until(self.now).is_some());
        !self.gates.is_empty() && self.endpoints.iter().any(is_shut)
    }

    /// The delivery to one of its endpoints, and its lane.
    pub fn delivery(&self, endpoint: EndpointId) -> (Delivery, Lane) {
        let routed = Delivery::routed(Arc::clone(&self.message), endpoint, self.maybe_repeat);
        let delivery = Delivery { as_of: self.as_of, ..routed };
        let Some(gate) = self.gates.get(&endpoint.into()) else { return (delivery, Lane::Fast) };
        let lane = if gate.is_slow(self.now) { Lane::Slow } else { Lane::Fast };
        match gate.detour_until(self.now) {
            Some(until) => (delivery.deferred(until, self.now), lane),
            None => (delivery, lane),
        }
    }
}
