//! The five forms in which upstream services publish over AMQP; `proto/README.md` is the normative text.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hookyard_core::{Refusal, RefusalReason, Submission, Timestamp};
use prost::Message as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::body::is_json;
use crate::queue::{ACCEPTED_CONTENT_TYPE, read_accepted};
use crate::v1;

/// Content type of the protobuf form.
pub const EVENT_CONTENT_TYPE: &str = "application/vnd.hookyard.event.v1+protobuf";
/// Header naming the application.
pub const APP_HEADER: &str = "hookyard-app";
/// Header naming the channels, comma-separated.
pub const CHANNELS_HEADER: &str = "hookyard-channels";

/// A message as the broker hands it over.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// Property `content_type`.
    pub content_type: Option<String>,
    /// Property `message_id`.
    pub message_id: Option<String>,
    /// Property `type`.
    pub message_type: Option<String>,
    /// Property `timestamp`, in seconds.
    pub timestamp: Option<u64>,
    /// Headers with a scalar value, as text.
    pub headers: BTreeMap<String, String>,
    /// The routing key.
    pub routing_key: String,
    /// The body.
    pub body: Bytes,
}

/// Reads whichever form `published` is in; properties and headers fill what the form leaves out.
pub fn read(mut published: Published) -> Result<Submission, Refusal> {
    let content_type = published.content_type.as_deref().unwrap_or_default().to_ascii_lowercase();
    let body = std::mem::take(&mut published.body);
    if content_type == ACCEPTED_CONTENT_TYPE {
        // Intake over HTTP has fixed what it is: its properties are for operators and fill nothing.
        return read_accepted(body).map_err(|error| unreadable("accepted event", &error));
    }
    let submission = if content_type == EVENT_CONTENT_TYPE {
        submission_of(v1::Event::decode(body).map_err(|error| unreadable("protobuf", &error))?)
    } else if content_type.starts_with("application/cloudevents") {
        read_structured_cloudevent(&content_type, &body)?
    } else if published.headers.keys().any(|name| cloudevents_attribute(name).is_some()) {
        read_binary_cloudevent(&published, body)?
    } else if published.message_type.is_some() {
        Submission { data: body, content_type: published.content_type.clone(), ..Submission::default() }
    } else {
        read_envelope(&body)?
    };
    Ok(fill(submission, published))
}

/// What the protobuf form says; empty fields are absent ones.
pub(crate) fn submission_of(event: v1::Event) -> Submission {
    let optional = |text: String| Some(text).filter(|text| !text.is_empty());
    Submission {
        app: optional(event.app),
        event_id: optional(event.id),
        event_type: optional(event.r#type),
        channels: event.channels,
        time: optional(event.time),
        context: Some(event.context).filter(|context| !context.is_empty()),
        content_type: optional(event.data_content_type),
        data: event.data,
        traceparent: optional(event.traceparent),
        message_id: None,
        accepted_at: None,
        data_kept: None,
    }
}

/// First hit wins per field: the form, then properties and headers, then (for the type) the routing key.
fn fill(submission: Submission, published: Published) -> Submission {
    let header = |name: &str| published.headers.get(name).cloned();
    let seconds = published.timestamp.and_then(|seconds| i64::try_from(seconds).ok());
    let property_time = seconds.map(|seconds| Timestamp::from_millis(seconds.saturating_mul(1000)).to_string());
    let channels = if submission.channels.is_empty() {
        header(CHANNELS_HEADER).map(|text| split_channels(&text)).unwrap_or_default()
    } else {
        submission.channels
    };
    Submission {
        app: submission.app.or_else(|| header(APP_HEADER)),
        event_id: submission.event_id.or(published.message_id),
        event_type: submission.event_type.or(published.message_type).or(Some(published.routing_key)),
        channels,
        time: submission.time.or(property_time),
        traceparent: submission.traceparent.or_else(|| header("traceparent")),
        ..submission
    }
}

fn split_channels(text: &str) -> Vec<String> {
    text.split(',').map(|channel| channel.trim().to_owned()).filter(|channel| !channel.is_empty()).collect()
}

#[derive(Deserialize)]
struct Envelope<'a> {
    event_type: Option<String>,
    event_time: Option<String>,
    event_id: Option<String>,
    app: Option<String>,
    #[serde(default)]
    channels: Vec<String>,
    #[serde(borrow)]
    current_context: Option<&'a RawValue>,
    #[serde(borrow)]
    data: &'a RawValue,
}

fn read_envelope(body: &Bytes) -> Result<Submission, Refusal> {
    let envelope: Envelope<'_> = read_object("JSON envelope", body)?;
    Ok(Submission {
        app: envelope.app,
        event_id: envelope.event_id,
        event_type: envelope.event_type,
        channels: envelope.channels,
        time: envelope.event_time,
        context: envelope.current_context.filter(|raw| raw.get() != "null").map(|raw| slice_of(body, raw)),
        data: slice_of(body, envelope.data),
        ..Submission::default()
    })
}

#[derive(Deserialize)]
struct CloudEvent<'a> {
    specversion: String,
    id: String,
    source: String,
    r#type: String,
    time: Option<String>,
    datacontenttype: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    data_base64: Option<String>,
    hookyardapp: Option<String>,
    hookyardchannels: Option<String>,
    traceparent: Option<String>,
}

fn read_structured_cloudevent(content_type: &str, body: &Bytes) -> Result<Submission, Refusal> {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if media_type != "application/cloudevents+json" {
        return Err(Refusal::new(RefusalReason::Unreadable, format!("{media_type}: only application/cloudevents+json is read")));
    }
    let event: CloudEvent<'_> = read_object("CloudEvents JSON", body)?;
    let data = match (event.data, event.data_base64) {
        (Some(_), Some(_)) => return Err(Refusal::new(RefusalReason::Unreadable, "both data and data_base64")),
        (Some(raw), None) => structured_data(body, raw, event.datacontenttype.as_deref())?,
        (None, Some(text)) => BASE64.decode(text).map_err(|error| unreadable("data_base64", &error))?.into(),
        (None, None) => Bytes::new(),
    };
    require_version(&event.specversion)?;
    Ok(Submission {
        app: event.hookyardapp,
        event_id: Some(cloudevents_id(&event.source, &event.id)),
        event_type: Some(event.r#type),
        channels: event.hookyardchannels.map(|text| split_channels(&text)).unwrap_or_default(),
        time: event.time,
        content_type: event.datacontenttype,
        data,
        traceparent: event.traceparent,
        ..Submission::default()
    })
}

/// JSON stays as it is written; a JSON string stands for text of any other type (CloudEvents JSON format 1.0.2, §3.1).
fn structured_data(body: &Bytes, raw: &RawValue, content_type: Option<&str>) -> Result<Bytes, Refusal> {
    if content_type.is_none_or(is_json) || !raw.get().starts_with('"') {
        return Ok(slice_of(body, raw));
    }
    let text: String = serde_json::from_str(raw.get()).map_err(|error| unreadable("CloudEvents data", &error))?;
    Ok(text.into())
}

/// The CloudEvents attribute a header carries in the AMQP binding's binary mode.
fn cloudevents_attribute(header: &str) -> Option<&str> {
    header.strip_prefix("cloudEvents_").or_else(|| header.strip_prefix("cloudEvents:"))
}

fn read_binary_cloudevent(published: &Published, data: Bytes) -> Result<Submission, Refusal> {
    let named = published.headers.iter().filter_map(|(name, value)| cloudevents_attribute(name).map(|name| (name, value)));
    let attributes: BTreeMap<&str, &String> = named.collect();
    let get = |name: &str| attributes.get(name).map(|value| (*value).clone());
    let need =
        |name: &str| get(name).ok_or_else(|| Refusal::new(RefusalReason::Unreadable, format!("CloudEvents without {name}")));
    require_version(&need("specversion")?)?;
    Ok(Submission {
        app: get("hookyardapp"),
        event_id: Some(cloudevents_id(&need("source")?, &need("id")?)),
        event_type: Some(need("type")?),
        channels: get("hookyardchannels").map(|text| split_channels(&text)).unwrap_or_default(),
        time: get("time"),
        content_type: published.content_type.clone(),
        data,
        traceparent: get("traceparent"),
        ..Submission::default()
    })
}

/// CloudEvents are unique by source and id together; a source (a URI reference) holds no space.
fn cloudevents_id(source: &str, id: &str) -> String {
    format!("{source} {id}")
}

fn require_version(version: &str) -> Result<(), Refusal> {
    if version == "1.0" { Ok(()) } else { Err(Refusal::new(RefusalReason::Unreadable, "CloudEvents specversion is not 1.0")) }
}

/// Reads a JSON object. A derived reader alone would also take an array as the fields in their order.
fn read_object<'a, T: Deserialize<'a>>(form: &str, body: &'a [u8]) -> Result<T, Refusal> {
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Refusal::new(RefusalReason::Unreadable, format!("{form}: not a JSON object")));
    }
    serde_json::from_slice(body).map_err(|error| unreadable(form, &error))
}

/// The part of `body` that `raw` was read from, without copying it.
fn slice_of(body: &Bytes, raw: &RawValue) -> Bytes {
    body.slice_ref(raw.get().as_bytes())
}

/// The position of a mistake is told; what stood there is not, because it is payload.
fn unreadable(form: &str, error: &(dyn std::error::Error + 'static)) -> Refusal {
    let detail = match error.downcast_ref::<serde_json::Error>() {
        Some(json) => format!("{form}: {:?} error at line {} column {}", json.classify(), json.line(), json.column()),
        None => format!("{form}: cannot be decoded"),
    };
    Refusal::new(RefusalReason::Unreadable, detail)
}
