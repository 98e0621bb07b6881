//! The journal in memory.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hookyard_core::id::ID_BYTES;
use hookyard_core::journal::{
    AttemptFilter, AttemptRecord, AttemptsOf, DeliveryState, EXPUNGED_RESPONSE, Entry, MessageFilter, MessageRecord, Page,
    PageRequest, Standing,
};
use hookyard_core::port::{Activity, Heard, Journal, Log, Watch};
use hookyard_core::stats::{Count, Counted, minute_of};
use hookyard_core::{
    AppId, AttemptId, Clock, DeadLetter, DeadLetterFilter, DeadLetterId, DeliveryKey, EndpointId, EventType, Fault, MessageId,
    Outcome, Timestamp,
};

use super::page::page;
use tokio::sync::broadcast;

/// Messages, attempts and delivery states.
pub struct MemoryJournal {
    clock: Arc<dyn Clock>,
    retention: Duration,
    messages: Mutex<BTreeMap<Key, Kept>>,
    /// By application and minute.
    counts: Mutex<BTreeMap<(AppId, i64), BTreeMap<Counted, u64>>>,
    activity: broadcast::Sender<Heard>,
}

/// Attempts a watcher may be behind.
const BEHIND_MOST: usize = 1_024;

type Key = (AppId, MessageId);

/// All there is of one message. Attempts may be recorded before it is.
#[derive(Debug, Default)]
struct Kept {
    record: Option<MessageRecord>,
    attempts: BTreeMap<AttemptId, AttemptRecord>,
    states: BTreeMap<EndpointId, DeliveryState>,
    /// Of the deliveries whose state is dead.
    letters: BTreeMap<EndpointId, DeadLetter>,
    /// When nothing more could happen on its own, and nothing was dead.
    finished: Option<Timestamp>,
}

impl MemoryJournal {
    /// A journal that keeps finished messages for `retention`.
    pub fn new(clock: Arc<dyn Clock>, retention: Duration) -> Self {
        Self {
            clock,
            retention,
            messages: Mutex::default(),
            counts: Mutex::default(),
            activity: broadcast::Sender::new(BEHIND_MOST),
        }
    }

    /// The state of a delivery, if anything was written of it.
    pub fn state(&self, delivery: DeliveryKey) -> Option<DeliveryState> {
        self.kept().get(&(delivery.app, delivery.message))?.states.get(&delivery.endpoint).copied()
    }

    /// What is kept now; what is past its retention goes first.
    fn kept(&self) -> MutexGuard<'_, BTreeMap<Key, Kept>> {
        let now = self.clock.now();
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        messages.retain(|_, kept| kept.finished.is_none_or(|finished| finished.plus(self.retention) > now));
        messages
    }
}

impl Kept {
    /// What writing `entry` down adds to the counts; repeating adds nothing.
    fn counts(&self, entry: &Entry) -> Vec<(Timestamp, Counted)> {
        let is_new_state = |endpoint, state: DeliveryState| {
            self.states.get(&endpoint).is_none_or(|known: &DeliveryState| known.rank() < state.rank())
        };
        let (first, state) = match entry {
            Entry::Message(record) => {
                let known = self.record.as_ref().is_some_and(|known| known.routed_to.is_some());
                let is_first = record.routed_to.is_some() && !known;
                return if is_first { vec![(record.message.id.time(), Counted::Event)] } else { Vec::new() };
            }
            Entry::Run(_) => return Vec::new(),
            Entry::Attempt(record) => {
                let is_first = !self.attempts.contains_key(&record.id);
                let first = is_first.then(|| (record.result.started_at, Counted::of(record)));
                (first, (record.delivery.endpoint, record.state()))
            }
            Entry::End(record) => (None, (record.delivery.endpoint, record.state())),
        };
        let letter = DeadLetter::of(entry).filter(|_| is_new_state(state.0, state.1));
        first.into_iter().chain(letter.map(|letter| (letter.at, Counted::DeadLetter))).collect()
    }

    /// An acceptance that comes late does not undo the routing.
    fn write_message(&mut self, record: &MessageRecord) {
        if self.record.is_none() || record.routed_to.is_some() {
            // What was made forgotten stays so.
            let known = self.record.take().filter(|known| known.message.is_expunged());
            let message = known.map_or_else(|| Arc::clone(&record.message), |known| known.message);
            self.record = Some(MessageRecord { message, routed_to: record.routed_to.clone() });
        }
    }

    /// States merge: the highest stays, and the dead letter with it.
    fn merge(&mut self, endpoint: EndpointId, state: DeliveryState, letter: Option<DeadLetter>) {
        if self.states.get(&endpoint).is_some_and(|known| known.rank() >= state.rank()) {
            return;
        }
        self.states.insert(endpoint, state);
        self.letters.remove(&endpoint);
        self.letters.extend(letter.map(|letter| (endpoint, letter)));
    }

    /// The retention begins with the last end; what may still happen, or is dead, stays.
    fn judge_end(&mut self, now: Timestamp) {
        let routed = self.record.as_ref().and_then(|record| record.routed_to.as_ref()).map(|endpoints| endpoints.len());
        let ended = self.states.values().filter(|state| state.outcome.is_terminal()).count();
        let dead = self.states.values().any(|state| matches!(state.outcome, Outcome::Dead(_)));
        let is_finished = routed.is_some_and(|routed| ended >= routed) && !dead;
        self.finished = is_finished.then_some(now);
    }
}

/// Writes an entry; what it adds to the counts.
fn write(messages: &mut BTreeMap<Key, Kept>, entry: &Entry, now: Timestamp) -> Vec<(Timestamp, Counted)> {
    let message = match entry {
        Entry::Message(record) => record.message.id,
        Entry::Attempt(record) => record.delivery.message,
        Entry::End(record) => record.delivery.message,
        Entry::Run(record) => record.delivery.message,
    };
    let kept = messages.entry((entry.app(), message)).or_default();
    let counts = kept.counts(entry);
    match entry {
        Entry::Message(record) => kept.write_message(record),
        Entry::Attempt(record) => {
            kept.attempts.entry(record.id).or_insert_with(|| record.clone());
            kept.merge(record.delivery.endpoint, record.state(), DeadLetter::of(entry));
        }
        Entry::End(record) => kept.merge(record.delivery.endpoint, record.state(), DeadLetter::of(entry)),
        Entry::Run(record) => kept.merge(record.delivery.endpoint, record.state(), None),
    }
    kept.judge_end(now);
    counts
}

/// One watcher.
struct Watcher(broadcast::Receiver<Heard>);

#[async_trait]
impl Activity for MemoryJournal {
    async fn watch(&self) -> Result<Box<dyn Watch>, Fault> {
        Ok(Box::new(Watcher(self.activity.subscribe())))
    }
}

#[async_trait]
impl Watch for Watcher {
    async fn heard(&mut self) -> Option<Heard> {
        match self.0.recv().await {
            Ok(heard) => Some(heard),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Heard::Missed(Some(missed))),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn record(&self, entries: Arc<[Entry]>) -> Result<(), Fault> {
        let now = self.clock.now();
        let mut messages = self.kept();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in &*entries {
            for (at, counted) in write(&mut messages, entry, now) {
                *counts.entry((entry.app(), minute_of(at))).or_default().entry(counted).or_default() += 1;
            }
            if let Entry::Attempt(record) = entry {
                // An error says that nobody watches.
                drop(self.activity.send(Heard::Attempt(Arc::new(record.clone()))));
            }
        }
        Ok(())
    }

    async fn recorded(&self, delivery: DeliveryKey, attempt: AttemptId) -> Result<Option<AttemptRecord>, Fault> {
        let messages = self.kept();
        Ok(messages.get(&(delivery.app, delivery.message)).and_then(|kept| kept.attempts.get(&attempt)).cloned())
    }
}

#[async_trait]
impl Log for MemoryJournal {
    async fn message(&self, app: AppId, message: MessageId) -> Result<Option<MessageRecord>, Fault> {
        Ok(self.kept().get(&(app, message)).and_then(|kept| kept.record.clone()))
    }

    async fn states(&self, app: AppId, message: MessageId) -> Result<Vec<(EndpointId, DeliveryState)>, Fault> {
        let messages = self.kept();
        let states = messages.get(&(app, message)).map(|kept| kept.states.iter().map(|(id, state)| (*id, *state)).collect());
        Ok(states.unwrap_or_default())
    }

    async fn dead_letter(&self, app: AppId, letter: DeadLetterId) -> Result<Option<DeadLetter>, Fault> {
        let messages = self.kept();
        let mut letters = messages.range(of(app)).flat_map(|(_, kept)| kept.letters.values());
        Ok(letters.find(|other| other.id == letter).cloned())
    }

    async fn dead_letters(
        &self,
        app: AppId,
        filter: &DeadLetterFilter,
        request: PageRequest<DeadLetterId>,
    ) -> Result<Page<DeadLetter>, Fault> {
        let messages = self.kept();
        let letters = messages.range(of(app)).flat_map(|(_, kept)| kept.letters.values());
        let passing: BTreeMap<DeadLetterId, &DeadLetter> =
            letters.filter(|letter| filter.passes(letter)).map(|letter| (letter.id, letter)).collect();
        let Page { items, done, .. } = page(passing.keys().copied(), request);
        Ok(Page::whole(items.into_iter().filter_map(|id| passing.get(&id).copied().cloned()).collect(), done))
    }

    async fn standings(
        &self,
        app: AppId,
        endpoint: EndpointId,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<BTreeMap<(i64, Standing), u64>, Fault> {
        let hour = |moment: Timestamp| moment.as_millis().div_euclid(3600 * 1000);
        let mut standings = BTreeMap::new();
        for ((_, message), kept) in self.kept().range(of(app)) {
            let is_within = (hour(since)..=hour(until)).contains(&hour(message.time()));
            if let Some(state) = kept.states.get(&endpoint).filter(|_| is_within) {
                *standings.entry((hour(message.time()), state.standing())).or_default() += 1;
            }
        }
        Ok(standings)
    }

    async fn counts(&self, app: AppId, since: Timestamp, until: Timestamp) -> Result<Vec<Count>, Fault> {
        let within = (app, minute_of(since))..=(app, minute_of(until));
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = counts.range(within).flat_map(|((_, minute), counts)| {
            counts.iter().map(|(counted, times)| Count { minute: *minute, counted: *counted, times: *times })
        });
        Ok(counts.collect())
    }

    async fn volumes(&self, app: AppId, since: Timestamp, until: Timestamp) -> Result<BTreeMap<(i64, EventType), u64>, Fault> {
        let hour = |moment: Timestamp| moment.as_millis().div_euclid(3600 * 1000);
        let mut volumes = BTreeMap::new();
        for ((_, message), kept) in self.kept().range(of(app)) {
            let routed = kept.record.as_ref().filter(|record| record.routed_to.is_some());
            let is_within = (hour(since)..=hour(until)).contains(&hour(message.time()));
            if let Some(record) = routed.filter(|_| is_within) {
                *volumes.entry((hour(message.time()), record.message.event.event_type.clone())).or_default() += 1;
            }
        }
        Ok(volumes)
    }

    async fn expunge_message(&self, app: AppId, message: MessageId) -> Result<bool, Fault> {
        let mut messages = self.kept();
        let Some(record) = messages.get_mut(&(app, message)).and_then(|kept| kept.record.as_mut()) else { return Ok(false) };
        record.message = Arc::new(record.message.expunged());
        Ok(true)
    }

    async fn expire_data(&self, now: Timestamp) -> Result<usize, Fault> {
        let is_over = |record: &MessageRecord| {
            let until = record.message.event.data_kept.map(|kept| record.message.id.time().plus(kept));
            until.is_some_and(|until| until <= now) && !record.message.is_expunged()
        };
        let mut messages = self.kept();
        let over = messages.values_mut().filter_map(|kept| kept.record.as_mut()).filter(|record| is_over(record));
        Ok(over.map(|record| record.message = Arc::new(record.message.expunged())).count())
    }

    async fn expunge_attempt(&self, app: AppId, message: MessageId, attempt: AttemptId) -> Result<bool, Fault> {
        let mut messages = self.kept();
        let found = messages.get_mut(&(app, message)).and_then(|kept| kept.attempts.get_mut(&attempt));
        let was_there = found.is_some();
        if let Some(record) = found {
            record.result.response = bytes::Bytes::from_static(EXPUNGED_RESPONSE);
        }
        Ok(was_there)
    }

    async fn messages(
        &self,
        app: AppId,
        filter: &MessageFilter,
        request: PageRequest<MessageId>,
    ) -> Result<Page<MessageRecord>, Fault> {
        let messages = self.kept();
        let passes = |kept: &Kept| kept.record.as_ref().is_some_and(|record| filter.passes(record));
        let recorded = messages.range(of(app)).filter(|(_, kept)| passes(kept)).map(|((_, message), _)| *message);
        let Page { items, done, .. } = page(recorded, request);
        let record = |message| messages.get(&(app, message)).and_then(|kept| kept.record.clone());
        Ok(Page::whole(items.into_iter().filter_map(record).collect(), done))
    }

    async fn attempt(&self, app: AppId, message: MessageId, attempt: AttemptId) -> Result<Option<AttemptRecord>, Fault> {
        Ok(self.kept().get(&(app, message)).and_then(|kept| kept.attempts.get(&attempt).cloned()))
    }

    async fn attempts(
        &self,
        app: AppId,
        of_what: AttemptsOf,
        filter: &AttemptFilter,
        request: PageRequest<AttemptId>,
    ) -> Result<Page<AttemptRecord>, Fault> {
        let messages = self.kept();
        let wanted = |record: &&AttemptRecord| match of_what {
            AttemptsOf::Message(message) => record.delivery.message == message,
            AttemptsOf::Endpoint(endpoint) => record.delivery.endpoint == endpoint,
            AttemptsOf::App => true,
        };
        let all = messages.range(of(app)).flat_map(|(_, kept)| kept.attempts.values());
        let passing: BTreeMap<AttemptId, &AttemptRecord> =
            all.filter(wanted).filter(|record| filter.passes(record)).map(|record| (record.id, record)).collect();
        let Page { items, done, .. } = page(passing.keys().copied(), request);
        Ok(Page::whole(items.into_iter().filter_map(|id| passing.get(&id).copied().cloned()).collect(), done))
    }
}

/// Every message an application may have.
fn of(app: AppId) -> RangeInclusive<Key> {
    (app, MessageId::from_bytes([0; ID_BYTES]))..=(app, MessageId::from_bytes([u8::MAX; ID_BYTES]))
}
