//! Deliveries to one endpoint that go aside at about the same time go as one message: an endpoint that is left alone for long gets
//! many, each comes by again and again until it may leave, and each message costs the broker as much as one that is delivered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hookyard_core::delay::loose_hop;
use hookyard_core::{Delivery, EndpointId, Lane, Timestamp};
use hookyard_wire::form::APP_HEADER;
use hookyard_wire::queue::{DELIVERIES_CONTENT_TYPE, write_deliveries};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use tokio::sync::oneshot;

use crate::deliveries::in_tier;
use crate::message;
use crate::publish::{Outgoing, Pending};
use crate::session::Session;
use crate::topology::text;

/// How long the first waits for more: none is due for longer than that, but its claim keeps its place in the window meanwhile.
const LINGER: Duration = Duration::from_millis(25);
/// After a full message the next full one waits so long: a backlog that leaves as fast as it can takes the machine from those who are
/// delivered to (measured with a million: at 9 ms their 99th percentile was 1.79 times a calm minute's, at 12 ms 0.99 times).
const PACE: Duration = Duration::from_millis(12);
/// Deliveries in one message: they come back together, and so many are at once in the hands of whoever claims it.
const TOGETHER: usize = 64;
/// Bytes of deliveries in one message, but for the last: a window full of such messages is some megabytes.
const TOGETHER_BYTES: usize = 64 * 1024;

/// What may go as one: the same way, to the same endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Way {
    exchange: ShortString,
    routing_key: ShortString,
    endpoint: EndpointId,
    from: From,
}

/// Whence a delivery goes aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum From {
    /// An event, which is routed as soon as it can be: others are behind it.
    Event,
    /// A lane, which may be left at a pace.
    Lane,
}

/// Those that wait for more.
#[derive(Default)]
pub struct Together {
    groups: Mutex<HashMap<Way, Group>>,
    /// Whose turn it is of those that are full.
    turn: tokio::sync::Mutex<()>,
}

struct Group {
    /// The first, as it would go alone.
    alone: Outgoing,
    first: Delivery,
    bodies: Vec<Bytes>,
    bytes: usize,
    told: Vec<oneshot::Sender<()>>,
}

impl Session {
    /// Puts a delivery aside until its moment or somewhat later, with others that go the same way.
    pub(crate) fn aside(self: &Arc<Self>, delivery: &Delivery, from: From, lane: Lane, now: Timestamp) -> Pending {
        let rest = delivery.not_before.map_or(Duration::ZERO, |at| at.since(now));
        let alone = in_tier(self, delivery, lane, loose_hop(rest), now);
        let way =
            Way { exchange: alone.exchange.clone(), routing_key: alone.routing_key.clone(), endpoint: delivery.endpoint, from };
        let (sender, pending) = oneshot::channel();
        let (is_first, full) = self.together.join(&way, delivery, alone, sender);
        if let Some(full) = full {
            let session = Arc::clone(self);
            #[expect(clippy::disallowed_methods, reason = "one message; its deliveries come again if it panics")]
            tokio::spawn(async move {
                if from == From::Event {
                    return full.publish(&session, now).await;
                }
                let _turn = session.together.turn.lock().await;
                full.publish(&session, now).await;
                tokio::time::sleep(PACE).await;
            });
        } else if is_first {
            let session = Arc::clone(self);
            #[expect(clippy::disallowed_methods, reason = "one message; its deliveries come again if it panics")]
            tokio::spawn(async move {
                tokio::time::sleep(LINGER).await;
                if let Some(group) = session.together.take(&way) {
                    group.publish(&session, now).await;
                }
            });
        }
        Pending::of(pending)
    }
}

impl Together {
    /// Whether it is the first that goes this way, and the group if this fills it.
    fn join(&self, way: &Way, delivery: &Delivery, alone: Outgoing, told: oneshot::Sender<()>) -> (bool, Option<Group>) {
        let mut groups = self.groups();
        let is_first = !groups.contains_key(way);
        let body = alone.body.clone();
        let group = groups.entry(way.clone()).or_insert_with(|| Group {
            alone,
            first: delivery.clone(),
            bodies: Vec::new(),
            bytes: 0,
            told: Vec::new(),
        });
        group.bytes += body.len();
        group.bodies.push(body);
        group.told.push(told);
        let is_full = group.bodies.len() >= TOGETHER || group.bytes >= TOGETHER_BYTES;
        (is_first, if is_full { groups.remove(way) } else { None })
    }

    fn take(&self, way: &Way) -> Option<Group> {
        self.groups().remove(way)
    }

    fn groups(&self) -> MutexGuard<'_, HashMap<Way, Group>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Group {
    /// Publishes them and, when the broker has confirmed, tells everybody who waits. Dropped before that, it tells them otherwise.
    async fn publish(self, session: &Session, now: Timestamp) {
        let Self { alone, first, bodies, told, .. } = self;
        let outgoing = if bodies.len() == 1 { alone } else { as_one(alone, &first, bodies, now) };
        if let Err(fault) = session.deliveries.publish(outgoing).await {
            tracing::debug!(error = fault.chain(), "deliveries were not put aside; they come again");
            return;
        }
        for waiting in told {
            if waiting.send(()).is_err() {
                tracing::trace!("nobody waits for this confirm any more");
            }
        }
    }
}

/// Several instead of the first of them.
fn as_one(alone: Outgoing, first: &Delivery, bodies: Vec<Bytes>, now: Timestamp) -> Outgoing {
    let mut headers = FieldTable::default();
    headers.insert(APP_HEADER.into(), text(&first.message.app.to_string()));
    headers.insert("hookyard-endpoint".into(), text(&first.endpoint.to_string()));
    headers.insert("hookyard-deliveries".into(), AMQPValue::LongLongInt(i64::try_from(bodies.len()).unwrap_or(i64::MAX)));
    let properties = message::properties(DELIVERIES_CONTENT_TYPE, &first.key().id(), now).with_headers(headers);
    Outgoing { properties, body: write_deliveries(bodies), ..alone }
}
