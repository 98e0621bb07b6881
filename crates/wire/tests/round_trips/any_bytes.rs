//! Whatever a publisher sends: reading and admitting it ends in an event or a refusal, and what is admitted can be delivered.

use std::collections::BTreeMap;

use bytes::Bytes;
use hookyard_core::event::{Admission, EventId, admit};
use hookyard_core::{AppId, BodyFormat, Event, Message, MessageId, Refusal, limits};
use hookyard_wire::form::{self, EVENT_CONTENT_TYPE, Given, Published};
use hookyard_wire::queue::{self, ACCEPTED_CONTENT_TYPE};
use hookyard_wire::{body, record, shown};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::value::RawValue;

use crate::arbitrary::{NOW, event, json};

const ADMISSION: Admission = Admission { max_bytes: 200, require_id: false };

/// Words of every form and what could break it, so that chance gets further than the first byte.
const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "\"",
    "\"data\":",
    "\"event_type\":",
    "\"event_time\":",
    "\"event_id\":",
    "\"app\":",
    "\"channels\":",
    "\"current_context\":",
    "\"specversion\":\"1.0\"",
    "\"id\":",
    "\"source\":",
    "\"type\":",
    "\"data_base64\":",
    "\"datacontenttype\":",
    "\"a\"",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "1e999",
    "-0.0",
    "{}",
    "\"2026-01-31T12:00:00Z\"",
    " ",
    "\r\n",
    "\u{feff}",
];

/// Mostly good, so that chance reaches what comes after it.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z.]{1,9}", 1 => any::<String>()]
}

fn content_type() -> impl Strategy<Value = String> {
    let known = [
        EVENT_CONTENT_TYPE,
        ACCEPTED_CONTENT_TYPE,
        "application/cloudevents+json",
        "application/cloudevents+json; charset=utf-8",
        "application/cloudevents-batch+json",
        "application/json",
        "image/png",
        "text/plain\r\nx: y",
    ];
    prop_oneof![8 => select(known.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

/// Mostly text.
fn given(text: impl Strategy<Value = String>) -> impl Strategy<Value = Given> {
    prop_oneof![
        12 => text.prop_map(Given::Text),
        1 => any::<i64>().prop_map(Given::Integer),
        1 => any::<u64>().prop_map(Given::Seconds),
        1 => Just(Given::Null),
        1 => Just(Given::Other("a list")),
    ]
}

fn headers() -> impl Strategy<Value = BTreeMap<String, Given>> {
    let ours = btree_map(
        select(&[form::APP_HEADER, form::CHANNELS_HEADER, "traceparent", "compression"][..]).prop_map(str::to_owned),
        given(name()),
        0..3,
    );
    let attribute = "(cloudEvents[_:]|ce-)(specversion|id|source|type|time|hookyardapp|hookyardchannels|traceparent)";
    let some = btree_map(attribute, given(prop_oneof![Just("1.0".to_owned()), any::<String>()]), 0..8);
    let required = (name(), name(), name()).prop_map(|(id, source, kind)| {
        let attributes = [("specversion", "1.0"), ("id", &*id), ("source", &*source), ("type", &*kind)];
        attributes.map(|(name, value)| (format!("cloudEvents_{name}"), Given::Text(value.to_owned()))).into_iter().collect()
    });
    let any = btree_map(any::<String>(), given(any::<String>()), 0..4);
    let parts = (ours, prop_oneof![4 => Just(BTreeMap::new()), 1 => some, 1 => required, 1 => any]);
    parts.prop_map(|(ours, more)| ours.into_iter().chain(more).collect())
}

fn contents() -> impl Strategy<Value = Bytes> {
    let words = vec(select(WORDS), 0..24).prop_map(|words| words.concat());
    let object = vec((select(WORDS).prop_filter("a field", |word| word.ends_with("\":")), json()), 0..8).prop_map(|fields| {
        let fields = fields.into_iter().map(|(name, value)| format!("{name}{value}"));
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    });
    let envelope = (option::of(name()), json()).prop_map(|(app, data)| match app {
        Some(app) => format!("{{\"app\":{app:?},\"data\":{data}}}"),
        None => format!("{{\"data\":{data}}}"),
    });
    let cloudevent = (name(), json()).prop_map(|(kind, data)| {
        format!("{{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":{kind:?},\"data\":{data}}}")
    });
    prop_oneof![
        any::<Vec<u8>>().prop_map(Bytes::from),
        words.prop_map(Bytes::from),
        object.prop_map(Bytes::from),
        envelope.prop_map(Bytes::from),
        cloudevent.prop_map(Bytes::from),
        event().prop_map(|event| queue::write_accepted(&event)),
    ]
}

fn published() -> impl Strategy<Value = Published> {
    let timestamp = prop_oneof![Just(None), (0..300_000_000_000_u64).prop_map(Some), any::<u64>().prop_map(Some)];
    let coding = select(&["", "utf-8", "gzip", "deflate", "zstd", "br", "gzip, UTF-8", "base64"][..]).prop_map(str::to_owned);
    let content_type = (option::of(given(content_type())), option::weighted(0.2, given(coding)));
    let names = (option::of(given(name())), option::of(given(name())), option::of(given(name())));
    let parts = (content_type, names, timestamp, headers(), prop::bool::weighted(0.1), contents());
    parts.prop_map(|(content_type, names, timestamp, headers, has_unreadable_headers, body)| {
        let (content_type, content_encoding) = content_type;
        let (message_id, message_type, routing_key) = names;
        let timestamp = timestamp.map(Given::Seconds);
        Published {
            content_type,
            content_encoding,
            message_id,
            message_type,
            timestamp,
            headers,
            has_unreadable_headers,
            routing_key,
            body,
        }
    })
}

/// What every later step takes for granted.
fn assert_sound(event: Event) -> Result<(), TestCaseError> {
    prop_assert!(event.data.len() + event.context.as_ref().map_or(0, Bytes::len) <= ADMISSION.max_bytes);
    prop_assert!(event.channels.len() <= limits::EVENT_CHANNELS && event.channels.is_sorted());
    prop_assert!(http::HeaderValue::from_str(&event.content_type).is_ok(), "{:?} as a header", event.content_type);
    prop_assert!(event.traceparent.as_deref().is_none_or(|text| http::HeaderValue::from_str(text).is_ok()));
    prop_assert!(event.id.as_ref().is_none_or(|id| EventId::parse(&id.to_string()).is_some()));
    let payload = shown::payload(&event);
    let object = payload.get().starts_with('{') && serde_json::from_str::<&RawValue>(payload.get()).is_ok();
    prop_assert!(object, "{payload} is not an object");
    let message = Message { id: MessageId::from_bytes([1; 20]), app: AppId::from_bytes([2; 20]), event: event.into() };
    for format in [BodyFormat::Envelope, BodyFormat::Standard, BodyFormat::CloudEvents] {
        let written = body::write(&message, format);
        let raw: Result<&RawValue, _> = serde_json::from_slice(&written.bytes);
        let object = raw.is_ok_and(|raw| raw.get().starts_with('{'));
        prop_assert!(object, "{format:?} is not an object");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn any_message_is_admitted_soundly_or_refused(published in published()) {
        match form::read(published, 1_000).and_then(|submission| admit(submission, &ADMISSION, NOW)) {
            Ok(event) => assert_sound(event)?,
            Err(Refusal { detail, .. }) => prop_assert!(!detail.is_empty()),
        }
    }

    #[test]
    fn any_bytes_are_read_as_queue_messages_and_records_or_are_unreadable(bytes in contents()) {
        let read = (
            queue::read_accepted(bytes.clone()).is_ok(),
            queue::read_delivery(bytes.clone()).is_ok(),
            queue::read_entries(bytes.clone()).is_ok(),
            record::read_message(bytes.clone()).is_ok(),
            record::read_attempt(bytes.clone()).is_ok(),
        );
        // No bytes at all are an empty list of entries and nothing else.
        prop_assert!(!bytes.is_empty() || read == (false, false, true, false, false));
    }
}

#[test]
fn json_nested_without_end_is_no_danger() {
    let deep = "[".repeat(100_000);
    for body in [deep.clone(), format!("{{\"data\":{deep}"), format!("{{\"data\":{deep}{}}}", "]".repeat(100_000))] {
        let published = Published { body: body.into(), routing_key: Some(Given::Text("a".into())), ..Published::default() };
        if let Ok(submission) = form::read(published, 1_000) {
            assert_eq!(submission.data.len(), 200_000);
        }
    }
}
