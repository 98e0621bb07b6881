//! Deliveries on AMQP.

use async_trait::async_trait;
use bytes::Bytes;
use hookyard_core::delay::{Tier, next_hop};
use hookyard_core::port::Deliveries;
use hookyard_core::step::Step;
use hookyard_core::{Claim, DeadReason, Delivery, Fault, Lane, Outcome, Timestamp};
use hookyard_telemetry::label::Exchange;
use hookyard_wire::Unreadable;
use hookyard_wire::queue::{
    DELIVERIES_CONTENT_TYPE, DELIVERY_CONTENT_TYPE, DeliveryWriter, read_deliveries, read_delivery, write_delivery,
};
use lapin::BasicProperties;
use std::time::Duration;

use crate::copied::with_headers;
use crate::events::{foreign, to_lane};
use crate::message::{self, REASON_HEADER};
use crate::names::endpoint_key;
use crate::publish::Outgoing;
use crate::rabbit::{From, Rabbit};
use crate::receipt::Receipt;
use crate::session::Session;
use crate::together;
use crate::topology::{short, text};

#[async_trait]
impl Deliveries for Rabbit {
    async fn claim(&self, lane: Lane, max: usize) -> Result<Vec<Claim<Delivery>>, Fault> {
        loop {
            let mut claims = Vec::new();
            for receipt in self.take(From::Lane(lane), max).await? {
                for receipt in divided(receipt).await?.into_iter().map(Box::new) {
                    match read_delivery(receipt.taken.body.clone()) {
                        Ok((delivery, _)) => claims.push(Claim::new(delivery, receipt.taken.redelivered, receipt)),
                        Err(error) => quarantine(receipt, &error).await?,
                    }
                }
            }
            if !claims.is_empty() {
                self.tripwire.reached(Step::DeliveryClaimed);
                return Ok(claims);
            }
        }
    }

    async fn settle(&self, claim: Claim<Delivery>, outcome: Outcome) -> Result<(), Fault> {
        let (delivery, receipt) = claim.split::<Box<Receipt>>();
        let receipt = receipt.ok_or_else(foreign)?;
        let session = receipt.live_session("settle a delivery")?;
        let now = self.clock.now();
        let successor = match outcome {
            Outcome::Delivered | Outcome::Discarded(_) => None,
            Outcome::Retry { at } => Some(delayed(session, &delivery.retried(at, now), Lane::Fast, now)),
            Outcome::Dead(reason) => Some(dead(session, &delivery, reason, now)),
        };
        if let Some(successor) = successor {
            session.deliveries.publish(successor).await?;
            self.tripwire.reached(Step::SuccessorPublished);
        }
        receipt.settle("settle a delivery")
    }

    async fn defer(&self, claim: Claim<Delivery>, due: Timestamp, lane: Lane) -> Result<(), Fault> {
        let (delivery, receipt) = claim.split::<Box<Receipt>>();
        let receipt = receipt.ok_or_else(foreign)?;
        let session = receipt.live_session("defer a delivery")?;
        let now = self.clock.now();
        // For no moment of its own: it waits until its endpoint may be asked again, and a little longer does no harm.
        let is_loose = lane == Lane::Slow && !delivery.reserved.is_some();
        let deferred = delivery.deferred(due, now);
        if is_loose && due > now {
            session.aside(&deferred, together::From::Lane, lane, now).confirmed().await?;
        } else if due > now {
            session.deliveries.publish(delayed(session, &deferred, lane, now)).await?;
        } else {
            let writer = DeliveryWriter::new(&deferred.message);
            session.deliveries.publish(to_lane(session, &writer, &deferred, lane)).await?;
        }
        receipt.settle("defer a delivery")
    }

    async fn enqueue(&self, deliveries: Vec<Delivery>) -> Result<(), Fault> {
        let session = self.session("enqueue deliveries")?;
        let mut confirms = Vec::with_capacity(deliveries.len());
        for delivery in &deliveries {
            let writer = DeliveryWriter::new(&delivery.message);
            confirms.push(session.deliveries.begin(to_lane(&session, &writer, delivery, Lane::Fast)).await?);
        }
        for confirm in confirms {
            confirm.confirmed().await?;
        }
        Ok(())
    }
}

/// A receipt for each delivery of a message.
async fn divided(receipt: Box<Receipt>) -> Result<Vec<Receipt>, Fault> {
    let content_type = receipt.taken.properties.content_type().as_ref();
    if content_type.is_none_or(|is| is.as_str() != DELIVERIES_CONTENT_TYPE) {
        return Ok(vec![*receipt]);
    }
    match read_deliveries(receipt.taken.body.clone()) {
        Ok(parts) => Ok(receipt.divide(DELIVERY_CONTENT_TYPE, parts)),
        Err(error) => quarantine(receipt, &error).await.map(|()| Vec::new()),
    }
}

async fn quarantine(receipt: Box<Receipt>, error: &Unreadable) -> Result<(), Fault> {
    tracing::error!(%error, queue = &*receipt.taken.queue, "a delivery cannot be read; it is quarantined");
    receipt.live_session("quarantine")?.quarantine(&receipt.taken, error.to_string()).await?;
    receipt.settle("quarantine")
}

/// The delivery in the tier of its next hop. The key is its lane's and stays on the message through every tier.
fn delayed(session: &Session, delivery: &Delivery, lane: Lane, now: Timestamp) -> Outgoing {
    let rest = delivery.not_before.map_or(Duration::ZERO, |at| at.since(now));
    in_tier(session, delivery, lane, next_hop(rest, Duration::from_millis(delivery.delay_ms)), now)
}

/// The delivery in a tier, or the shortest.
pub(crate) fn in_tier(session: &Session, delivery: &Delivery, lane: Lane, tier: Option<Tier>, now: Timestamp) -> Outgoing {
    let tier = tier.unwrap_or(Tier::SHORTEST);
    let rest = delivery.not_before.map_or(Duration::ZERO, |at| at.since(now)).saturating_sub(tier.duration());
    let delivery = &Delivery { rest_ms: u64::try_from(rest.as_millis()).ok(), ..delivery.clone() };
    Outgoing {
        kind: Exchange::Delay,
        exchange: short(&session.names.delay(tier)),
        routing_key: short(&endpoint_key(lane, delivery.endpoint, session.shards)),
        properties: properties(delivery, now),
        body: write_delivery(delivery, None),
    }
}

fn dead(session: &Session, delivery: &Delivery, reason: DeadReason, now: Timestamp) -> Outgoing {
    let body: Bytes = write_delivery(delivery, Some(reason));
    Outgoing {
        kind: Exchange::Dead,
        exchange: short(&session.names.dead()),
        routing_key: short(reason.as_str()),
        properties: with_headers(&properties(delivery, now), vec![(REASON_HEADER, text(reason.as_str()))], session.header_room),
        body,
    }
}

fn properties(delivery: &Delivery, now: Timestamp) -> BasicProperties {
    message::properties(DELIVERY_CONTENT_TYPE, &delivery.key().id(), now).with_headers(message::delivery_headers(delivery))
}
