//! The five forms in which upstream services publish over AMQP; `proto/README.md` is the normative text.

mod amqp1;
mod cloudevents;
mod given;

use std::collections::BTreeMap;

use bytes::Bytes;
use hookyard_core::{Refusal, RefusalReason, Submission};
use prost::Message as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::coding;
use crate::ignored::nearly;
use crate::queue::{ACCEPTED_CONTENT_TYPE, read_accepted};
use crate::v1;

pub use given::Given;

/// Content type of the protobuf form.
pub const EVENT_CONTENT_TYPE: &str = "application/vnd.hookyard.event.v1+protobuf";
/// Header naming the application.
pub const APP_HEADER: &str = "hookyard-app";
/// Header naming the channels, comma-separated.
pub const CHANNELS_HEADER: &str = "hookyard-channels";
/// How the names of our headers begin: one that is none of them is a mistake.
const OUR_HEADERS: &str = "hookyard-";
/// Headers of ours that say nothing of an event: on messages that were set aside, given back, or looked at.
const NOTES: [&str; 14] = [
    "attempt",
    "deliveries",
    "detail",
    "endpoint",
    "event-type",
    "exchange",
    "failures",
    "original",
    "reason",
    "rejected-at",
    "routing-key",
    "sent-at",
    "tier",
    "unreadable",
];
/// Longest name told in a refusal.
const NAME_SHOWN: usize = 100;
/// Header in which the library Kombu says how it compressed a body.
const COMPRESSION_HEADER: &str = "compression";

/// A message as the broker hands it over: `None` is a property that is not there.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// Property `content_type`.
    pub content_type: Option<Given>,
    /// Property `content_encoding`.
    pub content_encoding: Option<Given>,
    /// Property `message_id`.
    pub message_id: Option<Given>,
    /// Property `type`.
    pub message_type: Option<Given>,
    /// Property `timestamp`: seconds, or milliseconds where some libraries write those.
    pub timestamp: Option<Given>,
    /// Headers.
    pub headers: BTreeMap<String, Given>,
    /// Whether there may be headers that could not be told apart, of any name.
    pub has_unreadable_headers: bool,
    /// The routing key.
    pub routing_key: Option<Given>,
    /// The body.
    pub body: Bytes,
}

/// Reads whichever form `published` is in; properties and headers fill what the form leaves out. A compressed body may have `most`
/// bytes when decoded.
pub fn read(mut published: Published, most: usize) -> Result<Submission, Refusal> {
    published.forget_empty();
    let content_type = published.content_type()?.unwrap_or_default().to_ascii_lowercase();
    let body = std::mem::take(&mut published.body);
    if content_type == ACCEPTED_CONTENT_TYPE {
        // Intake over HTTP has fixed what it is: its properties are for operators and fill nothing.
        return read_accepted(body).map_err(|error| unreadable("accepted event", &error));
    }
    published.refuse_unknown_headers()?;
    let mut body = published.decoded(body, most)?;
    if amqp1::is_framed(published.type_text(), &body) {
        body = amqp1::unwrap(&body)?;
        // It was the broker's word for the frame, in which RabbitMQ 4 loses what the publisher annotated.
        published.message_type = None;
    }
    let submission = if content_type == EVENT_CONTENT_TYPE {
        submission_of(v1::Event::decode(body).map_err(|error| unreadable("protobuf", &error))?)
    } else if content_type.starts_with("application/cloudevents") {
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if media_type != "application/cloudevents+json" {
            let detail = format!("{media_type}: only application/cloudevents+json is read");
            return Err(Refusal::new(RefusalReason::Unreadable, detail));
        }
        cloudevents::read_structured(&body)?
    } else if cloudevents::is_binary(&published) {
        cloudevents::read_binary(&published, body)?
    } else if published.has_unreadable_headers {
        return Err(unreadable_headers(RefusalReason::Unreadable));
    } else if published.message_type.is_some() {
        Submission { data: body, content_type: published.content_type()?, ..Submission::default() }
    } else {
        read_envelope(&body)?
    };
    fill(submission, &published)
}

/// Sections of an AMQP 1.0 message in headers, encoded: the plugin of RabbitMQ 3.10 to 3.12 hands them on so.
pub const AMQP1_HEADERS: &str = "x-amqp-1.0-";
/// Header with the application properties.
pub const AMQP1_PROPERTIES_HEADER: &str = "x-amqp-1.0-app-properties";
/// Header with the message annotations.
pub const AMQP1_ANNOTATIONS_HEADER: &str = "x-amqp-1.0-message-annotations";
/// Header with a message id that is no short text: RabbitMQ 4 moves what AMQP 1.0 publishers gave there.
pub const MESSAGE_ID_HEADER: &str = "x-message-id";
/// The annotation that stands for the property `type`.
const TYPE_ANNOTATION: &str = "x-basic-type";
/// What that plugin writes into the property `type` of a body in a data section.
const PLUGIN_DATA_TYPE: &str = "binary";

impl Published {
    /// Adds what an AMQP 1.0 publisher said in sections that came in headers.
    pub fn add_amqp1(&mut self, properties: Option<&[u8]>, annotations: Option<&[u8]>) {
        match properties.map(amqp1::application_properties) {
            Some(Some(entries)) => {
                for (name, given) in entries {
                    self.headers.entry(name).or_insert(given);
                }
            }
            None if !self.headers.contains_key(AMQP1_PROPERTIES_HEADER) => {}
            // Which there were cannot be told.
            Some(None) | None => self.has_unreadable_headers = true,
        }
        if self.type_text() == Some(PLUGIN_DATA_TYPE) {
            self.message_type = match annotations.map(amqp1::annotations) {
                Some(Some(mut annotated)) => annotated.remove(TYPE_ANNOTATION),
                None if !self.headers.contains_key(AMQP1_ANNOTATIONS_HEADER) => None,
                // Whether there was one cannot be told.
                Some(None) | None => Some(Given::Other("among annotations that cannot be read")),
            };
        }
    }

    /// Some libraries cannot leave out a property: an empty id is none. An empty application or type is one, and a wrong one.
    fn forget_empty(&mut self) {
        let is_empty = |given: &Option<Given>| *given == Some(Given::Text(String::new()));
        for property in [&mut self.message_id, &mut self.content_encoding] {
            if is_empty(property) {
                *property = None;
            }
        }
    }

    /// A header that begins as ours do and is none was meant to say something: it is not ignored.
    fn refuse_unknown_headers(&self) -> Result<(), Refusal> {
        let ours = self.headers.keys().filter(|name| name.to_ascii_lowercase().starts_with(OUR_HEADERS));
        let is_known = |name: &str| {
            [APP_HEADER, CHANNELS_HEADER].contains(&name)
                || name.strip_prefix(OUR_HEADERS).is_some_and(|rest| NOTES.contains(&rest))
        };
        let unknown = ours.into_iter().find(|name| !is_known(name));
        unknown.map_or(Ok(()), |name| Err(no_such("header", name, [APP_HEADER, CHANNELS_HEADER])))
    }

    fn content_type(&self) -> Result<Option<String>, Refusal> {
        self.content_type.as_ref().map(|given| given.text("property content_type", RefusalReason::Unreadable)).transpose()
    }

    fn type_text(&self) -> Option<&str> {
        if let Some(Given::Text(text)) = &self.message_type { Some(text) } else { None }
    }

    /// A header's text; refused where it is there and cannot be read.
    fn header(&self, name: &str, reason: RefusalReason) -> Result<Option<String>, Refusal> {
        match self.headers.get(name) {
            Some(given) => given.text(&format!("header {name}"), reason).map(Some),
            None if self.has_unreadable_headers => Err(unreadable_headers(reason)),
            None => Ok(None),
        }
    }

    fn decoded(&self, body: Bytes, most: usize) -> Result<Bytes, Refusal> {
        let encoding = self.content_encoding.as_ref();
        let encoding = encoding.map(|given| given.text("property content_encoding", RefusalReason::Unreadable)).transpose()?;
        let compression = match self.headers.get(COMPRESSION_HEADER) {
            Some(Given::Text(text)) if coding::is_kombu(text) => Some(text.as_str()),
            // It may say that the body is compressed.
            Some(Given::Other(what)) => {
                return Err(Refusal::new(RefusalReason::Unreadable, format!("header compression is {what}; it must be text")));
            }
            None if self.has_unreadable_headers => return Err(unreadable_headers(RefusalReason::Unreadable)),
            _ => None,
        };
        coding::decoded(body, encoding.as_deref(), compression, most)
    }
}

/// What the protobuf form says; empty fields are absent ones.
pub(crate) fn submission_of(event: v1::Event) -> Submission {
    let optional = |text: String| Some(text).filter(|text| !text.is_empty());
    Submission {
        app: optional(event.app),
        source: None,
        event_id: optional(event.id),
        event_type: optional(event.r#type),
        channels: event.channels,
        tags: event.tags,
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

/// First hit wins per field: the form, then properties and headers, then (for the type) the routing key. What would be needed, is there
/// and cannot be read is refused.
fn fill(submission: Submission, published: &Published) -> Result<Submission, Refusal> {
    use RefusalReason as R;
    let property = |given: &Option<Given>, name, reason| given.as_ref().map(|given| given.text(name, reason)).transpose();
    let app = match submission.app {
        None => published.header(APP_HEADER, R::UnknownApp)?,
        app => app,
    };
    let event_id = match submission.event_id {
        None if published.message_id.is_some() => property(&published.message_id, "property message_id", R::InvalidId)?,
        None => published.header(MESSAGE_ID_HEADER, R::InvalidId)?,
        id => id,
    };
    let event_type = match submission.event_type {
        None if published.message_type.is_some() => property(&published.message_type, "property type", R::InvalidType)?,
        None => property(&published.routing_key, "the routing key", R::InvalidType)?,
        kind => kind,
    };
    let channels = if submission.channels.is_empty() {
        let header = published.header(CHANNELS_HEADER, R::InvalidChannel)?;
        header.map(|text| split_channels(&text)).unwrap_or_default()
    } else {
        submission.channels
    };
    let time = match submission.time {
        None => published.timestamp.as_ref().map(|given| given.time("property timestamp")).transpose()?,
        time => time,
    };
    // One that cannot be read is ignored, as a malformed one is.
    let traceparent = submission.traceparent.or_else(|| published.header("traceparent", R::Unreadable).ok().flatten());
    Ok(Submission { app, event_id, event_type, channels, time, traceparent, ..submission })
}

fn unreadable_headers(reason: RefusalReason) -> Refusal {
    Refusal::new(reason, "the headers cannot be read")
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
    channels: Option<Vec<String>>,
    #[serde(borrow)]
    current_context: Option<&'a RawValue>,
    /// Not an `Option`, which would take `null` for absent: it is data.
    #[serde(borrow, default)]
    data: Data<'a>,
    /// Of a CloudEvent, whose content type some libraries replace with their own.
    #[serde(borrow)]
    specversion: Option<&'a RawValue>,
}

const ENVELOPE_FIELDS: [&str; 7] = ["event_type", "event_time", "event_id", "app", "channels", "current_context", "data"];

#[derive(Default, Deserialize)]
#[serde(transparent)]
struct Data<'a>(#[serde(borrow, deserialize_with = "any_value")] Option<&'a RawValue>);

fn any_value<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn read_envelope(body: &Bytes) -> Result<Submission, Refusal> {
    let envelope: Envelope<'_> = read_object("JSON envelope", body)?;
    if envelope.specversion.is_some() {
        return cloudevents::read_structured(body);
    }
    // Other names may be anything, as some frameworks add their own; not one that is nearly one of ours.
    let names: BTreeMap<String, &RawValue> = read_object("JSON envelope", body)?;
    let unknown = names.keys().filter(|name| !ENVELOPE_FIELDS.contains(&name.as_str()));
    if let Some(name) = unknown.into_iter().find(|name| nearly(name, ENVELOPE_FIELDS).is_some()) {
        return Err(no_such("JSON envelope: field", name, ENVELOPE_FIELDS));
    }
    let Some(data) = envelope.data.0 else {
        let detail = "JSON envelope: no `data`: wrap the data in an envelope, {\"data\": …}, or set the property `type`";
        return Err(Refusal::new(RefusalReason::Unreadable, detail));
    };
    Ok(Submission {
        app: envelope.app,
        event_id: envelope.event_id.filter(|id| !id.is_empty()),
        event_type: envelope.event_type,
        channels: envelope.channels.unwrap_or_default(),
        time: envelope.event_time,
        context: envelope.current_context.filter(|raw| raw.get() != "null").map(|raw| slice_of(body, raw)),
        data: slice_of(body, data),
        ..Submission::default()
    })
}

/// Reads a JSON object. A derived reader alone would also take an array as the fields in their order.
fn read_object<'a, T: Deserialize<'a>>(form: &str, body: &'a [u8]) -> Result<T, Refusal> {
    if !body.trim_ascii_start().starts_with(b"{") {
        let advice = "wrap the data in an envelope, {\"data\": …}, or set the property `type`";
        return Err(Refusal::new(RefusalReason::Unreadable, format!("{form}: not a JSON object; {advice}")));
    }
    serde_json::from_slice(body).map_err(|error| unreadable(form, &error))
}

/// The part of `body` that `raw` was read from, without copying it.
fn slice_of(body: &Bytes, raw: &RawValue) -> Bytes {
    body.slice_ref(raw.get().as_bytes())
}

/// What was given under a name that nobody knows: it may have been meant to say where the event goes.
fn no_such<const N: usize>(what: &str, name: &str, known: [&str; N]) -> Refusal {
    let name: String = name.chars().take(NAME_SHOWN).collect();
    let known = known.join(", ");
    Refusal::new(RefusalReason::Unreadable, format!("{what} {name:?} is not known; there are {known}"))
}

/// The position of a mistake is told; what stood there is not, because it is payload.
fn unreadable(form: &str, error: &(dyn std::error::Error + 'static)) -> Refusal {
    let detail = match error.downcast_ref::<serde_json::Error>() {
        Some(json) => format!("{form}: {:?} error at line {} column {}", json.classify(), json.line(), json.column()),
        None => format!("{form}: cannot be decoded"),
    };
    Refusal::new(RefusalReason::Unreadable, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn type_by_plugin(annotations: Option<&[u8]>) -> Option<Given> {
        let mut published = Published { message_type: Some(Given::Text(PLUGIN_DATA_TYPE.into())), ..Published::default() };
        if annotations.is_some() {
            published.headers.insert(AMQP1_ANNOTATIONS_HEADER.into(), Given::Other("bytes"));
        }
        published.add_amqp1(None, annotations);
        published.message_type
    }

    #[test]
    fn an_annotated_type_that_cannot_be_told_is_not_taken_for_absent() {
        let annotated = b"\x00\x53\x72\xc1\x15\x02\xa3\x0cx-basic-type\xa1\x04paid";
        assert_eq!(type_by_plugin(Some(annotated)), Some(Given::Text("paid".into())));
        assert_eq!(type_by_plugin(None), None);
        assert!(matches!(type_by_plugin(Some(&annotated[..10])), Some(Given::Other(_))));
    }
}
