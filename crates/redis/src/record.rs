//! One call of the script that writes journal entries: its keys, each named once however many entries need it, and a packed string
//! per entry.
//!
//! Packed, because a server takes longer to read thirty short arguments than to write down what they say.

use std::collections::HashMap;
use std::collections::hash_map;
use std::time::Duration;

use hookyard_core::journal::{AttemptRecord, DeliveryState, Entry, MessageRecord};
use hookyard_core::stats::{Counted, minute_of};
use hookyard_core::{AppId, DeadLetter, DeliveryKey, EndpointId, MessageId, Outcome, Timestamp};
use hookyard_wire::record::{write_attempt_of, write_dead_letter, write_message};
use redis::{Script, ScriptInvocation};

use crate::keys;
use crate::summary;

/// Lists live this much longer than what they list, so that a message's whole life is covered. A day's bucket begins with its
/// first entry and ends a day later; a delivery may be retried for days before it ends.
const LIST_MARGIN_S: u64 = 3 * 24 * 3600;

/// Entries of one application on their way to the script.
pub struct Call {
    app: AppId,
    keys: Vec<Vec<u8>>,
    places: HashMap<Key, u16>,
    entries: Vec<Vec<u8>>,
}

/// What an entry is written to, beside the dead letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Message(MessageId),
    Messages(i64),
    Attempts(i64),
    AttemptsTo(EndpointId, i64),
    Standings(EndpointId, i64),
    Volumes(i64),
    /// The counts of an hour.
    Stats(i64),
}

impl Call {
    /// For entries of this application.
    pub fn new(app: AppId) -> Self {
        Self { app, keys: vec![keys::dead_letters(app).into_bytes()], places: HashMap::new(), entries: Vec::new() }
    }

    /// The call itself.
    pub fn invoke(self, script: &Script, retention: Duration) -> ScriptInvocation<'_> {
        let mut call = script.prepare_invoke();
        for key in self.keys {
            call.key(key);
        }
        call.arg(retention.as_secs()).arg(retention.as_secs() + LIST_MARGIN_S);
        for entry in self.entries {
            call.arg(entry);
        }
        call
    }

    /// Adds an entry.
    pub fn add(&mut self, entry: &Entry) {
        let packed = match entry {
            Entry::Message(record) => self.message(record),
            Entry::Attempt(record) => self.attempt(record, DeadLetter::of(entry).as_ref()),
            Entry::End(record) => self.end(record.delivery, &record.state(), DeadLetter::of(entry).as_ref(), record.at),
            Entry::Run(record) => self.end(record.delivery, &record.state(), None, record.due),
        };
        self.entries.push(packed.0);
    }

    fn message(&mut self, record: &MessageRecord) -> Packed {
        let (id, event) = (record.message.id, &record.message.event);
        let (at, day) = (id.time(), keys::day_of(id.time()));
        let message = Key::Message(id);
        // One list: the other is nobody's.
        let mut packed = self.head(b'M', [message, Key::Messages(day), message, Key::Volumes(day), stats_of(at)]);
        packed.text(&[&id.as_bytes()[..], &summary::of_message(event)].concat());
        packed.text(&write_message(record));
        packed.text(record.routed_to.as_ref().map_or_else(String::new, |ids| ids.len().to_string()).as_bytes());
        packed.text(count_field(at, Counted::Event).as_bytes());
        packed.text(format!("{}:{}", hour_of(at), event.event_type).as_bytes());
        packed
    }

    fn attempt(&mut self, record: &AttemptRecord, letter: Option<&DeadLetter>) -> Packed {
        let (key, at) = (record.delivery, record.result.started_at);
        let day = keys::day_of(record.id.time());
        let lists = [Key::AttemptsTo(key.endpoint, day), Key::Attempts(day)];
        let mut packed = self.head(b'A', [Key::Message(key.message), lists[0], lists[1], standings_of(key), stats_of(at)]);
        packed.text(&[&record.id.as_bytes()[..], key.message.as_bytes(), &summary::of_attempt(record)].concat());
        packed.text(&attempt_field(record.id.as_bytes()));
        packed.text(&write_attempt_of(record));
        packed.text(count_field(at, Counted::of(record)).as_bytes());
        packed.state(key, &record.state(), letter, at);
        packed
    }

    fn end(&mut self, delivery: DeliveryKey, state: &DeliveryState, letter: Option<&DeadLetter>, at: Timestamp) -> Packed {
        let message = Key::Message(delivery.message);
        // No list.
        let mut packed = self.head(b'E', [message, message, message, standings_of(delivery), stats_of(at)]);
        packed.state(delivery, state, letter, at);
        packed
    }

    fn head(&mut self, kind: u8, keys: [Key; 5]) -> Packed {
        let mut packed = Vec::with_capacity(512);
        packed.push(kind);
        for key in keys {
            packed.extend_from_slice(&self.place(key).to_be_bytes());
        }
        Packed(packed)
    }

    /// Its place among the keys, counted from 1.
    fn place(&mut self, key: Key) -> u16 {
        match self.places.entry(key) {
            hash_map::Entry::Occupied(known) => *known.get(),
            hash_map::Entry::Vacant(new) => {
                self.keys.push(key.name(self.app));
                // A call has a hundred entries with five keys each.
                *new.insert(u16::try_from(self.keys.len()).unwrap_or(u16::MAX))
            }
        }
    }
}

impl Key {
    fn name(self, app: AppId) -> Vec<u8> {
        let text = match self {
            Self::Message(message) => return keys::message(app, message),
            Self::Messages(day) => keys::messages(app, day),
            Self::Attempts(day) => keys::attempts(app, day),
            Self::AttemptsTo(endpoint, day) => keys::attempts_to(app, endpoint, day),
            Self::Standings(endpoint, day) => keys::standings(app, endpoint, day),
            Self::Volumes(day) => keys::volumes(app, day),
            Self::Stats(hour) => keys::stats(app, hour),
        };
        text.into_bytes()
    }
}

/// An entry as the script unpacks it.
struct Packed(Vec<u8>);

impl Packed {
    fn text(&mut self, text: &[u8]) {
        // No record is near four gigabytes.
        self.0.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.0.extend_from_slice(text);
    }

    fn state(&mut self, delivery: DeliveryKey, state: &DeliveryState, letter: Option<&DeadLetter>, at: Timestamp) {
        let ended = u8::from(state.outcome.is_terminal());
        let dead = u8::from(matches!(state.outcome, Outcome::Dead(_)));
        let (rank, outcome, hour) = (state.rank(), state.outcome, hour_of(delivery.message.time()));
        self.0.extend_from_slice(&rank.to_be_bytes());
        self.0.extend_from_slice(&[ended, dead]);
        self.text(&state_field(delivery.endpoint));
        self.text(format!("{rank}|{ended}|{dead}|{}|{}|{outcome}", state.run, state.attempt).as_bytes());
        self.text(format!("{hour}:{}", state.standing().as_str()).as_bytes());
        self.text(&letter.map(|letter| [&letter.id.as_bytes()[..], &write_dead_letter(letter)].concat()).unwrap_or_default());
        self.text(count_field(at, Counted::DeadLetter).as_bytes());
        self.text(hour.to_string().as_bytes());
    }
}

/// The state of a delivery as it is written.
pub fn read_state(text: &str) -> Option<DeliveryState> {
    let mut parts = text.splitn(6, '|');
    let rank = parts.next()?.parse().ok()?;
    let outcome = parts.nth(4)?.parse().ok()?;
    Some(DeliveryState::of_rank(rank, outcome))
}

/// Field of a message's hash that holds an attempt.
pub fn attempt_field(attempt: &[u8; 20]) -> Vec<u8> {
    [b"a", &attempt[..]].concat()
}

/// Field of a message's hash that holds a delivery's state.
fn state_field(endpoint: EndpointId) -> Vec<u8> {
    [b"s", &endpoint.as_bytes()[..]].concat()
}

fn standings_of(delivery: DeliveryKey) -> Key {
    Key::Standings(delivery.endpoint, keys::day_of(delivery.message.time()))
}

fn stats_of(at: Timestamp) -> Key {
    Key::Stats(minute_of(at).div_euclid(60))
}

/// What happened in the minute of a moment.
fn count_field(at: Timestamp, counted: Counted) -> String {
    format!("{}:{}", minute_of(at).rem_euclid(60), counted.code())
}

/// The hour of the day of a moment, from 0.
fn hour_of(moment: Timestamp) -> i64 {
    moment.as_millis().div_euclid(3600 * 1000).rem_euclid(24)
}
