//! Events on SQLite.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use hookyard_core::event::admit;
use hookyard_core::port::{Events, FannedOut};
use hookyard_core::step::Step;
use hookyard_core::{Claim, Delivery, Event, FanOut, Fault, Intake, Lane, Message, Refusal, RefusalReason};
use hookyard_wire::queue::{DeliveryWriter, read_accepted, write_accepted, write_progress};
use rusqlite::Connection;

use crate::deliveries::lane_number;
use crate::fault::closed;
use crate::lease::{Queue, Taken, delete, receipt_of, take};
use crate::queue_clock::QueueClock;
use crate::store::{Inner, LOOK_AGAIN, Store};

/// Deliveries of one event in one transaction.
const CHUNK: usize = 1_000;
/// A row of the queue.
struct Row {
    taken: Taken,
    body: Vec<u8>,
    seen: bool,
}

#[async_trait]
impl Events for Store {
    async fn accept(&self, event: &Event) -> Result<(), Fault> {
        let body = write_accepted(event);
        let insert = move |connection: &Connection| {
            connection.prepare_cached("INSERT INTO events (body) VALUES (?1)")?.execute([&body[..]]).map(drop)
        };
        self.0.write("accept an event", insert).await?;
        self.0.news.notify_waiters();
        Ok(())
    }

    async fn claim(&self, max: usize) -> Result<Vec<Claim<Intake>>, Fault> {
        const OPERATION: &str = "claim events";
        loop {
            let news = self.0.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            self.0.until_writable().await;
            if self.0.is_draining() {
                return Err(closed(OPERATION));
            }
            let rows = self.0.read(OPERATION, move |inner, connection| lease(inner, connection, max)).await?;
            if !rows.is_empty() {
                self.0.seams.tripwire.reached(Step::EventClaimed);
                return Ok(rows.into_iter().map(|row| self.claimed(row)).collect());
            }
            tokio::select! {
                () = news => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }

    async fn fan_out(&self, claim: Claim<()>, fan_out: FanOut) -> Result<FannedOut, Fault> {
        const OPERATION: &str = "fan out";
        let redelivered = claim.redelivered;
        let ((), receipt) = receipt_of(&self.0, claim, OPERATION)?;
        let body = DeliveryWriter::new(&fan_out.message).message().clone();
        let (mut from, all) = (0, fan_out.endpoints.len());
        while from < all {
            let to = all.min(from + CHUNK);
            let is_part = to < all;
            let (fan_out, body, clock) = (fan_out.clone(), body.clone(), Arc::clone(&self.0.queue_clock));
            let insert = move |connection: &Connection| insert_deliveries(connection, &fan_out, &body, from..to, &clock);
            if let Err(fault) = self.0.write(OPERATION, insert).await {
                receipt.release();
                return Err(fault);
            }
            self.0.news.notify_waiters();
            if from == 0 && is_part {
                self.0.seams.tripwire.reached(Step::FanOutBegun);
            }
            from = to;
        }
        Ok(FannedOut::new(Claim::new((), redelivered, *receipt)))
    }

    async fn suppress(&self, claim: Claim<()>) -> Result<(), Fault> {
        self.end(claim, "suppress an event").await
    }

    async fn finish(&self, event: FannedOut) -> Result<(), Fault> {
        self.end(event.into_claim(), "finish an event").await
    }

    async fn give_back(&self, claim: Claim<()>) -> Result<(), Fault> {
        const OPERATION: &str = "give an event back";
        let ((), receipt) = receipt_of(&self.0, claim, OPERATION)?;
        let requeue = |connection: &Connection, id| {
            let copy = "INSERT INTO events (body, failures, seen) SELECT body, failures, 1 FROM events WHERE id = ?1";
            connection.prepare_cached(copy)?.execute([id])?;
            delete(connection, Queue::Events, id)
        };
        receipt.settle(OPERATION, requeue).await
    }

    async fn reject(&self, claim: Claim<()>, refusal: &Refusal) -> Result<(), Fault> {
        const OPERATION: &str = "reject an event";
        let ((), receipt) = receipt_of(&self.0, claim, OPERATION)?;
        let (now, refusal) = (self.0.seams.clock.now().as_millis(), refusal.clone());
        let set_aside = move |connection: &Connection, id| {
            let copy = "INSERT INTO rejected (at, reason, detail, body) SELECT ?2, ?3, ?4, body FROM events WHERE id = ?1";
            connection.prepare_cached(copy)?.execute((id, now, refusal.reason.as_str(), &refusal.detail))?;
            delete(connection, Queue::Events, id)
        };
        receipt.settle(OPERATION, set_aside).await
    }
}

impl Store {
    fn claimed(&self, row: Row) -> Claim<Intake> {
        let unreadable = |error| Refusal::new(RefusalReason::Unreadable, format!("accepted event: {error}"));
        let submission = read_accepted(Bytes::from(row.body)).map_err(unreadable);
        let now = self.0.seams.clock.now();
        let intake = submission.and_then(|submission| admit(submission, &self.0.seams.admission, now));
        let redelivered = row.seen || row.taken.redelivered;
        Claim::new(intake, redelivered, row.taken.claim())
    }

    async fn end(&self, claim: Claim<()>, operation: &'static str) -> Result<(), Fault> {
        let ((), receipt) = receipt_of(&self.0, claim, operation)?;
        receipt.settle(operation, |connection, id| delete(connection, Queue::Events, id)).await
    }
}

/// Takes the oldest events that nobody holds.
fn lease(inner: &Arc<Inner>, connection: &Connection, max: usize) -> rusqlite::Result<Vec<Row>> {
    let mut query = connection.prepare_cached("SELECT id FROM events ORDER BY id")?;
    let taken = take(inner, Queue::Events, &mut query.query([])?, max)?;
    let mut query = connection.prepare_cached("SELECT body, seen FROM events WHERE id = ?1")?;
    let mut rows = Vec::with_capacity(taken.len());
    for taken in taken {
        let (body, seen) = query.query_row([taken.id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.push(Row { taken, body, seen });
    }
    Ok(rows)
}

fn insert_deliveries(
    connection: &Connection,
    fan_out: &FanOut,
    body: &[u8],
    part: Range<usize>,
    clock: &QueueClock,
) -> rusqlite::Result<()> {
    keep_message(connection, &fan_out.message, body)?;
    fan_out.endpoints[part].iter().try_for_each(|endpoint| {
        let (delivery, lane) = fan_out.delivery(*endpoint);
        insert_delivery(connection, &delivery, lane, clock)
    })
}

/// Puts a delivery of a kept message into its queue.
pub fn insert_delivery(connection: &Connection, delivery: &Delivery, lane: Lane, clock: &QueueClock) -> rusqlite::Result<()> {
    let insert = "INSERT INTO deliveries (message, endpoint, lane, due_at, progress) VALUES (?1, ?2, ?3, ?4, ?5)";
    let (message, endpoint) = (&delivery.message.id.as_bytes()[..], &delivery.endpoint.as_bytes()[..]);
    // What does not wait is due, whatever the clock showed when its event was accepted.
    let due_at = delivery.not_before.map_or_else(|| clock.due(delivery.due).min(clock.now()), |at| clock.due(at));
    connection
        .prepare_cached(insert)?
        .execute((message, endpoint, lane_number(lane), due_at, write_progress(delivery, None)))
        .map(drop)
}

/// Keeps a message, once.
pub fn keep_message(connection: &Connection, message: &Message, body: &[u8]) -> rusqlite::Result<()> {
    let keep = "INSERT INTO messages (id, app, body) VALUES (?1, ?2, ?3)
                ON CONFLICT (id) DO UPDATE SET body = excluded.body WHERE body IS NULL";
    connection.prepare_cached(keep)?.execute((&message.id.as_bytes()[..], &message.app.as_bytes()[..], body)).map(drop)
}
