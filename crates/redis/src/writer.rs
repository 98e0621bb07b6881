//! The journal's writer: collects what arrives while the last group is on its way, and sends it as one pipeline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookyard_core::journal::{AttemptRecord, DeliveryState, Entry, MessageRecord};
use hookyard_core::stats::{Counted, minute_of};
use hookyard_core::{AppId, DeadLetter, DeliveryKey, EndpointId, Fault, FaultKind, Outcome, Timestamp};
use hookyard_telemetry::label::StoreOp;
use hookyard_wire::record::{write_attempt_of, write_dead_letter, write_message};
use redis::ScriptInvocation;
use tokio::sync::{mpsc, oneshot};

use crate::activity::Announcer;
use crate::client::RedisStore;
use crate::keys;
use crate::summary;

/// Groups waiting to be written: what a few milliseconds of a busy process bring.
const MAILBOX: usize = 4_096;
/// Entries in one script call: it holds the server for well under a millisecond or two.
const ENTRIES_PER_CALL: usize = 100;
/// Groups taken from the mailbox at once.
const GROUPS: usize = 1_000;
/// Bytes of events and responses in one pipeline: a server takes as much well within the time it has to answer.
const PIPELINE_BYTES: usize = 4 * 1024 * 1024;
/// Lists live this much longer than what they list, so that a message's whole life is covered. A day's bucket begins with its
/// first entry and ends a day later; a delivery may be retried for days before it ends.
const LIST_MARGIN_S: u64 = 3 * 24 * 3600;

/// After a pipeline the next one waits this long for company: a write costs the server, and whoever waits for it, much the same for one
/// entry or for many. Nobody's delivery waits for its record.
const GATHER: Duration = Duration::from_millis(5);

/// A group to write and who waits for it.
pub struct Group {
    pub entries: Arc<[Entry]>,
    pub written: oneshot::Sender<Result<(), Fault>>,
}

/// Begins the writer.
pub fn start(store: RedisStore) -> mpsc::Sender<Group> {
    let (sender, receiver) = mpsc::channel(MAILBOX);
    tokio::spawn(run(store, receiver));
    sender
}

async fn run(store: RedisStore, mut mailbox: mpsc::Receiver<Group>) {
    let (mut groups, mut announcer): (Vec<Group>, _) = (Vec::new(), Announcer::new());
    while mailbox.recv_many(&mut groups, GROUPS).await > 0 {
        let result = write(&store, groups.iter().flat_map(|group| group.entries.iter()), &mut announcer).await;
        for group in groups.drain(..) {
            let result = match &result {
                Ok(()) => Ok(()),
                Err(fault) => Err(Fault::caused(fault.kind, "write the journal", fault.chain())),
            };
            if group.written.send(result).is_err() {
                tracing::trace!("nobody waits for this record any more");
            }
        }
        tokio::time::sleep(GATHER).await;
    }
}

/// Writes entries, as many pipelines as their bytes ask for.
async fn write(store: &RedisStore, entries: impl Iterator<Item = &Entry>, announcer: &mut Announcer) -> Result<(), Fault> {
    let (mut part, mut bytes) = (Vec::new(), 0);
    for entry in entries {
        part.push(entry);
        bytes += weight(entry);
        if bytes > PIPELINE_BYTES {
            write_part(store, &part, announcer).await?;
            (part, bytes) = (Vec::new(), 0);
        }
    }
    write_part(store, &part, announcer).await
}

/// The bytes of an entry that differ by more than a few hundred.
fn weight(entry: &Entry) -> usize {
    match entry {
        Entry::Message(record) => record.message.event.data.len() + record.routed_to.as_ref().map_or(0, |ids| ids.len() * 20),
        Entry::Attempt(record) => record.result.response.len(),
        Entry::End(_) | Entry::Run(_) => 0,
    }
}

/// One pipeline, with one script call per application and [`ENTRIES_PER_CALL`].
async fn write_part(store: &RedisStore, entries: &[&Entry], announcer: &mut Announcer) -> Result<(), Fault> {
    let mut by_app: BTreeMap<AppId, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        by_app.entry(entry.app()).or_default().push(entry);
    }
    let mut pipeline = redis::pipe();
    for (app, entries) in by_app {
        for chunk in entries.chunks(ENTRIES_PER_CALL) {
            let mut call = store.journal.scripts.record.prepare_invoke();
            call.key(keys::dead_letters(app));
            call.arg(store.retention.as_secs()).arg(store.retention.as_secs() + LIST_MARGIN_S);
            for entry in chunk {
                add(&mut call, app, entry);
            }
            pipeline.invoke_script(&call).ignore();
        }
    }
    if pipeline.is_empty() {
        return Ok(());
    }
    for entry in entries {
        if let Entry::Message(MessageRecord { message, .. }) = entry
            && let Some(kept) = message.event.data_kept
        {
            let member = [&message.app.as_bytes()[..], message.id.as_bytes()].concat();
            pipeline.zadd(keys::DATA_KEPT, member, message.id.time().plus(kept).as_millis()).ignore();
        }
    }
    if let Some(news) = announcer.announce(entries) {
        pipeline.publish(keys::ACTIVITY, news);
    }
    let listeners: Vec<i64> = store.journal.query(StoreOp::Record, "write the journal", &pipeline).await?;
    listeners.first().into_iter().for_each(|listeners| announcer.received(*listeners));
    Ok(())
}

fn add(call: &mut ScriptInvocation<'_>, app: AppId, entry: &Entry) {
    match entry {
        Entry::Message(record) => add_message(call, app, record),
        Entry::Attempt(record) => {
            add_attempt(call, app, record);
            let at = record.result.started_at;
            add_state(call, record.delivery, &record.state(), DeadLetter::of(entry).as_ref(), at);
        }
        Entry::End(record) => add_end(call, record.delivery, &record.state(), DeadLetter::of(entry).as_ref(), record.at),
        Entry::Run(record) => add_end(call, record.delivery, &record.state(), None, record.due),
    }
}

fn add_message(call: &mut ScriptInvocation<'_>, app: AppId, record: &MessageRecord) {
    let id = record.message.id;
    let key = keys::message(app, id);
    let day = keys::day_of(id.time());
    // One list: the key of the other is the first again.
    call.key(key.clone()).key(keys::messages(app, day)).key(key).key(keys::volumes(app, day)).key(stats_of(app, id.time()));
    let member = [&id.as_bytes()[..], &summary::of_message(&record.message.event)].concat();
    call.arg("M").arg(member).arg(write_message(record));
    call.arg(record.routed_to.as_ref().map_or_else(String::new, |ids| ids.len().to_string()));
    call.arg(count_field(id.time(), Counted::Event));
    call.arg(format!("{}:{}", hour_of(id.time()), record.message.event.event_type));
}

fn add_attempt(call: &mut ScriptInvocation<'_>, app: AppId, record: &AttemptRecord) {
    let key = record.delivery;
    let day = keys::day_of(record.id.time());
    call.key(keys::message(app, key.message)).key(keys::attempts_to(app, key.endpoint, day)).key(keys::attempts(app, day));
    call.key(standings_of(key)).key(stats_of(app, record.result.started_at));
    let member = [&record.id.as_bytes()[..], key.message.as_bytes(), &summary::of_attempt(record)].concat();
    call.arg("A").arg(member).arg(attempt_field(record.id.as_bytes())).arg(write_attempt_of(record));
    call.arg(count_field(record.result.started_at, Counted::of(record)));
}

fn add_end(
    call: &mut ScriptInvocation<'_>,
    delivery: DeliveryKey,
    state: &DeliveryState,
    letter: Option<&DeadLetter>,
    at: Timestamp,
) {
    let key = keys::message(delivery.app, delivery.message);
    // No list: the other keys are the first again.
    call.key(key.clone()).key(key.clone()).key(key).key(standings_of(delivery)).key(stats_of(delivery.app, at));
    call.arg("E");
    add_state(call, delivery, state, letter, at);
}

fn standings_of(delivery: DeliveryKey) -> String {
    keys::standings(delivery.app, delivery.endpoint, keys::day_of(delivery.message.time()))
}

/// The counts of the hour of a moment.
fn stats_of(app: AppId, at: Timestamp) -> String {
    keys::stats(app, minute_of(at).div_euclid(60))
}

/// What happened in the minute of a moment.
fn count_field(at: Timestamp, counted: Counted) -> String {
    format!("{}:{}", minute_of(at).rem_euclid(60), counted.code())
}

fn add_state(
    call: &mut ScriptInvocation<'_>,
    delivery: DeliveryKey,
    state: &DeliveryState,
    letter: Option<&DeadLetter>,
    at: Timestamp,
) {
    let ended = u8::from(state.outcome.is_terminal());
    let dead = u8::from(matches!(state.outcome, Outcome::Dead(_)));
    let (rank, outcome) = (state.rank(), state.outcome);
    let text = format!("{rank}|{ended}|{dead}|{}|{}|{outcome}", state.run, state.attempt);
    let member = letter.map(|letter| [&letter.id.as_bytes()[..], &write_dead_letter(letter)].concat());
    call.arg(state_field(delivery.endpoint)).arg(rank).arg(text).arg(ended).arg(dead).arg(member.unwrap_or_default());
    call.arg(count_field(at, Counted::DeadLetter)).arg(hour_of(delivery.message.time()));
}

/// The state of a delivery as [`add_state`] wrote it.
pub fn read_state(text: &str) -> Option<DeliveryState> {
    let mut parts = text.splitn(6, '|');
    let rank = parts.next()?.parse().ok()?;
    let outcome = parts.nth(4)?.parse().ok()?;
    Some(DeliveryState::of_rank(rank, outcome))
}

/// The hour of the day of a moment, from 0.
fn hour_of(moment: Timestamp) -> i64 {
    moment.as_millis().div_euclid(3600 * 1000).rem_euclid(24)
}

/// Field of a message's hash that holds an attempt.
pub fn attempt_field(attempt: &[u8; 20]) -> Vec<u8> {
    [b"a", &attempt[..]].concat()
}

/// Field of a message's hash that holds a delivery's state.
fn state_field(endpoint: EndpointId) -> Vec<u8> {
    [b"s", &endpoint.as_bytes()[..]].concat()
}

/// A fault for everybody who waits on a writer that is gone.
pub fn gone() -> Fault {
    Fault::new(FaultKind::Unavailable, "write the journal")
}

/// Bytes of a stored record.
pub fn owned(bytes: Vec<u8>) -> Bytes {
    Bytes::from(bytes)
}
