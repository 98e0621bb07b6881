//! The journal's port on Redis.

use std::sync::Arc;

use async_trait::async_trait;
use hookyard_core::journal::{AttemptFilter, AttemptRecord, AttemptsOf, Cursor, Entry, MessageRecord, Page, PageRequest};
use hookyard_core::port::Journal;
use hookyard_core::{AppId, AttemptId, DeliveryKey, EndpointId, Fault, MessageId};
use hookyard_telemetry::label::StoreOp;
use hookyard_wire::record::{read_attempt, read_message};
use tokio::sync::{mpsc, oneshot};

use crate::client::RedisStore;
use crate::keys;
use crate::lists::{Towards, walk};
use crate::writer::{self, Group, attempt_field, gone, owned};

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
        // Members may be longer than the id: towards newer ones, the cursor's own must be passed over.
        let bound = from.map(|id| if towards == Towards::Newer { [&id[..], &[0xff; 24]].concat() } else { id.to_vec() });
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

    async fn message(&self, app: AppId, message: MessageId) -> Result<Option<MessageRecord>, Fault> {
        const OPERATION: &str = "read a message";
        let mut pipeline = redis::pipe();
        pipeline.hget(keys::message(app, message), "m");
        let (found,): (Option<Vec<u8>>,) = self.store.journal.query(StoreOp::Read, OPERATION, &pipeline).await?;
        found.map(|bytes| read_message(owned(bytes)).map_err(|error| Fault::corrupt(OPERATION, error))).transpose()
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
        Ok(Page { items, done })
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
        let (mut items, mut examined, mut done) = (Vec::new(), 0, false);
        while items.len() <= page.limit && examined < EXAMINED_MOST && !done {
            let ids = match (&all, of) {
                (Some((message, ids)), _) => next_of(ids, towards, from).map(|id| (id, *message)).collect(),
                (None, AttemptsOf::Endpoint(endpoint)) => self.next_to(OPERATION, app, endpoint, towards, from).await?,
                (None, AttemptsOf::Message(_)) => Vec::new(),
            };
            examined += ids.len();
            done = ids.len() < CHUNK;
            from = ids.last().map(|(id, _)| *id).or(from);
            items.extend(self.read_attempts(OPERATION, app, &ids).await?.into_iter().filter(|record| filter.passes(record)));
        }
        let done = done && items.len() <= page.limit;
        items.truncate(page.limit);
        if towards == Towards::Newer {
            items.reverse();
        }
        Ok(Page { items, done })
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
