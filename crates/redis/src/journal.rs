//! The journal's port on Redis.

use std::sync::Arc;

use async_trait::async_trait;
use hookyard_core::id::ID_BYTES;
use hookyard_core::journal::{
    AttemptFilter, AttemptRecord, AttemptsOf, Cursor, DeliveryState, Entry, MessageRecord, Page, PageRequest,
};
use hookyard_core::port::{Journal, Log};
use hookyard_core::{
    AppId, AttemptId, DeadLetter, DeadLetterFilter, DeadLetterId, DeliveryKey, EndpointId, Fault, FaultKind, MessageId,
};
use hookyard_telemetry::label::StoreOp;
use hookyard_wire::record::{read_attempt, read_dead_letter, read_message};
use tokio::sync::{mpsc, oneshot};

use crate::client::RedisStore;
use crate::keys;
use crate::lists::{Towards, walk};
use crate::writer::{self, Group, attempt_field, gone, owned, read_state};

/// Entries of a list looked at for one page: what a filter leaves out costs time too.
const EXAMINED_MOST: usize = 10_000;
/// Entries read at once.
const CHUNK: usize = 250;
/// Days a list may reach back beyond the retention: see the writer's margin.
const MARGIN_DAYS: i64 = 3;

/// The journal, with its writer running.
#[derive(Clone)]
pub struct RedisJournal {
    store: RedisStore,
    mailbox: mpsc::Sender<Group>,
}

impl RedisJournal {
    /// Begins writing to `store`.
    pub fn start(store: RedisStore) -> Self {
        let mailbox = writer::start(store.clone());
        Self { store, mailbox }
    }

    /// Whether the journal answers and takes writes.
    pub async fn probe(&self) -> Result<(), Fault> {
        let mut pipeline = redis::pipe();
        pipeline.set_ex("hookyard:probe", 1, 60).ignore();
        self.store.journal.query(StoreOp::Meta, "probe the journal", &pipeline).await
    }

    /// The days a list may have entries in, newest first.
    fn days(&self) -> std::ops::RangeInclusive<i64> {
        let today = keys::day_of(self.store.clock.now());
        let kept = i64::try_from(self.store.retention.as_secs().div_ceil(24 * 3600)).unwrap_or(i64::MAX / 2);
        today - kept - MARGIN_DAYS..=today + 1
    }

    /// Ids from a list that spans days, nearest first beyond the cursor, with whatever else their members hold.
    async fn walk_days(
        &self,
        operation: &'static str,
        key: impl Fn(i64) -> String,
        towards: Towards,
        from: Option<[u8; 20]>,
        count: usize,
    ) -> Result<Vec<Vec<u8>>, Fault> {
        let cursor_day = from.map(|id| keys::day_of(MessageId::from_bytes(id).time()));
        let days = self.days();
        let days: Vec<i64> = match towards {
            Towards::Older => days.rev().filter(|day| cursor_day.is_none_or(|cursor| *day <= cursor)).collect(),
            Towards::Newer => days.filter(|day| cursor_day.is_none_or(|cursor| *day >= cursor)).collect(),
        };
        let bound = from.map(|id| beyond(towards, id));
        let mut found = Vec::new();
        for day in days {
            let wanted = count - found.len();
            found.extend(walk(&self.store.journal, operation, &key(day), towards, bound.as_deref(), wanted).await?);
            if found.len() >= count {
                break;
            }
        }
        Ok(found)
    }

    async fn read_attempts(
        &self,
        operation: &'static str,
        app: AppId,
        ids: &[(AttemptId, MessageId)],
    ) -> Result<Vec<AttemptRecord>, Fault> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for (attempt, message) in ids {
            pipeline.hget(keys::message(app, *message), attempt_field(attempt.as_bytes()));
        }
        let records: Vec<Option<Vec<u8>>> = self.store.journal.query(StoreOp::Read, operation, &pipeline).await?;
        let read = |bytes| read_attempt(owned(bytes)).map_err(|error| Fault::corrupt(operation, error));
        records.into_iter().flatten().map(read).collect()
    }

    /// The attempts of one message, in id order.
    async fn attempt_ids_of(&self, operation: &'static str, app: AppId, message: MessageId) -> Result<Vec<AttemptId>, Fault> {
        let mut pipeline = redis::pipe();
        pipeline.hkeys(keys::message(app, message));
        let (fields,): (Vec<Vec<u8>>,) = self.store.journal.query(StoreOp::Read, operation, &pipeline).await?;
        let mut ids: Vec<AttemptId> =
            fields.iter().filter_map(|field| AttemptId::from_slice(field.strip_prefix(b"a")?)).collect();
        ids.sort_unstable();
        Ok(ids)
    }
}

#[async_trait]
impl Journal for RedisJournal {
    async fn record(&self, entries: Arc<[Entry]>) -> Result<(), Fault> {
        let (written, result) = oneshot::channel();
        self.mailbox.send(Group { entries, written }).await.map_err(|_| gone())?;
        result.await.map_err(|_| gone())?
    }

    async fn recorded(&self, delivery: DeliveryKey, attempt: AttemptId) -> Result<Option<AttemptRecord>, Fault> {
        const OPERATION: &str = "look for an attempt";
        let mut pipeline = redis::pipe();
        pipeline.hget(keys::message(delivery.app, delivery.message), attempt_field(attempt.as_bytes()));
        let (found,): (Option<Vec<u8>>,) = self.store.journal.query(StoreOp::Recorded, OPERATION, &pipeline).await?;
        found.map(|bytes| read_attempt(owned(bytes)).map_err(|error| Fault::corrupt(OPERATION, error))).transpose()
    }
}

#[async_trait]
impl Log for RedisJournal {
    async fn message(&self, app: AppId, message: MessageId) -> Result<Option<MessageRecord>, Fault> {
        const OPERATION: &str = "read a message";
        let mut pipeline = redis::pipe();
        pipeline.hget(keys::message(app, message), "m");
        let (found,): (Option<Vec<u8>>,) = self.store.journal.query(StoreOp::Read, OPERATION, &pipeline).await?;
        found.map(|bytes| read_message(owned(bytes)).map_err(|error| Fault::corrupt(OPERATION, error))).transpose()
    }

    async fn states(&self, app: AppId, message: MessageId) -> Result<Vec<(EndpointId, DeliveryState)>, Fault> {
        const OPERATION: &str = "read a message's deliveries";
        let mut pipeline = redis::pipe();
        pipeline.hgetall(keys::message(app, message));
        let (fields,): (Vec<(Vec<u8>, Vec<u8>)>,) = self.store.journal.query(StoreOp::Read, OPERATION, &pipeline).await?;
        let states = fields.iter().filter_map(|(field, text)| Some((EndpointId::from_slice(field.strip_prefix(b"s")?)?, text)));
        let read = |text: &[u8]| std::str::from_utf8(text).ok().and_then(read_state);
        let corrupt = || Fault::new(FaultKind::Corrupt, OPERATION);
        states.map(|(endpoint, text)| Ok((endpoint, read(text).ok_or_else(corrupt)?))).collect()
    }

    async fn dead_letter(&self, app: AppId, letter: DeadLetterId) -> Result<Option<DeadLetter>, Fault> {
        const OPERATION: &str = "look for a dead letter";
        let mut pipeline = redis::pipe();
        let (from, to) = ([b"[", &letter.as_bytes()[..]].concat(), [b"(", &letter.as_bytes()[..], &[0xff]].concat());
        pipeline.zrangebylex_limit(keys::dead_letters(app), from, to, 0, 1);
        let (members,): (Vec<Vec<u8>>,) = self.store.journal.query(StoreOp::Read, OPERATION, &pipeline).await?;
        members.first().map(|member| letter_of(OPERATION, member)).transpose()
    }

    async fn dead_letters(
        &self,
        app: AppId,
        filter: &DeadLetterFilter,
        page: PageRequest<DeadLetterId>,
    ) -> Result<Page<DeadLetter>, Fault> {
        const OPERATION: &str = "list dead letters";
        let (towards, from) = direction(page.from);
        let mut from = from.map(|id| beyond(towards, *id.as_bytes()));
        let mut found = Filtered::new(page.limit);
        while found.wants_more() {
            let members = walk(&self.store.journal, OPERATION, &keys::dead_letters(app), towards, from.as_deref(), CHUNK).await?;
            let letters: Vec<DeadLetter> = members.iter().map(|member| letter_of(OPERATION, member)).collect::<Result<_, _>>()?;
            found.add(members.len(), letters, |letter| filter.passes(letter), |letter| *letter.id.as_bytes());
            from = members.last().cloned().or(from);
        }
        Ok(found.page(towards))
    }

    async fn messages(&self, app: AppId, page: PageRequest<MessageId>) -> Result<Page<MessageRecord>, Fault> {
        const OPERATION: &str = "list messages";
        let (towards, from) = direction(page.from);
        let from = from.map(|id| *id.as_bytes());
        let found = self.walk_days(OPERATION, |day| keys::messages(app, day), towards, from, page.limit + 1).await?;
        let done = found.len() <= page.limit;
        let ids = found.iter().take(page.limit).filter_map(|member| MessageId::from_slice(member));
        let mut pipeline = redis::pipe();
        for id in ids {
            pipeline.hget(keys::message(app, id), "m");
        }
        let records: Vec<Option<Vec<u8>>> =
            if pipeline.is_empty() { Vec::new() } else { self.store.journal.query(StoreOp::Read, OPERATION, &pipeline).await? };
        let read = |bytes| read_message(owned(bytes)).map_err(|error| Fault::corrupt(OPERATION, error));
        let mut items: Vec<MessageRecord> = records.into_iter().flatten().map(read).collect::<Result<_, _>>()?;
        if towards == Towards::Newer {
            items.reverse();
        }
        Ok(Page::whole(items, done))
    }

    async fn attempts(
        &self,
        app: AppId,
        of: AttemptsOf,
        filter: &AttemptFilter,
        page: PageRequest<AttemptId>,
    ) -> Result<Page<AttemptRecord>, Fault> {
        const OPERATION: &str = "list attempts";
        let (towards, mut from) = direction(page.from);
        let all = match of {
            AttemptsOf::Message(message) => Some((message, self.attempt_ids_of(OPERATION, app, message).await?)),
            AttemptsOf::Endpoint(_) => None,
        };
        let mut found = Filtered::new(page.limit);
        while found.wants_more() {
            let ids = match (&all, of) {
                (Some((message, ids)), _) => next_of(ids, towards, from).map(|id| (id, *message)).collect(),
                (None, AttemptsOf::Endpoint(endpoint)) => self.next_to(OPERATION, app, endpoint, towards, from).await?,
                (None, AttemptsOf::Message(_)) => Vec::new(),
            };
            from = ids.last().map(|(id, _)| *id).or(from);
            let records = self.read_attempts(OPERATION, app, &ids).await?;
            found.add(ids.len(), records, |record| filter.passes(record), |record| *record.id.as_bytes());
        }
        Ok(found.page(towards))
    }
}

impl RedisJournal {
    async fn next_to(
        &self,
        operation: &'static str,
        app: AppId,
        endpoint: EndpointId,
        towards: Towards,
        from: Option<AttemptId>,
    ) -> Result<Vec<(AttemptId, MessageId)>, Fault> {
        let from = from.map(|id| *id.as_bytes());
        let members = self.walk_days(operation, |day| keys::attempts(app, endpoint, day), towards, from, CHUNK).await?;
        let split = |member: Vec<u8>| {
            let (attempt, message) = member.split_at_checked(20)?;
            Some((AttemptId::from_slice(attempt)?, MessageId::from_slice(message)?))
        };
        Ok(members.into_iter().filter_map(split).collect())
    }
}

/// A page of what passes, gathered chunk by chunk.
struct Filtered<T> {
    items: Vec<T>,
    limit: usize,
    examined: usize,
    done: bool,
    reached: Option<[u8; ID_BYTES]>,
}

impl<T> Filtered<T> {
    fn new(limit: usize) -> Self {
        Self { items: Vec::new(), limit, examined: 0, done: false, reached: None }
    }

    fn wants_more(&self) -> bool {
        self.items.len() <= self.limit && self.examined < EXAMINED_MOST && !self.done
    }

    /// What the next `read` entries of the list hold; fewer than were asked for end it.
    fn add(&mut self, read: usize, items: Vec<T>, passes: impl Fn(&T) -> bool, id: impl Fn(&T) -> [u8; ID_BYTES]) {
        self.examined += read;
        self.done = read < CHUNK;
        self.reached = items.last().map(id).or(self.reached);
        self.items.extend(items.into_iter().filter(passes));
    }

    fn page(mut self, towards: Towards) -> Page<T> {
        let is_short = self.items.len() <= self.limit;
        self.items.truncate(self.limit);
        if towards == Towards::Newer {
            self.items.reverse();
        }
        let done = self.done && is_short;
        Page { items: self.items, done, reached: self.reached.filter(|_| is_short && !done) }
    }
}

/// The bound of a walk beyond the item of this id. Members may be longer than the id: towards newer ones, the cursor's own must be
/// passed over.
fn beyond(towards: Towards, id: [u8; ID_BYTES]) -> Vec<u8> {
    match towards {
        Towards::Newer => [&id[..], &[0xff; 24]].concat(),
        Towards::Older => id.to_vec(),
    }
}

fn letter_of(operation: &'static str, member: &[u8]) -> Result<DeadLetter, Fault> {
    read_dead_letter(member.get(ID_BYTES..).unwrap_or_default()).map_err(|error| Fault::corrupt(operation, error))
}

fn direction<I>(from: Option<Cursor<I>>) -> (Towards, Option<I>) {
    match from {
        None => (Towards::Older, None),
        Some(Cursor::After(id)) => (Towards::Older, Some(id)),
        Some(Cursor::Before(id)) => (Towards::Newer, Some(id)),
    }
}

/// The next ids beyond `from` in a sorted list, nearest first.
fn next_of(ids: &[AttemptId], towards: Towards, from: Option<AttemptId>) -> impl Iterator<Item = AttemptId> {
    let chosen: Vec<AttemptId> = match towards {
        Towards::Older => ids.iter().rev().filter(|id| from.is_none_or(|from| **id < from)).take(CHUNK).copied().collect(),
        Towards::Newer => ids.iter().filter(|id| from.is_none_or(|from| **id > from)).take(CHUNK).copied().collect(),
    };
    chosen.into_iter()
}
