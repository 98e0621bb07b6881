//! What the suites of [`hookyard_core::port::Events`] and [`hookyard_core::port::Deliveries`] share: the backend and its hooks, and
//! the flow's ordinary steps.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::poll;
use hookyard_core::port::{Deliveries, Events, Rejections};
use hookyard_core::{Claim, Clock, Delivery, EndpointId, Event, FanOut, FaultKind, Intake, Lane, Message, Timestamp};

use super::{DeadLetter, Rejected, within};
use crate::builders::Builders;

/// A backend of events and deliveries, with what a test needs and no service has.
#[async_trait]
pub trait QueueBackend: Send + Sync {
    /// Its events.
    fn events(&self) -> Arc<dyn Events>;

    /// Its deliveries.
    fn deliveries(&self) -> Arc<dyn Deliveries>;

    /// What it set aside.
    fn rejections(&self) -> Arc<dyn Rejections>;

    /// Its time.
    fn clock(&self) -> Arc<dyn Clock>;

    /// Lets time pass: steps its clock, or waits.
    async fn pass(&self, by: Duration);

    /// Ends, in good order, everything that held claims, and begins anew on what is stored. The ports given out before are of the
    /// past.
    async fn restart(&self);

    /// Publishes, as an upstream service would, bytes that are no event in any form.
    async fn publish_unreadable(&self, body: Bytes);

    /// Takes the dead letters out.
    async fn dead(&self) -> Vec<DeadLetter>;

    /// Takes out what could not be handled.
    async fn rejected(&self) -> Vec<Rejected>;
}

pub(super) fn make(backend: &dyn QueueBackend) -> Builders {
    Builders::new(backend.clock(), 1)
}

/// For what the helpers here make beside what the promises make.
fn make_more(backend: &dyn QueueBackend) -> Builders {
    Builders::new(backend.clock(), 2)
}

/// Events in sight of the suites; a refused one is a failure here.
pub(super) fn admitted(claim: Claim<Intake>) -> Claim<Event> {
    match claim.transpose() {
        Ok(claim) => claim,
        Err((refusal, _)) => panic!("refused: {refusal}"),
    }
}

/// Claims events until there are `count` of them.
pub(super) async fn claim_events(backend: &dyn QueueBackend, count: usize) -> Vec<Claim<Event>> {
    let events = backend.events();
    let mut claims = Vec::with_capacity(count);
    while claims.len() < count {
        let wanted = count - claims.len();
        let more = within("claim events", events.claim(wanted)).await.expect("claimed");
        assert!((1..=wanted).contains(&more.len()), "{} events for at most {wanted}", more.len());
        claims.extend(more.into_iter().map(admitted));
    }
    claims
}

pub(super) async fn claim_event(backend: &dyn QueueBackend) -> Claim<Event> {
    claim_events(backend, 1).await.remove(0)
}

/// Holds a claim when it panics.
pub(super) fn panic_with<T>(claim: Claim<T>) {
    let panics = AssertUnwindSafe(move || {
        let _held = claim;
        panic!("the defect of this test");
    });
    assert!(catch_unwind(panics).is_err());
}

/// Claims deliveries until there are `count` of them, due or not.
pub(super) async fn claim_deliveries(backend: &dyn QueueBackend, count: usize) -> Vec<Claim<Delivery>> {
    let deliveries = backend.deliveries();
    let mut claims = Vec::with_capacity(count);
    while claims.len() < count {
        let wanted = count - claims.len();
        let more = within("claim deliveries", deliveries.claim(Lane::Fast, wanted)).await.expect("claimed");
        assert!((1..=wanted).contains(&more.len()), "{} deliveries for at most {wanted}", more.len());
        claims.extend(more);
    }
    claims
}

pub(super) async fn claim_delivery(backend: &dyn QueueBackend) -> Claim<Delivery> {
    claim_deliveries(backend, 1).await.remove(0)
}

/// Claims deliveries until `count` of them are due, as a dispatcher does: one that comes early, with its moment on it, is put aside
/// again. Each with the moment of its claim.
pub(super) async fn claim_due(backend: &dyn QueueBackend, count: usize) -> Vec<(Claim<Delivery>, Timestamp)> {
    let (deliveries, clock) = (backend.deliveries(), backend.clock());
    let mut due = Vec::with_capacity(count);
    while due.len() < count {
        let claim = claim_delivery(backend).await;
        let now = clock.now();
        match claim.item.not_before {
            Some(at) if at > now => deliveries.defer(claim, at, Lane::Fast).await.expect("deferred again"),
            _ => due.push((claim, now)),
        }
    }
    due
}

/// An event goes to nobody, and is done with.
pub(super) async fn finish(backend: &dyn QueueBackend, claim: Claim<Event>) {
    let (event, claim) = claim.detach();
    let make = make_more(backend);
    let message = Arc::new(make.message_of(make.app().id, event));
    let events = backend.events();
    let fanned_out =
        within("fan out", events.fan_out(claim, FanOut::untroubled(message, Arc::from([])))).await.expect("fanned out");
    within("finish", events.finish(fanned_out)).await.expect("finished");
}

/// Sends a message of its own on its way to `count` endpoints: the message, and their ids, sorted.
pub(super) async fn route(backend: &dyn QueueBackend, make: &Builders, count: usize) -> (Arc<Message>, Arc<[EndpointId]>) {
    let events = backend.events();
    events.accept(&make.event()).await.expect("accepted");
    let (event, claim) = claim_event(backend).await.detach();
    let message = Arc::new(make.message_of(make.app().id, event));
    let mut ids: Vec<EndpointId> = (0..count).map(|_| make.endpoint_id()).collect();
    ids.sort_unstable();
    let ids: Arc<[EndpointId]> = Arc::from(ids);
    let fan_out = events.fan_out(claim, FanOut::untroubled(Arc::clone(&message), Arc::clone(&ids)));
    let fanned_out = within("fan out", fan_out).await.expect("fanned out");
    within("finish", events.finish(fanned_out)).await.expect("finished");
    (message, ids)
}

/// The endpoints of these deliveries, sorted.
pub(super) fn endpoints(claims: &[Claim<Delivery>]) -> Vec<EndpointId> {
    let mut ids: Vec<EndpointId> = claims.iter().map(|claim| claim.item.endpoint).collect();
    ids.sort_unstable();
    ids
}

/// No event is left: one that is accepted now is the next to be claimed.
pub(super) async fn no_event_is_left(backend: &dyn QueueBackend) {
    let last = make_more(backend).event();
    backend.events().accept(&last).await.expect("accepted");
    let claim = claim_event(backend).await;
    assert_eq!(claim.item.id, last.id, "an event was left");
    finish(backend, claim).await;
    let events = backend.events();
    assert!(poll!(events.claim(1)).is_pending(), "an event was left behind the last one");
}

/// No delivery is left: those routed now are the next to be claimed. There are many, so that they reach every part of a lane, and
/// whatever waits in one of the parts comes before the last of them.
pub(super) async fn no_delivery_is_left(backend: &dyn QueueBackend) {
    let (message, ids) = route(backend, &make_more(backend), 64).await;
    let claims = claim_deliveries(backend, ids.len()).await;
    assert!(claims.iter().all(|claim| claim.item.message.id == message.id), "a delivery was left");
    assert_eq!(endpoints(&claims), *ids);
    settle_all(backend, claims).await;
}

/// Lets go of deliveries that arrived.
pub(super) async fn settle_all(backend: &dyn QueueBackend, claims: Vec<Claim<Delivery>>) {
    let deliveries = backend.deliveries();
    for claim in claims {
        deliveries.settle(claim, hookyard_core::Outcome::Delivered).await.expect("settled");
    }
}

/// What a step says whose claim is of the past.
pub(super) fn assert_lost<T>(result: Result<T, hookyard_core::Fault>, step: &str) {
    match result {
        Ok(_) => panic!("{step} a claim of the past was taken for done"),
        Err(fault) => assert_eq!(fault.kind, FaultKind::Unavailable, "{step}: {}", fault.chain()),
    }
}
