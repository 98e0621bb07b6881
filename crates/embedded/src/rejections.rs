//! What was set aside on SQLite, and how much waits.

use async_trait::async_trait;
use bytes::Bytes;
use hookyard_core::fleet::QueueKind;
use hookyard_core::journal::{Cursor, Page, PageRequest};
use hookyard_core::port::Rejections;
use hookyard_core::{Fault, Lane, QueueDepth, Rejection, RejectionId, Timestamp};
use hookyard_wire::queue::read_accepted;
use rusqlite::{Connection, Row};

use crate::deliveries::lane_number;
use crate::store::Store;

#[async_trait]
impl Rejections for Store {
    async fn rejections(&self, page: PageRequest<RejectionId>) -> Result<Page<Rejection>, Fault> {
        let after = page.from.map_or(0, |(Cursor::After(id) | Cursor::Before(id))| row_of(id));
        let limit = page.limit;
        let read = move |_: &_, connection: &Connection| {
            let query = "SELECT id, at, reason, detail, body FROM rejected WHERE id > ?1 ORDER BY id LIMIT ?2";
            let mut query = connection.prepare_cached(query)?;
            let rows = query.query_map((after, limit.saturating_add(1)), shown)?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        let mut items = self.0.read("list what was rejected", read).await?;
        let done = items.len() <= limit;
        items.truncate(limit);
        Ok(Page::whole(items, done))
    }

    async fn retry(&self, ids: &[RejectionId]) -> Result<usize, Fault> {
        let again = [
            "INSERT INTO events (body, seen) SELECT body, 1 FROM rejected WHERE id = ?1 AND message IS NULL",
            "INSERT INTO deliveries (message, endpoint, lane, due_at, progress)
             SELECT message, endpoint, ?2, ?3, progress FROM rejected WHERE id = ?1 AND message IS NOT NULL",
        ];
        let (lane, now) = (lane_number(Lane::Fast), self.0.queue_clock.now());
        let retry = move |connection: &Connection, id: i64| {
            connection.prepare_cached(again[0])?.execute([id])?;
            connection.prepare_cached(again[1])?.execute((id, lane, now)).map(drop)
        };
        let retried = self.take_out("try again what was rejected", ids, retry).await?;
        self.0.news.notify_waiters();
        Ok(retried)
    }

    async fn discard(&self, ids: &[RejectionId]) -> Result<usize, Fault> {
        self.take_out("discard what was rejected", ids, |_, _| Ok(())).await
    }
}

impl Store {
    /// Takes these out, each after `before`, all in one transaction.
    async fn take_out(
        &self,
        operation: &'static str,
        ids: &[RejectionId],
        before: impl Fn(&Connection, i64) -> rusqlite::Result<()> + Send + 'static,
    ) -> Result<usize, Fault> {
        let rows: Vec<i64> = ids.iter().copied().map(row_of).collect();
        let take_out = move |connection: &Connection| {
            let mut taken = 0;
            for id in &rows {
                before(connection, *id)?;
                taken += connection.prepare_cached("DELETE FROM rejected WHERE id = ?1")?.execute([id])?;
            }
            Ok(taken)
        };
        self.0.write(operation, take_out).await
    }

    /// How much waits.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn depths(&self) -> Result<Vec<QueueDepth>, Fault> {
        const COUNTS: [(&str, QueueKind, &str); 6] = [
            ("events", QueueKind::Ingest, "SELECT count(*) FROM events"),
            (
                "deliveries",
                QueueKind::Fast,
                "SELECT count(*) FROM deliveries WHERE state = 'waiting' AND lane = 0 AND due_at <= ?1",
            ),
            ("slow", QueueKind::Slow, "SELECT count(*) FROM deliveries WHERE state = 'waiting' AND lane <> 0 AND due_at <= ?1"),
            ("delay", QueueKind::Delay, "SELECT count(*) FROM deliveries WHERE state = 'waiting' AND due_at > ?1"),
            ("dead", QueueKind::Dead, "SELECT count(*) FROM dead_letters"),
            ("rejected", QueueKind::Rejected, "SELECT count(*) FROM rejected"),
        ];
        let now = self.0.queue_clock.now();
        let count = move |_: &_, connection: &Connection| {
            let count = |(name, kind, query): (&str, QueueKind, &str)| {
                let mut query = connection.prepare_cached(query)?;
                let messages = if query.parameter_count() > 0 {
                    query.query_row([now], |row| row.get(0))?
                } else {
                    query.query_row([], |row| row.get(0))?
                };
                Ok(QueueDepth { name: name.to_owned(), kind, messages, consumers: None })
            };
            COUNTS.into_iter().map(count).collect::<rusqlite::Result<Vec<_>>>()
        };
        self.0.read("count what waits", count).await
    }
}

fn shown(row: &Row<'_>) -> rusqlite::Result<Rejection> {
    let (id, at, body): (i64, i64, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(4)?);
    // An event that can be read is shown as it was published, and anything else as it is.
    let body = Bytes::from(body);
    let event = read_accepted(body.clone()).ok().filter(|event| event.event_type.is_some());
    let mut headers = Vec::new();
    let (mut data, mut content_type, mut event_type) = (body, None, None);
    if let Some(event) = event {
        let named = [("app", event.app), ("message_id", event.event_id), ("type", event.event_type.clone())];
        headers.extend(named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        (data, content_type, event_type) = (event.data, event.content_type, event.event_type);
    }
    Ok(Rejection {
        id: id_of(id),
        at: Some(Timestamp::from_millis(at)),
        reason: row.get(2)?,
        detail: row.get(3)?,
        exchange: None,
        routing_key: event_type,
        content_type,
        headers,
        body: data,
    })
}

fn id_of(row: i64) -> RejectionId {
    let mut id = [0; 20];
    id[12..].copy_from_slice(&row.to_be_bytes());
    RejectionId::from_bytes(id)
}

fn row_of(id: RejectionId) -> i64 {
    let mut row = [0; 8];
    row.copy_from_slice(&id.as_bytes()[12..]);
    i64::from_be_bytes(row)
}
