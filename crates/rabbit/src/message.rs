//! AMQP properties and headers of the messages we publish. Our headers have no `x-` prefix and scalar values only; the broker's
//! own `x-*` headers are never copied.

use hookyard_core::{Delivery, Event, Timestamp};
use hookyard_wire::form::APP_HEADER;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use crate::topology::{short, text};

/// Longest AMQP short string, in bytes.
const SHORT_STRING_BYTES: usize = 255;

/// Counts how often handling a message failed on our side.
pub const FAILURES_HEADER: &str = "hookyard-failures";
/// Why a message was rejected or is dead.
pub const REASON_HEADER: &str = "hookyard-reason";
/// What exactly was wrong, in words.
pub const DETAIL_HEADER: &str = "hookyard-detail";
/// When a message was rejected.
pub const AT_HEADER: &str = "hookyard-rejected-at";
/// The exchange a rejected message was published to.
pub const EXCHANGE_HEADER: &str = "hookyard-exchange";
/// The routing key a rejected message was published with.
pub const KEY_HEADER: &str = "hookyard-routing-key";

/// Persistent, with what every message of ours has.
pub fn properties(content_type: &str, message_id: &str, now: Timestamp) -> BasicProperties {
    BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type(clipped(content_type))
        .with_message_id(clipped(message_id))
        .with_timestamp(u64::try_from(now.as_seconds()).unwrap_or(0))
        .with_app_id(short("hookyard"))
}

/// Headers for operators looking at the broker, and the trace context.
pub fn delivery_headers(delivery: &Delivery) -> FieldTable {
    let mut headers = FieldTable::default();
    headers.insert(APP_HEADER.into(), text(&delivery.message.app.to_string()));
    headers.insert("hookyard-endpoint".into(), text(&delivery.endpoint.to_string()));
    headers.insert("hookyard-attempt".into(), AMQPValue::LongLongInt(i64::from(delivery.attempt)));
    headers.insert("hookyard-event-type".into(), text(delivery.message.event.event_type.as_str()));
    if let Some(traceparent) = &delivery.message.event.traceparent {
        headers.insert("traceparent".into(), text(traceparent));
    }
    headers
}

/// The properties of an accepted event.
pub fn event_properties(event: &Event, content_type: &str, now: Timestamp) -> BasicProperties {
    let id = event.id.as_ref().map(|id| id.as_str().to_owned()).or_else(|| event.message_id.map(|id| id.to_string()));
    let mut headers = FieldTable::default();
    headers.insert(APP_HEADER.into(), text(&event.app.to_string()));
    properties(content_type, &id.unwrap_or_default(), now).with_type(clipped(event.event_type.as_str())).with_headers(headers)
}

/// A short string holds 255 bytes; what is longer is only cut where it is for people.
pub fn clipped(value: &str) -> ShortString {
    let mut end = value.len().min(SHORT_STRING_BYTES);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    short(&value[..end])
}

/// The same properties with more headers, and without the broker's own.
///
/// Three properties belong to the publish they came with and not to the message: `user_id` and `reply_to` are checked against our
/// own connection (a wrong one closes the channel), and `expiration` would make a kept message vanish.
pub fn with_headers(properties: &BasicProperties, added: Vec<(&'static str, AMQPValue)>) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in properties.headers().iter().flat_map(|table| table.inner().iter()) {
        if !name.as_str().starts_with("x-") && is_scalar(value) {
            headers.insert(name.clone(), value.clone());
        }
    }
    for (name, value) in added {
        headers.insert(name.into(), value);
    }
    let kept = BasicProperties::default().with_headers(headers).with_delivery_mode(2);
    let kept = set(kept, properties.content_type().as_ref(), BasicProperties::with_content_type);
    let kept = set(kept, properties.content_encoding().as_ref(), BasicProperties::with_content_encoding);
    let kept = set(kept, properties.correlation_id().as_ref(), BasicProperties::with_correlation_id);
    let kept = set(kept, properties.message_id().as_ref(), BasicProperties::with_message_id);
    let kept = set(kept, properties.timestamp().as_ref(), BasicProperties::with_timestamp);
    let kept = set(kept, properties.kind().as_ref(), BasicProperties::with_type);
    set(kept, properties.app_id().as_ref(), BasicProperties::with_app_id)
}

/// The same properties without these headers, and without the broker's own.
pub fn without_headers(properties: &BasicProperties, names: &[&str]) -> BasicProperties {
    let kept = with_headers(properties, Vec::new());
    let mut headers = FieldTable::default();
    for (name, value) in kept.headers().iter().flat_map(|table| table.inner().iter()) {
        if !names.contains(&name.as_str()) {
            headers.insert(name.clone(), value.clone());
        }
    }
    kept.with_headers(headers)
}

fn set<T: Clone>(
    to: BasicProperties,
    value: Option<&T>,
    with: impl FnOnce(BasicProperties, T) -> BasicProperties,
) -> BasicProperties {
    match value {
        Some(value) => with(to, value.clone()),
        None => to,
    }
}

fn is_scalar(value: &AMQPValue) -> bool {
    !matches!(value, AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_))
}

/// A header's value as text, if it is a scalar.
pub fn scalar_text(value: &AMQPValue) -> Option<String> {
    let bytes = |text: &LongString| String::from_utf8(text.as_bytes().to_vec()).ok();
    match value {
        AMQPValue::LongString(value) => bytes(value),
        AMQPValue::ShortString(value) => Some(value.to_string()),
        AMQPValue::Boolean(value) => Some(value.to_string()),
        AMQPValue::ShortShortInt(value) => Some(value.to_string()),
        AMQPValue::ShortShortUInt(value) => Some(value.to_string()),
        AMQPValue::ShortInt(value) => Some(value.to_string()),
        AMQPValue::ShortUInt(value) => Some(value.to_string()),
        AMQPValue::LongInt(value) => Some(value.to_string()),
        AMQPValue::LongUInt(value) => Some(value.to_string()),
        AMQPValue::LongLongInt(value) => Some(value.to_string()),
        AMQPValue::Timestamp(seconds) => {
            let ms = i64::try_from(*seconds).ok()?.checked_mul(1000)?;
            Some(Timestamp::from_millis(ms).to_string())
        }
        _ => None,
    }
}

/// How often handling a message failed so far, if it was given back to its queue before.
pub fn failures(properties: &BasicProperties) -> Option<u32> {
    header(properties, FAILURES_HEADER)?.parse().ok()
}

/// The exchange and the key a message was first published with: its own, unless it was given back to its queue.
pub fn first_published(properties: &BasicProperties, exchange: &str, routing_key: &str) -> (String, String) {
    let given_back =
        failures(properties).and_then(|_| Some((header(properties, EXCHANGE_HEADER)?, header(properties, KEY_HEADER)?)));
    given_back.unwrap_or_else(|| (exchange.to_owned(), routing_key.to_owned()))
}

fn header(properties: &BasicProperties, name: &str) -> Option<String> {
    properties.headers().as_ref().and_then(|table| table.inner().get(name)).and_then(scalar_text)
}
