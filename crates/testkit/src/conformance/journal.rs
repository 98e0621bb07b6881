//! The suite of [`hookyard_core::port::Journal`] and [`hookyard_core::port::Log`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hookyard_core::journal::{
    AttemptFilter, AttemptRecord, AttemptsOf, Cursor, DeliveryState, EXPUNGED_RESPONSE, EndRecord, Entry, MessageFilter,
    MessageRecord, PageRequest, RunRecord, Standing,
};
use hookyard_core::port::{Journal, Log};
use hookyard_core::stats::{Counted, minute_of};
use hookyard_core::{
    AppId, AttemptId, Clock, DeadLetter, DeadLetterFilter, DeadLetterId, DeadReason, Delivery, Event, Message, Outcome,
    Timestamp, Trigger,
};

use super::suite;
use crate::builders::Builders;

suite! { $ each_promise_of_journal: journal on JournalBackend,
    what_was_recorded_is_found,
    recording_twice_changes_nothing,
    an_attempt_nobody_made_is_not_found,
    a_routed_message_replaces_an_accepted_one_and_not_the_other_way_round,
    attempts_of_a_message_page_in_both_directions_without_gaps,
    attempts_to_an_endpoint_page_in_both_directions_without_gaps,
    every_attempt_of_an_application_pages_in_both_directions_without_gaps,
    filters_leave_out_what_they_say,
    filters_on_messages_leave_out_what_they_say,
    messages_page_newest_first,
    the_state_of_a_delivery_is_the_highest_that_was_written,
    a_dead_letter_is_listed_until_its_next_run_begins,
    dead_letters_page_and_filter,
    deliveries_are_counted_by_how_they_stand,
    what_happened_is_counted_once_in_its_minute,
    what_is_expunged_is_forgotten_and_stays_so,
    data_is_forgotten_when_its_publisher_wanted_it_to,
}

/// A backend of the journal.
pub trait JournalBackend: Send + Sync {
    /// The journal.
    fn journal(&self) -> Arc<dyn Journal>;

    /// The same, to be read.
    fn log(&self) -> Arc<dyn Log>;

    /// Its time.
    fn clock(&self) -> Arc<dyn Clock>;
}

/// Both sides of the backend, and what to write.
fn sides(backend: &dyn JournalBackend) -> (Arc<dyn Journal>, Arc<dyn Log>, Builders) {
    (backend.journal(), backend.log(), Builders::new(backend.clock(), 1))
}

fn app() -> AppId {
    AppId::from_bytes([7; 20])
}

async fn record(journal: &dyn Journal, entries: impl IntoIterator<Item = Entry>) {
    journal.record(entries.into_iter().collect()).await.expect("recorded");
}

/// Attempts 1 to `count` of one delivery, each due a second after the one before.
fn attempts(make: &Builders, delivery: &Delivery, count: u32) -> Vec<AttemptRecord> {
    let first_due = delivery.due.as_millis();
    let number = |number: u32| {
        let due = Timestamp::from_millis(first_due + i64::from(number) * 1000);
        let status = if number.is_multiple_of(2) { 500 } else { 200 };
        let outcome = if number.is_multiple_of(2) { Outcome::Retry { at: due } } else { Outcome::Delivered };
        make.attempt(&Delivery { attempt: number, due, ..delivery.clone() }, status, outcome)
    };
    (1..=count).map(number).collect()
}

async fn what_was_recorded_is_found(backend: &dyn JournalBackend) {
    let (journal, log, make) = sides(backend);
    let delivery = make.delivery(app());
    let attempt = attempts(&make, &delivery, 1).remove(0);
    let message = MessageRecord { message: Arc::clone(&delivery.message), routed_to: Some(Arc::from([delivery.endpoint])) };
    record(&*journal, [Entry::Message(message.clone()), Entry::Attempt(attempt.clone())]).await;
    assert_eq!(journal.recorded(attempt.delivery, attempt.id).await.expect("answered"), Some(attempt));
    let found = log.message(app(), delivery.message.id).await.expect("answered").expect("found");
    assert_eq!((found.message.id, found.routed_to), (message.message.id, message.routed_to));
    assert_eq!(found.message.event.data, delivery.message.event.data);
}

async fn recording_twice_changes_nothing(backend: &dyn JournalBackend) {
    let (journal, log, make) = sides(backend);
    let delivery = make.delivery(app());
    let records = attempts(&make, &delivery, 3);
    for _ in 0..2 {
        record(&*journal, records.iter().cloned().map(Entry::Attempt)).await;
    }
    let of = AttemptsOf::Endpoint(delivery.endpoint);
    let page = log.attempts(app(), of, &AttemptFilter::default(), PageRequest { from: None, limit: 10 }).await.expect("answered");
    assert_eq!((page.items.len(), page.done), (3, true));
}

async fn an_attempt_nobody_made_is_not_found(backend: &dyn JournalBackend) {
    let (journal, log, make) = sides(backend);
    let delivery = make.delivery(app());
    assert_eq!(journal.recorded(delivery.key(), delivery.attempt_id()).await.expect("answered"), None);
    assert!(log.message(app(), delivery.message.id).await.expect("answered").is_none());
}

async fn a_routed_message_replaces_an_accepted_one_and_not_the_other_way_round(backend: &dyn JournalBackend) {
    let (journal, log, make) = sides(backend);
    let delivery = make.delivery(app());
    let accepted = MessageRecord { message: Arc::clone(&delivery.message), routed_to: None };
    let routed = MessageRecord { routed_to: Some(Arc::from([delivery.endpoint])), ..accepted.clone() };
    for next in [&accepted, &routed, &accepted] {
        record(&*journal, [Entry::Message(next.clone())]).await;
    }
    let found = log.message(app(), delivery.message.id).await.expect("answered").expect("found");
    assert_eq!(found.routed_to, routed.routed_to);
}

/// Walks a list forward to its end and back to its beginning, three at a time, and compares with what was written.
async fn walk(log: &dyn Log, of: AttemptsOf, written: &[AttemptRecord]) {
    let page = async |from| {
        let request = PageRequest { from, limit: 3 };
        log.attempts(app(), of, &AttemptFilter::default(), request).await.expect("answered")
    };
    let mut expected: Vec<AttemptId> = written.iter().map(|record| record.id).collect();
    expected.sort_unstable_by(|a, b| b.cmp(a));
    let (mut found, mut from) = (Vec::new(), None);
    loop {
        let next = page(from).await;
        found.extend(next.items.iter().map(|record| record.id));
        if next.done {
            break;
        }
        from = Some(Cursor::After(*found.last().expect("a page that is not done has items")));
    }
    assert_eq!(found, expected, "forward");
    let mut back = vec![*found.last().expect("some")];
    loop {
        let next = page(Some(Cursor::Before(back[0]))).await;
        let ids: Vec<AttemptId> = next.items.iter().map(|record| record.id).collect();
        back.splice(0..0, ids);
        if next.done {
            break;
        }
    }
    assert_eq!(back, expected, "backward");
}

async fn attempts_of_a_message_page_in_both_directions_without_gaps(backend: &dyn JournalBackend) {
    let (journal, log, make) = sides(backend);
    let delivery = make.delivery(app());
    let records = attempts(&make, &delivery, 10);
    record(&*journal, records.iter().cloned().map(Entry::Attempt)).await;
    walk(&*log, AttemptsOf::Message(delivery.message.id), &records).await;
}

async fn attempts_to_an_endpoint_page_in_both_directions_without_gaps(backend: &dyn JournalBackend) {
    let (journal, log, make) = sides(backend);
    let first = make.delivery(app());
    let records: Vec<AttemptRecord> =
        (0..5).flat_map(|_| attempts(&make, &Delivery { endpoint: first.endpoint, ..make.delivery(app()) }, 2)).collect();
    record(&*journal, records.iter().cloned().map(Entry::Attempt)).await;
    walk(&*log, AttemptsOf::Endpoint(first.endpoint), &records).await;
}

async fn every_attempt_of_an_application_pages_in_both_directions_without_gaps(backend: &dyn JournalBackend) {
    let (journal, log, make) = sides(backend);
    let records: Vec<AttemptRecord> = (0..4).flat_map(|_| attempts(&make, &make.delivery(app()), 3)).collect();
    record(&*journal, records.iter().cloned().map(Entry::Attempt)).await;
    let other = make.delivery(AppId::from_bytes([8; 20]));
    record(&*journal, attempts(&make, &other, 2).into_iter().map(Entry::Attempt)).await;
    walk(&*log, AttemptsOf::App, &records).await;
    let found = log.attempt(app(), records[0].delivery.message, records[0].id).await.expect("answered");
    assert_eq!(found.as_ref(), Some(&records[0]));
    let elsewhere = log.attempt(other.message.app, records[0].delivery.message, records[0].id).await.expect("answered");
    assert_eq!(elsewhere, None, "it is another application's");
}

async fn filters_leave_out_what_they_say(backend: &dyn JournalBackend) {
    let (journal, log, make) = sides(backend);
    let delivery = make.delivery(app());
    let records = attempts(&make, &delivery, 6);
    record(&*journal, records.iter().cloned().map(Entry::Attempt)).await;
    let count = async |filter: AttemptFilter| {
        let of = AttemptsOf::Endpoint(delivery.endpoint);
        log.attempts(app(), of, &filter, PageRequest { from: None, limit: 10 }).await.expect("answered").items.len()
    };
    assert_eq!(count(AttemptFilter { success: Some(true), ..AttemptFilter::default() }).await, 3);
    assert_eq!(count(AttemptFilter { status_class: Some(5), ..AttemptFilter::default() }).await, 3);
    assert_eq!(count(AttemptFilter { before: Some(records[2].id.time()), ..AttemptFilter::default() }).await, 2);
    assert_eq!(count(AttemptFilter { after: Some(records[2].id.time()), ..AttemptFilter::default() }).await, 3);
    let (after, before) = (Some(records[0].id.time()), Some(records[3].id.time()));
    assert_eq!(count(AttemptFilter { after, before, ..AttemptFilter::default() }).await, 2);
    let channel = Some("nobody.s".parse().expect("a channel"));
    assert_eq!(count(AttemptFilter { channel, ..AttemptFilter::default() }).await, 0);
    let other = "nothing.like.it".parse().expect("an event type");
    assert_eq!(count(AttemptFilter { event_types: vec![other], ..AttemptFilter::default() }).await, 0);
}

async fn filters_on_messages_leave_out_what_they_say(backend: &dyn JournalBackend) {
    let (journal, log, make) = sides(backend);
    let begin = backend.clock().now();
    let mut times = Vec::new();
    for number in 0..6_u32 {
        let event = make.event();
        let (channels, name) = if number.is_multiple_of(3) { (vec!["eu"], "order.paid") } else { (vec![], "order.sent") };
        let event = Event {
            event_type: name.parse().expect("an event type"),
            channels: channels.into_iter().map(|channel| channel.parse().expect("a channel")).collect(),
            accepted_at: begin.plus(Duration::from_secs(u64::from(number))),
            ..event
        };
        times.push(event.accepted_at);
        let message = Arc::new(make.message_of(app(), event));
        record(&*journal, [Entry::Message(MessageRecord { message, routed_to: Some(Arc::from([])) })]).await;
    }
    let count = async |filter: MessageFilter| {
        let page = log.messages(app(), &filter, PageRequest { from: None, limit: 10 }).await.expect("answered");
        assert!(page.done);
        page.items.len()
    };
    let any = MessageFilter::default;
    assert_eq!(count(any()).await, 6);
    assert_eq!(count(MessageFilter { channel: Some("eu".parse().expect("a channel")), ..any() }).await, 2);
    assert_eq!(count(MessageFilter { event_types: vec!["order.sent".parse().expect("a type")], ..any() }).await, 4);
    assert_eq!(count(MessageFilter { before: Some(times[2]), ..any() }).await, 2);
    assert_eq!(count(MessageFilter { after: Some(times[1]), ..any() }).await, 4);
    assert_eq!(count(MessageFilter { after: Some(times[1]), before: Some(times[4]), ..any() }).await, 2);
    let first = MessageFilter { after: Some(times[3]), ..any() };
    let page = log.messages(app(), &first, PageRequest { from: None, limit: 1 }).await.expect("answered");
    assert_eq!((page.items.len(), page.done), (1, false));
    let from = Some(Cursor::After(page.items[0].message.id));
    let page = log.messages(app(), &first, PageRequest { from, limit: 5 }).await.expect("answered");
    assert_eq!((page.items.len(), page.done), (1, true));
}

async fn messages_page_newest_first(backend: &dyn JournalBackend) {
    let (journal, log, make) = sides(backend);
    let mut written = Vec::new();
    for _ in 0..5 {
        let message = Arc::new(make.message(app()));
        written.push(message.id);
        record(&*journal, [Entry::Message(MessageRecord { message, routed_to: Some(Arc::from([])) })]).await;
    }
    written.sort_unstable_by(|a, b| b.cmp(a));
    let first = log.messages(app(), &MessageFilter::default(), PageRequest { from: None, limit: 3 }).await.expect("answered");
    let rest = PageRequest { from: Some(Cursor::After(written[2])), limit: 3 };
    let second = log.messages(app(), &MessageFilter::default(), rest).await.expect("answered");
    let found: Vec<_> = first.items.iter().chain(&second.items).map(|record| record.message.id).collect();
    assert_eq!((found, first.done, second.done), (written, false, true));
}

/// The end of `delivery` without an attempt, because its endpoint was inactive.
fn inactive(delivery: &Delivery) -> Entry {
    let (run, number, at) = (delivery.run, delivery.attempt, delivery.due);
    let event_type = delivery.message.event.event_type.clone();
    let outcome = Outcome::Dead(DeadReason::EndpointInactive);
    Entry::End(EndRecord { delivery: delivery.key(), run, number, event_type, outcome, at })
}

async fn the_state_of_a_delivery_is_the_highest_that_was_written(backend: &dyn JournalBackend) {
    let (journal, log, make) = sides(backend);
    let delivery = make.delivery(app());
    let states = async || log.states(app(), delivery.message.id).await.expect("answered");
    assert_eq!(states().await, []);
    let exhausted = make.attempt(&Delivery { attempt: 3, ..delivery.clone() }, 500, Outcome::Dead(DeadReason::AttemptsExhausted));
    let due = delivery.due;
    let begun = Entry::Run(RunRecord { delivery: delivery.key(), run: 1, due });
    let again = Delivery::rerun(Arc::clone(&delivery.message), delivery.endpoint, 1, Trigger::Replay, due);
    let delivered = make.attempt(&again, 200, Outcome::Delivered);
    let late = make.attempt(&delivery, 500, Outcome::Retry { at: due });
    let dead = DeliveryState { run: 0, attempt: 3, outcome: Outcome::Dead(DeadReason::AttemptsExhausted) };
    let waiting = DeliveryState { run: 1, attempt: 0, outcome: Outcome::Retry { at: due } };
    let arrived = DeliveryState { run: 1, attempt: 1, outcome: Outcome::Delivered };
    let steps = [
        (Entry::Attempt(exhausted.clone()), dead),
        (Entry::Attempt(late), dead),
        (begun.clone(), waiting),
        (Entry::Attempt(exhausted), waiting),
        (Entry::Attempt(delivered), arrived),
        (begun, arrived),
    ];
    for (entry, expected) in steps {
        record(&*journal, [entry]).await;
        assert_eq!(states().await, [(delivery.endpoint, expected)]);
    }
    let other = AppId::from_bytes([8; 20]);
    assert_eq!(log.states(other, delivery.message.id).await.expect("answered"), [], "it is another application's");
}

async fn dead_letters(log: &dyn Log, filter: DeadLetterFilter) -> Vec<DeadLetter> {
    let page = log.dead_letters(app(), &filter, PageRequest { from: None, limit: 10 }).await.expect("answered");
    assert!(page.done);
    page.items
}

async fn a_dead_letter_is_listed_until_its_next_run_begins(backend: &dyn JournalBackend) {
    let (journal, log, make) = sides(backend);
    let delivery = make.delivery(app());
    let all = async || dead_letters(&*log, DeadLetterFilter::default()).await;
    assert_eq!(all().await, []);
    let end = make.attempt(&Delivery { attempt: 3, ..delivery.clone() }, 503, Outcome::Dead(DeadReason::AttemptsExhausted));
    let expected = DeadLetter::of(&Entry::Attempt(end.clone())).expect("dead");
    assert_eq!((expected.attempts, expected.status, expected.run), (3, Some(503), 0));
    for _ in 0..2 {
        record(&*journal, [Entry::Attempt(end.clone())]).await;
        assert_eq!(all().await, std::slice::from_ref(&expected));
    }
    assert_eq!(log.dead_letter(app(), expected.id).await.expect("answered"), Some(expected.clone()));
    record(&*journal, [Entry::Run(RunRecord { delivery: delivery.key(), run: 1, due: delivery.due })]).await;
    assert_eq!(all().await, []);
    assert_eq!(log.dead_letter(app(), expected.id).await.expect("answered"), None);
    record(&*journal, [Entry::Attempt(end)]).await;
    assert_eq!(all().await, [], "an earlier run's end that comes late");
    let again = Delivery::rerun(Arc::clone(&delivery.message), delivery.endpoint, 1, Trigger::Replay, delivery.due);
    record(&*journal, [inactive(&again)]).await;
    let found = all().await;
    assert_eq!(found.iter().map(|letter| (letter.run, letter.attempts)).collect::<Vec<_>>(), [(1, 0)]);
}

async fn dead_letters_page_and_filter(backend: &dyn JournalBackend) {
    let (journal, log, make) = sides(backend);
    let first = make.delivery(app());
    let mut expected: Vec<DeadLetterId> = Vec::new();
    let mut ends = Vec::new();
    for number in 0..7_i64 {
        let due = Timestamp::from_millis(first.due.as_millis() + number * 1000);
        let endpoint = if number % 2 == 0 { first.endpoint } else { make.endpoint_id() };
        let entry = inactive(&Delivery { endpoint, due, ..make.delivery(app()) });
        expected.extend(DeadLetter::of(&entry).map(|letter| letter.id));
        ends.push(entry);
    }
    record(&*journal, ends).await;
    expected.reverse();
    let page = async |from, limit| {
        let page = log.dead_letters(app(), &DeadLetterFilter::default(), PageRequest { from, limit }).await.expect("answered");
        (page.items.iter().map(|letter| letter.id).collect::<Vec<_>>(), page.done)
    };
    assert_eq!(page(None, 4).await, (expected[..4].to_vec(), false));
    assert_eq!(page(Some(Cursor::After(expected[3])), 4).await, (expected[4..].to_vec(), true));
    assert_eq!(page(Some(Cursor::Before(expected[4])), 3).await, (expected[1..4].to_vec(), false));
    let count = async |filter| dead_letters(&*log, filter).await.len();
    let any = DeadLetterFilter::default;
    assert_eq!(count(DeadLetterFilter { endpoint: Some(first.endpoint), ..any() }).await, 4);
    assert_eq!(count(DeadLetterFilter { reason: Some(DeadReason::Gone), ..any() }).await, 0);
    assert_eq!(count(DeadLetterFilter { event_type: Some(first.message.event.event_type.clone()), ..any() }).await, 7);
    assert_eq!(count(DeadLetterFilter { before: Some(expected[5].time()), ..any() }).await, 1);
    assert_eq!(count(DeadLetterFilter { after: Some(expected[2].time()), ..any() }).await, 2);
}

async fn deliveries_are_counted_by_how_they_stand(backend: &dyn JournalBackend) {
    let (journal, log, make) = sides(backend);
    let endpoint = make.endpoint_id();
    let now = backend.clock().now();
    let hour = Duration::from_secs(3600);
    let counted = async || {
        let counts = log.standings(app(), endpoint, now, now.plus(hour)).await.expect("answered");
        let this_hour = now.as_millis().div_euclid(3600 * 1000);
        assert!(counts.keys().all(|(hour, _)| (this_hour..=this_hour + 1).contains(hour)), "{counts:?}");
        counts.into_iter().filter(|(_, count)| *count > 0).map(|((_, standing), count)| (standing, count)).collect::<Vec<_>>()
    };
    let delivery = || Delivery { endpoint, ..make.delivery(app()) };
    let (one, other) = (delivery(), delivery());
    let due = one.due;
    for _ in 0..2 {
        record(&*journal, [Entry::Attempt(make.attempt(&one, 200, Outcome::Delivered))]).await;
        record(&*journal, [Entry::Attempt(make.attempt(&other, 500, Outcome::Retry { at: due }))]).await;
        assert_eq!(counted().await, [(Standing::Success, 1), (Standing::Pending, 1)], "repeating changes nothing");
    }
    let last = Delivery { attempt: 2, ..other.clone() };
    record(&*journal, [Entry::Attempt(make.attempt(&last, 500, Outcome::Dead(DeadReason::AttemptsExhausted)))]).await;
    assert_eq!(counted().await, [(Standing::Success, 1), (Standing::Fail, 1)]);
    record(&*journal, [Entry::Run(RunRecord { delivery: other.key(), run: 1, due })]).await;
    assert_eq!(counted().await, [(Standing::Success, 1), (Standing::Sending, 1)]);
    let elsewhere = log.standings(app(), make.endpoint_id(), now, now.plus(hour)).await.expect("answered");
    assert_eq!(elsewhere, BTreeMap::new());
    let before = log.standings(app(), endpoint, now.minus(hour * 3), now.minus(hour * 2)).await.expect("answered");
    assert_eq!(before, BTreeMap::new());
}

async fn what_happened_is_counted_once_in_its_minute(backend: &dyn JournalBackend) {
    let (journal, log, make) = sides(backend);
    let delivery = make.delivery(app());
    let routed_to = Some(Arc::from([delivery.endpoint]));
    let message = MessageRecord { message: Arc::clone(&delivery.message), routed_to };
    let accepted = MessageRecord { routed_to: None, ..message.clone() };
    let attempt = |number, status, outcome| make.attempt(&Delivery { attempt: number, ..delivery.clone() }, status, outcome);
    let (first, last) =
        (attempt(1, 500, Outcome::Retry { at: delivery.due }), attempt(2, 404, Outcome::Dead(DeadReason::AttemptsExhausted)));
    let at = [message.message.id.time(), first.result.started_at, last.result.started_at];
    let (since, until) = (at.into_iter().min().expect("three"), at.into_iter().max().expect("three"));
    let entries = [
        Entry::Message(accepted),
        Entry::Message(message),
        Entry::Attempt(first.clone()),
        Entry::Attempt(last.clone()),
        Entry::Run(RunRecord { delivery: delivery.key(), run: 1, due: delivery.due }),
    ];
    for _ in 0..2 {
        record(&*journal, entries.clone()).await;
        let counts = log.counts(app(), since, until.plus(Duration::from_secs(60))).await.expect("answered");
        let mut found: Vec<(i64, Counted, u64)> = counts.iter().map(|c| (c.minute, c.counted, c.times)).collect();
        found.sort_unstable();
        let died = last.result.started_at.plus(last.result.duration);
        let minute = [at[0], at[1], at[2], died].map(minute_of);
        let mut expected = vec![
            (minute[0], Counted::Event, 1),
            (minute[1], Counted::of(&first), 1),
            (minute[2], Counted::of(&last), 1),
            (minute[3], Counted::DeadLetter, 1),
        ];
        expected.sort_unstable();
        assert_eq!(found, expected, "repeating changes nothing");
        let volumes = log.volumes(app(), since, until).await.expect("answered");
        let hour = at[0].as_seconds().div_euclid(3600);
        assert_eq!(volumes, [((hour, delivery.message.event.event_type.clone()), 1)].into(), "repeating changes nothing");
    }
    let (long_ago, lately) = (since.minus(Duration::from_secs(7200)), since.minus(Duration::from_secs(3600)));
    assert_eq!(log.counts(app(), long_ago, lately).await.expect("answered"), []);
    assert_eq!(log.volumes(app(), long_ago.minus(Duration::from_secs(7200)), long_ago).await.expect("answered"), BTreeMap::new());
    assert_eq!(log.counts(AppId::from_bytes([8; 20]), since, until).await.expect("answered"), []);
}

async fn what_is_expunged_is_forgotten_and_stays_so(backend: &dyn JournalBackend) {
    let (journal, log, make) = sides(backend);
    let delivery = make.delivery(app());
    let (id, attempt) = (delivery.message.id, make.attempt(&delivery, 200, Outcome::Delivered));
    let message = MessageRecord { message: Arc::clone(&delivery.message), routed_to: Some(Arc::from([delivery.endpoint])) };
    assert!(!log.expunge_message(app(), id).await.expect("answered"));
    assert!(!log.expunge_attempt(app(), id, attempt.id).await.expect("answered"));
    record(&*journal, [Entry::Message(message.clone()), Entry::Attempt(attempt.clone())]).await;
    assert!(!log.expunge_message(AppId::from_bytes([8; 20]), id).await.expect("answered"), "it is another application's");
    assert!(log.expunge_message(app(), id).await.expect("answered"));
    assert!(log.expunge_attempt(app(), id, attempt.id).await.expect("answered"));
    // The router's record comes late.
    record(&*journal, [Entry::Message(message)]).await;
    let found = log.message(app(), id).await.expect("answered").expect("still there");
    assert!(found.message.is_expunged() && found.message.event.data.is_empty());
    assert_eq!(found.routed_to.as_deref(), Some(&[delivery.endpoint][..]));
    let found = log.attempt(app(), id, attempt.id).await.expect("answered").expect("still there");
    assert!(found.result.response == EXPUNGED_RESPONSE && found.result.status == Some(200));
}

async fn data_is_forgotten_when_its_publisher_wanted_it_to(backend: &dyn JournalBackend) {
    let (journal, log, make) = sides(backend);
    let hour = Duration::from_secs(3600);
    let message = async |data_kept| {
        let delivery = make.delivery(app());
        let event = Event { data_kept, ..Event::clone(&delivery.message.event) };
        let message = Arc::new(Message { event: Arc::new(event), ..Message::clone(&delivery.message) });
        let entry = |routed_to| Entry::Message(MessageRecord { message: Arc::clone(&message), routed_to });
        let attempt = make.attempt(&delivery, 200, Outcome::Delivered);
        let routed_to = Some(Arc::from([delivery.endpoint]));
        record(&*journal, [entry(None), entry(routed_to), Entry::Attempt(attempt)]).await;
        message.id
    };
    let (short, lasting, ever) = (message(Some(hour)).await, message(Some(hour * 3)).await, message(None).await);
    let forgotten = async |id| log.message(app(), id).await.expect("answered").expect("there").message.is_expunged();
    assert_eq!(log.expire_data(short.time().plus(hour).minus(Duration::from_millis(1))).await.expect("answered"), 0);
    assert_eq!(log.expire_data(short.time().plus(hour * 2)).await.expect("answered"), 1);
    assert_eq!((forgotten(short).await, forgotten(lasting).await, forgotten(ever).await), (true, false, false));
    assert_eq!(log.expire_data(short.time().plus(hour * 9)).await.expect("answered"), 1);
    assert_eq!(log.expire_data(short.time().plus(hour * 9)).await.expect("answered"), 0);
    assert_eq!((forgotten(lasting).await, forgotten(ever).await), (true, false));
}
