//! Events on AMQP.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use hookyard_core::port::{Events, FannedOut};
use hookyard_core::step::Step;
use hookyard_core::{Claim, Delivery, Event, FanOut, Fault, FaultKind, Intake, Lane, Refusal};
use hookyard_telemetry::label::Exchange;
use hookyard_wire::queue::{ACCEPTED_CONTENT_TYPE, DELIVERY_CONTENT_TYPE, DeliveryWriter, write_accepted};

use crate::intake;
use crate::message;
use crate::names::endpoint_key;
use crate::publish::{Outgoing, Pending};
use crate::rabbit::{From, Rabbit};
use crate::receipt::Receipt;
use crate::session::Session;
use crate::together;
use crate::topology::short;

/// Deliveries of one event between two yields to other events.
const CHUNK: usize = 1_000;

#[async_trait]
impl Events for Rabbit {
    async fn accept(&self, event: &Event) -> Result<(), Fault> {
        let session = self.session("accept an event")?;
        let properties = message::event_properties(event, ACCEPTED_CONTENT_TYPE, self.clock.now());
        let outgoing = Outgoing {
            kind: Exchange::Events,
            exchange: short(&session.names.events()),
            routing_key: message::clipped(event.event_type.as_str()),
            properties,
            body: write_accepted(event),
        };
        session.events.publish(outgoing).await
    }

    async fn claim(&self, max: usize) -> Result<Vec<Claim<Intake>>, Fault> {
        let taken = self.take(From::Events, max).await?;
        let now = self.clock.now();
        self.tripwire.reached(Step::EventClaimed);
        let claim = |receipt: Box<Receipt>| {
            let intake = intake::read(&receipt.taken, &self.config.admission, now);
            Claim::new(intake, receipt.taken.redelivered, receipt)
        };
        Ok(taken.into_iter().map(claim).collect())
    }

    async fn fan_out(&self, claim: Claim<()>, fan_out: FanOut) -> Result<FannedOut, Fault> {
        let session = Arc::clone(receipt_of(&claim)?.live_session("fan out")?);
        let writer = DeliveryWriter::new(&fan_out.message);
        let mut pending: VecDeque<Pending> = VecDeque::new();
        for (index, endpoint) in fan_out.endpoints.iter().enumerate() {
            let (delivery, lane) = fan_out.delivery(*endpoint);
            let published = if delivery.not_before.is_some() {
                session.aside(&delivery, together::From::Event, lane, fan_out.now)
            } else {
                session.events.begin(to_lane(&session, &writer, &delivery, lane)).await?
            };
            pending.push_back(published);
            if index == 0 && fan_out.endpoints.len() > 1 {
                self.tripwire.reached(Step::FanOutBegun);
            }
            if pending.len() >= CHUNK {
                for confirm in pending.drain(..CHUNK / 2) {
                    confirm.confirmed().await?;
                }
                tokio::task::yield_now().await;
            }
        }
        for confirm in pending {
            confirm.confirmed().await?;
        }
        Ok(FannedOut::new(claim))
    }

    async fn suppress(&self, claim: Claim<()>) -> Result<(), Fault> {
        let ((), receipt) = claim.split::<Box<Receipt>>();
        receipt.ok_or_else(foreign)?.settle("suppress an event")
    }

    async fn finish(&self, event: FannedOut) -> Result<(), Fault> {
        let ((), receipt) = event.into_claim().split::<Box<Receipt>>();
        receipt.ok_or_else(foreign)?.settle("finish an event")
    }

    async fn give_back(&self, claim: Claim<()>) -> Result<(), Fault> {
        let ((), receipt) = claim.split::<Box<Receipt>>();
        let receipt = receipt.ok_or_else(foreign)?;
        let session = receipt.live_session("give an event back")?;
        let failures = message::failures(&receipt.taken.properties).unwrap_or(0);
        session.returns.publish(intake::given_back(session, &receipt.taken, failures)).await?;
        receipt.settle("give an event back")
    }

    async fn reject(&self, claim: Claim<()>, refusal: &Refusal) -> Result<(), Fault> {
        let ((), receipt) = claim.split::<Box<Receipt>>();
        let receipt = receipt.ok_or_else(foreign)?;
        let session = receipt.live_session("reject an event")?;
        session.events.publish(intake::rejected(session, &receipt.taken, refusal)).await?;
        receipt.settle("reject an event")
    }
}

pub(crate) fn to_lane(session: &Session, writer: &DeliveryWriter, delivery: &Delivery, lane: Lane) -> Outgoing {
    let properties = message::properties(DELIVERY_CONTENT_TYPE, &delivery.key().id(), session.clock.now());
    Outgoing {
        kind: Exchange::Dispatch,
        exchange: short(&session.names.dispatch()),
        routing_key: short(&endpoint_key(lane, delivery.endpoint, session.shards)),
        properties: properties.with_headers(message::delivery_headers(delivery)),
        body: writer.write(delivery, None),
    }
}

fn receipt_of<T>(claim: &Claim<T>) -> Result<&Receipt, Fault> {
    claim.receipt::<Box<Receipt>>().map(|receipt| &**receipt).ok_or_else(foreign)
}

/// A claim of another backend: a bug in the wiring.
pub(crate) fn foreign() -> Fault {
    Fault::new(FaultKind::Refused, "settle a claim of another backend")
}
