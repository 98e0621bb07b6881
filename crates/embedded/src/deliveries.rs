//! Deliveries on SQLite.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hookyard_core::port::Deliveries;
use hookyard_core::step::Step;
use hookyard_core::{Claim, Delivery, Fault, Lane, Message, Outcome, RefusalReason, Timestamp};
use hookyard_wire::queue::{DeliveryWriter, read_message_part, read_progress, write_progress};
use rusqlite::{Connection, OptionalExtension as _};

use crate::events::{insert_delivery, keep_message};
use crate::fault::closed;
use crate::lease::{Queue, Receipt, Taken, delete, receipt_of, take};
use crate::queue_clock::{QueueClock, save};
use crate::store::{Inner, LOOK_AGAIN, Store};

/// A row of the queue.
struct Row {
    taken: Taken,
    progress: Vec<u8>,
    failures: u32,
    message: Vec<u8>,
    body: Option<Vec<u8>>,
}

/// What a look into the queue found: rows, or when the next is due.
struct Found {
    rows: Vec<Row>,
    next_due: Option<i64>,
}

#[async_trait]
impl Deliveries for Store {
    async fn claim(&self, lane: Lane, max: usize) -> Result<Vec<Claim<Delivery>>, Fault> {
        const OPERATION: &str = "claim deliveries";
        loop {
            let news = self.0.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            self.0.until_writable().await;
            if self.0.is_draining() {
                return Err(closed(OPERATION));
            }
            if let Some(ahead) = self.0.queue_clock.unsaved() {
                self.0.write(OPERATION, move |connection| save(connection, ahead)).await?;
                self.0.queue_clock.saved(ahead);
            }
            let now = self.0.queue_clock.now();
            let found = self.0.read(OPERATION, move |inner, connection| lease(inner, connection, lane, max, now)).await?;
            let claims = self.claimed_deliveries(found.rows);
            if !claims.is_empty() {
                self.0.seams.tripwire.reached(Step::DeliveryClaimed);
                return Ok(claims);
            }
            let next = found.next_due.map_or(LOOK_AGAIN, |due| Duration::from_millis(due.abs_diff(now)));
            tokio::select! {
                () = news => {}
                () = tokio::time::sleep(next.min(LOOK_AGAIN)) => {}
            }
        }
    }

    async fn settle(&self, claim: Claim<Delivery>, outcome: Outcome) -> Result<(), Fault> {
        const OPERATION: &str = "settle a delivery";
        let (delivery, receipt) = receipt_of(&self.0, claim, OPERATION)?;
        match outcome {
            Outcome::Delivered | Outcome::Discarded(_) => {
                receipt.settle(OPERATION, |connection, id| delete(connection, EITHER_LANE, id)).await
            }
            Outcome::Retry { at } => {
                let next = delivery.retried(at, self.0.seams.clock.now());
                put_aside(receipt, OPERATION, &next, self.0.queue_clock.due(at), None).await
            }
            Outcome::Dead(reason) => {
                let progress = write_progress(&delivery, Some(reason));
                let bury = move |connection: &Connection, id| {
                    let bury =
                        "UPDATE deliveries SET state = 'dead', dead_reason = ?2, progress = ?3, failures = 0 WHERE id = ?1";
                    connection.prepare_cached(bury)?.execute((id, reason.as_str(), &progress)).map(drop)
                };
                receipt.settle(OPERATION, bury).await
            }
        }
    }

    async fn defer(&self, claim: Claim<Delivery>, due: Timestamp, lane: Lane) -> Result<(), Fault> {
        const OPERATION: &str = "defer a delivery";
        let (delivery, receipt) = receipt_of(&self.0, claim, OPERATION)?;
        let deferred = delivery.deferred(due, self.0.seams.clock.now());
        put_aside(receipt, OPERATION, &deferred, self.0.queue_clock.due(due), Some(lane)).await
    }

    async fn enqueue(&self, deliveries: Vec<Delivery>) -> Result<(), Fault> {
        let clock = Arc::clone(&self.0.queue_clock);
        let insert =
            move |connection: &Connection| deliveries.iter().try_for_each(|delivery| insert(connection, delivery, &clock));
        self.0.write("enqueue deliveries", insert).await?;
        self.0.news.notify_waiters();
        Ok(())
    }
}

impl Store {
    /// What cannot be read is set aside.
    fn claimed_deliveries(&self, rows: Vec<Row>) -> Vec<Claim<Delivery>> {
        let mut messages: HashMap<Vec<u8>, Arc<Message>> = HashMap::new();
        let mut claims = Vec::with_capacity(rows.len());
        for row in rows {
            let redelivered = row.failures > 0 || row.taken.redelivered;
            match read(row.message, row.body, &row.progress, &mut messages) {
                Ok(delivery) => claims.push(Claim::new(delivery, redelivered, row.taken.claim())),
                Err(detail) => self.set_aside(row.taken.claim(), detail),
            }
        }
        claims
    }

    fn set_aside(&self, receipt: Receipt, detail: String) {
        tracing::error!(detail, "a delivery cannot be read; it is quarantined");
        let now = self.0.seams.clock.now().as_millis();
        #[expect(clippy::disallowed_methods, reason = "one step; what it holds comes again if it panics")]
        tokio::spawn(async move {
            let quarantine = move |connection: &Connection, id| {
                let copy = "INSERT INTO rejected (at, reason, detail, body, message, endpoint, progress)
                            SELECT ?2, ?3, ?4, progress, message, endpoint, progress FROM deliveries WHERE id = ?1";
                connection.prepare_cached(copy)?.execute((id, now, RefusalReason::Unreadable.as_str(), &detail))?;
                delete(connection, EITHER_LANE, id)
            };
            if let Err(fault) = Box::new(receipt).settle("quarantine", quarantine).await {
                tracing::error!(error = fault.chain(), "a delivery that cannot be read was not quarantined");
            }
        });
    }
}

/// A delivery of a further run.
fn insert(connection: &Connection, delivery: &Delivery, clock: &QueueClock) -> rusqlite::Result<()> {
    let message = &delivery.message;
    keep_message(connection, message, DeliveryWriter::new(message).message())?;
    insert_delivery(connection, delivery, Lane::Fast, clock)
}

async fn put_aside(
    receipt: Box<Receipt>,
    operation: &'static str,
    delivery: &Delivery,
    due_at: i64,
    lane: Option<Lane>,
) -> Result<(), Fault> {
    let (progress, lane) = (write_progress(delivery, None), lane.map(lane_number));
    let update = move |connection: &Connection, id| {
        let update = "UPDATE deliveries SET due_at = ?2, progress = ?3, failures = 0, lane = coalesce(?4, lane) WHERE id = ?1";
        connection.prepare_cached(update)?.execute((id, due_at, &progress, lane)).map(drop)
    };
    receipt.settle(operation, update).await
}

fn read(
    id: Vec<u8>,
    body: Option<Vec<u8>>,
    progress: &[u8],
    messages: &mut HashMap<Vec<u8>, Arc<Message>>,
) -> Result<Delivery, String> {
    let message = if let Some(message) = messages.get(&id) {
        Arc::clone(message)
    } else {
        let body = body.ok_or_else(|| "its message is missing".to_owned())?;
        let message = Arc::new(read_message_part(Bytes::from(body)).map_err(|error| error.to_string())?);
        messages.insert(id, Arc::clone(&message));
        message
    };
    read_progress(message, progress).map(|(delivery, _)| delivery).map_err(|error| error.to_string())
}

/// Takes the deliveries of a lane that are due for longest and that nobody holds. The index gives them in that order: what is held
/// is passed over, and what is not due is not looked at.
fn lease(inner: &Arc<Inner>, connection: &Connection, lane: Lane, max: usize, now: i64) -> rusqlite::Result<Found> {
    let mut query = connection.prepare_cached(DUE)?;
    let taken = take(inner, Queue::Deliveries(lane), &mut query.query((lane_number(lane), now))?, max)?;
    let mut query = connection.prepare_cached(ROW)?;
    let mut rows = Vec::with_capacity(taken.len());
    for taken in taken {
        let row = query.query_row([taken.id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
        let (progress, failures, message, body) = row?;
        rows.push(Row { taken, progress, failures, message, body });
    }
    let mut next_due = None;
    if rows.is_empty() {
        let mut query = connection.prepare_cached(NEXT_DUE)?;
        next_due = query.query_row((lane_number(lane), now), |row| row.get(0)).optional()?;
    }
    Ok(Found { rows, next_due })
}

/// Both lanes are one table.
const EITHER_LANE: Queue = Queue::Deliveries(Lane::Fast);

/// Due deliveries of a lane, from the index alone.
const DUE: &str = "SELECT id FROM deliveries WHERE state = 'waiting' AND lane = ?1 AND due_at <= ?2 ORDER BY due_at, id";
const ROW: &str = "SELECT d.progress, d.failures, d.message, m.body FROM deliveries d
                   LEFT JOIN messages m ON m.id = d.message WHERE d.id = ?1";
const NEXT_DUE: &str = "SELECT due_at FROM deliveries WHERE state = 'waiting' AND lane = ?1 AND due_at > ?2
                        ORDER BY due_at LIMIT 1";

pub fn lane_number(lane: Lane) -> i64 {
    match lane {
        Lane::Fast => 0,
        Lane::Slow => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::migrate;

    #[test]
    fn claiming_looks_only_at_what_is_due() {
        let mut connection = Connection::open_in_memory().expect("opened");
        migrate(&mut connection).expect("made");
        for query in [DUE, NEXT_DUE] {
            let explained = format!("EXPLAIN QUERY PLAN {query}");
            let plan: String = connection.query_row(&explained, (0, 0), |row| row.get(3)).expect("a plan");
            assert!(plan.contains("USING COVERING INDEX deliveries_due (lane=? AND due_at"), "{plan}");
        }
    }
}
