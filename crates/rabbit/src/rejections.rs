//! What was rejected: looked at, tried again, let go.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hookyard_core::event::RefusalReason;
use hookyard_core::journal::{Cursor, Page, PageRequest};
use hookyard_core::port::Rejections;
use hookyard_core::{Fault, Rejection, RejectionId, Timestamp};
use hookyard_telemetry::label::Exchange;
use hookyard_wire::queue::{DELIVERIES_CONTENT_TYPE, DELIVERY_CONTENT_TYPE};
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use ring::digest;

use crate::copied::without_headers;
use crate::look::{EXAMINED_MOST, Look};
use crate::message::{
    AT_HEADER, DETAIL_HEADER, EXCHANGE_HEADER, FAILURES_HEADER, KEY_HEADER, REASON_HEADER, clipped, scalar_text,
};
use crate::publish::Outgoing;
use crate::rabbit::Rabbit;
use crate::topology::short;

/// Headers of ours that say why something was rejected; they do not go with it when it is tried again.
const OURS: [&str; 6] = [REASON_HEADER, DETAIL_HEADER, AT_HEADER, EXCHANGE_HEADER, KEY_HEADER, FAILURES_HEADER];
/// Where the broker tells what it gave up on, and where that was.
const DEATHS: &str = "x-death";

/// A message taken to be looked at.
struct Taken {
    tag: u64,
    properties: BasicProperties,
    body: Bytes,
    /// Where it was first published.
    exchange: String,
    routing_key: String,
    rejection: Rejection,
}

#[async_trait]
impl Rejections for Rabbit {
    async fn rejections(&self, page: PageRequest<RejectionId>) -> Result<Page<Rejection>, Fault> {
        const OPERATION: &str = "list what was rejected";
        let _one_at_a_time = self.looking.lock().await;
        let mut look = Look::open(self, self.names.rejected(), OPERATION).await?;
        let found = page_of(&mut look, OPERATION, page).await;
        look.close(0).await;
        found
    }

    async fn retry(&self, ids: &[RejectionId]) -> Result<usize, Fault> {
        self.settle_each("try again what was rejected", ids, true).await
    }

    async fn discard(&self, ids: &[RejectionId]) -> Result<usize, Fault> {
        self.settle_each("discard what was rejected", ids, false).await
    }
}

impl Rabbit {
    /// Takes out what has these ids; if they go again, each after its successor is durable.
    async fn settle_each(&self, operation: &'static str, ids: &[RejectionId], go_again: bool) -> Result<usize, Fault> {
        let _one_at_a_time = self.looking.lock().await;
        let session = self.session(operation)?;
        let mut look = Look::open(self, self.names.rejected(), operation).await?;
        let mut settled = 0;
        let settling = async {
            for _ in 0..EXAMINED_MOST {
                let Some(taken) = next(&mut look, operation).await? else { break };
                if ids.contains(&taken.rejection.id) {
                    if go_again {
                        session.returns.publish(self.again(&taken, session.header_room)).await?;
                    }
                    look.ack(operation, taken.tag).await?;
                    settled += 1;
                }
            }
            Ok(())
        };
        let done = settling.await;
        look.close(settled).await;
        done.map(|()| settled)
    }

    /// The message as it was first published. Nothing of it leads anywhere but to this installation's own exchanges.
    fn again(&self, taken: &Taken, room: usize) -> Outgoing {
        // What is no event of an upstream service goes on where it was: a delivery to its lane, a record to the journal's queue.
        let kind = taken.properties.content_type().as_ref();
        let is_delivery = kind.is_some_and(|kind| [DELIVERY_CONTENT_TYPE, DELIVERIES_CONTENT_TYPE].contains(&kind.as_str()));
        let (kind, exchange) = match &taken.exchange {
            _ if is_delivery => (Exchange::Dispatch, self.names.dispatch()),
            exchange if *exchange == self.names.journal() => (Exchange::Journal, self.names.journal()),
            _ => (Exchange::Events, self.names.events()),
        };
        Outgoing {
            kind,
            exchange: short(&exchange),
            routing_key: clipped(&taken.routing_key),
            properties: without_headers(&taken.properties, &OURS, room),
            body: taken.body.clone(),
        }
    }
}

/// The messages of one page, after the cursor's.
async fn page_of(look: &mut Look, operation: &'static str, page: PageRequest<RejectionId>) -> Result<Page<Rejection>, Fault> {
    let from = page.from.map(|(Cursor::After(id) | Cursor::Before(id))| id);
    let (mut all, mut begin) = (Vec::new(), 0);
    while let Some(taken) = next(look, operation).await? {
        if Some(taken.rejection.id) == from {
            begin = all.len() + 1;
        }
        all.push(taken.rejection);
        if all.len() > begin + page.limit && (from.is_none() || begin > 0) {
            break;
        }
    }
    // One that was dealt with meanwhile is not met again: what was behind it is in front now.
    let mut items = all.split_off(begin);
    let done = items.len() <= page.limit;
    items.truncate(page.limit);
    Ok(Page::whole(items, done))
}

async fn next(look: &mut Look, operation: &'static str) -> Result<Option<Taken>, Fault> {
    Ok(look.next(operation).await?.map(read))
}

fn read(delivery: Delivery) -> Taken {
    let (properties, body) = (delivery.properties, Bytes::from(delivery.data));
    let table = properties.headers().clone().unwrap_or_default();
    let header = |name: &str| table.inner().get(name).and_then(scalar_text);
    let death = last_death(&table);
    let died = death.as_ref().and_then(|death| death.at);
    let (exchange, routing_key, reason) = match (header(REASON_HEADER), death) {
        (Some(reason), _) => (header(EXCHANGE_HEADER), header(KEY_HEADER), reason),
        (None, Some(death)) => (death.exchange, death.routing_key, death.reason),
        // It went round by the alternate exchange: no queue took it.
        (None, None) => (None, None, "unroutable".to_owned()),
    };
    let exchange = exchange.unwrap_or_else(|| delivery.exchange.to_string());
    let routing_key = routing_key.unwrap_or_else(|| delivery.routing_key.to_string());
    // Nor the broker's own: it counts how often somebody looked.
    let is_theirs = |name: &str| !OURS.contains(&name) && !name.starts_with("x-");
    let shown = table.inner().iter().filter(|(name, _)| is_theirs(name.as_str()));
    let mut headers: Vec<(String, String)> =
        shown.filter_map(|(name, value)| Some((name.to_string(), shown_text(value)?))).collect();
    let text = |value: &Option<lapin::types::ShortString>| value.as_ref().map(ToString::to_string);
    for (name, value) in [("message_id", text(properties.message_id())), ("type", text(properties.kind()))] {
        headers.extend(value.map(|value| (name.to_owned(), value)));
    }
    let rejection = Rejection {
        id: id_of(&properties, &exchange, &routing_key, &reason, &body),
        at: header(AT_HEADER).and_then(|text| Timestamp::parse_rfc3339(&text)).or(died),
        detail: header(DETAIL_HEADER).unwrap_or_else(|| detail_of(&reason)),
        reason,
        exchange: Some(exchange.clone()),
        routing_key: Some(routing_key.clone()),
        content_type: text(properties.content_type()),
        headers,
        body: body.clone(),
    };
    Taken { tag: delivery.delivery_tag, properties, body, exchange, routing_key, rejection }
}

/// A header's value for people: bytes that are no text in base64.
fn shown_text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::ByteArray(bytes) => Some(scalar_text(value).unwrap_or_else(|| BASE64.encode(bytes.as_slice()))),
        AMQPValue::LongString(text) => Some(scalar_text(value).unwrap_or_else(|| BASE64.encode(text.as_bytes()))),
        other => scalar_text(other),
    }
}

/// The same message has the same id however often it is looked at.
fn id_of(properties: &BasicProperties, exchange: &str, routing_key: &str, reason: &str, body: &[u8]) -> RejectionId {
    let mut hash = digest::Context::new(&digest::SHA256);
    let message_id = properties.message_id().as_ref().map(lapin::types::ShortString::as_str).unwrap_or_default();
    for part in [message_id, exchange, routing_key, reason] {
        hash.update(part.as_bytes());
        hash.update(b"\0");
    }
    // Two messages may have the same body, one of them for another application.
    for (name, value) in properties.headers().iter().flat_map(|table| table.inner().iter()) {
        if !name.as_str().starts_with("x-") {
            hash.update(format!("{name}{value:?}\0").as_bytes());
        }
    }
    hash.update(body);
    let mut id = [0; 20];
    id.copy_from_slice(&hash.finish().as_ref()[..20]);
    RejectionId::from_bytes(id)
}

fn detail_of(reason: &str) -> String {
    match reason {
        "unroutable" => "no queue was bound for its routing key".to_owned(),
        "delivery_limit" => "the broker gave it back too often".to_owned(),
        "expired" => "it expired in the broker".to_owned(),
        _ if reason == RefusalReason::Unreadable.as_str() => "it cannot be read".to_owned(),
        other => format!("the broker says: {other}"),
    }
}

/// Where the broker last gave up on a message.
struct Death {
    exchange: Option<String>,
    routing_key: Option<String>,
    reason: String,
    at: Option<Timestamp>,
}

fn last_death(table: &FieldTable) -> Option<Death> {
    let AMQPValue::FieldArray(deaths) = table.inner().get(DEATHS)? else { return None };
    // The latest comes first: an event may have died before it came here, and a delivery waited in the tiers by expiring in them.
    let AMQPValue::FieldTable(death) = deaths.as_slice().first()? else { return None };
    let field = |name: &str| death.inner().get(name).and_then(scalar_text);
    let routing_key = match death.inner().get("routing-keys") {
        Some(AMQPValue::FieldArray(keys)) => keys.as_slice().first().and_then(scalar_text),
        _ => None,
    };
    let at = field("time").and_then(|text| Timestamp::parse_rfc3339(&text));
    Some(Death { exchange: field("exchange"), routing_key, reason: field("reason")?, at })
}
