//! The journal on SQLite.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use hookyard_core::journal::{
    AttemptFilter, AttemptRecord, AttemptsOf, DeliveryState, EXPUNGED_RESPONSE, Entry, MessageFilter, MessageRecord, Page,
    PageRequest, Standing,
};
use hookyard_core::port::{Journal, Log};
use hookyard_core::stats::{Count, Counted, minute_of};
use hookyard_core::{
    AppId, AttemptId, DeadLetter, DeadLetterFilter, DeadLetterId, DeliveryKey, EndpointId, EventType, Fault, FaultKind,
    MessageId, Outcome, Timestamp,
};
use hookyard_wire::queue::{DeliveryWriter, read_message_part};
use hookyard_wire::record::{read_attempt, read_dead_letter, write_attempt, write_dead_letter};
use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::events::keep_message;
use crate::pages::{Way, cursor_bytes, filtered, towards, unreadable};
use crate::store::Store;

/// Which attempts: a plus keeps a column out of the choice of an index, where another is the better.
const OF_MESSAGE: &str = "+app = ?2 AND message = ?3";
const OF_ENDPOINT: &str = "app = ?2 AND endpoint = ?3";
const OF_APP: &str = "app = ?2 AND ?3 = x''";

/// Messages whose data is forgotten in one go.
const EXPIRED_AT_ONCE: i64 = 200;

/// A message's row: its body, the endpoints it was routed to, and whether its data was made forgotten.
type MessageRow = (Vec<u8>, Option<Vec<u8>>, i64);
/// A delivery's state: endpoint, rank, outcome.
type StateRow = (Vec<u8>, u64, String);

#[async_trait]
impl Journal for Store {
    async fn record(&self, entries: Arc<[Entry]>) -> Result<(), Fault> {
        let (now, written) = (self.0.seams.clock.now(), Arc::clone(&entries));
        let record = move |connection: &Connection| entries.iter().try_for_each(|entry| write(connection, entry, now));
        self.0.write("write the journal", record).await?;
        self.announce(&written);
        Ok(())
    }

    async fn recorded(&self, delivery: DeliveryKey, attempt: AttemptId) -> Result<Option<AttemptRecord>, Fault> {
        let read = move |_: &_, connection: &Connection| {
            let query = "SELECT record FROM attempts WHERE id = ?1 AND message = ?2";
            let row = (&attempt.as_bytes()[..], &delivery.message.as_bytes()[..]);
            connection.prepare_cached(query)?.query_row(row, |row| row.get::<_, Vec<u8>>(0)).optional()
        };
        self.0.read("look for an attempt", read).await?.map(attempt_of).transpose()
    }
}

#[async_trait]
impl Log for Store {
    async fn message(&self, app: AppId, message: MessageId) -> Result<Option<MessageRecord>, Fault> {
        let read = move |_: &_, connection: &Connection| {
            let query = "SELECT body, routed, expunged FROM messages WHERE id = ?1 AND app = ?2 AND body IS NOT NULL";
            let row = (&message.as_bytes()[..], &app.as_bytes()[..]);
            connection.prepare_cached(query)?.query_row(row, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()
        };
        self.0.read("read a message", read).await?.map(message_of).transpose()
    }

    async fn states(&self, app: AppId, message: MessageId) -> Result<Vec<(EndpointId, DeliveryState)>, Fault> {
        const OPERATION: &str = "read a message's deliveries";
        let read = move |_: &_, connection: &Connection| {
            let query = "SELECT endpoint, rank, state FROM states WHERE message = ?1
                         AND EXISTS (SELECT 1 FROM messages WHERE id = ?1 AND app = ?2)";
            let mut query = connection.prepare_cached(query)?;
            let row = (&message.as_bytes()[..], &app.as_bytes()[..]);
            query.query_map(row, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect::<rusqlite::Result<Vec<StateRow>>>()
        };
        let state = |(endpoint, rank, outcome): StateRow| {
            let outcome = outcome.parse().map_err(|error| Fault::corrupt(OPERATION, error))?;
            let endpoint = EndpointId::from_slice(&endpoint).ok_or_else(|| Fault::new(FaultKind::Corrupt, OPERATION))?;
            Ok((endpoint, DeliveryState::of_rank(rank, outcome)))
        };
        self.0.read(OPERATION, read).await?.into_iter().map(state).collect()
    }

    async fn dead_letter(&self, app: AppId, letter: DeadLetterId) -> Result<Option<DeadLetter>, Fault> {
        let read = move |_: &_, connection: &Connection| {
            let query = "SELECT record FROM dead_letters WHERE id = ?1 AND app = ?2";
            let row = (&letter.as_bytes()[..], &app.as_bytes()[..]);
            connection.prepare_cached(query)?.query_row(row, |row| row.get::<_, Vec<u8>>(0)).optional()
        };
        self.0.read("look for a dead letter", read).await?.map(|record| letter_of(&record)).transpose()
    }

    async fn dead_letters(
        &self,
        app: AppId,
        filter: &DeadLetterFilter,
        page: PageRequest<DeadLetterId>,
    ) -> Result<Page<DeadLetter>, Fault> {
        let way = Way::new(page.from.map(|cursor| cursor_bytes(cursor, |id| id.as_bytes())), filter.after, filter.before);
        let (limit, filter) = (page.limit, filter.clone());
        let read = move |_: &_, connection: &Connection| {
            let query = format!("SELECT id, record FROM dead_letters WHERE app = ?2 AND id {}", towards(way.newer));
            let mut query = connection.prepare_cached(&query)?;
            let rows = query.query((&way.from, &app.as_bytes()[..]))?;
            let read = |row: &Row<'_>| read_dead_letter(&row.get::<_, Vec<u8>>(1)?).map_err(unreadable);
            filtered(rows, &way, limit, read, |letter| filter.passes(letter))
        };
        self.0.read("list dead letters", read).await
    }

    async fn standings(
        &self,
        app: AppId,
        endpoint: EndpointId,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<BTreeMap<(i64, Standing), u64>, Fault> {
        let read = move |_: &_, connection: &Connection| {
            let query = "SELECT hour, standing, count FROM standings
                         WHERE app = ?1 AND endpoint = ?2 AND hour BETWEEN ?3 AND ?4";
            let row = (&app.as_bytes()[..], &endpoint.as_bytes()[..], hour_of(since), hour_of(until));
            let mut query = connection.prepare_cached(query)?;
            let rows = query.query_map(row, |row| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?)))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        let found = self.0.read("count deliveries", read).await?.into_iter();
        let known = |(hour, name, count): (i64, String, i64)| {
            Some(((hour, Standing::from_name(&name)?), u64::try_from(count).unwrap_or(0)))
        };
        Ok(found.filter_map(known).collect())
    }

    async fn counts(&self, app: AppId, since: Timestamp, until: Timestamp) -> Result<Vec<Count>, Fault> {
        let read = move |_: &_, connection: &Connection| {
            let query = "SELECT minute, code, times FROM counts WHERE app = ?1 AND minute BETWEEN ?2 AND ?3";
            let mut query = connection.prepare_cached(query)?;
            let row = (&app.as_bytes()[..], minute_of(since), minute_of(until));
            let rows = query.query_map(row, |row| Ok((row.get(0)?, row.get::<_, usize>(1)?, row.get(2)?)))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        let known = |(minute, code, times)| Some(Count { minute, counted: Counted::from_code(code)?, times });
        Ok(self.0.read("count what happened", read).await?.into_iter().filter_map(known).collect())
    }

    async fn volumes(&self, app: AppId, since: Timestamp, until: Timestamp) -> Result<BTreeMap<(i64, EventType), u64>, Fault> {
        let read = move |_: &_, connection: &Connection| {
            let query = "SELECT hour, event_type, times FROM volumes WHERE app = ?1 AND hour BETWEEN ?2 AND ?3";
            let mut query = connection.prepare_cached(query)?;
            let row = (&app.as_bytes()[..], hour_of(since), hour_of(until));
            let rows = query.query_map(row, |row| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?)))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        let known = |(hour, name, times): (i64, String, u64)| Some(((hour, name.parse().ok()?), times));
        Ok(self.0.read("count events", read).await?.into_iter().filter_map(known).collect())
    }

    async fn expunge_message(&self, app: AppId, message: MessageId) -> Result<bool, Fault> {
        let expunge = move |connection: &Connection| {
            let mark = "UPDATE messages SET expunged = 1 WHERE id = ?1 AND app = ?2 AND body IS NOT NULL";
            let marked = connection.prepare_cached(mark)?.execute((&message.as_bytes()[..], &app.as_bytes()[..]))?;
            forget(connection)?;
            Ok(marked > 0)
        };
        self.0.write("expunge a message", expunge).await
    }

    async fn expire_data(&self, now: Timestamp) -> Result<usize, Fault> {
        let expire = move |connection: &Connection| {
            let over = "SELECT message FROM data_kept WHERE until <= ?1 ORDER BY until LIMIT ?2";
            let mark = format!("UPDATE messages SET expunged = 1 WHERE expunged = 0 AND id IN ({over})");
            connection.prepare_cached(&mark)?.execute((now.as_millis(), EXPIRED_AT_ONCE))?;
            let done = format!("DELETE FROM data_kept WHERE message IN ({over})");
            let due = connection.prepare_cached(&done)?.execute((now.as_millis(), EXPIRED_AT_ONCE))?;
            forget(connection)?;
            Ok(due)
        };
        self.0.write("forget data whose time has come", expire).await
    }

    async fn expunge_attempt(&self, app: AppId, message: MessageId, attempt: AttemptId) -> Result<bool, Fault> {
        let Some(mut record) = self.attempt(app, message, attempt).await? else { return Ok(false) };
        record.result.response = Bytes::from_static(EXPUNGED_RESPONSE);
        let expunge = move |connection: &Connection| {
            let put = "UPDATE attempts SET record = ?2 WHERE id = ?1";
            connection.prepare_cached(put)?.execute((&attempt.as_bytes()[..], write_attempt(&record)))
        };
        Ok(self.0.write("expunge an attempt", expunge).await? > 0)
    }

    async fn messages(
        &self,
        app: AppId,
        filter: &MessageFilter,
        page: PageRequest<MessageId>,
    ) -> Result<Page<MessageRecord>, Fault> {
        let way = Way::new(page.from.map(|cursor| cursor_bytes(cursor, |id| id.as_bytes())), filter.after, filter.before);
        let (limit, filter) = (page.limit, filter.clone());
        let read = move |_: &_, connection: &Connection| {
            let query = format!(
                "SELECT id, body, routed, expunged FROM messages WHERE app = ?2 AND body IS NOT NULL AND id {}",
                towards(way.newer)
            );
            let mut query = connection.prepare_cached(&query)?;
            let rows = query.query((&way.from, &app.as_bytes()[..]))?;
            let read = |row: &Row<'_>| message_of((row.get(1)?, row.get(2)?, row.get(3)?)).map_err(unreadable);
            filtered(rows, &way, limit, read, |record| filter.passes(record))
        };
        self.0.read("list messages", read).await
    }

    async fn attempt(&self, app: AppId, message: MessageId, attempt: AttemptId) -> Result<Option<AttemptRecord>, Fault> {
        let read = move |_: &_, connection: &Connection| {
            let query = "SELECT record FROM attempts WHERE id = ?1 AND message = ?2 AND app = ?3";
            let row = (&attempt.as_bytes()[..], &message.as_bytes()[..], &app.as_bytes()[..]);
            connection.prepare_cached(query)?.query_row(row, |row| row.get::<_, Vec<u8>>(0)).optional()
        };
        self.0.read("read an attempt", read).await?.map(attempt_of).transpose()
    }

    async fn attempts(
        &self,
        app: AppId,
        of: AttemptsOf,
        filter: &AttemptFilter,
        page: PageRequest<AttemptId>,
    ) -> Result<Page<AttemptRecord>, Fault> {
        let way = Way::new(page.from.map(|cursor| cursor_bytes(cursor, |id| id.as_bytes())), filter.after, filter.before);
        let (limit, filter) = (page.limit, filter.clone());
        let (condition, value) = match of.narrowed(&filter) {
            AttemptsOf::Message(message) => (OF_MESSAGE, message.as_bytes().to_vec()),
            AttemptsOf::Endpoint(endpoint) => (OF_ENDPOINT, endpoint.as_bytes().to_vec()),
            AttemptsOf::App => (OF_APP, Vec::new()),
        };
        let read = move |_: &_, connection: &Connection| {
            let query = format!("SELECT id, record FROM attempts WHERE {condition} AND id {}", towards(way.newer));
            let mut query = connection.prepare_cached(&query)?;
            let rows = query.query((&way.from, &app.as_bytes()[..], value))?;
            let read = |row: &Row<'_>| read_attempt(Bytes::from(row.get::<_, Vec<u8>>(1)?)).map_err(unreadable);
            filtered(rows, &way, limit, read, |record| filter.passes(record))
        };
        self.0.read("list attempts", read).await
    }
}

fn attempt_of(record: Vec<u8>) -> Result<AttemptRecord, Fault> {
    read_attempt(Bytes::from(record)).map_err(|error| Fault::corrupt("read an attempt", error))
}

fn letter_of(record: &[u8]) -> Result<DeadLetter, Fault> {
    read_dead_letter(record).map_err(|error| Fault::corrupt("read a dead letter", error))
}

fn message_of((body, routed, expunged): MessageRow) -> Result<MessageRecord, Fault> {
    const OPERATION: &str = "read a message";
    let message = read_message_part(Bytes::from(body)).map_err(|error| Fault::corrupt(OPERATION, error))?;
    let ids = |routed: Vec<u8>| routed.chunks(20).map(EndpointId::from_slice).collect::<Option<Vec<_>>>();
    let routed_to = match routed.map(ids) {
        None => None,
        Some(Some(ids)) => Some(Arc::from(ids)),
        Some(None) => return Err(Fault::new(FaultKind::Corrupt, OPERATION)),
    };
    let message = if expunged == 0 { message } else { message.expunged() };
    Ok(MessageRecord { message: Arc::new(message), routed_to })
}

fn write(connection: &Connection, entry: &Entry, now: Timestamp) -> rusqlite::Result<()> {
    match entry {
        Entry::Message(record) => write_message(connection, record, now),
        Entry::Attempt(record) => {
            // The first record of an attempt stays.
            let put = "INSERT OR IGNORE INTO attempts (id, app, message, endpoint, record) VALUES (?1, ?2, ?3, ?4, ?5)";
            let key = record.delivery;
            let (id, app) = (&record.id.as_bytes()[..], &key.app.as_bytes()[..]);
            let row = (id, app, &key.message.as_bytes()[..], &key.endpoint.as_bytes()[..], write_attempt(record));
            if connection.prepare_cached(put)?.execute(row)? > 0 {
                count(connection, key.app, record.result.started_at, Counted::of(record))?;
            }
            merge(connection, key, &record.state(), DeadLetter::of(entry), now)
        }
        Entry::End(record) => merge(connection, record.delivery, &record.state(), DeadLetter::of(entry), now),
        Entry::Run(record) => merge(connection, record.delivery, &record.state(), None, now),
    }
}

fn write_message(connection: &Connection, record: &MessageRecord, now: Timestamp) -> rusqlite::Result<()> {
    let message = &*record.message;
    keep_message(connection, message, DeliveryWriter::new(message).message())?;
    if let Some(kept) = message.event.data_kept {
        let keep = "INSERT OR IGNORE INTO data_kept (message, until) VALUES (?1, ?2)";
        let until = message.id.time().plus(kept).as_millis();
        connection.prepare_cached(keep)?.execute((&message.id.as_bytes()[..], until))?;
    }
    // An acceptance that comes late does not undo the routing.
    let Some(endpoints) = &record.routed_to else { return Ok(()) };
    let routed: Vec<u8> = endpoints.iter().flat_map(|endpoint| *endpoint.as_bytes()).collect();
    let id = &message.id.as_bytes()[..];
    let known = "SELECT wanted IS NOT NULL FROM messages WHERE id = ?1";
    if !connection.prepare_cached(known)?.query_row([id], |row| row.get::<_, bool>(0))? {
        count(connection, message.app, message.id.time(), Counted::Event)?;
        let count = "INSERT INTO volumes (app, hour, event_type, times) VALUES (?1, ?2, ?3, 1)
                     ON CONFLICT (app, hour, event_type) DO UPDATE SET times = times + 1";
        let row = (&message.app.as_bytes()[..], hour_of(message.id.time()), message.event.event_type.as_str());
        connection.prepare_cached(count)?.execute(row)?;
    }
    let update = "UPDATE messages SET routed = ?2, wanted = ?3 WHERE id = ?1";
    let wanted = i64::try_from(endpoints.len()).unwrap_or(i64::MAX);
    connection.prepare_cached(update)?.execute((id, routed, wanted))?;
    judge_end(connection, message.id, now)
}

/// Merges a delivery's state: a lower rank never overwrites a higher one. The list of dead letters follows it.
fn merge(
    connection: &Connection,
    key: DeliveryKey,
    state: &DeliveryState,
    letter: Option<DeadLetter>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let (message, endpoint) = (&key.message.as_bytes()[..], &key.endpoint.as_bytes()[..]);
    let query = "SELECT rank, state FROM states WHERE message = ?1 AND endpoint = ?2";
    let known = connection
        .prepare_cached(query)?
        .query_row((message, endpoint), |row| Ok((row.get::<_, u64>(0)?, row.get::<_, String>(1)?)));
    let known = known.optional()?;
    if known.as_ref().is_some_and(|(rank, _)| *rank >= state.rank()) {
        return Ok(());
    }
    let old = known.map(|(rank, text)| text.parse().map(|outcome| DeliveryState::of_rank(rank, outcome)).map_err(unreadable));
    let old = old.transpose()?;
    let was = |wanted: fn(Outcome) -> bool| old.as_ref().map_or(0, |old| i64::from(wanted(old.outcome)));
    let (old_ended, old_dead) = (was(Outcome::is_terminal), was(|outcome| matches!(outcome, Outcome::Dead(_))));
    if old.as_ref().map(DeliveryState::standing) != Some(state.standing()) {
        if let Some(old) = &old {
            count_standing(connection, key, old, -1)?;
        }
        count_standing(connection, key, state, 1)?;
    }
    let ended = i64::from(state.outcome.is_terminal());
    let dead = i64::from(matches!(state.outcome, Outcome::Dead(_)));
    let text = state.outcome.to_string();
    let put = "INSERT OR REPLACE INTO states (message, endpoint, rank, state) VALUES (?1, ?2, ?3, ?4)";
    connection.prepare_cached(put)?.execute((message, endpoint, state.rank(), text))?;
    let tally = "INSERT INTO messages (id, app, ended, dead) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (id) DO UPDATE SET ended = ended + ?3, dead = dead + ?4";
    connection.prepare_cached(tally)?.execute((message, &key.app.as_bytes()[..], ended - old_ended, dead - old_dead))?;
    if old_dead > 0 {
        for revive in [
            "DELETE FROM dead_letters WHERE message = ?1 AND endpoint = ?2",
            "DELETE FROM deliveries WHERE message = ?1 AND endpoint = ?2 AND state = 'dead'",
        ] {
            connection.prepare_cached(revive)?.execute((message, endpoint))?;
        }
    }
    if let Some(letter) = letter {
        let bury = "INSERT INTO dead_letters (id, app, message, endpoint, record) VALUES (?1, ?2, ?3, ?4, ?5)";
        let row = (&letter.id.as_bytes()[..], &key.app.as_bytes()[..], message, endpoint, write_dead_letter(&letter));
        connection.prepare_cached(bury)?.execute(row)?;
        count(connection, key.app, letter.at, Counted::DeadLetter)?;
    }
    judge_end(connection, key.message, now)
}

/// Hours since 1970.
fn hour_of(moment: Timestamp) -> i64 {
    moment.as_millis().div_euclid(3600 * 1000)
}

/// One delivery more, or fewer, that stands so.
fn count_standing(connection: &Connection, key: DeliveryKey, state: &DeliveryState, by: i64) -> rusqlite::Result<()> {
    let count = "INSERT INTO standings (app, endpoint, hour, standing, count) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (app, endpoint, hour, standing) DO UPDATE SET count = count + ?5";
    let (app, endpoint, hour) = (&key.app.as_bytes()[..], &key.endpoint.as_bytes()[..], hour_of(key.message.time()));
    connection.prepare_cached(count)?.execute((app, endpoint, hour, state.standing().as_str(), by)).map(drop)
}

/// Once more in the minute of a moment.
fn count(connection: &Connection, app: AppId, at: Timestamp, counted: Counted) -> rusqlite::Result<()> {
    let count = "INSERT INTO counts (app, minute, code, times) VALUES (?1, ?2, ?3, 1)
                 ON CONFLICT (app, minute, code) DO UPDATE SET times = times + 1";
    connection.prepare_cached(count)?.execute((&app.as_bytes()[..], minute_of(at), counted.code())).map(drop)
}

/// Takes the data out of what was expunged and is not on its way any more.
pub fn forget(connection: &Connection) -> rusqlite::Result<()> {
    // Not before it is routed and every delivery of it has ended: they are made with this body. What is dead is not sent again.
    let query = "SELECT id, body FROM messages WHERE expunged = 1 AND body IS NOT NULL AND ended >= wanted
                 AND NOT EXISTS (SELECT 1 FROM deliveries WHERE message = messages.id AND state = 'waiting')";
    let mut query = connection.prepare_cached(query)?;
    let found =
        query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<Vec<(Vec<u8>, Vec<u8>)>>>()?;
    for (id, body) in found {
        let message = read_message_part(Bytes::from(body)).map_err(unreadable)?.expunged();
        let forgotten = DeliveryWriter::new(&message).message().clone();
        let put = "UPDATE messages SET body = ?2, expunged = 2 WHERE id = ?1";
        connection.prepare_cached(put)?.execute((&id, &forgotten[..]))?;
    }
    Ok(())
}

/// The retention begins with the last end; what may still happen, or is dead, stays.
fn judge_end(connection: &Connection, message: MessageId, now: Timestamp) -> rusqlite::Result<()> {
    let judge = "UPDATE messages SET finished_at = CASE WHEN ended >= wanted AND dead = 0 THEN ?2 END WHERE id = ?1";
    connection.prepare_cached(judge)?.execute((&message.as_bytes()[..], now.as_millis())).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::migrate;

    #[test]
    fn lists_of_attempts_look_only_at_what_they_list() {
        let mut connection = Connection::open_in_memory().expect("opened");
        migrate(&mut connection).expect("made");
        for (condition, index) in [
            (OF_MESSAGE, "attempts_message (message=? AND id<?)"),
            (OF_ENDPOINT, "attempts_endpoint (app=? AND endpoint=? AND id<?)"),
            (OF_APP, "attempts_app (app=? AND id<?)"),
        ] {
            let query = format!("EXPLAIN QUERY PLAN SELECT id, record FROM attempts WHERE {condition} AND id {}", towards(false));
            let plan: String =
                connection.query_row(&query, ([0_u8; 20], [0_u8; 20], [0_u8; 20]), |row| row.get(3)).expect("a plan");
            assert!(plan.contains(index), "{condition}: {plan}");
        }
    }
}
