//! Between the nouns of the core and the generated protobuf types.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookyard_core::admission::Reservation;
use hookyard_core::event::EventId;
use hookyard_core::journal::{AttemptRecord, EndRecord, Entry, MessageRecord, RunRecord, Shown};
use hookyard_core::{
    AppId, AttemptClass, AttemptId, AttemptResult, Channel, DeadLetter, DeadLetterId, DeadReason, Delivery, DeliveryKey,
    DiscardReason, EndpointId, Event, Message, MessageId, Outcome, PastAttempt, Timestamp, Trigger,
};

use crate::sent;
use crate::v1;

/// Bytes that are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not protobuf.
    #[error("not protobuf")]
    Protobuf(#[from] prost::DecodeError),
    /// Protobuf whose field makes no sense.
    #[error("bad or missing field {0}")]
    Field(&'static str),
}

pub(crate) fn event_to_proto(event: &Event) -> v1::Event {
    v1::Event {
        id: event.id.as_ref().map(EventId::to_string).unwrap_or_default(),
        id_source_bytes: event
            .id
            .as_ref()
            .and_then(EventId::source)
            .map_or(0, |source| u32::try_from(source.len()).unwrap_or_default()),
        app: event.app.to_string(),
        r#type: event.event_type.to_string(),
        time: event.time.to_string(),
        channels: event.channels.iter().map(ToString::to_string).collect(),
        context: event.context.clone().unwrap_or_default(),
        data: event.data.clone(),
        data_content_type: event.content_type.to_string(),
        traceparent: event.traceparent.as_deref().unwrap_or_default().to_owned(),
        tags: event.tags.iter().map(ToString::to_string).collect(),
    }
}

pub(crate) fn event_from_proto(event: v1::Event, accepted_at_ms: i64) -> Result<Event, Unreadable> {
    let field = Unreadable::Field;
    Ok(Event {
        app: event.app.parse().map_err(|_| field("app"))?,
        id: event_id(&event)?,
        message_id: None,
        event_type: event.r#type.parse().map_err(|_| field("type"))?,
        channels: channels_from_proto(&event.channels)?,
        tags: event.tags.into_iter().map(Arc::from).collect(),
        time: Arc::from(event.time),
        context: Some(event.context).filter(|context| !context.is_empty()),
        content_type: Arc::from(event.data_content_type),
        data: event.data,
        traceparent: optional(event.traceparent).map(Arc::from),
        accepted_at: Timestamp::from_millis(accepted_at_ms),
        data_kept: None,
    })
}

fn event_id(event: &v1::Event) -> Result<Option<EventId>, Unreadable> {
    let id = match parts_of_id(event)? {
        (_, "") => return Ok(None),
        (Some(source), id) => EventId::of_source(source, id),
        (None, id) => EventId::parse(id),
    };
    id.map(Some).ok_or(Unreadable::Field("id"))
}

/// The source, if there is one, and the id of an event: versions that know of no source read one text with a blank between the two.
pub(crate) fn parts_of_id(event: &v1::Event) -> Result<(Option<&str>, &str), Unreadable> {
    let Some(bytes) = usize::try_from(event.id_source_bytes).ok().filter(|bytes| *bytes > 0) else {
        return Ok((None, &event.id));
    };
    let (source, id) = event.id.split_at_checked(bytes).ok_or(Unreadable::Field("id_source_bytes"))?;
    Ok((Some(source), id.strip_prefix(' ').ok_or(Unreadable::Field("id_source_bytes"))?))
}

fn channels_from_proto(channels: &[String]) -> Result<Vec<Channel>, Unreadable> {
    channels.iter().map(|channel| channel.parse()).collect::<Result<_, _>>().map_err(|_| Unreadable::Field("channels"))
}

pub(crate) fn message_to_proto(message: &Message) -> v1::Message {
    v1::Message {
        id: Bytes::copy_from_slice(message.id.as_bytes()),
        app: Bytes::copy_from_slice(message.app.as_bytes()),
        event: Some(event_to_proto(&message.event)),
        accepted_at_ms: message.event.accepted_at.as_millis(),
    }
}

pub(crate) fn message_from_proto(message: Option<v1::Message>) -> Result<Message, Unreadable> {
    let message = message.ok_or(Unreadable::Field("message"))?;
    let event = message.event.ok_or(Unreadable::Field("event"))?;
    Ok(Message {
        id: MessageId::from_slice(&message.id).ok_or(Unreadable::Field("message id"))?,
        app: AppId::from_slice(&message.app).ok_or(Unreadable::Field("app"))?,
        event: Arc::new(event_from_proto(event, message.accepted_at_ms)?),
    })
}

/// Everything of a delivery but its message, which is shared and encoded once.
pub(crate) fn delivery_without_message(delivery: &Delivery) -> v1::Delivery {
    v1::Delivery {
        message: None,
        endpoint: Bytes::copy_from_slice(delivery.endpoint.as_bytes()),
        run: delivery.run,
        trigger: trigger_to_proto(delivery.trigger),
        attempt: delivery.attempt,
        due_ms: delivery.due.as_millis(),
        not_before_ms: delivery.not_before.map(Timestamp::as_millis),
        delay_ms: delivery.delay_ms,
        rest_ms: delivery.rest_ms,
        maybe_repeat: delivery.maybe_repeat,
        history: delivery.history.iter().map(past_to_proto).collect(),
        dead_reason: String::new(),
        has_slot: delivery.reserved.endpoint,
        has_app_slot: delivery.reserved.app,
        as_of: delivery.as_of,
    }
}

pub(crate) fn delivery_from_proto(mut delivery: v1::Delivery) -> Result<Delivery, Unreadable> {
    let message = Arc::new(message_from_proto(delivery.message.take())?);
    delivery_of(message, delivery)
}

/// A delivery of `message`, from everything else.
pub(crate) fn delivery_of(message: Arc<Message>, delivery: v1::Delivery) -> Result<Delivery, Unreadable> {
    Ok(Delivery {
        message,
        endpoint: EndpointId::from_slice(&delivery.endpoint).ok_or(Unreadable::Field("endpoint"))?,
        run: delivery.run,
        trigger: trigger_from_proto(delivery.trigger)?,
        attempt: if delivery.attempt == 0 { return Err(Unreadable::Field("attempt")) } else { delivery.attempt },
        due: Timestamp::from_millis(delivery.due_ms),
        not_before: delivery.not_before_ms.map(Timestamp::from_millis),
        reserved: Reservation { endpoint: delivery.has_slot, app: delivery.has_app_slot },
        as_of: delivery.as_of,
        delay_ms: delivery.delay_ms,
        rest_ms: delivery.rest_ms,
        maybe_repeat: delivery.maybe_repeat,
        history: delivery.history.into_iter().map(|past| past_from_proto(&past)).collect::<Result<_, _>>()?,
    })
}

fn past_to_proto(past: &PastAttempt) -> v1::PastAttempt {
    v1::PastAttempt {
        class: past.class.as_str().to_owned(),
        status: u32::from(past.status.unwrap_or_default()),
        at_ms: past.at.as_millis(),
    }
}

fn past_from_proto(past: &v1::PastAttempt) -> Result<PastAttempt, Unreadable> {
    Ok(PastAttempt {
        class: AttemptClass::from_name(&past.class).ok_or(Unreadable::Field("class"))?,
        status: status_from_proto(past.status),
        at: Timestamp::from_millis(past.at_ms),
    })
}

fn status_from_proto(status: u32) -> Option<u16> {
    u16::try_from(status).ok().filter(|status| *status != 0)
}

fn trigger_to_proto(trigger: Trigger) -> i32 {
    let proto = match trigger {
        Trigger::Routed => v1::Trigger::Routed,
        Trigger::Resend => v1::Trigger::Resend,
        Trigger::Replay => v1::Trigger::Replay,
    };
    proto.into()
}

fn trigger_from_proto(trigger: i32) -> Result<Trigger, Unreadable> {
    match v1::Trigger::try_from(trigger) {
        Ok(v1::Trigger::Routed) => Ok(Trigger::Routed),
        Ok(v1::Trigger::Resend) => Ok(Trigger::Resend),
        Ok(v1::Trigger::Replay) => Ok(Trigger::Replay),
        Err(_) => Err(Unreadable::Field("trigger")),
    }
}

fn outcome_to_proto(outcome: Outcome) -> v1::Outcome {
    use v1::outcome::Kind;
    let kind = match outcome {
        Outcome::Delivered => Kind::Delivered(true),
        Outcome::Retry { at } => Kind::RetryAtMs(at.as_millis()),
        Outcome::Dead(reason) => Kind::Dead(reason.as_str().to_owned()),
        Outcome::Discarded(reason) => Kind::Discarded(reason.as_str().to_owned()),
    };
    v1::Outcome { kind: Some(kind) }
}

fn outcome_from_proto(outcome: Option<v1::Outcome>) -> Result<Outcome, Unreadable> {
    use v1::outcome::Kind;
    match outcome.and_then(|outcome| outcome.kind) {
        Some(Kind::Delivered(_)) => Ok(Outcome::Delivered),
        Some(Kind::RetryAtMs(ms)) => Ok(Outcome::Retry { at: Timestamp::from_millis(ms) }),
        Some(Kind::Dead(name)) => DeadReason::from_name(&name).map(Outcome::Dead).ok_or(Unreadable::Field("dead")),
        Some(Kind::Discarded(name)) => {
            DiscardReason::from_name(&name).map(Outcome::Discarded).ok_or(Unreadable::Field("discarded"))
        }
        None => Err(Unreadable::Field("outcome")),
    }
}

pub(crate) fn message_record_to_proto(record: &MessageRecord) -> v1::MessageRecord {
    let routed_to = record.routed_to.iter().flat_map(|ids| ids.iter());
    v1::MessageRecord {
        message: Some(message_to_proto(&record.message)),
        routed: record.routed_to.is_some(),
        routed_to: routed_to.map(|id| Bytes::copy_from_slice(id.as_bytes())).collect(),
        data_kept_ms: kept_to_ms(record.message.event.data_kept),
    }
}

/// How long data is kept at most, in ms; 0 means that nobody said.
pub(crate) fn kept_to_ms(kept: Option<Duration>) -> u64 {
    kept.map_or(0, |kept| u64::try_from(kept.as_millis()).unwrap_or(u64::MAX))
}

/// The other way round.
pub(crate) fn kept_from_ms(ms: u64) -> Option<Duration> {
    Some(ms).filter(|ms| *ms > 0).map(Duration::from_millis)
}

pub(crate) fn message_record_from_proto(record: v1::MessageRecord) -> Result<MessageRecord, Unreadable> {
    let ids = record.routed_to.iter().map(|id| EndpointId::from_slice(id).ok_or(Unreadable::Field("routed_to")));
    let routed_to: Arc<[EndpointId]> = ids.collect::<Result<_, _>>()?;
    let message = message_from_proto(record.message)?;
    let event = Event { data_kept: kept_from_ms(record.data_kept_ms), ..Event::clone(&message.event) };
    let message = Arc::new(Message { event: Arc::new(event), ..message });
    Ok(MessageRecord { message, routed_to: record.routed.then_some(routed_to) })
}

pub(crate) fn attempt_record_to_proto(record: &AttemptRecord) -> v1::AttemptRecord {
    v1::AttemptRecord {
        id: Bytes::copy_from_slice(record.id.as_bytes()),
        app: Bytes::copy_from_slice(record.delivery.app.as_bytes()),
        message: Bytes::copy_from_slice(record.delivery.message.as_bytes()),
        endpoint: Bytes::copy_from_slice(record.delivery.endpoint.as_bytes()),
        run: record.run,
        number: record.number,
        trigger: trigger_to_proto(record.trigger),
        event_type: record.event_type.to_string(),
        channels: record.channels.iter().map(ToString::to_string).collect(),
        url: record.sent.url.clone(),
        class: class_to_proto(&record.result),
        status: u32::from(record.result.status.unwrap_or_default()),
        response: record.result.response.clone(),
        started_at_ms: record.result.started_at.as_millis(),
        duration_ms: u64::try_from(record.result.duration.as_millis()).unwrap_or(u64::MAX),
        outcome: Some(outcome_to_proto(record.outcome)),
        sent_headers: sent::to_proto(
            &record.sent.headers,
            &record.delivery.message.to_string(),
            record.result.started_at.as_seconds(),
        ),
    }
}

pub(crate) fn attempt_record_from_proto(record: v1::AttemptRecord) -> Result<AttemptRecord, Unreadable> {
    let delivery = key_from_proto(&record.app, &record.message, &record.endpoint)?;
    let (status, started_at) = (status_from_proto(record.status), Timestamp::from_millis(record.started_at_ms));
    Ok(AttemptRecord {
        id: AttemptId::from_slice(&record.id).ok_or(Unreadable::Field("id"))?,
        delivery,
        run: record.run,
        number: record.number,
        trigger: trigger_from_proto(record.trigger)?,
        event_type: record.event_type.parse().map_err(|_| Unreadable::Field("event_type"))?,
        channels: channels_from_proto(&record.channels)?,
        sent: Shown {
            url: record.url,
            headers: sent::from_proto(record.sent_headers, &delivery.message.to_string(), started_at.as_seconds()),
        },
        result: AttemptResult {
            class: class_from_proto(&record.class, status)?,
            status,
            response: record.response,
            started_at,
            duration: Duration::from_millis(record.duration_ms),
            retry_after: None,
            directive: None,
        },
        outcome: outcome_from_proto(record.outcome)?,
    })
}

/// A class that follows from the status is not written.
fn class_to_proto(result: &AttemptResult) -> String {
    let follows = result.status.is_some_and(|status| AttemptClass::of_status(status) == result.class);
    if follows { String::new() } else { result.class.as_str().to_owned() }
}

fn class_from_proto(name: &str, status: Option<u16>) -> Result<AttemptClass, Unreadable> {
    match status {
        Some(status) if name.is_empty() => Ok(AttemptClass::of_status(status)),
        _ => AttemptClass::from_name(name).ok_or(Unreadable::Field("class")),
    }
}

fn key_from_proto(app: &[u8], message: &[u8], endpoint: &[u8]) -> Result<DeliveryKey, Unreadable> {
    Ok(DeliveryKey {
        app: AppId::from_slice(app).ok_or(Unreadable::Field("app"))?,
        message: MessageId::from_slice(message).ok_or(Unreadable::Field("message"))?,
        endpoint: EndpointId::from_slice(endpoint).ok_or(Unreadable::Field("endpoint"))?,
    })
}

pub(crate) fn end_record_to_proto(record: &EndRecord) -> v1::EndRecord {
    v1::EndRecord {
        app: Bytes::copy_from_slice(record.delivery.app.as_bytes()),
        message: Bytes::copy_from_slice(record.delivery.message.as_bytes()),
        endpoint: Bytes::copy_from_slice(record.delivery.endpoint.as_bytes()),
        run: record.run,
        number: record.number,
        outcome: Some(outcome_to_proto(record.outcome)),
        at_ms: record.at.as_millis(),
        event_type: record.event_type.to_string(),
    }
}

fn end_record_from_proto(record: v1::EndRecord) -> Result<EndRecord, Unreadable> {
    Ok(EndRecord {
        delivery: key_from_proto(&record.app, &record.message, &record.endpoint)?,
        run: record.run,
        number: record.number,
        event_type: record.event_type.parse().map_err(|_| Unreadable::Field("event_type"))?,
        outcome: outcome_from_proto(record.outcome)?,
        at: Timestamp::from_millis(record.at_ms),
    })
}

fn run_record_to_proto(record: &RunRecord) -> v1::RunRecord {
    v1::RunRecord {
        app: Bytes::copy_from_slice(record.delivery.app.as_bytes()),
        message: Bytes::copy_from_slice(record.delivery.message.as_bytes()),
        endpoint: Bytes::copy_from_slice(record.delivery.endpoint.as_bytes()),
        run: record.run,
        due_ms: record.due.as_millis(),
    }
}

fn run_record_from_proto(record: &v1::RunRecord) -> Result<RunRecord, Unreadable> {
    let delivery = key_from_proto(&record.app, &record.message, &record.endpoint)?;
    Ok(RunRecord { delivery, run: record.run, due: Timestamp::from_millis(record.due_ms) })
}

pub(crate) fn dead_letter_to_proto(letter: &DeadLetter) -> v1::DeadLetter {
    v1::DeadLetter {
        id: Bytes::copy_from_slice(letter.id.as_bytes()),
        app: Bytes::copy_from_slice(letter.delivery.app.as_bytes()),
        message: Bytes::copy_from_slice(letter.delivery.message.as_bytes()),
        endpoint: Bytes::copy_from_slice(letter.delivery.endpoint.as_bytes()),
        run: letter.run,
        reason: letter.reason.as_str().to_owned(),
        event_type: letter.event_type.to_string(),
        attempts: letter.attempts,
        status: u32::from(letter.status.unwrap_or_default()),
        at_ms: letter.at.as_millis(),
    }
}

pub(crate) fn dead_letter_from_proto(letter: &v1::DeadLetter) -> Result<DeadLetter, Unreadable> {
    Ok(DeadLetter {
        id: DeadLetterId::from_slice(&letter.id).ok_or(Unreadable::Field("id"))?,
        delivery: key_from_proto(&letter.app, &letter.message, &letter.endpoint)?,
        run: letter.run,
        reason: DeadReason::from_name(&letter.reason).ok_or(Unreadable::Field("reason"))?,
        event_type: letter.event_type.parse().map_err(|_| Unreadable::Field("event_type"))?,
        attempts: letter.attempts,
        status: status_from_proto(letter.status),
        at: Timestamp::from_millis(letter.at_ms),
    })
}

pub(crate) fn entry_to_proto(entry: &Entry) -> v1::Entry {
    use v1::entry::Kind;
    let kind = match entry {
        Entry::Message(record) => Kind::Message(message_record_to_proto(record)),
        Entry::Attempt(record) => Kind::Attempt(attempt_record_to_proto(record)),
        Entry::End(record) => Kind::End(end_record_to_proto(record)),
        Entry::Run(record) => Kind::Run(run_record_to_proto(record)),
    };
    v1::Entry { kind: Some(kind) }
}

pub(crate) fn entry_from_proto(entry: v1::Entry) -> Result<Entry, Unreadable> {
    use v1::entry::Kind;
    match entry.kind.ok_or(Unreadable::Field("kind"))? {
        Kind::Message(record) => message_record_from_proto(record).map(Entry::Message),
        Kind::Attempt(record) => attempt_record_from_proto(record).map(Entry::Attempt),
        Kind::End(record) => end_record_from_proto(record).map(Entry::End),
        Kind::Run(record) => run_record_from_proto(&record).map(Entry::Run),
    }
}

fn optional(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}
