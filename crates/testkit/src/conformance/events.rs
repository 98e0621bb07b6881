//! The suite of [`hookyard_core::port::Events`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{join, join_all};
use futures_util::poll;
use hookyard_core::admission::{BreakerRule, News, Step};
use hookyard_core::journal::{Cursor, PageRequest};
use hookyard_core::{
    AttemptId, EndpointId, Event, EventId, FanOut, Gate, Lane, MessageId, Refusal, RefusalReason, RejectionId, limits,
};

use super::queues::{
    admitted, assert_lost, claim_deliveries, claim_event, claim_events, endpoints, finish, make, no_delivery_is_left,
    no_event_is_left, route, settle_all,
};
use super::{QueueBackend, eventually, suite, within};

suite! { $ each_promise_of_events: events on QueueBackend,
    an_accepted_event_is_claimed_as_it_was,
    a_claim_waits_for_an_event,
    a_claim_nobody_waits_for_any_more_loses_nothing,
    events_are_claimed_once_each_and_at_most_as_many_as_asked,
    a_claim_dropped_unsettled_comes_again,
    what_is_dropped_again_and_again_is_set_aside,
    what_is_given_back_comes_again_and_never_counts_as_a_failure,
    what_was_settled_is_gone_after_a_restart_and_what_was_not_comes_again,
    a_claim_of_the_past_settles_nothing,
    what_cannot_be_read_is_claimed_with_its_refusal,
    a_rejected_event_is_kept_with_its_reason_and_its_bytes,
    what_was_rejected_is_looked_at_in_pages_tried_again_or_let_go,
    a_fan_out_makes_one_delivery_per_endpoint,
    an_event_for_nobody_can_be_finished,
    a_fan_out_repeated_repeats_the_same_deliveries,
    a_fan_out_to_5000_is_whole_and_lets_others_pass,
    what_goes_to_endpoints_in_trouble_takes_the_slow_lane_and_what_is_shut_waits,
}

async fn an_accepted_event_is_claimed_as_it_was(backend: &dyn QueueBackend) {
    let make = make(backend);
    let full = Event {
        message_id: Some(MessageId::new(backend.clock().now(), &*make.entropy)),
        channels: vec!["client_1".parse().expect("a channel"), "eu".parse().expect("a channel")],
        context: Some(Bytes::from_static(br#"{"tenant": "a  b"}"#)),
        content_type: Arc::from("application/octet-stream"),
        data: Bytes::from((0..=u8::MAX).collect::<Vec<u8>>()),
        traceparent: Some(Arc::from("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
        time: Arc::from("2021-02-25T16:02:10+01:00"),
        ..make.event()
    };
    let bare = Event { id: None, data: Bytes::new(), ..make.event() };
    // An id of our own form or with whatever a URL holds is still only text.
    let id = EventId::parse(&format!("https://example.com/ü?a=b {}", "x".repeat(900)));
    let long = Event { id, data: Bytes::from(vec![b'x'; limits::EVENT_BYTES]), ..make.event() };
    for event in [&full, &bare, &long] {
        backend.events().accept(event).await.expect("accepted");
    }
    let claims = claim_events(backend, 3).await;
    for event in [full, bare, long] {
        let found = claims.iter().find(|claim| claim.item.data == event.data).expect("claimed");
        assert_eq!(found.item, event);
        assert!(!found.redelivered, "nobody had it before");
    }
    for claim in claims {
        finish(backend, claim).await;
    }
}

async fn a_claim_waits_for_an_event(backend: &dyn QueueBackend) {
    let (events, event) = (backend.events(), make(backend).event());
    let mut claiming = events.claim(5);
    assert!(poll!(&mut claiming).is_pending(), "nothing was accepted yet");
    events.accept(&event).await.expect("accepted");
    let mut claims = within("claim", claiming).await.expect("claimed");
    assert_eq!(claims.len(), 1);
    let claim = admitted(claims.remove(0));
    assert_eq!(claim.item, event);
    finish(backend, claim).await;
}

async fn a_claim_nobody_waits_for_any_more_loses_nothing(backend: &dyn QueueBackend) {
    let (events, make) = (backend.events(), make(backend));
    for _ in 0..20 {
        let event = make.event();
        let mut abandoned = events.claim(1);
        assert!(poll!(&mut abandoned).is_pending());
        events.accept(&event).await.expect("accepted");
        // It may have taken the event by now, or not.
        drop(abandoned);
        let claim = claim_event(backend).await;
        assert_eq!(claim.item, event);
        finish(backend, claim).await;
    }
    no_event_is_left(backend).await;
}

async fn events_are_claimed_once_each_and_at_most_as_many_as_asked(backend: &dyn QueueBackend) {
    let (events, make) = (backend.events(), make(backend));
    let mut accepted: Vec<Event> = (0..60).map(|_| make.event()).collect();
    for result in join_all(accepted.iter().map(|event| events.accept(event))).await {
        result.expect("accepted");
    }
    let (one, other) = join(claim_events(backend, 30), claim_events(backend, 30)).await;
    let mut claimed: Vec<Event> = one.iter().chain(&other).map(|claim| claim.item.clone()).collect();
    accepted.sort_by(|a, b| a.data.cmp(&b.data));
    claimed.sort_by(|a, b| a.data.cmp(&b.data));
    assert_eq!(claimed, accepted);
    for claim in one.into_iter().chain(other) {
        assert!(!claim.redelivered, "nobody had it before");
        finish(backend, claim).await;
    }
    no_event_is_left(backend).await;
}

async fn a_claim_dropped_unsettled_comes_again(backend: &dyn QueueBackend) {
    let event = make(backend).event();
    backend.events().accept(&event).await.expect("accepted");
    let first = claim_event(backend).await;
    assert!(!first.redelivered);
    drop(first);
    for _ in 0..2 {
        let again = claim_event(backend).await;
        assert_eq!(again.item, event);
        assert!(again.redelivered, "somebody had it before");
        // Dropped with its item apart, as where a step in between fails.
        drop(again.detach());
    }
    let claim = claim_event(backend).await;
    assert_eq!(claim.item, event);
    finish(backend, claim).await;
    no_event_is_left(backend).await;
}

async fn what_is_dropped_again_and_again_is_set_aside(backend: &dyn QueueBackend) {
    let event = make(backend).event();
    backend.events().accept(&event).await.expect("accepted");
    for _ in 0..limits::CRASH_LOOP {
        let claim = claim_event(backend).await;
        assert_eq!(claim.item, event);
        drop(claim);
    }
    let rejected = eventually("it is set aside", async || Some(backend.rejected().await).filter(|found| !found.is_empty())).await;
    assert_eq!(rejected.len(), 1);
    assert_eq!(rejected[0].reason, RefusalReason::CrashLoop);
    assert!(holds(&rejected[0].body, &event.data), "with its bytes");
    no_event_is_left(backend).await;
}

async fn what_is_given_back_comes_again_and_never_counts_as_a_failure(backend: &dyn QueueBackend) {
    let events = backend.events();
    let event = make(backend).event();
    events.accept(&event).await.expect("accepted");
    for _ in 0..limits::CRASH_LOOP + 2 {
        let claim = claim_event(backend).await;
        assert_eq!(claim.item, event);
        events.give_back(claim.map(drop)).await.expect("given back");
    }
    let claim = claim_event(backend).await;
    assert_eq!(claim.item, event);
    finish(backend, claim).await;
    assert!(backend.rejected().await.is_empty());
    no_event_is_left(backend).await;
}

async fn what_was_settled_is_gone_after_a_restart_and_what_was_not_comes_again(backend: &dyn QueueBackend) {
    let make = make(backend);
    let [finished, rejected, held, unclaimed] = std::array::from_fn(|_| make.event());
    for event in [&finished, &rejected, &held, &unclaimed] {
        backend.events().accept(event).await.expect("accepted");
    }
    let mut holding = None;
    for claim in claim_events(backend, 3).await {
        if claim.item == finished {
            finish(backend, claim).await;
        } else if claim.item == rejected {
            let refusal = Refusal::new(RefusalReason::UnknownApp, "nobody has it");
            backend.events().reject(claim.map(drop), &refusal).await.expect("rejected");
        } else {
            assert_eq!(claim.item, held);
            holding = Some(claim);
        }
    }
    backend.restart().await;
    drop(holding);
    for claim in claim_events(backend, 2).await {
        assert!(claim.item == held || claim.item == unclaimed, "settled before: {:?}", claim.item.id);
        assert!(claim.redelivered || claim.item == unclaimed, "somebody had it before");
        finish(backend, claim).await;
    }
    no_event_is_left(backend).await;
    assert_eq!(backend.rejected().await.len(), 1);
}

async fn a_claim_of_the_past_settles_nothing(backend: &dyn QueueBackend) {
    let (make, before) = (make(backend), backend.events());
    for _ in 0..3 {
        before.accept(&make.event()).await.expect("accepted");
    }
    let mut claims = claim_events(backend, 3).await;
    let message = Arc::new(make.message(make.app().id));
    let nobody: Arc<[EndpointId]> = Arc::from([]);
    let to_finish = claims.remove(0).map(drop);
    let fanned_out = before.fan_out(to_finish, FanOut::untroubled(Arc::clone(&message), nobody)).await.expect("fanned out");
    let (to_reject, to_fan_out) = (claims.remove(0).map(drop), claims.remove(0).map(drop));

    backend.restart().await;
    let refusal = Refusal::new(RefusalReason::UnknownApp, "nobody has it");
    let ids: Arc<[EndpointId]> = (0..3).map(|_| make.endpoint_id()).collect();
    assert_lost(before.finish(fanned_out).await, "finishing");
    assert_lost(before.reject(to_reject, &refusal).await, "rejecting");
    assert_lost(before.fan_out(to_fan_out, FanOut::untroubled(message, ids)).await, "fanning out");
    for claim in claim_events(backend, 3).await {
        assert!(claim.redelivered, "somebody had it before");
        finish(backend, claim).await;
    }
    no_event_is_left(backend).await;
    assert!(backend.rejected().await.is_empty(), "nothing was rejected for a claim of the past");
    no_delivery_is_left(backend).await;
}

async fn what_cannot_be_read_is_claimed_with_its_refusal(backend: &dyn QueueBackend) {
    let body = Bytes::from_static(b"{no event in any form");
    let event = make(backend).event();
    backend.publish_unreadable(body.clone()).await;
    backend.events().accept(&event).await.expect("accepted");
    for _ in 0..2 {
        let claim = within("claim", backend.events().claim(1)).await.expect("claimed").remove(0);
        match claim.transpose() {
            Ok(claim) => {
                assert_eq!(claim.item, event);
                finish(backend, claim).await;
            }
            Err((refusal, claim)) => {
                assert_eq!(refusal.reason, RefusalReason::Unreadable);
                backend.events().reject(claim, &refusal).await.expect("rejected");
            }
        }
    }
    let rejected = backend.rejected().await;
    assert_eq!(rejected.len(), 1);
    assert_eq!((rejected[0].reason, &rejected[0].body), (RefusalReason::Unreadable, &body));
    no_event_is_left(backend).await;
}

async fn a_rejected_event_is_kept_with_its_reason_and_its_bytes(backend: &dyn QueueBackend) {
    let make = make(backend);
    for reason in RefusalReason::ALL {
        let event = make.event();
        backend.events().accept(&event).await.expect("accepted");
        let claim = claim_event(backend).await.map(drop);
        let refusal = Refusal::new(reason, format!("because of {} \u{fc}", "x".repeat(2_000)));
        backend.events().reject(claim, &refusal).await.expect("rejected");
        let rejected = backend.rejected().await;
        assert_eq!(rejected.len(), 1, "{}", reason.as_str());
        assert_eq!(rejected[0].reason, reason);
        assert!(holds(&rejected[0].body, &event.data), "with its bytes");
    }
    no_event_is_left(backend).await;
}

async fn what_was_rejected_is_looked_at_in_pages_tried_again_or_let_go(backend: &dyn QueueBackend) {
    let (events, rejections, make) = (backend.events(), backend.rejections(), make(backend));
    let page = async |from: Option<RejectionId>, limit| {
        let request = PageRequest { from: from.map(Cursor::After), limit };
        let page = rejections.rejections(request).await.expect("answered");
        (page.items, page.done)
    };
    let wanted: Vec<Event> = (0..5).map(|_| make.event()).collect();
    for event in &wanted {
        events.accept(event).await.expect("accepted");
        let claim = claim_event(backend).await;
        let refusal = Refusal::new(RefusalReason::IdConflict, "known with other content");
        events.reject(claim.map(drop), &refusal).await.expect("rejected");
    }
    let (all, done) = page(None, 9).await;
    assert!(done && all.len() == 5, "{all:?}");
    assert!(all.iter().all(|found| found.reason == "id_conflict" && found.detail == "known with other content"));
    // Looking takes nothing away, and keeps the order.
    let (first, done) = page(None, 2).await;
    assert!(!done && first == all[..2], "{first:?}");
    let (rest, done) = page(Some(first[1].id), 3).await;
    assert!(done && rest == all[2..], "{rest:?}");
    assert_eq!(rejections.discard(&[all[0].id, all[1].id]).await.expect("answered"), 2);
    assert_eq!(rejections.retry(&[all[0].id, all[3].id]).await.expect("answered"), 1, "one of them is gone");
    let again = claim_event(backend).await;
    assert_eq!(again.item, wanted[3]);
    finish(backend, again).await;
    no_event_is_left(backend).await;
    let (left, _) = page(None, 9).await;
    assert_eq!(left, [all[2].clone(), all[4].clone()]);
    // What was shown last is gone: what was behind it is in front.
    let (next, done) = page(Some(all[1].id), 9).await;
    assert!(done && next == left, "{next:?}");
}

async fn a_fan_out_makes_one_delivery_per_endpoint(backend: &dyn QueueBackend) {
    let make = make(backend);
    let (message, ids) = route(backend, &make, 10).await;
    let claims = claim_deliveries(backend, ids.len()).await;
    assert_eq!(endpoints(&claims), *ids);
    for claim in &claims {
        let expected = hookyard_core::Delivery::routed(Arc::clone(&message), claim.item.endpoint, false);
        assert_eq!(claim.item, expected);
        assert!(!claim.redelivered, "nobody had it before");
    }
    settle_all(backend, claims).await;
    no_delivery_is_left(backend).await;
    no_event_is_left(backend).await;
}

async fn an_event_for_nobody_can_be_finished(backend: &dyn QueueBackend) {
    let make = make(backend);
    route(backend, &make, 0).await;
    no_event_is_left(backend).await;
    no_delivery_is_left(backend).await;
}

async fn a_fan_out_repeated_repeats_the_same_deliveries(backend: &dyn QueueBackend) {
    let (make, events) = (make(backend), backend.events());
    events.accept(&make.event()).await.expect("accepted");
    let (event, claim) = claim_event(backend).await.detach();
    let message = Arc::new(make.message_of(make.app().id, event));
    let ids: Arc<[EndpointId]> = (0..5).map(|_| make.endpoint_id()).collect();
    // Everything is durable, and then it is not finished: as after a crash.
    let fan_out = FanOut::untroubled(message, Arc::clone(&ids));
    drop(events.fan_out(claim, fan_out.clone()).await.expect("fanned out"));
    let again = claim_event(backend).await;
    assert!(again.redelivered, "somebody had it before");
    let repeated = FanOut { maybe_repeat: true, ..fan_out };
    let fanned_out = events.fan_out(again.map(drop), repeated).await.expect("fanned out");
    events.finish(fanned_out).await.expect("finished");

    let claims = claim_deliveries(backend, 2 * ids.len()).await;
    let mut attempts: BTreeMap<EndpointId, Vec<(AttemptId, bool)>> = BTreeMap::new();
    for claim in &claims {
        attempts.entry(claim.item.endpoint).or_default().push((claim.item.attempt_id(), claim.item.maybe_repeat));
    }
    assert_eq!(attempts.len(), ids.len());
    for (endpoint, made) in attempts {
        let [(first, _), (second, _)] = made[..] else { panic!("{endpoint}: {made:?}") };
        assert_eq!(first, second, "the same attempt, so that the fence recognises it");
        assert_eq!(made.iter().filter(|(_, maybe_repeat)| *maybe_repeat).count(), 1, "the repeated one says so");
    }
    settle_all(backend, claims).await;
    no_event_is_left(backend).await;
    no_delivery_is_left(backend).await;
}

async fn what_goes_to_endpoints_in_trouble_takes_the_slow_lane_and_what_is_shut_waits(backend: &dyn QueueBackend) {
    let (make, events, deliveries) = (make(backend), backend.events(), backend.deliveries());
    events.accept(&make.event()).await.expect("accepted");
    let (event, claim) = claim_event(backend).await.detach();
    let message = Arc::new(make.message_of(make.app().id, event));
    let [well, slow, shut] = [(); 3].map(|()| make.endpoint_id());
    let now = backend.clock().now();
    let until = now.plus(Duration::from_secs(1));
    let gate = |slow, hold_until| {
        let step = Step::Observe { news: News::Success, is_probe: false, slow, hold_until, rule: BreakerRule::default() };
        Gate::default().steps(&[step], now).after
    };
    let gates = Arc::new([(slow.into(), gate(true, None)), (shut.into(), gate(false, Some(until)))].into());
    let endpoints = Arc::from([slow, shut, well]);
    let fan_out = FanOut { message, endpoints, as_of: 0, maybe_repeat: false, gates, now };
    events.finish(events.fan_out(claim, fan_out).await.expect("fanned out")).await.expect("finished");

    let claim_one = async |lane| within("claim", deliveries.claim(lane, 5)).await.expect("claimed").remove(0);
    let (of_well, of_slow) = (claim_one(Lane::Fast).await, claim_one(Lane::Slow).await);
    assert_eq!((of_well.item.endpoint, of_slow.item.endpoint), (well, slow));
    backend.pass(Duration::from_secs(1)).await;
    let of_shut = claim_one(Lane::Slow).await;
    assert_eq!((of_shut.item.endpoint, of_shut.item.not_before), (shut, Some(until)));
    assert!(backend.clock().now() >= until && of_shut.item.attempt == 1);
    settle_all(backend, vec![of_well, of_slow, of_shut]).await;
    no_delivery_is_left(backend).await;
}

async fn a_fan_out_to_5000_is_whole_and_lets_others_pass(backend: &dyn QueueBackend) {
    let (make, events) = (make(backend), backend.events());
    for _ in 0..2 {
        events.accept(&make.event()).await.expect("accepted");
    }
    let mut claims = claim_events(backend, 2).await;
    let message = Arc::new(make.message(make.app().id));
    let many: Arc<[EndpointId]> = (0..5_000).map(|_| make.endpoint_id()).collect();
    let one: Arc<[EndpointId]> = Arc::from([make.endpoint_id()]);
    let mut large = events.fan_out(claims.remove(0).map(drop), FanOut::untroubled(Arc::clone(&message), Arc::clone(&many)));
    assert!(poll!(&mut large).is_pending(), "it has begun, and it is not one step");
    let mut small = events.fan_out(claims.remove(0).map(drop), FanOut::untroubled(message, Arc::clone(&one)));
    let mut unfinished = None;
    let small = within("the small fan-out", async {
        tokio::select! {
            biased;
            small = &mut small => small,
            large = &mut large => {
                unfinished = Some(large);
                small.await
            }
        }
    });
    let small = small.await.expect("fanned out");
    assert!(unfinished.is_none(), "the small fan-out waited for the large one");
    let large = within("the large fan-out", large).await.expect("fanned out");
    for fanned_out in [small, large] {
        events.finish(fanned_out).await.expect("finished");
    }
    let mut found = Vec::with_capacity(5_001);
    while found.len() < 5_001 {
        let claims = claim_deliveries(backend, (5_001 - found.len()).min(200)).await;
        found.extend(endpoints(&claims));
        settle_all(backend, claims).await;
    }
    found.sort_unstable();
    let mut expected: Vec<EndpointId> = many.iter().chain(&*one).copied().collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
    no_delivery_is_left(backend).await;
}

/// Whether `part` stands in `whole` as it is.
fn holds(whole: &[u8], part: &[u8]) -> bool {
    whole.windows(part.len()).any(|window| window == part)
}
