//! CloudEvents 1.0: structured in JSON, and binary in headers by the AMQP binding (`cloudEvents_`, `cloudEvents:`) or by Knative's
//! binding for RabbitMQ (`ce-`).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hookyard_core::{Refusal, RefusalReason, Submission};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::given::Given;
use super::{Published, no_such, read_object, slice_of, split_channels, unreadable, unreadable_headers};
use crate::body::is_json;

/// A structured event. Empty texts and `null` are absent, as some libraries write what is not set.
#[derive(Deserialize)]
struct Structured<'a> {
    specversion: Option<String>,
    id: Option<String>,
    source: Option<String>,
    r#type: Option<String>,
    time: Option<String>,
    datacontenttype: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    data_base64: Option<String>,
    hookyardapp: Option<String>,
    hookyardchannels: Option<String>,
    traceparent: Option<String>,
}

/// How the names of our extensions begin.
const OURS: &str = "hookyard";
const EXTENSIONS: [&str; 2] = ["hookyardapp", "hookyardchannels"];

/// An extension that begins as ours do and is none was meant to say something: it is not ignored.
fn refuse_unknown<'a>(mut names: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
    let unknown = names.find(|name| name.to_ascii_lowercase().starts_with(OURS) && !EXTENSIONS.contains(name));
    unknown.map_or(Ok(()), |name| Err(no_such("the CloudEvents extension", name, EXTENSIONS)))
}

pub(super) fn read_structured(body: &Bytes) -> Result<Submission, Refusal> {
    let event: Structured<'_> = read_object("CloudEvents JSON", body)?;
    let names: BTreeMap<String, &RawValue> = read_object("CloudEvents JSON", body)?;
    refuse_unknown(names.keys().map(String::as_str))?;
    let data = match (event.data, event.data_base64) {
        (Some(_), Some(_)) => return Err(refused("both data and data_base64".to_owned())),
        (Some(raw), None) => structured_data(body, raw, event.datacontenttype.as_deref())?,
        (None, Some(text)) => BASE64.decode(text).map_err(|error| unreadable("data_base64", &error))?.into(),
        (None, None) => Bytes::new(),
    };
    require_version(&need("specversion", event.specversion)?)?;
    Ok(Submission {
        app: event.hookyardapp,
        source: Some(need("source", event.source)?),
        event_id: Some(need("id", event.id)?),
        event_type: Some(need("type", event.r#type)?),
        channels: event.hookyardchannels.map(|text| split_channels(&text)).unwrap_or_default(),
        time: event.time.filter(|text| !text.is_empty()),
        content_type: event.datacontenttype.filter(|text| !text.is_empty()),
        data,
        traceparent: event.traceparent,
        ..Submission::default()
    })
}

/// JSON stays as it is written; a JSON string stands for text of any other type (CloudEvents JSON format 1.0.2, §3.1).
fn structured_data(body: &Bytes, raw: &RawValue, content_type: Option<&str>) -> Result<Bytes, Refusal> {
    if content_type.is_none_or(|is| is.is_empty() || is_json(is)) || !raw.get().starts_with('"') {
        return Ok(slice_of(body, raw));
    }
    let text: String = serde_json::from_str(raw.get()).map_err(|error| unreadable("CloudEvents data", &error))?;
    Ok(text.into())
}

/// Whether headers say that a message is an event in binary mode: one of the AMQP binding's, or Knative's version.
pub(super) fn is_binary(published: &Published) -> bool {
    published.headers.keys().any(|name| name == "ce-specversion" || amqp_attribute(name).is_some())
}

/// The attribute a header carries in the AMQP binding.
fn amqp_attribute(header: &str) -> Option<&str> {
    header.strip_prefix("cloudEvents_").or_else(|| header.strip_prefix("cloudEvents:"))
}

pub(super) fn read_binary(published: &Published, data: Bytes) -> Result<Submission, Refusal> {
    let attributes = Attributes::of(published);
    refuse_unknown(attributes.named.keys().copied())?;
    require_version(&need("specversion", attributes.text("specversion", RefusalReason::Unreadable)?)?)?;
    let channels = attributes.text("hookyardchannels", RefusalReason::InvalidChannel)?;
    Ok(Submission {
        app: attributes.text("hookyardapp", RefusalReason::UnknownApp)?,
        source: Some(need("source", attributes.text("source", RefusalReason::InvalidId)?)?),
        event_id: Some(need("id", attributes.text("id", RefusalReason::InvalidId)?)?),
        event_type: Some(need("type", attributes.text("type", RefusalReason::InvalidType)?)?),
        channels: channels.map(|text| split_channels(&text)).unwrap_or_default(),
        time: attributes.time()?,
        content_type: published.content_type()?,
        data,
        // One that cannot be read is ignored, as a malformed one is.
        traceparent: attributes.text("traceparent", RefusalReason::Unreadable).unwrap_or_default(),
        ..Submission::default()
    })
}

/// Attributes by name. Of one under several prefixes `cloudEvents_` counts, then `cloudEvents:`, then `ce-`; null ones are absent.
struct Attributes<'a> {
    named: BTreeMap<&'a str, &'a Given>,
    /// Whether one that is not named may be there all the same.
    has_unreadable: bool,
}

impl<'a> Attributes<'a> {
    fn of(published: &'a Published) -> Self {
        let mut attributes = BTreeMap::new();
        for prefix in ["ce-", "cloudEvents:", "cloudEvents_"] {
            let named = published.headers.iter().filter_map(|(name, given)| Some((name.strip_prefix(prefix)?, given)));
            attributes.extend(named.filter(|(_, given)| **given != Given::Null));
        }
        Self { named: attributes, has_unreadable: published.has_unreadable_headers }
    }

    fn text(&self, name: &str, reason: RefusalReason) -> Result<Option<String>, Refusal> {
        if self.has_unreadable && !self.named.contains_key(name) {
            return Err(unreadable_headers(reason));
        }
        self.named.get(name).map(|given| given.text(&format!("the CloudEvents attribute {name}"), reason)).transpose()
    }

    fn time(&self) -> Result<Option<String>, Refusal> {
        if self.has_unreadable && !self.named.contains_key("time") {
            return Err(unreadable_headers(RefusalReason::InvalidTime));
        }
        let given = self.named.get("time").filter(|given| ***given != Given::Text(String::new()));
        given.map(|given| given.time("the CloudEvents attribute time")).transpose()
    }
}

/// An attribute that every event must have.
fn need(name: &str, value: Option<String>) -> Result<String, Refusal> {
    value.filter(|text| !text.is_empty()).ok_or_else(|| refused(format!("CloudEvents without {name}")))
}

fn require_version(version: &str) -> Result<(), Refusal> {
    if version == "1.0" { Ok(()) } else { Err(refused("CloudEvents specversion is not 1.0".to_owned())) }
}

fn refused(detail: String) -> Refusal {
    Refusal::new(RefusalReason::Unreadable, detail)
}
