//! Arbitrary events, deliveries, journal entries and JSON.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookyard_core::admission::Reservation;
use hookyard_core::event::{Admission, admit};
use hookyard_core::journal::{AttemptRecord, EndRecord, Entry, MessageRecord, RunRecord, Shown};
use hookyard_core::{
    AppId, AttemptClass, AttemptId, AttemptResult, DeadLetter, DeadLetterId, DeadReason, Delivery, DeliveryKey, DiscardReason,
    EndpointId, Event, EventType, Message, MessageId, Outcome, PastAttempt, Submission, Timestamp, Trigger, limits,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Takes everything an AMQP message could bring.
pub const GENEROUS: Admission = Admission { max_bytes: limits::EVENT_BYTES, require_id: false };
/// When arbitrary events are admitted.
pub const NOW: Timestamp = Timestamp::from_millis(1_769_860_800_000);

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// JSON text without blanks around it, in the spellings that a parser would not keep.
pub fn json() -> impl Strategy<Value = String> {
    let number = "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,2})?";
    let text = any::<String>().prop_map(|text| serde_json::to_string(&text).expect("text"));
    let leaf = prop_oneof![select(&["null", "true", "false"][..]).prop_map(str::to_owned), number, text];
    leaf.prop_recursive(4, 24, 5, |inner| {
        let key = "[a-z$]{0,4}";
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(|items| format!("[{}]", items.join(" ,\n"))),
            vec((key, inner), 0..5).prop_map(|fields| {
                let fields = fields.into_iter().map(|(key, value)| format!("\"{key}\" : {value}"));
                format!("{{ {}}}", fields.collect::<Vec<_>>().join(","))
            }),
        ]
    })
}

/// JSON, other text and bytes.
pub fn data() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        json().prop_map(Bytes::from),
        (json(), "[ \n\t]{0,2}", "[ \n\t]{0,2}").prop_map(|(json, before, after)| Bytes::from(before + &json + &after)),
        any::<Vec<u8>>().prop_map(Bytes::from),
    ]
}

/// An admitted event as intake over HTTP hands it on.
pub fn event() -> impl Strategy<Value = Event> {
    let app = prop_oneof!["[A-Za-z0-9._-]{1,20}", app_id().prop_map(|id| id.to_string())];
    let names = (option::of(app), "[A-Za-z0-9._-]{1,40}", vec("[A-Za-z0-9._-]{1,8}", 0..5));
    let content_type = prop_oneof![
        select(&["application/json", "Application/JSON; charset=utf-8", "application/problem+json", "image/png"][..])
            .prop_map(str::to_owned),
        "[ -~]{1,30}",
    ];
    let seconds = 0..253_402_300_799_i64;
    let kept = option::of((1..100_000_u64).prop_map(Duration::from_millis));
    let when = (option::of(seconds), any::<bool>(), timestamp(), kept);
    let id = option::of((option::of("[^\\pC]{1,40}"), "[^\\pC]{1,40}"));
    let rest = (id, option::of(json()), option::of(content_type), data());
    (names, when, rest, option::of(message_id())).prop_map(|(names, when, rest, message_id)| {
        let (app, event_type, channels) = names;
        let (seconds, traced, accepted_at, data_kept) = when;
        let (id, context, content_type, data) = rest;
        let (source, event_id) = id.map_or((None, None), |(source, id)| (source, Some(id)));
        let submission = Submission {
            app,
            event_id,
            source,
            message_id,
            event_type: Some(event_type),
            channels,
            time: seconds.map(|seconds| Timestamp::from_millis(seconds * 1000).to_string()),
            context: context.map(Bytes::from),
            content_type,
            data,
            traceparent: traced.then(|| TRACEPARENT.to_owned()),
            tags: if traced { vec!["a tag".to_owned(), "ä".to_owned()] } else { Vec::new() },
            accepted_at: Some(accepted_at),
            data_kept,
        };
        admit(submission, &GENEROUS, NOW).expect("an event without mistakes")
    })
}

/// A message; its id is its own field, so its event names none, and an order to the journal does not travel with it.
pub fn message() -> impl Strategy<Value = Message> {
    let whole = (message_id(), app_id(), event());
    whole.prop_map(|(id, app, event)| {
        let event = Event { message_id: None, data_kept: None, ..event };
        Message { id, app, event: Arc::new(event) }
    })
}

pub fn delivery() -> impl Strategy<Value = Delivery> {
    let place = (message(), endpoint_id(), any::<u32>(), trigger(), 1..=u32::MAX);
    let times = (timestamp(), option::of(timestamp()), any::<u64>(), any::<bool>(), any::<(bool, bool, u64)>());
    (place, times, vec(past_attempt(), 0..=limits::HISTORY_KEPT)).prop_map(|(place, times, history)| {
        let (message, endpoint, run, trigger, attempt) = place;
        let (due, not_before, delay_ms, maybe_repeat, (has_slot, has_app_slot, as_of)) = times;
        let message = Arc::new(message);
        Delivery {
            message,
            endpoint,
            run,
            trigger,
            attempt,
            due,
            not_before,
            reserved: Reservation { endpoint: has_slot, app: has_app_slot },
            as_of,
            delay_ms,
            rest_ms: Some(delay_ms / 2).filter(|rest| rest % 3 > 0),
            maybe_repeat,
            history,
        }
    })
}

pub fn dead_reason() -> impl Strategy<Value = DeadReason> {
    select(&DeadReason::ALL[..])
}

pub fn message_record() -> impl Strategy<Value = MessageRecord> {
    let kept = option::of((1..100_000_u64).prop_map(Duration::from_millis));
    (message(), option::of(vec(endpoint_id(), 0..4)), kept).prop_map(|(message, routed_to, data_kept)| {
        let event = Event { data_kept, ..Event::clone(&message.event) };
        let message = Arc::new(Message { event: Arc::new(event), ..message });
        MessageRecord { message, routed_to: routed_to.map(Arc::from) }
    })
}

pub fn attempt_record() -> impl Strategy<Value = AttemptRecord> {
    let id = any::<[u8; 20]>().prop_map(AttemptId::from_bytes);
    let event_type = event_type();
    let channels = vec("[A-Za-z0-9._-]{1,20}".prop_map(|text| text.parse().expect("valid")), 0..3);
    let place = (id, delivery_key(), any::<u32>(), any::<u32>(), trigger());
    let sent = (any::<String>(), vec(any::<(String, String)>(), 0..3)).prop_map(|(url, headers)| Shown { url, headers });
    (place, event_type, channels, sent, attempt_result(), outcome()).prop_map(
        |(place, event_type, channels, sent, result, outcome)| {
            let (id, delivery, run, number, trigger) = place;
            AttemptRecord { id, delivery, run, number, trigger, event_type, channels, sent, result, outcome }
        },
    )
}

pub fn entry() -> impl Strategy<Value = Entry> {
    let end = (delivery_key(), any::<u32>(), any::<u32>(), event_type(), outcome(), timestamp()).prop_map(
        |(delivery, run, number, event_type, outcome, at)| EndRecord { delivery, run, number, event_type, outcome, at },
    );
    let run = (delivery_key(), any::<u32>(), timestamp()).prop_map(|(delivery, run, due)| RunRecord { delivery, run, due });
    prop_oneof![
        message_record().prop_map(Entry::Message),
        attempt_record().prop_map(Entry::Attempt),
        end.prop_map(Entry::End),
        run.prop_map(Entry::Run),
    ]
}

pub fn dead_letter() -> impl Strategy<Value = DeadLetter> {
    let id = any::<[u8; 20]>().prop_map(DeadLetterId::from_bytes);
    let end = (id, delivery_key(), any::<u32>(), dead_reason(), event_type(), any::<u32>(), option::of(1..1000_u16), timestamp());
    end.prop_map(|(id, delivery, run, reason, event_type, attempts, status, at)| DeadLetter {
        id,
        delivery,
        run,
        reason,
        event_type,
        attempts,
        status,
        at,
    })
}

fn event_type() -> impl Strategy<Value = EventType> {
    "[A-Za-z0-9._-]{1,40}".prop_map(|text| text.parse().expect("valid"))
}

pub fn app_id() -> impl Strategy<Value = AppId> {
    any::<[u8; 20]>().prop_map(AppId::from_bytes)
}

pub fn endpoint_id() -> impl Strategy<Value = EndpointId> {
    any::<[u8; 20]>().prop_map(EndpointId::from_bytes)
}

pub fn timestamp() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_millis)
}

fn message_id() -> impl Strategy<Value = MessageId> {
    any::<[u8; 20]>().prop_map(MessageId::from_bytes)
}

fn delivery_key() -> impl Strategy<Value = DeliveryKey> {
    (app_id(), message_id(), endpoint_id()).prop_map(|(app, message, endpoint)| DeliveryKey { app, message, endpoint })
}

fn trigger() -> impl Strategy<Value = Trigger> {
    select(&[Trigger::Routed, Trigger::Resend, Trigger::Replay][..])
}

fn class_and_status() -> impl Strategy<Value = (AttemptClass, Option<u16>)> {
    (select(&AttemptClass::ALL[..]), option::of(1..=u16::MAX))
}

fn past_attempt() -> impl Strategy<Value = PastAttempt> {
    (class_and_status(), timestamp()).prop_map(|((class, status), at)| PastAttempt { class, status, at })
}

/// What is recorded of a result: what the receiver asked for has become the outcome.
fn attempt_result() -> impl Strategy<Value = AttemptResult> {
    let response = vec(any::<u8>(), 0..64).prop_map(Bytes::from);
    (class_and_status(), response, timestamp(), any::<u64>()).prop_map(|((class, status), response, started_at, ms)| {
        let base = AttemptResult::without_response(class, started_at, Duration::from_millis(ms));
        AttemptResult { status, response, ..base }
    })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Delivered),
        timestamp().prop_map(|at| Outcome::Retry { at }),
        dead_reason().prop_map(Outcome::Dead),
        Just(Outcome::Discarded(DiscardReason::EndpointDeleted)),
    ]
}
