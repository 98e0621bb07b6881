//! The bodies receivers get.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hookyard_core::{BodyFormat, Message};
use serde::Serialize;
use serde_json::value::RawValue;

/// A request body and its content type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// Value of `content-type`.
    pub content_type: String,
    /// The bytes, which are signed and sent exactly so.
    pub bytes: Bytes,
}

/// Writes the body of `message` in `format`.
///
/// In the wrapping formats, data that is JSON stands in it exactly as published; other data is a base64 string.
pub fn write(message: &Message, format: BodyFormat) -> Body {
    let event = &*message.event;
    let written = match format {
        BodyFormat::Payload => {
            return Body { content_type: event.content_type.to_string(), bytes: event.data.clone() };
        }
        BodyFormat::Envelope => serde_json::to_vec(&Envelope {
            event_time: &event.time,
            event_type: event.event_type.as_str(),
            current_context: event.context.as_deref().and_then(raw_json),
            data: Data::of(message),
        }),
        BodyFormat::Standard => {
            serde_json::to_vec(&Standard { r#type: event.event_type.as_str(), timestamp: &event.time, data: Data::of(message) })
        }
        BodyFormat::CloudEvents => serde_json::to_vec(&CloudEvent::of(message)),
    };
    let content_type = if format == BodyFormat::CloudEvents { "application/cloudevents+json" } else { "application/json" };
    // Text, raw JSON and base64 always serialise.
    Body { content_type: content_type.into(), bytes: written.unwrap_or_default().into() }
}

/// The JSON text in `bytes`, if they are JSON.
pub(crate) fn raw_json(bytes: &[u8]) -> Option<&RawValue> {
    serde_json::from_slice(bytes).ok()
}

/// Whether a media type is JSON by name (RFC 6838 structured suffix included).
pub(crate) fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type == "application/json" || media_type == "text/json" || media_type.ends_with("+json")
}

#[derive(Serialize)]
struct Envelope<'a> {
    event_time: &'a str,
    event_type: &'a str,
    current_context: Option<&'a RawValue>,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Standard<'a> {
    r#type: &'a str,
    timestamp: &'a str,
    data: Data<'a>,
}

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: String,
    source: String,
    r#type: &'a str,
    time: &'a str,
    datacontenttype: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

impl<'a> CloudEvent<'a> {
    fn of(message: &'a Message) -> Self {
        let event = &*message.event;
        let (data, data_base64) = match Data::of(message) {
            Data::Json(raw) => (Some(raw), None),
            Data::Base64(text) => (None, Some(text)),
        };
        Self {
            specversion: "1.0",
            id: message.id.to_string(),
            source: format!("urn:hookyard:{}", message.app),
            r#type: event.event_type.as_str(),
            time: &event.time,
            datacontenttype: &event.content_type,
            data,
            data_base64,
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Json(&'a RawValue),
    Base64(String),
}

impl<'a> Data<'a> {
    fn of(message: &'a Message) -> Self {
        let event = &*message.event;
        let json = if is_json(&event.content_type) { raw_json(&event.data) } else { None };
        json.map_or_else(|| Self::Base64(BASE64.encode(&event.data)), Self::Json)
    }
}
