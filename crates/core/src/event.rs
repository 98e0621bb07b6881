//! An event: one fact published by an upstream service, from what was submitted to what is admitted.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ring::digest;

use crate::clock::Timestamp;
use crate::id::{AppId, MessageId};
use crate::limits;
use crate::name::{AppRef, BadName, Channel, EventType};

/// An event as it was submitted: read from its form, not yet judged. Fields are text because any of them may be wrong.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Submission {
    /// Application id or uid; absent means the application `default`.
    pub app: Option<String>,
    /// The publisher's own id for the event.
    pub event_id: Option<String>,
    /// Who the id is of, where events have their ids from several sources (CloudEvents).
    pub source: Option<String>,
    /// The message id, if intake over HTTP has fixed it.
    pub message_id: Option<MessageId>,
    /// The kind of event.
    pub event_type: Option<String>,
    /// Labels, as written.
    pub channels: Vec<String>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// When it happened, RFC 3339 text kept as written.
    pub time: Option<String>,
    /// Context beside the data: JSON text.
    pub context: Option<Bytes>,
    /// Media type of the data.
    pub content_type: Option<String>,
    /// The data, byte for byte.
    pub data: Bytes,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// When intake accepted it, if it already did.
    pub accepted_at: Option<Timestamp>,
    /// How long its data is kept at most, if the publisher says.
    pub data_kept: Option<Duration>,
}

/// What admission is bounded by; a deployment's choice.
#[derive(Clone, Copy, Debug)]
pub struct Admission {
    /// Most bytes of data and context together.
    pub max_bytes: usize,
    /// Whether an event must bring its own id.
    pub require_id: bool,
}

/// The publisher's own id for an event: unique per application, remembered for a day.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EventId(Arc<str>);

impl EventId {
    /// Most bytes: a CloudEvents source (a URL) and id fit; the store keeps only a hash.
    pub const MAX_BYTES: usize = 1024;

    /// Stands between a source and its id. No publisher can write it into either, so no other id is the same text.
    const BETWEEN: char = '\u{1f}';

    /// Printable text of 1 to 1,024 bytes.
    pub fn parse(text: &str) -> Option<Self> {
        ((1..=Self::MAX_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)).then(|| Self(Arc::from(text)))
    }

    /// The id of an event that is known by source and id together, at most 1,024 bytes with a byte between them.
    pub fn of_source(source: &str, id: &str) -> Option<Self> {
        let (source, id) = (Self::parse(source)?, Self::parse(id)?);
        let pair = format!("{}{}{}", source.0, Self::BETWEEN, id.0);
        (pair.len() <= Self::MAX_BYTES).then(|| Self(Arc::from(pair)))
    }

    /// The source, if there is one.
    pub fn source(&self) -> Option<&str> {
        self.0.split_once(Self::BETWEEN).map(|(source, _)| source)
    }

    /// What tells it from every other id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// For people: a source and its id with a blank between them.
impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.replace(Self::BETWEEN, " "))
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// An admitted event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The application, as the publisher named it.
    pub app: AppRef,
    /// The publisher's own id.
    pub id: Option<EventId>,
    /// The message id, if intake over HTTP has fixed it.
    pub message_id: Option<MessageId>,
    /// The kind of event.
    pub event_type: EventType,
    /// Labels, sorted, each once.
    pub channels: Vec<Channel>,
    /// Words to find it by, sorted, each once. They do not change who receives it.
    pub tags: Vec<Arc<str>>,
    /// When it happened: RFC 3339, as written by the publisher or the moment of admission.
    pub time: Arc<str>,
    /// Context beside the data: JSON text.
    pub context: Option<Bytes>,
    /// Media type of the data.
    pub content_type: Arc<str>,
    /// The data, byte for byte.
    pub data: Bytes,
    /// W3C trace context.
    pub traceparent: Option<Arc<str>>,
    /// When intake accepted it; an event claimed from the broker for the first time has the moment of that claim.
    pub accepted_at: Timestamp,
    /// How long its data is kept at most, if the publisher says: an order to the journal, which does not travel with deliveries.
    pub data_kept: Option<Duration>,
}

/// What a queue of events holds once read: an admitted event, or why it was refused.
pub type Intake = Result<Event, Refusal>;

impl Event {
    /// What makes two submissions under one id the same event: application, type, channels and data; nothing that a repeated
    /// publish changes, such as its time.
    pub fn content_hash(&self, app: AppId) -> [u8; 16] {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(app.as_bytes());
        for text in std::iter::once(self.event_type.as_str()).chain(self.channels.iter().map(Channel::as_str)) {
            hash.update(text.as_bytes());
            hash.update(b"\n");
        }
        hash.update(b"\n");
        hash.update(&self.data);
        let mut short = [0; 16];
        short.copy_from_slice(&hash.finish().as_ref()[..16]);
        short
    }
}

/// An event as Hookyard keeps and shows it: with its application and message id fixed.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its id; sent as `webhook-id`.
    pub id: MessageId,
    /// The application it belongs to.
    pub app: AppId,
    /// The event.
    pub event: Arc<Event>,
}

/// Content type of an event whose data was made forgotten.
const EXPUNGED: &str = "application/vnd.hookyard.expunged";

impl Message {
    /// The same message without its data.
    #[must_use]
    pub fn expunged(&self) -> Self {
        let event = Event { data: Bytes::new(), context: None, content_type: Arc::from(EXPUNGED), ..Event::clone(&self.event) };
        Self { event: Arc::new(event), ..self.clone() }
    }

    /// Whether its data was made forgotten: it cannot be sent again.
    pub fn is_expunged(&self) -> bool {
        &*self.event.content_type == EXPUNGED
    }
}

/// Why an event was refused. A closed set: it is a metric label and a header value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalReason {
    /// The body or its form cannot be read.
    Unreadable,
    /// No event type, or one that breaks the grammar.
    InvalidType,
    /// A channel breaks the grammar, or there are too many.
    InvalidChannel,
    /// The event id is empty, too long or has control characters.
    InvalidId,
    /// The time is not RFC 3339.
    InvalidTime,
    /// This deployment requires an id and there is none.
    MissingId,
    /// The application's name breaks the grammar, or nobody has that application.
    UnknownApp,
    /// More bytes than this deployment allows.
    TooLarge,
    /// The id is known with other content.
    IdConflict,
    /// Its data does not fit the schema of its type, which wants such events refused.
    SchemaViolation,
    /// Its type is archived.
    ArchivedType,
    /// Handling it failed again and again on our side.
    CrashLoop,
}

impl RefusalReason {
    /// Every reason.
    pub const ALL: [Self; 12] = [
        Self::Unreadable,
        Self::InvalidType,
        Self::InvalidChannel,
        Self::InvalidId,
        Self::InvalidTime,
        Self::MissingId,
        Self::UnknownApp,
        Self::TooLarge,
        Self::IdConflict,
        Self::SchemaViolation,
        Self::ArchivedType,
        Self::CrashLoop,
    ];

    /// Its name in headers, metrics and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::InvalidType => "invalid_type",
            Self::InvalidChannel => "invalid_channel",
            Self::InvalidId => "invalid_id",
            Self::InvalidTime => "invalid_time",
            Self::MissingId => "missing_id",
            Self::UnknownApp => "unknown_app",
            Self::TooLarge => "too_large",
            Self::IdConflict => "id_conflict",
            Self::SchemaViolation => "schema_violation",
            Self::ArchivedType => "archived_type",
            Self::CrashLoop => "crash_loop",
        }
    }
}

/// Why an event was refused, with a sentence for the publisher.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{}: {detail}", reason.as_str())]
pub struct Refusal {
    /// The reason, from a closed set.
    pub reason: RefusalReason,
    /// What was wrong, in words; never payload.
    pub detail: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(reason: RefusalReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }

    /// Of a message that was handled in vain [too often](crate::limits::CRASH_LOOP).
    pub fn crash_loop() -> Self {
        Self::new(RefusalReason::CrashLoop, "handling it failed too often, through a defect or a store that refuses")
    }
}

/// Admits a submission, or says why not.
pub fn admit(submission: Submission, admission: &Admission, now: Timestamp) -> Intake {
    use RefusalReason as R;
    let size = submission.data.len() + submission.context.as_ref().map_or(0, Bytes::len);
    if size > admission.max_bytes {
        return Err(Refusal::new(R::TooLarge, format!("{size} bytes; at most {} are allowed", admission.max_bytes)));
    }
    let event_type = submission.event_type.ok_or_else(|| Refusal::new(R::InvalidType, "no event type"))?;
    let event_type = event_type.parse().map_err(|bad: BadName| Refusal::new(R::InvalidType, bad.to_string()))?;
    let app = submission.app.as_deref().unwrap_or(AppRef::DEFAULT_UID);
    let app = app.parse().map_err(|bad: BadName| Refusal::new(R::UnknownApp, format!("application: {bad}")))?;
    let id = admit_id(submission.source.as_deref(), submission.event_id.as_deref())?;
    if id.is_none() && admission.require_id {
        return Err(Refusal::new(R::MissingId, "this deployment requires an event id"));
    }
    let time = match submission.time {
        Some(text) if Timestamp::parse_rfc3339(&text).is_some() => Arc::from(text),
        Some(_) => return Err(Refusal::new(R::InvalidTime, "the event time is not an RFC 3339 date-time")),
        None => Arc::from(now.to_string()),
    };
    Ok(Event {
        app,
        id,
        message_id: submission.message_id,
        event_type,
        channels: admit_channels(&submission.channels)?,
        tags: admit_tags(submission.tags)?,
        time,
        context: submission.context,
        content_type: admit_content_type(submission.content_type)?,
        data: submission.data,
        traceparent: submission.traceparent.filter(|text| is_traceparent(text)).map(Arc::from),
        accepted_at: submission.accepted_at.unwrap_or(now),
        data_kept: submission.data_kept,
    })
}

fn admit_tags(written: Vec<String>) -> Result<Vec<Arc<str>>, Refusal> {
    let is_good = |tag: &String| (1..=limits::TAG_BYTES).contains(&tag.len()) && !tag.chars().any(char::is_control);
    if written.len() > limits::EVENT_TAGS || !written.iter().all(is_good) {
        let (tags, bytes) = (limits::EVENT_TAGS, limits::TAG_BYTES);
        let detail = format!("tags: at most {tags}, each 1 to {bytes} bytes without control characters");
        return Err(Refusal::new(RefusalReason::Unreadable, detail));
    }
    let mut tags: Vec<Arc<str>> = written.into_iter().map(Arc::from).collect();
    tags.sort_unstable();
    tags.dedup();
    Ok(tags)
}

fn admit_id(source: Option<&str>, id: Option<&str>) -> Result<Option<EventId>, Refusal> {
    let Some(id) = id else { return Ok(None) };
    let admitted = match source {
        Some(source) => EventId::of_source(source, id),
        None => EventId::parse(id),
    };
    let detail = || format!("an event id must be 1 to {} bytes without control characters", EventId::MAX_BYTES);
    admitted.map(Some).ok_or_else(|| Refusal::new(RefusalReason::InvalidId, detail()))
}

fn admit_channels(written: &[String]) -> Result<Vec<Channel>, Refusal> {
    let invalid = |detail: String| Refusal::new(RefusalReason::InvalidChannel, detail);
    let mut channels: Vec<Channel> =
        written.iter().map(|text| text.parse().map_err(|bad: BadName| invalid(bad.to_string()))).collect::<Result<_, _>>()?;
    channels.sort();
    channels.dedup();
    if channels.len() > limits::EVENT_CHANNELS {
        return Err(invalid(format!("{} channels; at most {} are allowed", channels.len(), limits::EVENT_CHANNELS)));
    }
    Ok(channels)
}

/// A content type becomes a request header: nothing that could end the header line may pass.
fn admit_content_type(written: Option<String>) -> Result<Arc<str>, Refusal> {
    match written {
        None => Ok(Arc::from("application/json")),
        Some(text) if text.len() <= 256 && !text.is_empty() && text.bytes().all(|b| (0x20..0x7f).contains(&b)) => {
            Ok(Arc::from(text))
        }
        Some(_) => Err(Refusal::new(RefusalReason::Unreadable, "the content type must be 1 to 256 printable ASCII characters")),
    }
}

/// W3C Trace Context, version 00: anything else is ignored, as that specification asks.
fn is_traceparent(text: &str) -> bool {
    let is_hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let is_id = |part: &str, length: usize| is_hex(part, length) && part.bytes().any(|b| b != b'0');
    match text.split('-').collect::<Vec<_>>()[..] {
        ["00", trace, parent, flags] => is_id(trace, 32) && is_id(parent, 16) && is_hex(flags, 2),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADMISSION: Admission = Admission { max_bytes: 10, require_id: false };
    const NOW: Timestamp = Timestamp::from_millis(1_000);

    fn submission() -> Submission {
        Submission { event_type: Some("user.created".into()), data: Bytes::from_static(b"{}"), ..Submission::default() }
    }

    fn refused(submission: Submission) -> RefusalReason {
        admit(submission, &ADMISSION, NOW).expect_err("refused").reason
    }

    #[test]
    fn an_ordinary_event_is_admitted_with_defaults() {
        let event = admit(submission(), &ADMISSION, NOW).expect("admitted");
        assert_eq!(event.app, AppRef::Uid("default".parse().expect("valid")));
        assert_eq!(&*event.time, "1970-01-01T00:00:01.000Z");
        assert_eq!(&*event.content_type, "application/json");
        assert_eq!(event.id, None);
    }

    #[test]
    fn channels_are_sorted_and_each_kept_once() {
        let channels = vec!["b".into(), "a".into(), "b".into()];
        let event = admit(Submission { channels, ..submission() }, &ADMISSION, NOW).expect("admitted");
        assert_eq!(event.channels.iter().map(Channel::as_str).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn every_bad_field_is_refused_with_its_reason() {
        let cases = [
            (Submission { data: Bytes::from_static(b"01234567890"), ..submission() }, RefusalReason::TooLarge),
            (Submission { event_type: None, ..submission() }, RefusalReason::InvalidType),
            (Submission { event_type: Some("a b".into()), ..submission() }, RefusalReason::InvalidType),
            (Submission { app: Some("a/b".into()), ..submission() }, RefusalReason::UnknownApp),
            (Submission { channels: vec!["a\r\nb".into()], ..submission() }, RefusalReason::InvalidChannel),
            (Submission { channels: (0..33).map(|n| n.to_string()).collect(), ..submission() }, RefusalReason::InvalidChannel),
            (Submission { event_id: Some("a\nb".into()), ..submission() }, RefusalReason::InvalidId),
            (Submission { event_id: Some(String::new()), ..submission() }, RefusalReason::InvalidId),
            (Submission { time: Some("noon".into()), ..submission() }, RefusalReason::InvalidTime),
            (Submission { content_type: Some("a\r\nx: y".into()), ..submission() }, RefusalReason::Unreadable),
        ];
        for (bad, reason) in cases {
            assert_eq!(refused(bad), reason);
        }
        let strict = Admission { require_id: true, ..ADMISSION };
        assert_eq!(admit(submission(), &strict, NOW).expect_err("refused").reason, RefusalReason::MissingId);
    }

    #[test]
    fn a_source_and_its_id_are_a_pair_that_is_no_other_text() {
        let of = |source, id| EventId::of_source(source, id).expect("valid");
        assert_ne!(of("a b", "c"), of("a", "b c"));
        assert_ne!(of("a", "b"), EventId::parse("a b").expect("valid"));
        assert_eq!(of("a", "b").to_string(), "a b");
        assert_eq!(of("a b", "c d").source(), Some("a b"));
        assert_eq!(EventId::parse("plain").expect("valid").source(), None);
        for (source, id) in [("", "a"), ("a", ""), ("a\u{1f}b", "c"), ("a", "b\u{1f}c")] {
            assert_eq!(EventId::of_source(source, id), None, "{source:?} {id:?}");
        }
        assert_eq!(EventId::of_source(&"s".repeat(1000), &"i".repeat(24)), None);
    }

    #[test]
    fn the_content_hash_covers_what_it_says_and_nothing_else() {
        let app = AppId::from_bytes([1; 20]);
        let hash = |s: Submission| admit(s, &ADMISSION, NOW).expect("admitted").content_hash(app);
        let base = hash(submission());
        assert_eq!(base, hash(Submission { time: Some("2020-01-01T00:00:00Z".into()), ..submission() }));
        assert_ne!(base, hash(Submission { data: Bytes::from_static(b"[]"), ..submission() }));
        assert_ne!(base, hash(Submission { channels: vec!["a".into()], ..submission() }));
        assert_ne!(base, hash(Submission { event_type: Some("user.deleted".into()), ..submission() }));
    }

    #[test]
    fn a_malformed_traceparent_is_ignored() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let read = |text: &str| {
            admit(Submission { traceparent: Some(text.into()), ..submission() }, &ADMISSION, NOW).expect("admitted").traceparent
        };
        assert_eq!(read(good).as_deref(), Some(good));
        for bad in ["00-xyz", &good.replacen("00", "ff", 1), "00-00000000000000000000000000000000-b7ad6b7169203331-01"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
