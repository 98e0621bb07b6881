//! The bodies receivers get, and how payloads are shown.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hookyard_core::event::admit;
use hookyard_core::{AppId, BodyFormat, Event, Message, MessageId, Submission};
use hookyard_wire::{body, shown};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::arbitrary::{GENEROUS, NOW, json, message};

/// The fields of every wrapping format.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrapping<'a> {
    event_time: Option<&'a RawValue>,
    event_type: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    current_context: Option<&'a RawValue>,
    r#type: Option<String>,
    timestamp: Option<String>,
    specversion: Option<String>,
    id: Option<String>,
    source: Option<String>,
    time: Option<String>,
    datacontenttype: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    data_base64: Option<String>,
}

/// Null, too, is present.
fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The data as it must stand in a wrapping body: the JSON that it is by its content type and by its bytes, or else nothing.
fn as_json(event: &Event) -> Option<&str> {
    let media_type = event.content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let named = ["application/json", "text/json"].contains(&&*media_type) || media_type.ends_with("+json");
    let raw: Option<&RawValue> = serde_json::from_slice(&event.data).ok();
    raw.filter(|_| named).map(RawValue::get)
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("text")
}

proptest! {
    #[test]
    fn a_payload_body_is_the_data_byte_for_byte(message in message()) {
        let body = body::write(&message, BodyFormat::Payload);
        prop_assert_eq!(&body.bytes, &message.event.data);
        prop_assert_eq!(&*body.content_type, &*message.event.content_type);
    }

    #[test]
    fn an_envelope_holds_data_and_context_as_published(message in message()) {
        let event = &message.event;
        let body = body::write(&message, BodyFormat::Envelope);
        prop_assert_eq!(&*body.content_type, "application/json");
        let wrapping: Wrapping<'_> = serde_json::from_slice(&body.bytes).expect("JSON");
        prop_assert_eq!(wrapping.event_time.expect("a time").get(), quoted(&event.time));
        prop_assert_eq!(wrapping.event_type.expect("a type").get(), quoted(event.event_type.as_str()));
        let context = event.context.as_deref().map(|context| std::str::from_utf8(context).expect("text"));
        prop_assert_eq!(wrapping.current_context.expect("a context").get(), context.unwrap_or("null"));
        assert_data(event, wrapping.data.expect("data"))?;
        prop_assert_eq!(wrapping.id, None);
    }

    #[test]
    fn a_standard_body_holds_data_as_published(message in message()) {
        let event = &message.event;
        let body = body::write(&message, BodyFormat::Standard);
        prop_assert_eq!(&*body.content_type, "application/json");
        let wrapping: Wrapping<'_> = serde_json::from_slice(&body.bytes).expect("JSON");
        prop_assert_eq!(wrapping.r#type.as_deref(), Some(event.event_type.as_str()));
        prop_assert_eq!(wrapping.timestamp.as_deref(), Some(&*event.time));
        assert_data(event, wrapping.data.expect("data"))?;
        prop_assert_eq!(wrapping.current_context.map(RawValue::get), None);
    }

    #[test]
    fn a_cloudevent_holds_json_as_published_and_anything_else_as_base64(message in message()) {
        let event = &message.event;
        let body = body::write(&message, BodyFormat::CloudEvents);
        prop_assert_eq!(&*body.content_type, "application/cloudevents+json");
        let wrapping: Wrapping<'_> = serde_json::from_slice(&body.bytes).expect("JSON");
        prop_assert_eq!(wrapping.specversion.as_deref(), Some("1.0"));
        prop_assert_eq!(wrapping.id, Some(message.id.to_string()));
        prop_assert_eq!(wrapping.source, Some(format!("urn:hookyard:{}", message.app)));
        prop_assert_eq!(wrapping.r#type.as_deref(), Some(event.event_type.as_str()));
        prop_assert_eq!(wrapping.time.as_deref(), Some(&*event.time));
        prop_assert_eq!(wrapping.datacontenttype.as_deref(), Some(&*event.content_type));
        prop_assert_eq!(wrapping.data.map(RawValue::get), as_json(event));
        let base64 = as_json(event).is_none().then(|| BASE64.encode(&event.data));
        prop_assert_eq!(wrapping.data_base64, base64);
    }

    #[test]
    fn a_payload_is_shown_as_an_object_that_loses_nothing(message in message()) {
        let event = &message.event;
        let shown = shown::payload(event);
        let expected = match as_json(event) {
            Some(object) if object.starts_with('{') => object.to_owned(),
            Some(other) => format!("{{\"$value\":{other}}}"),
            None => {
                let (content_type, base64) = (quoted(&event.content_type), BASE64.encode(&event.data));
                format!("{{\"$base64\":\"{base64}\",\"$contentType\":{content_type}}}")
            }
        };
        prop_assert_eq!(shown.get(), expected);
    }

    #[test]
    fn json_stands_in_the_wrapping_formats_as_it_is_written(json in json()) {
        let message = json_message(&json);
        for format in [BodyFormat::Envelope, BodyFormat::Standard, BodyFormat::CloudEvents] {
            let body = body::write(&message, format);
            let text = std::str::from_utf8(&body.bytes).expect("text");
            prop_assert!(text.contains(&format!("\"data\":{json}")), "{text}");
        }
    }
}

fn assert_data(event: &Event, data: &RawValue) -> Result<(), TestCaseError> {
    let expected = as_json(event).map_or_else(|| quoted(&BASE64.encode(&event.data)), str::to_owned);
    prop_assert_eq!(data.get(), expected);
    Ok(())
}

#[test]
fn json_that_a_parser_would_refuse_or_change_is_shown_as_published() {
    let too_deep = "[".repeat(300) + &"]".repeat(300);
    for data in ["1e999", "\"\\ud800\"", "12345678901234567890123.10", &too_deep] {
        let message = json_message(data);
        assert_eq!(shown::payload(&message.event).get(), format!("{{\"$value\":{data}}}"));
    }
}

fn json_message(data: &str) -> Message {
    let submission = Submission { event_type: Some("a".into()), data: data.to_owned().into(), ..Submission::default() };
    let event = admit(submission, &GENEROUS, NOW).expect("admitted");
    Message { id: MessageId::from_bytes([1; 20]), app: AppId::from_bytes([2; 20]), event: event.into() }
}
