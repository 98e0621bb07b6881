//! Events and deliveries in memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hookyard_core::claim::failures_of_drop;
use hookyard_core::journal::{Cursor, Page, PageRequest};
use hookyard_core::port::{Deliveries, Events, FannedOut, Rejections};
use hookyard_core::{
    Claim, Clock, DeadReason, Delivery, Event, FanOut, Fault, FaultKind, Intake, Lane, Outcome, Refusal, RefusalReason,
    Rejection, RejectionId, Timestamp, limits, within,
};
use tokio::sync::watch;

use super::shelf::{Kept, Shelf};

/// Deliveries of one event between two turns of others.
const CHUNK: usize = 1_000;

/// A delivery that will not be tried again on its own.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// The delivery as it ended.
    pub delivery: Delivery,
    /// Why.
    pub reason: DeadReason,
}

/// Something that could not be handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Why.
    pub reason: RefusalReason,
    /// The original bytes, or (in memory, of what was never bytes) its data.
    pub body: Bytes,
}

/// What waits for the router.
#[derive(Clone, Debug)]
struct Submitted {
    intake: Intake,
    body: Bytes,
}

/// Events and deliveries. Clones are the same broker.
#[derive(Clone)]
pub struct MemoryBroker(Arc<Shared>);

struct Shared {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Moves when something may have become claimable.
    news: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    events: Shelf<Submitted>,
    fast: Shelf<Delivery>,
    slow: Shelf<Delivery>,
    dead: Vec<DeadLetter>,
    rejected: Vec<SetAside>,
    /// Set aside so far.
    set_aside: u64,
}

/// What was set aside, and what it was.
#[derive(Clone)]
struct SetAside {
    rejection: Rejection,
    rejected: Rejected,
    was: Was,
}

#[derive(Clone)]
enum Was {
    Event(Submitted),
    Delivery(Lane, Delivery),
}

/// Which shelf a claim is of.
#[derive(Clone, Copy)]
enum Place {
    Events,
    Lane(Lane),
}

/// Dropped while it still holds its item, it gives it back.
struct Receipt {
    shared: Arc<Shared>,
    place: Place,
    claim: u64,
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        match self.place {
            Place::Events => {
                if let Some(submitted) = give_back(&mut state.events, self.claim, 1) {
                    state.set_aside(
                        &Refusal::crash_loop(),
                        submitted.body.clone(),
                        Was::Event(submitted),
                        self.shared.clock.now(),
                    );
                }
            }
            Place::Lane(lane) => {
                if let Some(delivery) = give_back(state.lane(lane), self.claim, failures_of_drop()) {
                    let data = delivery.message.event.data.clone();
                    state.set_aside(&Refusal::crash_loop(), data, Was::Delivery(lane, delivery), self.shared.clock.now());
                }
            }
        }
        drop(state);
        self.shared.news.send_replace(());
    }
}

/// Gives an item back, counted: what fails for ever is set aside and does not come again.
fn give_back<T: Clone>(shelf: &mut Shelf<T>, claim: u64, more: u32) -> Option<T> {
    let kept = shelf.let_go(claim)?;
    let failures = kept.failures + more;
    if failures >= limits::CRASH_LOOP {
        return Some(kept.item);
    }
    shelf.put_back(Kept { failures, ..kept });
    None
}

impl State {
    fn set_aside(&mut self, refusal: &Refusal, body: Bytes, was: Was, now: Timestamp) {
        self.set_aside += 1;
        let mut id = [0; 20];
        id[12..].copy_from_slice(&self.set_aside.to_be_bytes());
        let rejection = Rejection {
            id: RejectionId::from_bytes(id),
            at: Some(now),
            reason: refusal.reason.as_str().to_owned(),
            detail: refusal.detail.clone(),
            exchange: None,
            routing_key: None,
            content_type: None,
            headers: Vec::new(),
            body: body.clone(),
        };
        self.rejected.push(SetAside { rejection, rejected: Rejected { reason: refusal.reason, body }, was });
    }

    /// Takes these out.
    fn take_out(&mut self, ids: &[RejectionId]) -> Vec<Was> {
        let (out, kept) =
            std::mem::take(&mut self.rejected).into_iter().partition(|aside: &SetAside| ids.contains(&aside.rejection.id));
        self.rejected = kept;
        let out: Vec<SetAside> = out;
        out.into_iter().map(|aside| aside.was).collect()
    }

    fn lane(&mut self, lane: Lane) -> &mut Shelf<Delivery> {
        match lane {
            Lane::Fast => &mut self.fast,
            Lane::Slow => &mut self.slow,
        }
    }

    /// Back into the lane it came from, for later.
    fn put_aside(&mut self, place: Place, delivery: Delivery, due: Duration) {
        let lane = match place {
            Place::Lane(lane) => lane,
            Place::Events => Lane::Fast,
        };
        self.lane(lane).put(delivery, due);
    }

    fn holds(&mut self, place: Place, claim: u64) -> bool {
        match place {
            Place::Events => self.events.held(claim).is_some(),
            Place::Lane(lane) => self.lane(lane).held(claim).is_some(),
        }
    }

    fn let_go(&mut self, place: Place, claim: u64) {
        match place {
            Place::Events => drop(self.events.let_go(claim)),
            Place::Lane(lane) => drop(self.lane(lane).let_go(claim)),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is something to take.
    async fn take<T>(&self, take: impl Fn(&mut State, Duration) -> Result<Vec<T>, Duration>) -> Vec<T> {
        let mut news = self.news.subscribe();
        loop {
            news.borrow_and_update();
            let now = self.clock.monotonic();
            let taken = take(&mut self.lock(), now);
            match taken {
                Ok(taken) => return taken,
                // The sender lives as long as this broker: it only ever says that something changed.
                Err(due) => {
                    within(&*self.clock, due.saturating_sub(now), news.changed()).await;
                }
            }
        }
    }

    /// When something is due that is wanted at `at`: it waits so long, however the clock is corrected meanwhile.
    fn due(&self, at: Timestamp) -> Duration {
        self.clock.monotonic() + at.since(self.clock.now())
    }
}

impl MemoryBroker {
    /// A broker with nothing in it.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Shared { clock, state: Mutex::default(), news: watch::Sender::new(()) }))
    }

    /// What an upstream service published that could not be admitted.
    pub fn submit_refused(&self, refusal: Refusal, body: Bytes) {
        self.put(|state, now| state.events.put(Submitted { intake: Err(refusal), body }, now));
    }

    /// A delivery on its way, as if it had been routed before.
    pub fn submit_delivery(&self, lane: Lane, delivery: Delivery) {
        self.put(|state, now| state.lane(lane).put(delivery, now));
    }

    /// As after the end of every process that used it: claims hold nothing any more, and what they held comes again.
    pub fn restart(&self) {
        self.put(|state, _| {
            state.events.recall();
            state.fast.recall();
            state.slow.recall();
        });
    }

    /// Takes the dead letters out.
    pub fn take_dead(&self) -> Vec<DeadLetter> {
        std::mem::take(&mut self.0.lock().dead)
    }

    /// Takes out what was rejected.
    pub fn take_rejected(&self) -> Vec<Rejected> {
        std::mem::take(&mut self.0.lock().rejected).into_iter().map(|aside| aside.rejected).collect()
    }

    /// Events nobody holds.
    pub fn events_waiting(&self) -> usize {
        self.0.lock().events.waiting()
    }

    /// Deliveries nobody holds, due or not, of both lanes.
    pub fn deliveries_waiting(&self) -> usize {
        let state = self.0.lock();
        state.fast.waiting() + state.slow.waiting()
    }

    /// Deliveries that have not ended: waiting, or held by a claim.
    pub fn deliveries_unsettled(&self) -> usize {
        let state = self.0.lock();
        state.fast.kept() + state.slow.kept()
    }

    fn put(&self, put: impl FnOnce(&mut State, Duration)) {
        put(&mut self.0.lock(), self.0.clock.monotonic());
        self.0.news.send_replace(());
    }

    fn claimed<T>(&self, place: Place, (claim, item, redelivered): (u64, T, bool)) -> Claim<T> {
        Claim::new(item, redelivered, Receipt { shared: Arc::clone(&self.0), place, claim })
    }

    /// Does `then` and lets go of the claim, as one step, if the claim still holds its item.
    fn end<T>(&self, claim: Claim<T>, operation: &'static str, then: impl FnOnce(&mut State, T, &Receipt)) -> Result<(), Fault> {
        let (item, receipt) = claim.split::<Receipt>();
        let receipt = receipt.filter(|receipt| Arc::ptr_eq(&receipt.shared, &self.0)).ok_or_else(|| foreign(operation))?;
        {
            let mut state = self.0.lock();
            if !state.holds(receipt.place, receipt.claim) {
                return Err(Fault::new(FaultKind::Unavailable, operation));
            }
            then(&mut state, item, &receipt);
            state.let_go(receipt.place, receipt.claim);
        }
        self.0.news.send_replace(());
        Ok(())
    }

    /// Whether the claim still holds its item.
    fn check(&self, claim: &Claim<()>, operation: &'static str) -> Result<(), Fault> {
        let receipt = claim.receipt::<Receipt>().ok_or_else(|| foreign(operation))?;
        if self.0.lock().holds(receipt.place, receipt.claim) {
            Ok(())
        } else {
            Err(Fault::new(FaultKind::Unavailable, operation))
        }
    }
}

/// A claim of another backend: a bug in the wiring.
fn foreign(operation: &'static str) -> Fault {
    Fault::new(FaultKind::Refused, operation)
}

#[async_trait]
impl Events for MemoryBroker {
    async fn accept(&self, event: &Event) -> Result<(), Fault> {
        let submitted = Submitted { intake: Ok(event.clone()), body: event.data.clone() };
        self.put(|state, now| state.events.put(submitted, now));
        Ok(())
    }

    async fn claim(&self, max: usize) -> Result<Vec<Claim<Intake>>, Fault> {
        let taken = self.0.take(|state, now| state.events.take(max, now)).await;
        Ok(taken.into_iter().map(|taken| self.claimed(Place::Events, taken).map(|submitted| submitted.intake)).collect())
    }

    async fn fan_out(&self, claim: Claim<()>, fan_out: FanOut) -> Result<FannedOut, Fault> {
        self.check(&claim, "fan out")?;
        for chunk in fan_out.endpoints.chunks(CHUNK) {
            self.put(|state, now| {
                for endpoint in chunk {
                    let (delivery, lane) = fan_out.delivery(*endpoint);
                    let due = delivery.not_before.map_or(now, |at| self.0.due(at));
                    state.lane(lane).put(delivery, due);
                }
            });
            tokio::task::yield_now().await;
            self.check(&claim, "fan out")?;
        }
        Ok(FannedOut::new(claim))
    }

    async fn suppress(&self, claim: Claim<()>) -> Result<(), Fault> {
        self.end(claim, "suppress a duplicate", |_, (), _| {})
    }

    async fn finish(&self, event: FannedOut) -> Result<(), Fault> {
        self.end(event.into_claim(), "finish an event", |_, (), _| {})
    }

    async fn give_back(&self, claim: Claim<()>) -> Result<(), Fault> {
        let now = self.0.clock.monotonic();
        self.end(claim, "give an event back", |state, (), receipt| {
            if let Some(submitted) = state.events.held(receipt.claim).cloned() {
                state.events.put(submitted, now);
            }
        })
    }

    async fn reject(&self, claim: Claim<()>, refusal: &Refusal) -> Result<(), Fault> {
        let now = self.0.clock.now();
        self.end(claim, "reject an event", |state, (), receipt| {
            if let Some(submitted) = state.events.held(receipt.claim).cloned() {
                state.set_aside(refusal, submitted.body.clone(), Was::Event(submitted), now);
            }
        })
    }
}

#[async_trait]
impl Rejections for MemoryBroker {
    async fn rejections(&self, page: PageRequest<RejectionId>) -> Result<Page<Rejection>, Fault> {
        let state = self.0.lock();
        let after = page.from.map(|(Cursor::After(id) | Cursor::Before(id))| id);
        let all = state.rejected.iter().map(|aside| aside.rejection.clone());
        let mut items: Vec<Rejection> = all.filter(|rejection| after.is_none_or(|after| rejection.id > after)).collect();
        let done = items.len() <= page.limit;
        items.truncate(page.limit);
        Ok(Page::whole(items, done))
    }

    async fn retry(&self, ids: &[RejectionId]) -> Result<usize, Fault> {
        let out = self.0.lock().take_out(ids);
        for was in &out {
            match was.clone() {
                Was::Event(submitted) => self.put(|state, now| state.events.put(submitted, now)),
                Was::Delivery(lane, delivery) => self.submit_delivery(lane, delivery),
            }
        }
        Ok(out.len())
    }

    async fn discard(&self, ids: &[RejectionId]) -> Result<usize, Fault> {
        Ok(self.0.lock().take_out(ids).len())
    }
}

#[async_trait]
impl Deliveries for MemoryBroker {
    async fn claim(&self, lane: Lane, max: usize) -> Result<Vec<Claim<Delivery>>, Fault> {
        let taken = self.0.take(|state, now| state.lane(lane).take(max, now)).await;
        Ok(taken.into_iter().map(|taken| self.claimed(Place::Lane(lane), taken)).collect())
    }

    async fn settle(&self, claim: Claim<Delivery>, outcome: Outcome) -> Result<(), Fault> {
        let now = self.0.clock.now();
        let due = |at| self.0.due(at);
        self.end(claim, "settle a delivery", |state, delivery, receipt| match outcome {
            Outcome::Delivered | Outcome::Discarded(_) => {}
            Outcome::Retry { at } => state.put_aside(receipt.place, delivery.retried(at, now), due(at)),
            Outcome::Dead(reason) => state.dead.push(DeadLetter { delivery, reason }),
        })
    }

    async fn defer(&self, claim: Claim<Delivery>, due: Timestamp, lane: Lane) -> Result<(), Fault> {
        let (now, at) = (self.0.clock.now(), self.0.due(due));
        self.end(claim, "defer a delivery", |state, delivery, _| {
            state.lane(lane).put(delivery.deferred(due, now), at);
        })
    }

    async fn enqueue(&self, deliveries: Vec<Delivery>) -> Result<(), Fault> {
        for delivery in deliveries {
            self.submit_delivery(Lane::Fast, delivery);
        }
        Ok(())
    }
}
