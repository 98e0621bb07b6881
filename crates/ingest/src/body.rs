//! Reading the body of a message.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use hookyard_core::{Submission, limits};
use hookyard_wire::problem::{Invalid, Problem};
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// What the compatible API knows of a message and somebody else reads.
const ELSEWHERE: [&str; 1] = ["application"];
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
    let kept_days: Option<u32> =
        take(&mut fields, "payloadRetentionPeriod", "must be a number of days from 5 to 90", &mut invalid);
    if kept_days.is_some_and(|days| !KEPT_DAYS.contains(&days)) {
        invalid.push(wrong("payloadRetentionPeriod", "must be a number of days from 5 to 90", "value_error"));
    }
    let payload = fields.remove("payload").map(|payload| body.slice_ref(payload.get().as_bytes()));
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
    let unknown = fields.into_keys().filter(|name| !ELSEWHERE.contains(&name.as_str())).collect();
    let data_kept = kept_days.map(|days| Duration::from_secs(u64::from(days) * 24 * 3600));
    let submission = Submission { event_id, event_type, channels, data, data_kept, ..Submission::default() };
    Ok(MessageIn { submission, unknown })
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
        let body = r#"{"tags":["a"],"payload": {"b" : 1.0, "a":[] } ,"eventType":"x","eventId":null,"application":{},"z":1}"#;
        let read = read(&Bytes::from_static(body.as_bytes())).expect("read");
        assert_eq!(&read.submission.data[..], br#"{"b" : 1.0, "a":[] }"#);
        assert_eq!((read.submission.event_type.as_deref(), read.submission.event_id), (Some("x"), None));
        assert_eq!(read.unknown, ["tags", "z"]);
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
