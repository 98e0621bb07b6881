//! The suite of [`hookyard_core::port::Deliveries`].

use std::time::Duration;

use futures_util::future::{join, join_all};
use futures_util::poll;
use hookyard_core::{
    Claim, DeadReason, Delivery, DiscardReason, EndpointId, Lane, Outcome, RefusalReason, Timestamp, Trigger, limits,
};

use super::queues::{
    assert_lost, claim_deliveries, claim_delivery, claim_due, endpoints, make, no_delivery_is_left, panic_with, route, settle_all,
};
use super::{DeadLetter, QueueBackend, eventually, suite, within};
use crate::builders::remembered;

suite! { $ each_promise_of_deliveries: deliveries on QueueBackend,
    a_claim_waits_for_a_delivery,
    deliveries_are_claimed_once_each_and_at_most_as_many_as_asked,
    a_claim_dropped_unsettled_comes_again,
    what_is_dropped_again_and_again_is_set_aside,
    what_panics_three_times_is_set_aside,
    what_was_settled_is_gone_after_a_restart_and_what_was_not_comes_again,
    a_claim_of_the_past_settles_nothing,
    settling_a_retry_makes_the_next_attempt_claimable_when_due,
    a_deferred_delivery_keeps_its_attempt,
    those_put_aside_for_one_endpoint_come_back_each_as_it_was,
    of_those_that_come_back_together_one_that_is_dropped_comes_again,
    retries_are_not_early,
    a_dead_delivery_is_kept_with_its_reason_and_its_history,
    a_further_run_is_claimable_as_it_was_enqueued,
}

/// The shortest delay a backend is asked for: none need be finer.
const A_MOMENT: Duration = Duration::from_secs(1);
/// How much later than promised a delivery may come on a busy machine.
const LATE_AT_MOST: Duration = Duration::from_secs(5);

async fn a_claim_waits_for_a_delivery(backend: &dyn QueueBackend) {
    let deliveries = backend.deliveries();
    let mut claiming = deliveries.claim(Lane::Fast, 5);
    assert!(poll!(&mut claiming).is_pending(), "nothing was routed yet");
    let (_, ids) = route(backend, &make(backend), 1).await;
    let claims = within("claim", claiming).await.expect("claimed");
    assert_eq!(endpoints(&claims), *ids);
    settle_all(backend, claims).await;
    no_delivery_is_left(backend).await;
}

async fn deliveries_are_claimed_once_each_and_at_most_as_many_as_asked(backend: &dyn QueueBackend) {
    let (_, ids) = route(backend, &make(backend), 60).await;
    let (mut one, other) = join(claim_deliveries(backend, 30), claim_deliveries(backend, 30)).await;
    one.extend(other);
    assert_eq!(endpoints(&one), *ids);
    assert!(one.iter().all(|claim| !claim.redelivered), "nobody had it before");
    settle_all(backend, one).await;
    no_delivery_is_left(backend).await;
}

async fn a_claim_dropped_unsettled_comes_again(backend: &dyn QueueBackend) {
    route(backend, &make(backend), 1).await;
    let first = claim_delivery(backend).await;
    assert!(!first.redelivered);
    let delivery = first.item.clone();
    drop(first);
    for _ in 0..2 {
        let again = claim_delivery(backend).await;
        assert_eq!(again.item, delivery, "no attempt was used up");
        assert!(again.redelivered, "somebody had it before");
        drop(again);
    }
    let claim = claim_delivery(backend).await;
    settle_all(backend, vec![claim]).await;
    no_delivery_is_left(backend).await;
}

async fn what_is_dropped_again_and_again_is_set_aside(backend: &dyn QueueBackend) {
    route(backend, &make(backend), 1).await;
    for _ in 0..limits::CRASH_LOOP {
        drop(claim_delivery(backend).await);
    }
    let rejected = eventually("it is set aside", async || Some(backend.rejected().await).filter(|found| !found.is_empty())).await;
    assert_eq!(rejected.len(), 1);
    assert_eq!(rejected[0].reason, RefusalReason::CrashLoop);
    no_delivery_is_left(backend).await;
}

async fn what_panics_three_times_is_set_aside(backend: &dyn QueueBackend) {
    route(backend, &make(backend), 1).await;
    for _ in 0..3 {
        panic_with(claim_delivery(backend).await);
    }
    let rejected = eventually("it is set aside", async || backend.rejected().await.pop()).await;
    assert_eq!(rejected.reason, RefusalReason::CrashLoop);
    no_delivery_is_left(backend).await;
}

async fn what_was_settled_is_gone_after_a_restart_and_what_was_not_comes_again(backend: &dyn QueueBackend) {
    let deliveries = backend.deliveries();
    let (_, ids) = route(backend, &make(backend), 6).await;
    let at = backend.clock().now().plus(A_MOMENT);
    let mut holding = Vec::new();
    for claim in claim_deliveries(backend, 6).await {
        let outcome = match ids.iter().position(|id| *id == claim.item.endpoint) {
            Some(0) => Outcome::Delivered,
            Some(1) => Outcome::Discarded(DiscardReason::EndpointDeleted),
            Some(2) => Outcome::Dead(DeadReason::Gone),
            Some(3) => Outcome::Retry { at },
            Some(4) => {
                deliveries.defer(claim, at, Lane::Fast).await.expect("deferred");
                continue;
            }
            _ => {
                holding.push(claim);
                continue;
            }
        };
        deliveries.settle(claim, outcome).await.expect("settled");
    }
    backend.restart().await;
    drop(holding);
    let (due, ()) = join(claim_due(backend, 3), backend.pass(A_MOMENT)).await;
    let mut come: Vec<(EndpointId, u32)> = due.iter().map(|(claim, _)| (claim.item.endpoint, claim.item.attempt)).collect();
    come.sort_unstable();
    assert_eq!(come, [(ids[3], 2), (ids[4], 1), (ids[5], 1)], "what was put aside or held comes once each");
    let is_held = |claim: &Claim<Delivery>| claim.item.endpoint == ids[5];
    assert!(due.iter().any(|(claim, _)| is_held(claim) && claim.redelivered), "somebody had it before");
    settle_all(backend, due.into_iter().map(|(claim, _)| claim).collect()).await;
    no_delivery_is_left(backend).await;
    assert_eq!(backend.dead().await.len(), 1);
}

async fn a_claim_of_the_past_settles_nothing(backend: &dyn QueueBackend) {
    let before = backend.deliveries();
    let (_, ids) = route(backend, &make(backend), 4).await;
    let claims = claim_deliveries(backend, 4).await;
    backend.restart().await;
    let at = backend.clock().now().plus(A_MOMENT);
    for (number, claim) in claims.into_iter().enumerate() {
        match number {
            0 => assert_lost(before.settle(claim, Outcome::Delivered).await, "settling"),
            1 => assert_lost(before.settle(claim, Outcome::Dead(DeadReason::Gone)).await, "burying"),
            2 => assert_lost(before.settle(claim, Outcome::Retry { at }).await, "retrying"),
            _ => assert_lost(before.defer(claim, at, Lane::Fast).await, "deferring"),
        }
    }
    let again = claim_deliveries(backend, 4).await;
    assert_eq!(endpoints(&again), *ids);
    assert!(again.iter().all(|claim| claim.redelivered && claim.item.attempt == 1));
    settle_all(backend, again).await;
    backend.pass(A_MOMENT).await;
    no_delivery_is_left(backend).await;
    assert!(backend.dead().await.is_empty(), "nothing died for a claim of the past");
}

async fn settling_a_retry_makes_the_next_attempt_claimable_when_due(backend: &dyn QueueBackend) {
    let (message, ids) = route(backend, &make(backend), 1).await;
    let clock = backend.clock();
    let first = claim_delivery(backend).await;
    let made = remembered(503, clock.now());
    let at = clock.now().plus(A_MOMENT);
    backend.deliveries().settle(first.map(|delivery| delivery.after(made)), Outcome::Retry { at }).await.expect("settled");
    let (mut due, ()) = join(claim_due(backend, 1), backend.pass(A_MOMENT)).await;
    let (second, now) = due.remove(0);
    assert!(now >= at);
    let delivery = &second.item;
    assert_eq!((&delivery.message, delivery.endpoint), (&message, ids[0]));
    assert_eq!((delivery.run, delivery.attempt, delivery.due, delivery.not_before), (0, 2, at, Some(at)));
    assert_eq!(delivery.history, [made]);
    assert!(!delivery.maybe_repeat);
    settle_all(backend, vec![second]).await;
    no_delivery_is_left(backend).await;
}

async fn a_deferred_delivery_keeps_its_attempt(backend: &dyn QueueBackend) {
    route(backend, &make(backend), 2).await;
    let clock = backend.clock();
    let (now, later) = (clock.now(), clock.now().plus(A_MOMENT));
    let mut before: Vec<Delivery> = Vec::new();
    // A moment that has passed is as good as now.
    for (claim, at) in claim_deliveries(backend, 2).await.into_iter().zip([now, later]) {
        before.push(claim.item.clone());
        backend.deliveries().defer(claim, at, Lane::Fast).await.expect("deferred");
    }
    let (due, ()) = join(claim_due(backend, 2), backend.pass(A_MOMENT)).await;
    for (claim, claimed_at) in &due {
        let found = before.iter().position(|delivery| delivery.endpoint == claim.item.endpoint).expect("one of the two");
        let at = [now, later][found];
        assert!(*claimed_at >= at);
        assert_eq!(claim.item.not_before, Some(at));
        assert_eq!(claim.item.attempt_id(), before[found].attempt_id(), "no attempt was used up");
        let unchanged = Delivery { not_before: None, delay_ms: 0, rest_ms: None, ..claim.item.clone() };
        assert_eq!(unchanged, before[found]);
    }
    settle_all(backend, due.into_iter().map(|(claim, _)| claim).collect()).await;
    no_delivery_is_left(backend).await;
}

/// Puts so many deliveries to one endpoint aside at once, in the slow lane; as they were.
async fn put_aside(backend: &dyn QueueBackend, count: usize) -> Vec<Delivery> {
    let (deliveries, now) = (backend.deliveries(), backend.clock().now());
    let (message, ids) = route(backend, &make(backend), 1).await;
    settle_all(backend, vec![claim_delivery(backend).await]).await;
    let runs = 1..=u32::try_from(count).expect("few");
    let rerun = |run| Delivery::rerun(message.clone(), ids[0], run, Trigger::Replay, now);
    within("enqueue", deliveries.enqueue(runs.map(rerun).collect())).await.expect("enqueued");
    let claims = claim_deliveries(backend, count).await;
    let before = claims.iter().map(|claim| claim.item.clone()).collect();
    let at = now.plus(A_MOMENT);
    let deferred = join_all(claims.into_iter().map(|claim| deliveries.defer(claim, at, Lane::Slow))).await;
    assert!(deferred.into_iter().all(|deferred| deferred.is_ok()));
    before
}

/// Claims this many from the slow lane, which have been put aside.
async fn claim_back(backend: &dyn QueueBackend, count: usize) -> Vec<Claim<Delivery>> {
    let (deliveries, mut back) = (backend.deliveries(), Vec::new());
    while back.len() < count {
        back.extend(within("claim those put aside", deliveries.claim(Lane::Slow, count)).await.expect("claimed"));
    }
    back.sort_by_key(|claim| claim.item.run);
    back
}

async fn those_put_aside_for_one_endpoint_come_back_each_as_it_was(backend: &dyn QueueBackend) {
    // More than anybody puts into one message.
    let mut before = put_aside(backend, 100).await;
    before.sort_by_key(|delivery| delivery.run);
    let (back, ()) = join(claim_back(backend, before.len()), backend.pass(A_MOMENT)).await;
    let unchanged = back.iter().map(|claim| Delivery { not_before: None, delay_ms: 0, rest_ms: None, ..claim.item.clone() });
    assert_eq!(unchanged.collect::<Vec<_>>(), before);
    assert!(back.iter().all(|claim| claim.item.not_before.is_some_and(|at| at <= backend.clock().now())));
    settle_all(backend, back).await;
    assert!(poll!(backend.deliveries().claim(Lane::Slow, 1)).is_pending());
    no_delivery_is_left(backend).await;
}

async fn of_those_that_come_back_together_one_that_is_dropped_comes_again(backend: &dyn QueueBackend) {
    put_aside(backend, 10).await;
    let (mut back, ()) = join(claim_back(backend, 10), backend.pass(A_MOMENT)).await;
    let dropped = back.remove(4);
    let run = dropped.item.run;
    drop(dropped);
    settle_all(backend, back).await;
    let again = claim_back(backend, 1).await;
    assert_eq!(again.iter().map(|claim| (claim.item.run, claim.redelivered)).collect::<Vec<_>>(), [(run, true)]);
    settle_all(backend, again).await;
    assert!(poll!(backend.deliveries().claim(Lane::Slow, 1)).is_pending());
    no_delivery_is_left(backend).await;
}

async fn retries_are_not_early(backend: &dyn QueueBackend) {
    // Whole, broken and odd: what a backend that waits in powers of two has to put together.
    let delays = [1_000, 1_400, 2_000, 3_100].map(Duration::from_millis);
    let (_, ids) = route(backend, &make(backend), delays.len()).await;
    let clock = backend.clock();
    let mut wanted: Vec<(EndpointId, Timestamp)> = Vec::new();
    for claim in claim_deliveries(backend, ids.len()).await {
        let at = clock.now().plus(delays[wanted.len()]);
        wanted.push((claim.item.endpoint, at));
        backend.deliveries().settle(claim, Outcome::Retry { at }).await.expect("settled");
    }
    // The last hop of a delay may be a second longer than what is left of it.
    let (due, ()) = join(claim_due(backend, ids.len()), backend.pass(delays[3])).await;
    for (claim, claimed_at) in &due {
        let (_, at) = wanted.iter().find(|(endpoint, _)| *endpoint == claim.item.endpoint).expect("one of them");
        assert!(claimed_at >= at, "{} ms early", at.since(*claimed_at).as_millis());
        assert!(claimed_at.since(*at) < A_MOMENT + LATE_AT_MOST, "{} ms late", claimed_at.since(*at).as_millis());
        assert_eq!((claim.item.attempt, claim.item.due), (2, *at));
    }
    let claims: Vec<_> = due.into_iter().map(|(claim, _)| claim).collect();
    assert_eq!(endpoints(&claims), *ids, "each once");
    settle_all(backend, claims).await;
    no_delivery_is_left(backend).await;
}

async fn a_dead_delivery_is_kept_with_its_reason_and_its_history(backend: &dyn QueueBackend) {
    let clock = backend.clock();
    let (message, ids) = route(backend, &make(backend), DeadReason::ALL.len()).await;
    let mut expected: Vec<DeadLetter> = Vec::new();
    for (claim, reason) in claim_deliveries(backend, ids.len()).await.into_iter().zip(DeadReason::ALL) {
        let claim = claim.map(|delivery| delivery.after(remembered(500, clock.now())));
        assert_eq!(claim.item.message, message);
        expected.push(DeadLetter { delivery: claim.item.clone(), reason });
        backend.deliveries().settle(claim, Outcome::Dead(reason)).await.expect("settled");
    }
    let mut dead = backend.dead().await;
    for letters in [&mut dead, &mut expected] {
        letters.sort_by_key(|letter| letter.delivery.endpoint);
    }
    assert_eq!(dead, expected);
    no_delivery_is_left(backend).await;
}

async fn a_further_run_is_claimable_as_it_was_enqueued(backend: &dyn QueueBackend) {
    let (message, ids) = route(backend, &make(backend), 1).await;
    settle_all(backend, vec![claim_delivery(backend).await]).await;
    let now = backend.clock().now();
    let again = Delivery::rerun(message, ids[0], 1, Trigger::Replay, now);
    within("enqueue", backend.deliveries().enqueue(vec![again.clone()])).await.expect("enqueued");
    let claim = claim_delivery(backend).await;
    assert_eq!(claim.item, again);
    assert!(claim.item.may_be_recorded(claim.redelivered), "somebody may have begun this run before");
    settle_all(backend, vec![claim]).await;
    no_delivery_is_left(backend).await;
}
