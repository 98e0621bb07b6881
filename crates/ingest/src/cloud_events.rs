//! CloudEvents over HTTP (HTTP protocol binding 1.0.2): binary, structured and batched.

use std::collections::BTreeMap;

use bytes::Bytes;
use hookyard_core::{Refusal, Submission};
use hookyard_wire::form::{self, Given, Published};
use hookyard_wire::problem::Problem;
use http::{HeaderMap, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";
/// How all content types of CloudEvents begin.
const ANY: &str = "application/cloudevents";
/// How the content types of our own messages begin.
const OURS: &str = "application/vnd.hookyard.";
/// How headers of attributes begin in binary mode (§3.1.3).
const PREFIX: &str = "ce-";

/// Whether a request holds one event, in binary or structured mode.
pub fn is_one(headers: &HeaderMap) -> bool {
    let media_type = media_type(headers);
    media_type != BATCH && (media_type.starts_with(ANY) || headers.contains_key("ce-specversion"))
}

/// Reads the one event; the data may have `most` bytes.
pub fn read(headers: &HeaderMap, body: Bytes, most: usize) -> Result<Submission, Problem> {
    if media_type(headers).starts_with(OURS) {
        let detail = "this content type is for messages of the broker; send a CloudEvent as it is";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail));
    }
    let content_type = headers.get(header::CONTENT_TYPE).map(given);
    let content_encoding = headers.get(header::CONTENT_ENCODING).map(given);
    let attributes = headers.keys().filter(|name| name.as_str().starts_with(PREFIX)).map(|name| {
        let mut values = headers.get_all(name).iter();
        let given = match (values.next(), values.next()) {
            (Some(value), None) => decoded(value),
            _ => Given::Other("there twice"),
        };
        (name.as_str().to_owned(), given)
    });
    let is_structured = media_type(headers).starts_with(ANY);
    // What says how a structured event is written does not say it of an event's attributes.
    let headers: BTreeMap<String, Given> = if is_structured { BTreeMap::new() } else { attributes.collect() };
    one(Published { content_type, content_encoding, headers, body, ..Published::default() }, most)
}

/// Reads a batch, if the request holds one.
pub fn read_batch(headers: &HeaderMap, body: &Bytes, most: usize) -> Result<Option<Vec<Result<Submission, Problem>>>, Problem> {
    if media_type(headers) != BATCH {
        return Ok(None);
    }
    if headers.contains_key(header::CONTENT_ENCODING) {
        let detail = "a batch is not decoded; send it as it is";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail));
    }
    let events: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| crate::body::malformed(&error))?;
    let read = events.into_iter().map(|event| {
        let content_type = Some(Given::Text(STRUCTURED.to_owned()));
        one(Published { content_type, body: body.slice_ref(event.get().as_bytes()), ..Published::default() }, most)
    });
    Ok(Some(read.collect()))
}

fn one(published: Published, most: usize) -> Result<Submission, Problem> {
    form::read(published, most).map_err(|refusal: Refusal| match Problem::from(&refusal) {
        // What names its place keeps it; the rest is told as it is.
        Problem::Plain { status: StatusCode::NOT_FOUND, .. } => Problem::invalid("hookyardapp", refusal.detail),
        problem => problem,
    })
}

fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn given(value: &http::HeaderValue) -> Given {
    value.to_str().map_or(Given::Other("not printable"), |text| Given::Text(text.to_owned()))
}

/// Attributes are percent-encoded (§3.1.3.2); some senders put them in double quotes.
fn decoded(value: &http::HeaderValue) -> Given {
    let Ok(text) = value.to_str() else { return Given::Other("not printable") };
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Given::Text(text.into_owned()),
        Err(_) => Given::Other("bytes that are not UTF-8"),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_bytes(name.as_bytes()).expect("a name"), value.parse().expect("a value"));
        }
        headers
    }

    #[test]
    fn binary_and_structured_events_are_read_alike() {
        let binary = [
            ("ce-specversion", "1.0"),
            ("ce-id", "4711"),
            ("ce-source", "/shop/%C3%A4"),
            ("ce-type", "order.paid"),
            ("ce-hookyardchannels", "eu,vip"),
            ("content-type", "application/json"),
        ];
        assert!(is_one(&headers(&binary)));
        let read_binary = |pairs: &[(&str, &str)]| read(&headers(pairs), Bytes::from_static(b"{\"a\": 1.10}"), 1000);
        let binary_read = read_binary(&binary).expect("read");
        let structured = r#"{"specversion": "1.0", "id": "4711", "source": "/shop/ä", "type": "order.paid", "hookyardchannels": "eu,vip", "data": {"a": 1.10}}"#;
        let read = |body: &'static str| {
            read(
                &headers(&[("content-type", "application/CloudEvents+json; charset=utf-8")]),
                Bytes::from_static(body.as_bytes()),
                1000,
            )
        };
        let structured_read = read(structured).expect("read");
        let said = |read: Submission| (read.source, read.event_id, read.event_type, read.channels, read.data);
        assert_eq!(said(binary_read), said(structured_read));
        assert!(read("{}").is_err());
        let twice = [&binary[..], &[("ce-hookyardapp", "a"), ("ce-hookyardapp", "b")]].concat();
        assert!(read_binary(&twice).is_err(), "an application that is there twice");
        assert!(
            read_binary(&[&binary[..], &[("ce-hookyardchannel", "a")]].concat()).is_err(),
            "an extension of ours that there is not"
        );
    }

    #[test]
    fn what_is_compressed_is_decoded_and_what_is_ours_is_refused() {
        let event = |more: &[(&str, &str)], body: &'static [u8]| {
            let binary = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "a")];
            read(&headers(&[&binary[..], more].concat()), Bytes::from_static(body), 1000)
        };
        assert!(
            event(&[("content-encoding", "gzip"), ("content-type", "text/plain")], b"plain").is_err(),
            "it is not compressed"
        );
        assert!(event(&[("content-encoding", "rot13")], b"{}").is_err());
        for ours in ["application/vnd.hookyard.accepted.v1+protobuf", "application/vnd.hookyard.event.v1+protobuf"] {
            assert!(event(&[("content-type", ours)], b"").is_err(), "{ours}");
        }
    }

    #[test]
    fn a_batch_is_an_array_of_events() {
        let batch = headers(&[("content-type", "application/cloudevents-batch+json")]);
        assert!(!is_one(&batch));
        let read = |body: &'static str| read_batch(&batch, &Bytes::from_static(body.as_bytes()), 1000);
        let events = read(r#"[{"specversion": "1.0", "id": "1", "source": "/s", "type": "a"}, {"id": "2"}]"#)
            .expect("read")
            .expect("a batch");
        assert!(events[0].is_ok() && events[1].is_err() && events.len() == 2);
        assert!(read("{}").is_err());
        assert!(read_batch(&HeaderMap::new(), &Bytes::new(), 1000).expect("read").is_none());
    }
}
