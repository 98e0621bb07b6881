//! AMQP properties and headers of the messages we publish. Our headers have no `x-` prefix and scalar values only; the broker's
//! own `x-*` headers are never copied.

use hookyard_core::{Delivery, Event, Timestamp};
use hookyard_wire::form::{APP_HEADER, Given};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

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
    let id = event.id.as_ref().map(ToString::to_string).or_else(|| event.message_id.map(|id| id.to_string()));
    let mut headers = FieldTable::default();
    headers.insert(APP_HEADER.into(), text(&event.app.to_string()));
    properties(content_type, &id.unwrap_or_default(), now).with_type(clipped(event.event_type.as_str())).with_headers(headers)
}

/// A short string holds 255 bytes; what is longer is only cut where it is for people.
pub fn clipped(value: &str) -> ShortString {
    short(cut(value, SHORT_STRING_BYTES))
}

/// The beginning of a text, in at most `most` bytes.
pub fn cut(value: &str, most: usize) -> &str {
    let mut end = value.len().min(most);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    &value[..end]
}

/// A header's value as its publisher gave it.
pub fn given(value: &AMQPValue) -> Given {
    let bytes = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => Given::Text(text.to_owned()),
        Err(_) => Given::Other("bytes that are not UTF-8"),
    };
    match value {
        AMQPValue::LongString(value) => bytes(value.as_bytes()),
        AMQPValue::ByteArray(value) => bytes(value.as_slice()),
        AMQPValue::ShortString(value) => Given::Text(value.to_string()),
        AMQPValue::Boolean(value) => Given::Text(value.to_string()),
        AMQPValue::ShortShortInt(value) => Given::Integer(i64::from(*value)),
        AMQPValue::ShortShortUInt(value) => Given::Integer(i64::from(*value)),
        AMQPValue::ShortInt(value) => Given::Integer(i64::from(*value)),
        AMQPValue::ShortUInt(value) => Given::Integer(i64::from(*value)),
        AMQPValue::LongInt(value) => Given::Integer(i64::from(*value)),
        AMQPValue::LongUInt(value) => Given::Integer(i64::from(*value)),
        AMQPValue::LongLongInt(value) => Given::Integer(*value),
        AMQPValue::Timestamp(seconds) => Given::Seconds(*seconds),
        AMQPValue::Float(_) | AMQPValue::Double(_) => Given::Other("a number with a fraction"),
        AMQPValue::DecimalValue(_) => Given::Other("a decimal"),
        AMQPValue::FieldArray(_) => Given::Other("a list"),
        AMQPValue::FieldTable(_) => Given::Other("a table"),
        AMQPValue::Void => Given::Null,
    }
}

/// A header's value as text, if it is a scalar.
pub fn scalar_text(value: &AMQPValue) -> Option<String> {
    match given(value) {
        Given::Text(text) => Some(text),
        Given::Integer(number) => Some(number.to_string()),
        Given::Seconds(seconds) => Some(Timestamp::from_millis(i64::try_from(seconds).ok()?.checked_mul(1000)?).to_string()),
        Given::Null | Given::Other(_) => None,
    }
}

/// The bytes of a header, if it is there as text or bytes.
pub fn bytes<'a>(properties: &'a BasicProperties, name: &str) -> Option<&'a [u8]> {
    match properties.headers().as_ref()?.inner().get(name)? {
        AMQPValue::LongString(text) => Some(text.as_bytes()),
        AMQPValue::ByteArray(bytes) => Some(bytes.as_slice()),
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
    // Neither an exchange's name nor a key is longer: another tool wrote it.
    let given_back = given_back.filter(|(exchange, key)| exchange.len().max(key.len()) <= SHORT_STRING_BYTES);
    given_back.unwrap_or_else(|| (exchange.to_owned(), routing_key.to_owned()))
}

/// A header as text, if it is there as a scalar.
pub fn header(properties: &BasicProperties, name: &str) -> Option<String> {
    properties.headers().as_ref().and_then(|table| table.inner().get(name)).and_then(scalar_text)
}
