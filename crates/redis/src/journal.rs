//! The journal's port on Redis.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hookyard_core::id::ID_BYTES;
use hookyard_core::journal::{
    AttemptFilter, AttemptRecord, AttemptsOf, DeliveryState, EXPUNGED_RESPONSE, Entry, MessageFilter, MessageRecord, Page,
    PageRequest, Standing,
};
use hookyard_core::port::{Journal, Log};
use hookyard_core::stats::{Count, Counted, minute_of};
use hookyard_core::{
    AppId, AttemptId, DeadLetter, DeadLetterFilter, DeadLetterId, DeliveryKey, EndpointId, EventType, Fault, FaultKind,
    MessageId, Timestamp,
};
use hookyard_telemetry::label::StoreOp;
use hookyard_wire::record::{read_attempt_of, read_dead_letter, read_message, write_attempt_of, write_message};
use tokio::sync::{mpsc, oneshot};

use crate::activity::Hub;
use crate::client::RedisStore;
use crate::keys;
use crate::lists::{Towards, walk};
use crate::pages::{EXAMINED_MOST, Filtered, SUMMARIES_EXAMINED_MOST, Way, next_of};
use crate::record::{attempt_field, read_state};
use crate::summary::Wanted;
use crate::writer::{self, Group, gone, owned};

/// Messages whose data is forgotten in one go.
const EXPIRED_AT_ONCE: isize = 200;
/// Hours of counts read at once: some thousand fields.
const HOURS_AT_ONCE: usize = 48;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Days a list may reach back beyond the retention: see the writer's margin.
const MARGIN_DAYS: i64 = 3;

/// The journal, with its writer running.
#[derive(Clone)]
pub struct RedisJournal {
    store: RedisStore,
    mailbox: mpsc::Sender<Group>,
    hub: Arc<Hub>,
}

impl RedisJournal {
    /// The journal in `store`, and what writes it: nothing is written unless that is polled.
    pub fn new(store: RedisStore) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (mailbox, writer) = writer::writer(store.clone());
        let hub = Hub::new(store.journal.client.clone(), store.journal.connection.clone());
        (Self { store, mailbox, hub }, writer)
    }

    /// The same, with its writer running, unsupervised.
    pub fn start(store: RedisStore) -> Self {
        let (journal, writer) = Self::new(store);
        #[expect(clippy::disallowed_methods, reason = "for tests and measurements: a process runs the writer as a root task")]
        tokio::spawn(writer);
        journal
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
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

    /// What is counted by day in hashes of `<hour of day>:<name>`: hour counted from 1970, name, count.
    async fn by_hour(
        &self,
        operation: &'static str,
        since: Timestamp,
        until: Timestamp,
        key: impl Fn(i64) -> String,
    ) -> Result<Vec<(i64, String, u64)>, Fault> {
        let kept = self.days();
        let days: Vec<i64> = (keys::day_of(since).max(*kept.start())..=keys::day_of(until).min(*kept.end())).collect();
        if days.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for day in &days {
            pipeline.hgetall(key(*day));
        }
        let found: Vec<Vec<(String, i64)>> = self.store.journal.query(StoreOp::Read, operation, &pipeline).await?;
        let within = absolute_hour(since)..=absolute_hour(until);
        let mut counts = Vec::new();
        for (day, fields) in days.into_iter().zip(found) {
            for (field, count) in fields {
                let Some((hour, name)) = field.split_once(':') else { continue };
                let hour = hour.parse::<i64>().map_or(-1, |hour| day * 24 + hour);
                if within.contains(&hour) {
                    counts.push((hour, name.to_owned(), u64::try_from(count).unwrap_or(0)));
                }
            }
        }
        Ok(counts)
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
        let read = |((_, message), bytes): (&(AttemptId, MessageId), Option<Vec<u8>>)| {
            let read = |bytes| read_attempt_of(app, *message, owned(bytes)).map_err(|error| Fault::corrupt(operation, error));
            bytes.map(read)
        };
        ids.iter().zip(records).filter_map(read).collect()
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
        let read = |bytes| read_attempt_of(delivery.app, delivery.message, owned(bytes));
        found.map(|bytes| read(bytes).map_err(|error| Fault::corrupt(OPERATION, error))).transpose()
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
        let (mut found, mut from) =
            (Filtered::new(page.limit, *filter == DeadLetterFilter::default(), EXAMINED_MOST), way.from.clone());
        while found.wants_more() {
            let key = keys::dead_letters(app);
            let mut members = walk(&self.store.journal, OPERATION, &key, way.towards, from.as_deref(), found.chunk).await?;
            members.truncate(members.iter().position(|member| way.is_past(member)).unwrap_or(members.len()));
            let letters: Vec<DeadLetter> = members.iter().map(|member| letter_of(OPERATION, member)).collect::<Result<_, _>>()?;
            found.walked(&members, letters.is_empty());
            found.add(letters, |letter| filter.passes(letter));
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
    ) -> Result<BTreeMap<(i64, Standing), u64>, Fault> {
        let found = self.by_hour("count deliveries", since, until, |day| keys::standings(app, endpoint, day)).await?;
        let known = |(hour, name, count): (i64, String, u64)| Some(((hour, Standing::from_name(&name)?), count));
        Ok(found.into_iter().filter_map(known).collect())
    }

    async fn counts(&self, app: AppId, since: Timestamp, until: Timestamp) -> Result<Vec<Count>, Fault> {
        const OPERATION: &str = "count what happened";
        let kept = self.days();
        let oldest = Timestamp::from_millis(kept.start() * 24 * 3600 * 1000);
        let (first, last) = (minute_of(since.max(oldest)), minute_of(until.min(self.store.clock.now().plus(DAY))));
        let hours: Vec<i64> = (first.div_euclid(60)..=last.div_euclid(60)).collect();
        let mut counts = Vec::new();
        for part in hours.chunks(HOURS_AT_ONCE) {
            let mut pipeline = redis::pipe();
            for hour in part {
                pipeline.hgetall(keys::stats(app, *hour));
            }
            let found: Vec<Vec<(String, u64)>> = self.store.journal.query(StoreOp::Read, OPERATION, &pipeline).await?;
            for (hour, fields) in part.iter().zip(found) {
                let read = |(field, times): (String, u64)| {
                    let (minute, code) = field.split_once(':')?;
                    let minute = hour * 60 + minute.parse::<i64>().ok()?;
                    Some(Count { minute, counted: Counted::from_code(code.parse().ok()?)?, times })
                };
                counts.extend(fields.into_iter().filter_map(read).filter(|count| (first..=last).contains(&count.minute)));
            }
        }
        Ok(counts)
    }

    async fn volumes(&self, app: AppId, since: Timestamp, until: Timestamp) -> Result<BTreeMap<(i64, EventType), u64>, Fault> {
        let found = self.by_hour("count events", since, until, |day| keys::volumes(app, day)).await?;
        let known = |(hour, name, times): (i64, String, u64)| Some(((hour, name.parse().ok()?), times));
        Ok(found.into_iter().filter_map(known).collect())
    }

    async fn expunge_message(&self, app: AppId, message: MessageId) -> Result<bool, Fault> {
        const OPERATION: &str = "expunge a message";
        let Some(record) = self.message(app, message).await? else { return Ok(false) };
        let record = MessageRecord { message: Arc::new(record.message.expunged()), ..record };
        self.expunge(OPERATION, app, message, b"m", write_message(&record)).await
    }

    async fn expire_data(&self, now: Timestamp) -> Result<usize, Fault> {
        const OPERATION: &str = "forget data whose time has come";
        let mut pipeline = redis::pipe();
        pipeline.zrangebyscore_limit(keys::DATA_KEPT, "-inf", now.as_millis(), 0, EXPIRED_AT_ONCE);
        let (members,): (Vec<Vec<u8>>,) = self.store.journal.query(StoreOp::Read, OPERATION, &pipeline).await?;
        let due = members.len();
        for member in &members {
            if let (Some(app), Some(message)) =
                (AppId::from_prefix(member), member.get(ID_BYTES..).and_then(MessageId::from_slice))
            {
                self.expunge_message(app, message).await?;
            }
        }
        if !members.is_empty() {
            let mut pipeline = redis::pipe();
            pipeline.zrem(keys::DATA_KEPT, members).ignore();
            let () = self.store.journal.query(StoreOp::Write, OPERATION, &pipeline).await?;
        }
        Ok(due)
    }

    async fn expunge_attempt(&self, app: AppId, message: MessageId, attempt: AttemptId) -> Result<bool, Fault> {
        const OPERATION: &str = "expunge an attempt";
        let Some(mut record) = self.attempt(app, message, attempt).await? else { return Ok(false) };
        record.result.response = Bytes::from_static(EXPUNGED_RESPONSE);
        self.expunge(OPERATION, app, message, &attempt_field(attempt.as_bytes()), write_attempt_of(&record)).await
    }

    async fn messages(
        &self,
        app: AppId,
        filter: &MessageFilter,
        page: PageRequest<MessageId>,
    ) -> Result<Page<MessageRecord>, Fault> {
        const OPERATION: &str = "list messages";
        let way = Way::new(page.from.map(|cursor| cursor.map(|id| *id.as_bytes())), filter.after, filter.before);
        let (mut found, mut from) =
            (Filtered::new(page.limit, *filter == MessageFilter::default(), SUMMARIES_EXAMINED_MOST), None);
        let wanted = Wanted::of_messages(filter);
        while found.wants_more() {
            let members = self.walk_days(OPERATION, |day| keys::messages(app, day), &way, from.as_deref(), found.chunk).await?;
            let ids: Vec<MessageId> = members.iter().filter_map(|member| message_in(member, &wanted)).collect();
            found.walked(&members, ids.is_empty());
            for some in ids.chunks(page.limit + 1) {
                found.add(self.read_messages(OPERATION, app, some).await?, |record| filter.passes(record));
                if found.is_full() {
                    break;
                }
            }
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
        let (wanted, of) = (Wanted::of_attempts(filter), of.narrowed(filter));
        let all = match of {
            AttemptsOf::Message(message) => Some((message, self.attempt_ids_of(OPERATION, app, message).await?)),
            AttemptsOf::Endpoint(_) | AttemptsOf::App => None,
        };
        let (mut found, mut from) =
            (Filtered::new(page.limit, *filter == AttemptFilter::default(), SUMMARIES_EXAMINED_MOST), None);
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
            let ids: Vec<(AttemptId, MessageId)> = members.iter().filter_map(|member| attempt_in(member, &wanted)).collect();
            found.walked(&members, ids.is_empty());
            for some in ids.chunks(page.limit + 1) {
                found.add(self.read_attempts(OPERATION, app, some).await?, |record| filter.passes(record));
                if found.is_full() {
                    break;
                }
            }
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

/// The message a list's member names, unless it is not wanted.
fn message_in(member: &[u8], wanted: &Wanted) -> Option<MessageId> {
    let (message, summary) = member.split_first_chunk::<ID_BYTES>()?;
    wanted.may_pass(summary).then(|| MessageId::from_bytes(*message))
}

/// Attempt and message that a list's member names, unless they are not wanted.
fn attempt_in(member: &[u8], wanted: &Wanted) -> Option<(AttemptId, MessageId)> {
    let (attempt, rest) = member.split_first_chunk::<ID_BYTES>()?;
    let (message, summary) = rest.split_first_chunk::<ID_BYTES>()?;
    wanted.may_pass(summary).then(|| (AttemptId::from_bytes(*attempt), MessageId::from_bytes(*message)))
}

fn letter_of(operation: &'static str, member: &[u8]) -> Result<DeadLetter, Fault> {
    read_dead_letter(member.get(ID_BYTES..).unwrap_or_default()).map_err(|error| Fault::corrupt(operation, error))
}
