//! The journal's port on Redis.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use hookyard_core::id::ID_BYTES;
use hookyard_core::journal::{
    AttemptFilter, AttemptRecord, AttemptsOf, Cursor, DeliveryState, Entry, MessageFilter, MessageRecord, Page, PageRequest,
    Standing,
};
use hookyard_core::port::{Journal, Log};
use hookyard_core::{
    AppId, AttemptId, DeadLetter, DeadLetterFilter, DeadLetterId, DeliveryKey, EndpointId, Fault, FaultKind, MessageId, Timestamp,
};
use hookyard_telemetry::label::StoreOp;
use hookyard_wire::record::{read_attempt, read_dead_letter, read_message, write_attempt, write_message};
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

    /// Members of a list that spans days, nearest first along `way`. Members begin with an id.
    async fn walk_days(
        &self,
        operation: &'static str,
        key: impl Fn(i64) -> String,
        way: &Way,
        from: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<Vec<u8>>, Fault> {
        let from = from.or(way.from.as_deref());
        let cursor_day = from.and_then(MessageId::from_prefix).map(|id| keys::day_of(id.time()));
        let end_day = way.end.map(keys::day_of);
        let (first, last) = match way.towards {
            Towards::Older => (end_day, cursor_day),
            Towards::Newer => (cursor_day, end_day),
        };
        let within = |day: &i64| first.is_none_or(|first| *day >= first) && last.is_none_or(|last| *day <= last);
        let mut days: Vec<i64> = self.days().filter(within).collect();
        if way.towards == Towards::Older {
            days.reverse();
        }
        let mut found = Vec::new();
        for day in days {
            let wanted = count - found.len();
            found.extend(walk(&self.store.journal, operation, &key(day), way.towards, from, wanted).await?);
            if found.len() >= count {
                break;
            }
        }
        // What lies past the end is not asked for, and ends the list.
        found.truncate(found.iter().position(|member| way.is_past(member)).unwrap_or(found.len()));
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
        let way = Way::new(page.from.map(|cursor| cursor.map(|id| *id.as_bytes())), filter.after, filter.before);
        let (mut found, mut from) = (Filtered::new(page.limit, *filter == DeadLetterFilter::default()), way.from.clone());
        while found.wants_more() {
            let key = keys::dead_letters(app);
            let mut members = walk(&self.store.journal, OPERATION, &key, way.towards, from.as_deref(), found.chunk).await?;
            members.truncate(members.iter().position(|member| way.is_past(member)).unwrap_or(members.len()));
            let letters: Vec<DeadLetter> = members.iter().map(|member| letter_of(OPERATION, member)).collect::<Result<_, _>>()?;
            found.add(&members, letters, |letter| filter.passes(letter));
            from = members.last().map(|last| way.beyond(last)).or(from);
        }
        Ok(found.page(way.towards))
    }

    async fn standings(
        &self,
        app: AppId,
        endpoint: EndpointId,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<BTreeMap<Standing, u64>, Fault> {
        const OPERATION: &str = "count deliveries";
        let kept = self.days();
        let days: Vec<i64> = (keys::day_of(since).max(*kept.start())..=keys::day_of(until).min(*kept.end())).collect();
        if days.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut pipeline = redis::pipe();
        for day in &days {
            pipeline.hgetall(keys::standings(app, endpoint, *day));
        }
        let found: Vec<Vec<(String, i64)>> = self.store.journal.query(StoreOp::Read, OPERATION, &pipeline).await?;
        let within = absolute_hour(since)..=absolute_hour(until);
        let mut standings = BTreeMap::new();
        for (day, fields) in days.into_iter().zip(found) {
            for (field, count) in fields {
                let Some((hour, name)) = field.split_once(':') else { continue };
                let hour = hour.parse::<i64>().map_or(-1, |hour| day * 24 + hour);
                if let Some(standing) = Standing::from_name(name).filter(|_| within.contains(&hour)) {
                    *standings.entry(standing).or_default() += u64::try_from(count).unwrap_or(0);
                }
            }
        }
        Ok(standings)
    }

    async fn expunge_message(&self, app: AppId, message: MessageId) -> Result<bool, Fault> {
        const OPERATION: &str = "expunge a message";
        let Some(record) = self.message(app, message).await? else { return Ok(false) };
        let record = MessageRecord { message: Arc::new(record.message.expunged()), ..record };
        self.expunge(OPERATION, app, message, b"m", write_message(&record)).await
    }

    async fn expunge_attempt(&self, app: AppId, message: MessageId, attempt: AttemptId) -> Result<bool, Fault> {
        const OPERATION: &str = "expunge an attempt";
        let Some(mut record) = self.attempt(app, message, attempt).await? else { return Ok(false) };
        record.result.response = Bytes::new();
        self.expunge(OPERATION, app, message, &attempt_field(attempt.as_bytes()), write_attempt(&record)).await
    }

    async fn messages(
        &self,
        app: AppId,
        filter: &MessageFilter,
        page: PageRequest<MessageId>,
    ) -> Result<Page<MessageRecord>, Fault> {
        const OPERATION: &str = "list messages";
        let way = Way::new(page.from.map(|cursor| cursor.map(|id| *id.as_bytes())), filter.after, filter.before);
        let (mut found, mut from) = (Filtered::new(page.limit, *filter == MessageFilter::default()), None);
        while found.wants_more() {
            let members = self.walk_days(OPERATION, |day| keys::messages(app, day), &way, from.as_deref(), found.chunk).await?;
            let ids: Vec<MessageId> = members.iter().filter_map(|member| MessageId::from_slice(member)).collect();
            let records = self.read_messages(OPERATION, app, &ids).await?;
            found.add(&members, records, |record| filter.passes(record));
            from = members.last().map(|last| way.beyond(last)).or(from);
        }
        Ok(found.page(way.towards))
    }

    async fn attempt(&self, app: AppId, message: MessageId, attempt: AttemptId) -> Result<Option<AttemptRecord>, Fault> {
        Ok(self.read_attempts("read an attempt", app, &[(attempt, message)]).await?.pop())
    }

    async fn attempts(
        &self,
        app: AppId,
        of: AttemptsOf,
        filter: &AttemptFilter,
        page: PageRequest<AttemptId>,
    ) -> Result<Page<AttemptRecord>, Fault> {
        const OPERATION: &str = "list attempts";
        let way = Way::new(page.from.map(|cursor| cursor.map(|id| *id.as_bytes())), filter.after, filter.before);
        let all = match of {
            AttemptsOf::Message(message) => Some((message, self.attempt_ids_of(OPERATION, app, message).await?)),
            AttemptsOf::Endpoint(_) | AttemptsOf::App => None,
        };
        let (mut found, mut from) = (Filtered::new(page.limit, *filter == AttemptFilter::default()), None);
        while found.wants_more() {
            let members = match (&all, of) {
                (Some((message, ids)), _) => next_of(ids, *message, &way, from.as_deref(), found.chunk),
                (None, AttemptsOf::Endpoint(endpoint)) => {
                    let key = |day| keys::attempts_to(app, endpoint, day);
                    self.walk_days(OPERATION, key, &way, from.as_deref(), found.chunk).await?
                }
                (None, _) => {
                    self.walk_days(OPERATION, |day| keys::attempts(app, day), &way, from.as_deref(), found.chunk).await?
                }
            };
            let ids: Vec<(AttemptId, MessageId)> = members.iter().filter_map(|member| split(member)).collect();
            let records = self.read_attempts(OPERATION, app, &ids).await?;
            found.add(&members, records, |record| filter.passes(record));
            from = members.last().map(|last| way.beyond(last)).or(from);
        }
        Ok(found.page(way.towards))
    }
}

/// Hours since 1970.
fn absolute_hour(moment: Timestamp) -> i64 {
    moment.as_millis().div_euclid(3600 * 1000)
}

impl RedisJournal {
    async fn expunge(
        &self,
        operation: &'static str,
        app: AppId,
        message: MessageId,
        field: &[u8],
        record: Vec<u8>,
    ) -> Result<bool, Fault> {
        let mut call = self.store.journal.scripts.expunge.prepare_invoke();
        call.key(keys::message(app, message)).arg(field).arg(record);
        let mut pipeline = redis::pipe();
        pipeline.invoke_script(&call);
        let (done,): (u8,) = self.store.journal.query(StoreOp::Write, operation, &pipeline).await?;
        Ok(done == 1)
    }

    async fn read_messages(&self, operation: &'static str, app: AppId, ids: &[MessageId]) -> Result<Vec<MessageRecord>, Fault> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for id in ids {
            pipeline.hget(keys::message(app, *id), "m");
        }
        let records: Vec<Option<Vec<u8>>> = self.store.journal.query(StoreOp::Read, operation, &pipeline).await?;
        let read = |bytes| read_message(owned(bytes)).map_err(|error| Fault::corrupt(operation, error));
        records.into_iter().flatten().map(read).collect()
    }
}

/// Attempt and message of a list's member.
fn split(member: &[u8]) -> Option<(AttemptId, MessageId)> {
    let (attempt, message) = member.split_at_checked(ID_BYTES)?;
    Some((AttemptId::from_slice(attempt)?, MessageId::from_slice(message)?))
}

/// A way along a list whose members begin with an id, which begins with a moment: what a filter on time leaves out is not looked at.
struct Way {
    towards: Towards,
    /// Begin beyond this.
    from: Option<Vec<u8>>,
    /// End there.
    end: Option<Timestamp>,
}

impl Way {
    fn new(cursor: Option<Cursor<[u8; ID_BYTES]>>, after: Option<Timestamp>, before: Option<Timestamp>) -> Self {
        let towards = if matches!(cursor, Some(Cursor::Before(_))) { Towards::Newer } else { Towards::Older };
        let mut way = Self { towards, from: None, end: None };
        let cursor = cursor.map(|cursor| match cursor {
            Cursor::After(id) | Cursor::Before(id) => way.beyond(&id),
        });
        let bound = |moment: Timestamp| {
            let ms = u64::try_from(moment.as_millis()).unwrap_or(0);
            let rest = if towards == Towards::Newer { u8::MAX } else { 0 };
            [&ms.to_be_bytes()[2..], &[rest; ID_BYTES - 6 + BEYOND]].concat()
        };
        (way.from, way.end) = match towards {
            Towards::Newer => (cursor.max(after.map(bound)), before),
            Towards::Older => (cursor.into_iter().chain(before.map(bound)).min(), after),
        };
        way
    }

    /// The bound beyond an item. Members may be longer than the id: towards newer ones, the item's own must be passed over.
    fn beyond(&self, member: &[u8]) -> Vec<u8> {
        let id = member.get(..ID_BYTES).unwrap_or(member);
        match self.towards {
            Towards::Newer => [id, &[u8::MAX; BEYOND]].concat(),
            Towards::Older => id.to_vec(),
        }
    }

    fn is_past(&self, member: &[u8]) -> bool {
        let Some(moment) = MessageId::from_prefix(member).map(|id| id.time()) else { return false };
        self.end.is_some_and(|end| if self.towards == Towards::Newer { moment >= end } else { moment <= end })
    }
}

/// Bytes after an id that put a bound past every member with that id: more than a second id has.
const BEYOND: usize = 24;

/// A page of what passes, gathered chunk by chunk.
struct Filtered<T> {
    items: Vec<T>,
    limit: usize,
    /// Members read at once.
    chunk: usize,
    examined: usize,
    done: bool,
    reached: Option<[u8; ID_BYTES]>,
}

impl<T> Filtered<T> {
    /// A page of this many; unless something is left out, no more is read than that.
    fn new(limit: usize, is_whole: bool) -> Self {
        let chunk = if is_whole { limit + 1 } else { CHUNK };
        Self { items: Vec::new(), limit, chunk, examined: 0, done: false, reached: None }
    }

    fn wants_more(&self) -> bool {
        self.items.len() <= self.limit && self.examined < EXAMINED_MOST && !self.done
    }

    /// What the next members of the list hold; fewer than were read at once end it.
    fn add(&mut self, members: &[Vec<u8>], items: Vec<T>, passes: impl Fn(&T) -> bool) {
        self.examined += members.len();
        self.done = members.len() < self.chunk;
        if items.is_empty() {
            // What is listed and gone, or left out: larger steps over it.
            self.chunk = CHUNK;
        }
        self.reached = members.last().and_then(|last| last.first_chunk().copied()).or(self.reached);
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

fn letter_of(operation: &'static str, member: &[u8]) -> Result<DeadLetter, Fault> {
    read_dead_letter(member.get(ID_BYTES..).unwrap_or_default()).map_err(|error| Fault::corrupt(operation, error))
}

/// The next attempts of a message along `way`, beyond `from`, from all of them in order.
fn next_of(ids: &[AttemptId], message: MessageId, way: &Way, from: Option<&[u8]>, count: usize) -> Vec<Vec<u8>> {
    let from = from.or(way.from.as_deref());
    let member = |id: &AttemptId| [&id.as_bytes()[..], &message.as_bytes()[..]].concat();
    let goes_on = |member: &Vec<u8>| !way.is_past(member);
    match way.towards {
        Towards::Older => {
            let older = ids.iter().rev().map(member).filter(|member| from.is_none_or(|from| &member[..] < from));
            older.take_while(goes_on).take(count).collect()
        }
        Towards::Newer => {
            let newer = ids.iter().map(member).filter(|member| from.is_none_or(|from| &member[..] > from));
            newer.take_while(goes_on).take(count).collect()
        }
    }
}
