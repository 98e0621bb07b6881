//! How a payload is shown in answers of the HTTP API, where it must be a JSON object.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hookyard_core::{Event, Message, MessageId};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{json, value::to_raw_value};

use utoipa::ToSchema;

use crate::body::{is_json, raw_json};

/// A message as the API shows it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageOut {
    /// Its id.
    #[schema(value_type = String)]
    pub id: MessageId,
    /// The publisher's own id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// The kind of event.
    pub event_type: String,
    /// The data, as an object.
    #[schema(value_type = Object)]
    pub payload: Box<RawValue>,
    /// Its channels, if it has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<String>>,
    /// Words to find it by, if it has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// When it was accepted.
    pub timestamp: String,
}

impl MessageOut {
    /// Shows a message; without its content, the payload is an empty object.
    pub fn new(message: &Message, with_content: bool) -> Self {
        let event = &*message.event;
        let channels: Vec<String> = event.channels.iter().map(ToString::to_string).collect();
        Self {
            id: message.id,
            event_id: event.id.as_ref().map(ToString::to_string),
            event_type: event.event_type.to_string(),
            payload: match (with_content, message.is_expunged()) {
                (false, _) => raw(&json!({})),
                (true, true) => raw(&json!({ "expired": true })),
                (true, false) => payload(event),
            },
            channels: Some(channels).filter(|channels| !channels.is_empty()),
            tags: Some(event.tags.iter().map(ToString::to_string).collect()).filter(|tags: &Vec<String>| !tags.is_empty()),
            timestamp: event.accepted_at.to_string(),
        }
    }
}

/// A JSON object as published; `{"$value": …}` around other JSON; `{"$contentType", "$base64"}` for bytes.
pub fn payload(event: &Event) -> Box<RawValue> {
    let json = if is_json(&event.content_type) { raw_json(&event.data) } else { None };
    match json {
        Some(object) if object.get().starts_with('{') => object.to_owned(),
        Some(value) => raw(&Wrapped { value }),
        None => raw(&json!({ "$contentType": &*event.content_type, "$base64": BASE64.encode(&event.data) })),
    }
}

/// Around JSON as it is written: a parsed `Value` would round its numbers and cannot hold all of them.
#[derive(Serialize)]
struct Wrapped<'a> {
    #[serde(rename = "$value")]
    value: &'a RawValue,
}

fn raw(value: &impl Serialize) -> Box<RawValue> {
    // Text and raw JSON always serialise.
    to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}
