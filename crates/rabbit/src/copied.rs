//! Properties and headers of a message that is published again: among the rejected ones, back into its queue, or once more.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use hookyard_wire::form::{AMQP1_HEADERS, MESSAGE_ID_HEADER};

use crate::message::header;
use crate::topology::text;
use crate::unreadable::{UNREADABLE_HEADER, header_line, list};

/// Bytes of a content header's frame beside texts: its head and end; class, weight, the body's size and flags; the table's length,
/// delivery mode, timestamp.
const FIXED_BYTES: usize = 8 + 2 + 2 + 8 + 2 + 4 + 1 + 8;
/// Most bytes that say which headers did not fit: some dozens of usual names.
const LIST_MOST: usize = 2 * 1024;

/// The same properties with more headers, in a content header whose frame has at most `room` bytes: a larger one than was agreed would
/// end the connection. What does not fit, the largest headers first, is said to be unreadable.
///
/// Three properties belong to the publish they came with and not to the message: `user_id` and `reply_to` are checked against our
/// own connection (a wrong one closes the channel), and `expiration` would make a kept message vanish.
pub fn with_headers(properties: &BasicProperties, added: Vec<(&'static str, AMQPValue)>, room: usize) -> BasicProperties {
    let mut theirs: Vec<(usize, &ShortString, &AMQPValue)> = Vec::new();
    for (name, value) in properties.headers().iter().flat_map(|table| table.inner().iter()) {
        if is_copied(name.as_str()) && name.as_str() != UNREADABLE_HEADER {
            theirs.push((1 + name.as_str().len() + bytes_of(value), name, value));
        }
    }
    theirs.retain(|(_, name, _)| added.iter().all(|(added, _)| name.as_str() != *added));
    theirs.sort_by_key(|(bytes, ..)| *bytes);
    let ours: usize = added.iter().map(|(name, value)| 1 + name.len() + bytes_of(value)).sum();
    let kept = kept(properties);
    let list_most = LIST_MOST.min(room / 8);
    let list_bytes = 1 + UNREADABLE_HEADER.len() + 1 + 4 + list_most;
    let mut left = room.saturating_sub(FIXED_BYTES + bytes_of_texts(&kept) + ours + list_bytes);
    let mut unreadable: Vec<String> = header(properties, UNREADABLE_HEADER).into_iter().collect();
    let mut headers = FieldTable::default();
    for (bytes, name, value) in theirs {
        if bytes <= left {
            left -= bytes;
            headers.insert(name.clone(), value.clone());
        } else {
            // Nothing that comes after it fits, either.
            left = 0;
            unreadable.push(header_line(name.as_str()));
        }
    }
    if !unreadable.is_empty() {
        headers.insert(UNREADABLE_HEADER.into(), text(&list(&unreadable, list_most)));
    }
    for (name, value) in added {
        headers.insert(name.into(), value);
    }
    kept.with_headers(headers)
}

/// The properties that go with a copy, without headers.
fn kept(properties: &BasicProperties) -> BasicProperties {
    let kept = BasicProperties::default().with_delivery_mode(2);
    let kept = set(kept, properties.content_type().as_ref(), BasicProperties::with_content_type);
    let kept = set(kept, properties.content_encoding().as_ref(), BasicProperties::with_content_encoding);
    let kept = set(kept, properties.correlation_id().as_ref(), BasicProperties::with_correlation_id);
    let kept = set(kept, properties.message_id().as_ref(), BasicProperties::with_message_id);
    let kept = set(kept, properties.timestamp().as_ref(), BasicProperties::with_timestamp);
    let kept = set(kept, properties.kind().as_ref(), BasicProperties::with_type);
    set(kept, properties.app_id().as_ref(), BasicProperties::with_app_id)
}

/// The same properties without these headers.
pub fn without_headers(properties: &BasicProperties, names: &[&str], room: usize) -> BasicProperties {
    let kept = with_headers(properties, Vec::new(), room);
    let mut headers = FieldTable::default();
    for (name, value) in kept.headers().iter().flat_map(|table| table.inner().iter()) {
        if !names.contains(&name.as_str()) {
            headers.insert(name.clone(), value.clone());
        }
    }
    kept.with_headers(headers)
}

/// Neither the broker's own, nor those by which it would send a copy to other queues. What the publisher said stays, also where the
/// broker named the header.
fn is_copied(name: &str) -> bool {
    let is_theirs = name.starts_with(AMQP1_HEADERS) || name == MESSAGE_ID_HEADER;
    is_theirs || !name.starts_with("x-") && !["CC", "BCC"].contains(&name)
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

fn bytes_of_texts(properties: &BasicProperties) -> usize {
    let texts = [
        properties.content_type(),
        properties.content_encoding(),
        properties.correlation_id(),
        properties.message_id(),
        properties.kind(),
        properties.app_id(),
    ];
    texts.into_iter().flatten().map(|text| 1 + text.as_str().len()).sum()
}

/// Bytes of a value in a table, with its tag. Nothing here is nested deeper than the guard lets through.
fn bytes_of(value: &AMQPValue) -> usize {
    1 + match value {
        AMQPValue::Void => 0,
        AMQPValue::Boolean(_) | AMQPValue::ShortShortInt(_) | AMQPValue::ShortShortUInt(_) => 1,
        AMQPValue::ShortInt(_) | AMQPValue::ShortUInt(_) => 2,
        AMQPValue::LongInt(_) | AMQPValue::LongUInt(_) | AMQPValue::Float(_) => 4,
        AMQPValue::DecimalValue(_) => 5,
        AMQPValue::LongLongInt(_) | AMQPValue::Timestamp(_) | AMQPValue::Double(_) => 8,
        AMQPValue::ShortString(text) => 1 + text.as_str().len(),
        AMQPValue::LongString(text) => 4 + text.as_bytes().len(),
        AMQPValue::ByteArray(bytes) => 4 + bytes.len(),
        AMQPValue::FieldArray(list) => 4 + list.as_slice().iter().map(bytes_of).sum::<usize>(),
        AMQPValue::FieldTable(table) => {
            4 + table.inner().iter().map(|(name, value)| 1 + name.as_str().len() + bytes_of(value)).sum::<usize>()
        }
    }
}

#[cfg(test)]
mod tests {
    use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, gen_frame};
    use lapin::types::FieldArray;

    use super::*;
    use crate::unreadable::Unreadable;

    fn message(headers: Vec<(&str, AMQPValue)>) -> BasicProperties {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert(name.into(), value);
        }
        BasicProperties::default().with_headers(table)
    }

    fn names(properties: &BasicProperties) -> Vec<String> {
        properties.headers().iter().flat_map(|table| table.inner().keys()).map(ToString::to_string).collect()
    }

    #[test]
    fn headers_of_every_kind_are_copied_but_for_the_brokers() {
        let list = AMQPValue::FieldArray(FieldArray::default());
        let given = message(vec![
            ("hookyard-app", list.clone()),
            ("x-death", list.clone()),
            ("CC", list.clone()),
            ("BCC", list.clone()),
            ("x-message-id", list),
        ]);
        assert_eq!(names(&with_headers(&given, Vec::new(), 128 * 1024)), ["hookyard-app", "x-message-id"]);
    }

    #[test]
    fn what_does_not_fit_is_unreadable_and_never_absent() {
        let large = text(&"x".repeat(127 * 1024));
        let given = message(vec![("a-large", large), ("hookyard-app", text("acme"))]);
        let copied = with_headers(&given, vec![("hookyard-reason", text("unreadable"))], 128 * 1024);
        assert_eq!(names(&copied), ["hookyard-app", "hookyard-reason", "hookyard-unreadable"]);
        assert_eq!(Unreadable::of(&copied).headers().collect::<Vec<_>>(), ["a-large"]);
        // And so it stays, however often it is copied.
        let again = with_headers(&copied, Vec::new(), 128 * 1024);
        assert_eq!(Unreadable::of(&again).headers().collect::<Vec<_>>(), ["a-large"]);
    }

    /// Bytes of its frame, as the library writes it.
    fn frame_bytes(properties: BasicProperties) -> usize {
        let header = AMQPContentHeader { class_id: 60, body_size: u64::MAX, properties };
        gen_frame(&AMQPFrame::Header(1, header))(Vec::new().into()).expect("written").write.len()
    }

    #[test]
    fn however_many_do_not_fit_the_copy_does() {
        let many: Vec<(String, AMQPValue)> =
            (0..2_000).map(|number| (format!("header-{number:04}"), text(&"x".repeat(100)))).collect();
        let given = message(many.iter().map(|(name, value)| (name.as_str(), value.clone())).collect());
        let long = || ShortString::from("p".repeat(255));
        let given = given.with_content_type(long()).with_content_encoding(long()).with_correlation_id(long());
        let given = given.with_message_id(long()).with_type(long()).with_app_id(long()).with_timestamp(1);
        for room in [4 * 1024, 8 * 1024, 64 * 1024, 128 * 1024] {
            let largest = [("hookyard-detail", 500), ("hookyard-reason", 32), ("hookyard-at", 32), ("hookyard-exchange", 255)];
            let added = largest.map(|(name, bytes)| (name, text(&"a".repeat(bytes))));
            let added = added.into_iter().chain([("hookyard-routing-key", text(&"a".repeat(255)))]).collect();
            let copied = with_headers(&given, added, room);
            assert!(Unreadable::of(&copied).has_any_header());
            let bytes = frame_bytes(copied);
            // And the room is used: one more of them would not fit, but for the list of the others.
            assert!(bytes <= room && bytes + LIST_MOST + 256 > room, "{bytes} of {room}");
        }
    }
}
