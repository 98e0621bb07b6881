//! Leases: which rows of a queue are claimed by this process. In memory only.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hookyard_core::claim::failures_of_drop;
use hookyard_core::{Claim, Fault, FaultKind, Lane, Refusal, limits};
use rusqlite::Connection;

use crate::fault::closed;
use crate::store::Inner;

/// The leases of one queue.
pub struct Leases {
    rows: Mutex<Rows>,
    /// What has an id not above this was there before this process, and somebody may have held it.
    before: i64,
    /// Rows held at once, at most: whoever claims more than it can work on would have the whole queue in memory.
    most: usize,
}

#[derive(Default)]
struct Rows {
    held: HashSet<i64>,
    /// Let go after a step that could not be done: what was made of them before is in the journal, or nowhere.
    returned: HashSet<i64>,
}

impl Leases {
    pub fn new(before: i64, most: usize) -> Self {
        Self { rows: Mutex::default(), before, most }
    }

    /// While this is locked no row is let go: what a query begun since finds, and nobody holds, is really there.
    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which queue. What one lane holds takes nothing from the other: those that hang are many, and wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    Events,
    Deliveries(Lane),
}

/// A row taken and not yet claimed by anybody. Dropped, it is as if it had not been taken.
pub struct Taken {
    inner: Arc<Inner>,
    queue: Queue,
    pub id: i64,
    /// Whether somebody may have held it before: an earlier process, or one whose step could not be done.
    pub redelivered: bool,
    claimed: bool,
}

/// Takes the first rows of `query` that nobody holds, at most `max`, and no more than may be held at once.
pub fn take(inner: &Arc<Inner>, queue: Queue, query: &mut rusqlite::Rows<'_>, max: usize) -> rusqlite::Result<Vec<Taken>> {
    let leases = inner.leases(queue);
    let mut rows = leases.lock();
    let max = max.min(leases.most.saturating_sub(rows.held.len()));
    let mut ids: Vec<i64> = Vec::new();
    while ids.len() < max
        && let Some(row) = query.next()?
    {
        let id = row.get(0)?;
        if !rows.held.contains(&id) {
            ids.push(id);
        }
    }
    rows.held.extend(&ids);
    let taken = ids.into_iter().map(|id| {
        let redelivered = id <= leases.before || rows.returned.contains(&id);
        Taken { inner: Arc::clone(inner), queue, id, redelivered, claimed: false }
    });
    Ok(taken.collect())
}

impl Taken {
    /// Now somebody has it.
    pub fn claim(mut self) -> Receipt {
        self.claimed = true;
        Receipt { inner: Arc::clone(&self.inner), id: self.id, queue: self.queue, settled: false }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if !self.claimed {
            self.inner.let_go(self.queue, self.id, self.redelivered);
        }
    }
}

/// The right to a row. Dropped unsettled, it gives the row back and counts that.
pub struct Receipt {
    inner: Arc<Inner>,
    id: i64,
    queue: Queue,
    settled: bool,
}

impl Receipt {
    /// Does the step that ends the claim. If it cannot be done the row is as it was, and claimable again without a failure counted:
    /// the fault is ours.
    pub async fn settle(
        mut self: Box<Self>,
        operation: &'static str,
        work: impl FnMut(&Connection, i64) -> rusqlite::Result<()> + Send + 'static,
    ) -> Result<(), Fault> {
        self.settled = true;
        let (id, mut work) = (self.id, work);
        let result = self.inner.write(operation, move |connection| work(connection, id)).await;
        self.inner.let_go(self.queue, id, result.is_err());
        result
    }

    /// Lets go without a failure counted, after a step that could not be done.
    pub fn release(mut self) {
        self.settled = true;
        self.inner.let_go(self.queue, self.id, true);
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if self.settled || self.inner.is_draining() {
            return;
        }
        let (queue, id, inner) = (self.queue, self.id, Arc::clone(&self.inner));
        let more = if queue == Queue::Events { 1 } else { failures_of_drop() };
        let now = self.inner.seams.clock.now().as_millis();
        let returned = self.inner.submit(
            "give a claim back",
            move |connection| give_back(connection, queue, id, more, now),
            move |result| {
                if let Err(fault) = result {
                    tracing::error!(error = fault.chain(), "a claim was given back without being counted");
                }
                inner.let_go(queue, id, true);
            },
        );
        if returned.is_err() {
            tracing::trace!("the store is closed; the claim comes again with the next process");
        }
    }
}

impl Inner {
    pub fn leases(&self, queue: Queue) -> &Leases {
        match queue {
            Queue::Events => &self.events,
            Queue::Deliveries(Lane::Fast) => &self.fast,
            Queue::Deliveries(Lane::Slow) => &self.slow,
        }
    }

    /// A row is no longer held; `returned` if it may come again after somebody had it.
    fn let_go(&self, queue: Queue, id: i64, returned: bool) {
        let mut rows = self.leases(queue).lock();
        rows.held.remove(&id);
        if returned {
            rows.returned.insert(id);
        } else {
            rows.returned.remove(&id);
        }
        drop(rows);
        self.news.notify_waiters();
    }
}

/// The receipt of a claim of this store.
pub fn receipt_of<T>(inner: &Arc<Inner>, claim: Claim<T>, operation: &'static str) -> Result<(T, Box<Receipt>), Fault> {
    let (item, receipt) = claim.split::<Receipt>();
    let receipt = receipt.ok_or_else(|| Fault::new(FaultKind::Refused, operation))?;
    if Arc::ptr_eq(&receipt.inner, inner) && !inner.is_closed() { Ok((item, receipt)) } else { Err(closed(operation)) }
}

/// So many more failures of handling a row; after too many it is set aside.
fn give_back(connection: &Connection, queue: Queue, id: i64, more: u32, now: i64) -> rusqlite::Result<()> {
    let (count, move_away) = match queue {
        Queue::Events => (
            "UPDATE events SET failures = failures + ?2, seen = 1 WHERE id = ?1 RETURNING failures",
            "INSERT INTO rejected (at, reason, detail, body) SELECT ?2, ?3, ?4, body FROM events WHERE id = ?1",
        ),
        Queue::Deliveries(_) => (
            "UPDATE deliveries SET failures = failures + ?2 WHERE id = ?1 RETURNING failures",
            "INSERT INTO rejected (at, reason, detail, body, message, endpoint, progress)
             SELECT ?2, ?3, ?4, CAST(m.body || d.progress AS BLOB), d.message, d.endpoint, d.progress FROM deliveries d JOIN messages m ON m.id = d.message WHERE d.id = ?1",
        ),
    };
    let failures: u32 = connection.prepare_cached(count)?.query_row((id, more), |row| row.get(0))?;
    if failures >= limits::CRASH_LOOP {
        let refusal = Refusal::crash_loop();
        connection.prepare_cached(move_away)?.execute((id, now, refusal.reason.as_str(), refusal.detail))?;
        delete(connection, queue, id)?;
    }
    Ok(())
}

/// Lets go of a row for good.
pub fn delete(connection: &Connection, queue: Queue, id: i64) -> rusqlite::Result<()> {
    let delete = match queue {
        Queue::Events => "DELETE FROM events WHERE id = ?1",
        Queue::Deliveries(_) => "DELETE FROM deliveries WHERE id = ?1",
    };
    connection.prepare_cached(delete)?.execute([id]).map(drop)
}
