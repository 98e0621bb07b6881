//! The golden files of `proto/golden`: every form upstream services publish in, and the bytes of our own queue messages.
//! `proto/README.md` shows some of them; what it shows and names is held to them here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hookyard_core::event::{Admission, EventId, Intake, admit};
use hookyard_core::journal::{AttemptRecord, EndRecord, Entry, MessageRecord, RunRecord};
use hookyard_core::{
    Channel, DeadReason, Delivery, DeliveryKey, Event, Message, Outcome, PastAttempt, RefusalReason, Timestamp, Trigger, limits,
};
use hookyard_wire::form::{self, Given, Published};
use hookyard_wire::queue;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// 2026-01-31T12:00:00Z, when every golden event is admitted.
const NOW: Timestamp = Timestamp::from_millis(1_769_860_800_000);

/// A message as published, and what is to become of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublishedGolden {
    about: String,
    #[serde(default)]
    admission: Admitting,
    properties: Properties,
    headers: BTreeMap<String, Value>,
    routing_key: String,
    body: Option<String>,
    body_base64: Option<String>,
    expect: Option<Value>,
    expect_refused: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Admitting {
    max_bytes: usize,
    require_id: bool,
}

impl Default for Admitting {
    fn default() -> Self {
        Self { max_bytes: limits::EVENT_BYTES, require_id: false }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Properties {
    content_type: Option<Value>,
    content_encoding: Option<Value>,
    message_id: Option<Value>,
    r#type: Option<Value>,
    timestamp: Option<u64>,
}

/// The bytes of a queue message, and what they say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QueueGolden {
    about: String,
    kind: String,
    bytes_base64: String,
    /// Where it is written otherwise than it was.
    written_base64: Option<String>,
    expect: Value,
}

#[test]
fn every_published_golden_file_is_read_as_it_says() {
    let mut reasons = Vec::new();
    for (name, golden) in files::<PublishedGolden>("published") {
        assert!(!golden.about.is_empty(), "{name}: says nothing about itself");
        let intake = golden.intake(&name);
        match (&golden.expect, &golden.expect_refused) {
            (Some(expected), None) => {
                let event = intake.unwrap_or_else(|refusal| panic!("{name}: refused, {refusal}"));
                assert_same(&name, &event_json(&event, expected.get("data").is_some()), expected);
            }
            (None, Some(expected)) => {
                let refusal = intake.expect_err(&name);
                assert_same(&name, &json!({ "reason": refusal.reason.as_str(), "detail": refusal.detail }), expected);
                reasons.push(refusal.reason);
            }
            _ => panic!("{name}: must have either expect or expect_refused"),
        }
    }
    for reason in RefusalReason::ALL {
        // Found only later: that needs the event ids of the past day, the catalog, or our own failures.
        let catalog = matches!(reason, RefusalReason::SchemaViolation | RefusalReason::ArchivedType);
        let later = catalog || matches!(reason, RefusalReason::IdConflict | RefusalReason::CrashLoop);
        assert!(later || reasons.contains(&reason), "no golden file is refused as {}", reason.as_str());
    }
}

#[test]
fn every_queue_golden_file_is_read_as_it_says_and_written_as_it_was() {
    for (name, golden) in files::<QueueGolden>("queue") {
        assert!(!golden.about.is_empty(), "{name}: says nothing about itself");
        let bytes = Bytes::from(decoded(&name, &golden.bytes_base64));
        let (said, written) = match golden.kind.as_str() {
            "accepted" => read_and_write_accepted(&name, bytes),
            "delivery" => read_and_write_delivery(&name, bytes),
            "entries" => read_and_write_entries(&name, bytes),
            other => panic!("{name}: unknown kind {other}"),
        };
        assert_same(&name, &said, &golden.expect);
        let expected = golden.written_base64.as_ref().unwrap_or(&golden.bytes_base64);
        assert_eq!(BASE64.encode(written), *expected, "{name}: is written otherwise now");
    }
}

#[test]
fn the_readme_shows_golden_files_as_they_are() {
    let readme = readme();
    let mut golden: Option<(String, PublishedGolden)> = None;
    let mut shown = 0;
    let mut lines = readme.lines();
    while let Some(line) = lines.next() {
        if let Some(path) = links(line).into_iter().rfind(|link| link.starts_with("golden/published/")) {
            golden = Some((path.to_owned(), parsed(&proto().join(path))));
        }
        let Some(kind) = line.strip_prefix("```json ") else { continue };
        let block: String = lines.by_ref().take_while(|line| *line != "```").collect();
        let (name, golden) = golden.as_ref().expect("an example stands after the link to its golden file");
        let block: Value = serde_json::from_str(&block).unwrap_or_else(|error| panic!("the example of {name}: {error}"));
        assert_same(&format!("the README's example of {name}"), &block, &golden.shown_as(kind));
        shown += 1;
    }
    assert!(shown >= 5, "an example of every form; found {shown}");
}

#[test]
fn the_readme_links_what_exists_and_states_every_reason_and_limit() {
    let readme = readme();
    for link in readme.lines().flat_map(links).filter(|link| !link.contains("://") && !link.starts_with('#')) {
        assert!(proto().join(link).exists(), "the README links {link}, which does not exist");
    }
    for reason in RefusalReason::ALL {
        assert!(readme.contains(&format!("| `{}` |", reason.as_str())), "the README does not list {}", reason.as_str());
    }
    let stated = [
        format!("{} KiB", limits::EVENT_BYTES / 1024),
        format!("{} MiB", limits::EVENT_BYTES_MOST / (1024 * 1024)),
        format!("{} hours", limits::MARKER_TTL.as_secs() / 3600),
        format!("{} channels", limits::EVENT_CHANNELS),
        format!("1 to {} characters", limits::EVENT_TYPE_CHARS),
        format!("1 to {} characters", limits::CHANNEL_CHARS),
        format!("1 to {} bytes", EventId::MAX_BYTES),
        format!("failed {} times", limits::CRASH_LOOP),
        format!("panicked {} times", limits::CRASH_LOOP.div_ceil(limits::PANIC_COUNTS)),
    ];
    for text in stated {
        assert!(readme.contains(&text), "the README does not say {text:?}");
    }
}

impl PublishedGolden {
    fn intake(&self, name: &str) -> Intake {
        let given_of = |property: &Option<Value>| property.as_ref().map(given);
        let published = Published {
            content_type: given_of(&self.properties.content_type),
            content_encoding: given_of(&self.properties.content_encoding),
            message_id: given_of(&self.properties.message_id),
            message_type: given_of(&self.properties.r#type),
            timestamp: self.properties.timestamp.map(Given::Seconds),
            headers: self.headers.iter().map(|(name, value)| (name.clone(), given(value))).collect(),
            has_unreadable_headers: false,
            routing_key: Some(Given::Text(self.routing_key.clone())),
            body: self.body(name),
        };
        let admission = Admission { max_bytes: self.admission.max_bytes, require_id: self.admission.require_id };
        form::read(published, admission.max_bytes * 2).and_then(|submission| admit(submission, &admission, NOW))
    }

    fn body(&self, name: &str) -> Bytes {
        match (&self.body, &self.body_base64) {
            (Some(text), None) => Bytes::from(text.clone()),
            (None, Some(text)) => Bytes::from(decoded(name, text)),
            _ => panic!("{name}: must have either body or body_base64"),
        }
    }

    /// What an example shows of it: the body, or the whole message.
    fn shown_as(&self, kind: &str) -> Value {
        match kind {
            "body" => serde_json::from_slice(&self.body(kind)).expect("a JSON body"),
            "message" => {
                let properties = json!({
                    "content_type": self.properties.content_type, "content_encoding": self.properties.content_encoding,
                    "message_id": self.properties.message_id,
                    "type": self.properties.r#type, "timestamp": self.properties.timestamp,
                });
                let whole = json!({
                    "properties": without_nulls(properties), "headers": self.headers, "routing_key": self.routing_key,
                    "body": self.body, "body_base64": self.body_base64,
                });
                without_nulls(whole)
            }
            other => panic!("an example shows a body or a message, not {other}"),
        }
    }
}

/// A value of a property or header: text, a whole number, `null`, seconds of a timestamp, or a kind that is no text.
fn given(value: &Value) -> Given {
    match value {
        Value::String(text) => Given::Text(text.clone()),
        Value::Number(number) => Given::Integer(number.as_i64().expect("a whole number")),
        Value::Null => Given::Null,
        other => match (other["timestamp"].as_u64(), other["kind"].as_str()) {
            (Some(seconds), None) => Given::Seconds(seconds),
            (None, Some("a list")) => Given::Other("a list"),
            (None, Some("bytes that are not UTF-8")) => Given::Other("bytes that are not UTF-8"),
            _ => panic!("{other} is no value of a header"),
        },
    }
}

fn without_nulls(value: Value) -> Value {
    let Value::Object(fields) = value else { return value };
    Value::Object(fields.into_iter().filter(|(_, value)| !value.is_null()).collect())
}

fn read_and_write_accepted(name: &str, bytes: Bytes) -> (Value, Bytes) {
    let submission = queue::read_accepted(bytes).expect(name);
    let generous = Admission { max_bytes: limits::EVENT_BYTES, require_id: false };
    let event = admit(submission, &generous, NOW).expect(name);
    let said = json!({ "message_id": event.message_id, "accepted_at_ms": event.accepted_at, "event": event_json(&event, false) });
    (said, queue::write_accepted(&event))
}

fn read_and_write_delivery(name: &str, bytes: Bytes) -> (Value, Bytes) {
    let (delivery, dead) = queue::read_delivery(bytes).expect(name);
    (delivery_json(&delivery, dead), queue::write_delivery(&delivery, dead))
}

fn read_and_write_entries(name: &str, bytes: Bytes) -> (Value, Bytes) {
    let entries = queue::read_entries(bytes).expect(name);
    (entries.iter().map(entry_json).collect(), queue::write_entries(&entries))
}

fn event_json(event: &Event, data_is_text: bool) -> Value {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let (field, data) = if data_is_text { ("data", text(&event.data)) } else { ("data_base64", BASE64.encode(&event.data)) };
    let mut said = json!({
        "app": event.app.to_string(),
        "event_id": event.id.as_ref().map(EventId::to_string),
        "event_type": event.event_type,
        "channels": event.channels.iter().map(Channel::as_str).collect::<Vec<_>>(),
        "time": &*event.time,
        "context": event.context.as_ref().map(text),
        "content_type": &*event.content_type,
        field: data,
        "traceparent": event.traceparent.as_deref(),
    });
    if let Some(source) = event.id.as_ref().and_then(EventId::source) {
        said["id_source"] = source.into();
    }
    said
}

fn message_json(message: &Message) -> Value {
    let event = event_json(&message.event, false);
    json!({ "id": message.id, "app": message.app, "accepted_at_ms": message.event.accepted_at, "event": event })
}

fn delivery_json(delivery: &Delivery, dead: Option<DeadReason>) -> Value {
    let past = |past: &PastAttempt| json!({ "class": past.class.as_str(), "status": past.status, "at_ms": past.at });
    json!({
        "message": message_json(&delivery.message),
        "endpoint": delivery.endpoint,
        "run": delivery.run,
        "trigger": trigger_name(delivery.trigger),
        "attempt": delivery.attempt,
        "due_ms": delivery.due,
        "not_before_ms": delivery.not_before,
        "delay_ms": delivery.delay_ms,
        "maybe_repeat": delivery.maybe_repeat,
        "history": delivery.history.iter().map(past).collect::<Vec<_>>(),
        "dead_reason": dead.map(DeadReason::as_str),
    })
}

fn entry_json(entry: &Entry) -> Value {
    match entry {
        Entry::Message(MessageRecord { message, routed_to }) => {
            json!({ "message": { "message": message_json(message), "routed_to": routed_to.as_deref() } })
        }
        Entry::Attempt(record) => json!({ "attempt": attempt_json(record) }),
        Entry::End(EndRecord { delivery, run, number, event_type, outcome, at }) => {
            let outcome = outcome_json(*outcome);
            let mut end = json!({ "run": run, "number": number, "event_type": event_type, "outcome": outcome, "at_ms": at });
            add_key(&mut end, delivery);
            json!({ "end": end })
        }
        Entry::Run(RunRecord { delivery, run, due }) => {
            let mut begun = json!({ "run": run, "due_ms": due });
            add_key(&mut begun, delivery);
            json!({ "run": begun })
        }
    }
}

fn attempt_json(record: &AttemptRecord) -> Value {
    let result = &record.result;
    let mut attempt = json!({
        "id": record.id,
        "run": record.run,
        "number": record.number,
        "trigger": trigger_name(record.trigger),
        "event_type": record.event_type,
        "channels": record.channels,
        "url": record.sent.url,
        "request_headers": record.sent.headers,
        "class": result.class.as_str(),
        "status": result.status,
        "response_base64": BASE64.encode(&result.response),
        "started_at_ms": result.started_at,
        "duration_ms": u64::try_from(result.duration.as_millis()).expect("a short attempt"),
        "outcome": outcome_json(record.outcome),
    });
    add_key(&mut attempt, &record.delivery);
    attempt
}

fn add_key(record: &mut Value, key: &DeliveryKey) {
    record["app"] = json!(key.app);
    record["message"] = json!(key.message);
    record["endpoint"] = json!(key.endpoint);
}

fn outcome_json(outcome: Outcome) -> Value {
    match outcome {
        Outcome::Delivered => json!("delivered"),
        Outcome::Retry { at } => json!({ "retry_at_ms": at }),
        Outcome::Dead(reason) => json!({ "dead": reason.as_str() }),
        Outcome::Discarded(reason) => json!({ "discarded": reason.as_str() }),
    }
}

fn trigger_name(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Routed => "routed",
        Trigger::Resend => "resend",
        Trigger::Replay => "replay",
    }
}

fn assert_same(name: &str, said: &Value, expected: &Value) {
    assert!(said == expected, "{name}: it is\n{said:#}\nand the file says\n{expected:#}");
}

fn decoded(name: &str, text: &str) -> Vec<u8> {
    BASE64.decode(text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn proto() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto")
}

fn readme() -> String {
    fs::read_to_string(proto().join("README.md")).expect("proto/README.md")
}

/// Targets of the Markdown links in a line.
fn links(line: &str) -> Vec<&str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

/// Every golden file of a folder, by name.
fn files<T: DeserializeOwned>(folder: &str) -> Vec<(String, T)> {
    let folder = proto().join("golden").join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths.iter().map(|path| (path.file_name().expect("a file").to_string_lossy().into_owned(), parsed(path))).collect()
}

fn parsed<T: DeserializeOwned>(path: &Path) -> T {
    let text = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
