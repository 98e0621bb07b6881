//! How a payload is shown in answers of the HTTP API, where it must be a JSON object.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hookyard_core::Event;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{json, value::to_raw_value};

use crate::body::{is_json, raw_json};

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
