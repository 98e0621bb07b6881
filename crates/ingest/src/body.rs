//! Reading the body of a message.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use hookyard_core::{Submission, limits};
use hookyard_wire::ignored::objection;
use hookyard_wire::problem::{Invalid, Problem};
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

/// What the compatible API knows of a message.
const KNOWN: [&str; 9] = [
    "application",
    "channels",
    "data",
    "eventId",
    "eventType",
    "payload",
    "payloadRetentionPeriod",
    "tags",
    "transformationsParams",
];
/// Days a publisher may want its data kept: the compatible API's bounds.
const KEPT_DAYS: std::ops::RangeInclusive<u32> = 5..=90;

/// A message as it was sent.
pub struct MessageIn {
    /// What is to be admitted.
    pub submission: Submission,
    /// Fields that nobody knows.
    pub unknown: Vec<String>,
}

/// The fields of an object, none of them read: the payload's bytes are kept as they are.
type Fields<'a> = BTreeMap<String, &'a RawValue>;

/// Reads the body of one message, telling everything that is wrong with its shape.
pub fn read(body: &Bytes) -> Result<MessageIn, Problem> {
    let mut fields: Fields<'_> = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    let mut invalid = Vec::new();
    let event_type: Option<String> = take(&mut fields, "eventType", "must be a string", &mut invalid);
    let event_id: Option<String> = take(&mut fields, "eventId", "must be a string", &mut invalid);
    let channels: Option<Vec<String>> = take(&mut fields, "channels", "must be a list of strings", &mut invalid);
    let tags: Option<Vec<String>> = take(&mut fields, "tags", "must be a list of strings", &mut invalid);
    let tags = tags.unwrap_or_default();
    if tags.len() > limits::EVENT_TAGS || tags.iter().any(|tag| tag.is_empty() || tag.len() > limits::TAG_BYTES) {
        let (most, bytes) = (limits::EVENT_TAGS, limits::TAG_BYTES);
        invalid.push(wrong("tags", &format!("at most {most} tags of 1 to {bytes} bytes"), "value_error"));
    }
    let kept_days: Option<u32> =
        take(&mut fields, "payloadRetentionPeriod", "must be a number of days from 5 to 90", &mut invalid);
    if kept_days.is_some_and(|days| !KEPT_DAYS.contains(&days)) {
        invalid.push(wrong("payloadRetentionPeriod", "must be a number of days from 5 to 90", "value_error"));
    }
    let transformed = Transformed::take(&mut fields, &mut invalid);
    // `data` is an older name.
    let (payload, by_older) = (fields.remove("payload"), fields.remove("data"));
    if payload.is_some() && by_older.is_some() {
        invalid.push(wrong("data", "is an older name of payload; give one of the two", "value_error"));
    }
    let payload = payload.or(by_older).map(|payload| body.slice_ref(payload.get().as_bytes()));
    for (name, is_missing) in [("eventType", event_type.is_none()), ("payload", payload.is_none())] {
        if is_missing && !invalid.iter().any(|mistake| mistake.loc[1] == name) {
            invalid.push(wrong(name, "field required", "value_error.missing"));
        }
    }
    let channels = channels.unwrap_or_default();
    if channels.len() > limits::HTTP_EVENT_CHANNELS {
        invalid.push(wrong("channels", &format!("at most {} channels", limits::HTTP_EVENT_CHANNELS), "value_error"));
    }
    let (true, Some(data)) = (invalid.is_empty(), payload) else { return Err(Problem::Invalid(invalid)) };
    let data_kept = kept_days.map(|days| Duration::from_secs(u64::from(days) * 24 * 3600));
    let Transformed { raw_payload, content_type } = transformed;
    let data = raw_payload.map_or(data, Bytes::from);
    let submission = Submission { event_id, event_type, channels, tags, data, content_type, data_kept, ..Submission::default() };
    // It is read where applications are made. Null says nothing.
    fields.retain(|name, value| name != "application" && value.get() != "null");
    Ok(MessageIn { submission, unknown: fields.into_keys().collect() })
}

impl MessageIn {
    /// What may be ignored of it, and named; or everything that may not be.
    pub fn ignored(&self, is_strict: bool) -> Result<&[String], Problem> {
        let mistake = |name: &String| {
            let objection = objection(name, KNOWN).or_else(|| is_strict.then(|| "there is no such field".to_owned()))?;
            Some(wrong(name, &objection, "value_error"))
        };
        let mistakes: Vec<Invalid> = self.unknown.iter().filter_map(mistake).collect();
        if mistakes.is_empty() { Ok(&self.unknown) } else { Err(Problem::Invalid(mistakes)) }
    }
}

/// What the official clients say of a payload that is to be sent as it is (`message_in_raw`).
#[derive(Default)]
struct Transformed {
    raw_payload: Option<String>,
    content_type: Option<String>,
}

impl Transformed {
    /// Everything in it changes what is sent: what nobody knows is a mistake.
    fn take(fields: &mut Fields<'_>, invalid: &mut Vec<Invalid>) -> Self {
        const NAME: &str = "transformationsParams";
        let only = "may hold rawPayload, a string, and headers with a content-type";
        let Some(mut params) = take::<BTreeMap<String, Value>>(fields, NAME, only, invalid) else { return Self::default() };
        params.retain(|_, value| !value.is_null());
        let mut texts = match params.remove("headers") {
            Some(headers) => serde_json::from_value::<BTreeMap<String, String>>(headers).unwrap_or_else(|_| {
                invalid.push(wrong(NAME, only, "value_error"));
                BTreeMap::new()
            }),
            None => BTreeMap::new(),
        };
        let is_type = |name: &String| name.eq_ignore_ascii_case("content-type");
        let content_type = texts.keys().find(|name| is_type(name)).cloned().and_then(|name| texts.remove(&name));
        let raw_payload = match params.remove("rawPayload") {
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                invalid.push(wrong(NAME, only, "value_error"));
                None
            }
            None => None,
        };
        if !params.is_empty() || !texts.is_empty() {
            invalid.push(wrong(NAME, only, "value_error"));
        }
        Self { raw_payload, content_type }
    }
}

/// The body is no JSON, or none of the expected shape.
pub fn malformed(error: &serde_json::Error) -> Problem {
    match error.classify() {
        // A shape that is wrong names fields of ours, no payload.
        serde_json::error::Category::Data => Problem::invalid("", error.to_string()),
        category => {
            let detail = format!("{category:?} error at line {} column {}", error.line(), error.column());
            Problem::new(StatusCode::BAD_REQUEST, "invalid_json", detail)
        }
    }
}

/// Takes a field out; null is as good as absent.
fn take<T: DeserializeOwned>(fields: &mut Fields<'_>, name: &str, what: &str, invalid: &mut Vec<Invalid>) -> Option<T> {
    let value = fields.remove(name)?;
    serde_json::from_str(value.get()).unwrap_or_else(|_| {
        invalid.push(wrong(name, what, "value_error"));
        None
    })
}

fn wrong(name: &str, msg: &str, r#type: &str) -> Invalid {
    Invalid { loc: vec!["body".to_owned(), name.to_owned()], msg: msg.to_owned(), r#type: r#type.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(body: &'static str) -> Vec<String> {
        match read(&Bytes::from_static(body.as_bytes())).err() {
            Some(Problem::Invalid(mistakes)) => mistakes.iter().map(|mistake| mistake.loc.join(".")).collect(),
            other => vec![format!("{other:?}")],
        }
    }

    #[test]
    fn the_payload_keeps_its_bytes_and_what_nobody_knows_is_named() {
        let body = r#"{"note":["a"],"payload": {"b" : 1.0, "a":[] } ,"eventType":"x","eventId":null,"application":{},"z":1,"expiry":null}"#;
        let read = read(&Bytes::from_static(body.as_bytes())).expect("read");
        assert_eq!(&read.submission.data[..], br#"{"b" : 1.0, "a":[] }"#);
        assert_eq!((read.submission.event_type.as_deref(), &read.submission.event_id), (Some("x"), &None));
        assert_eq!(read.ignored(false).expect("may be ignored"), ["note", "z"]);
        assert!(read.ignored(true).is_err(), "a caller that wants to know");
    }

    #[test]
    fn what_may_restrict_is_not_ignored() {
        for field in ["chanels", "event_type", "deliverAt", "payloadRetentionHours", "expiry"] {
            let body = format!(r#"{{"eventType": "x", "payload": {{}}, "{field}": 1}}"#);
            let read = read(&Bytes::from(body)).expect("read");
            assert!(matches!(read.ignored(false), Err(Problem::Invalid(_))), "{field}");
        }
    }

    #[test]
    fn a_raw_payload_is_the_data_and_data_is_the_payload() {
        let raw = r#"{"eventType": "x", "payload": {}, "transformationsParams": {"rawPayload": "<a/>", "headers": {"content-type": "text/xml"}}}"#;
        let read = |body: &'static str| read(&Bytes::from_static(body.as_bytes())).map(|read| read.submission);
        let submission = read(raw).expect("read");
        assert_eq!((&submission.data[..], submission.content_type.as_deref()), (&b"<a/>"[..], Some("text/xml")));
        assert_eq!(&read(r#"{"eventType": "x", "data": [1.10]}"#).expect("read").data[..], b"[1.10]");
        assert_eq!(places(r#"{"eventType": "x", "data": 1, "payload": 2}"#), ["body.data"]);
        let other = r#"{"eventType": "x", "payload": {}, "transformationsParams": {"rawPayload": 1, "x": 1}}"#;
        assert_eq!(places(other)[0], "body.transformationsParams");
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        assert_eq!(places(r#"{"eventType": 1, "channels": "a"}"#), ["body.eventType", "body.channels", "body.payload"]);
        assert_eq!(
            places(r#"{"eventType": null, "payload": null, "channels": ["a","b","c","d","e","f"]}"#),
            ["body.eventType", "body.channels"]
        );
        assert_eq!(places("[]"), ["body."]);
    }
}
