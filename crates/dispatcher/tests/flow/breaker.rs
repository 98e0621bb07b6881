//! A receiver that answers is tried as the schedule says; one that is silent is left alone, and has its backlog soon after it answers.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use hookyard_core::{AttemptClass, BreakerState, Clock as _, DeadReason};
use hookyard_testkit::{Answer, SeededEntropy};

use crate::stage::{Fate, Stage};

const SCHEDULE: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(4)];
/// The jitter of a schedule, at most.
const JITTER: f64 = 0.2;

/// Whether the attempt of a message with so many before fails, in a share of them.
fn fails(seed: u64, id: &str, before: usize, share: f64) -> bool {
    let hash = id.bytes().fold(seed, |hash, byte| hash.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte));
    let entropy = SeededEntropy::new(hash.wrapping_add(before as u64));
    let below = u32::try_from(entropy.below(10_000)).expect("below 10,000");
    f64::from(below) < share * 10_000.0
}

#[tokio::test(start_paused = true)]
async fn what_three_attempts_give_is_delivered_at_the_times_of_the_schedule() {
    let silences = [Answer::Silence(AttemptClass::Connect), Answer::Silence(AttemptClass::Protocol)];
    for (number, share) in [0.05, 0.2, 0.5, 0.8, 0.9].into_iter().enumerate() {
        for failure in [Answer::Status(500), Answer::Status(429), silences[number % 2]] {
            check_share(share, failure, 10).await;
        }
    }
    for failure in [Answer::Status(500), Answer::Status(404)] {
        check_share(0.95, failure, 10).await;
        check_share(1.0, failure, 10).await;
    }
    check_share(0.5, Answer::Status(500), 1).await;
    check_share(0.5, Answer::Silence(AttemptClass::Connect), 1).await;
    check_share(0.5, Answer::Status(500), 200).await;
    check_share(0.5, Answer::Silence(AttemptClass::Connect), 200).await;
}

async fn check_share(share: f64, failure: Answer, per_second: u32) {
    let stage = Stage::new(7);
    let app = stage.app().await;
    let endpoint = stage.endpoint(app.id, "flaky.example", |endpoint| endpoint.retry_schedule = Some(SCHEDULE.into())).await;
    stage.receivers.script("flaky.example", move |asked| {
        let fails = fails(11, &asked.id, asked.before, share);
        (if fails { failure } else { Answer::Status(200) }, Duration::from_millis(20))
    });
    let process = stage.start();
    let mut deliveries = Vec::new();
    for _ in 0..(30 * per_second).min(2_000) {
        deliveries.push(stage.publish(&endpoint));
        stage.pass(Duration::from_secs(1) / per_second).await;
    }
    stage.pass((SCHEDULE[0] + SCHEDULE[1]).mul_f64(1.0 + JITTER) + Duration::from_secs(1)).await;
    let what = format!("{share} of {failure:?}, {per_second} a second");
    let fates = stage.fates(&deliveries).await;
    for delivery in &deliveries {
        let id = delivery.message.id.to_string();
        let wanted = (0..3).find(|attempt| !fails(11, &id, *attempt, share));
        let fate = wanted.map_or(Fate::Dead(DeadReason::AttemptsExhausted), |_| Fate::Delivered);
        assert_eq!(fates[&delivery.key()], fate, "{what}: {id}");
        let attempts = stage.attempts(delivery).await;
        assert_eq!(attempts.len(), wanted.map_or(3, |wanted| wanted + 1), "{what}: {id}");
        for (pair, wait) in attempts.windows(2).zip(SCHEDULE) {
            let ended = pair[0].result.started_at.plus(pair[0].result.duration);
            let gap = pair[1].result.started_at.since(ended);
            assert!(
                gap >= wait && gap <= wait.mul_f64(1.0 + JITTER) + Duration::from_secs(1),
                "{what}: {gap:?} and not {wait:?}"
            );
        }
    }
    process.stop();
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_that_wait_for_one_that_hangs_are_there_soon_after_it_answers() {
    const WAITING: usize = 10_000;
    let stage = Stage::new(1);
    let app = stage.app().await;
    let endpoint = stage.endpoint(app.id, "hangs.example", |_| {}).await;
    let well = stage.endpoint(app.id, "well.example", |_| {}).await;
    let back_at = Duration::from_secs(400);
    // It answers one after the other, every two milliseconds.
    let free_at = Mutex::new(back_at);
    stage.receivers.script("hangs.example", move |asked| {
        let mut free_at = free_at.lock().expect("no holder panics");
        *free_at = asked.at.max(*free_at) + Duration::from_millis(2);
        (if asked.at < back_at { Answer::Hang } else { Answer::Status(200) }, free_at.saturating_sub(asked.at))
    });
    let process = stage.start();
    for number in 0..WAITING {
        stage.publish(&endpoint);
        if number % 10 == 0 {
            stage.publish(&well);
        }
        stage.pass(Duration::from_millis(20)).await;
    }
    assert_eq!(stage.gate(endpoint.id).await.breaker(stage.clock.now()), BreakerState::Open);
    stage.pass(Duration::from_secs(1_200)).await;
    let asked = stage.receivers.asked();
    let taken: Vec<_> = asked.iter().filter(|(asked, _)| asked.host == "hangs.example" && asked.at >= back_at).collect();
    let ids: BTreeSet<_> = taken.iter().map(|(asked, _)| &asked.id).collect();
    let (first, last) = (&taken.first().expect("it was probed").0.at, taken.last().expect("it was probed").0.at);
    assert_eq!(ids.len(), WAITING, "each of them");
    let took = last.saturating_sub(*first);
    assert!(took <= Duration::from_secs(25), "the last {took:?} after the first");
    assert_eq!((stage.broker.deliveries_waiting(), stage.broker.take_dead().len()), (0, 0));
    process.stop();
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_wants_no_breaker_is_tried_as_its_schedule_says() {
    let stage = Stage::new(2);
    let app = stage.app().await;
    let change = |endpoint: &mut hookyard_core::Endpoint| {
        (endpoint.retry_schedule, endpoint.breaker_percent) = (Some(SCHEDULE.into()), Some(0));
    };
    let endpoint = stage.endpoint(app.id, "away.example", change).await;
    stage.receivers.script("away.example", |_| (Answer::Silence(AttemptClass::Connect), Duration::from_millis(20)));
    let process = stage.start();
    let mut deliveries = Vec::new();
    for _ in 0..300 {
        deliveries.push(stage.publish(&endpoint));
        stage.pass(Duration::from_millis(100)).await;
    }
    stage.pass(Duration::from_secs(10)).await;
    assert_eq!(stage.gate(endpoint.id).await.breaker(stage.clock.now()), BreakerState::Closed);
    let fates = stage.fates(&deliveries).await;
    assert!(fates.values().all(|fate| *fate == Fate::Dead(DeadReason::AttemptsExhausted)));
    process.stop();
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_one_that_is_left_alone_is_dead_when_an_operator_says() {
    let mut stage = Stage::new(3);
    stage.config.unavailable_after = Duration::from_secs(900);
    let app = stage.app().await;
    let endpoint = stage.endpoint(app.id, "away.example", |_| {}).await;
    stage.receivers.script("away.example", |_| (Answer::Silence(AttemptClass::Connect), Duration::from_millis(20)));
    let process = stage.start();
    let mut deliveries = Vec::new();
    for _ in 0..200 {
        deliveries.push(stage.publish(&endpoint));
        stage.pass(Duration::from_millis(100)).await;
    }
    stage.pass(Duration::from_secs(800)).await;
    assert!(stage.broker.take_dead().is_empty(), "none has waited for so long");
    stage.pass(Duration::from_secs(6 * 3600)).await;
    let fates = stage.fates(&deliveries).await;
    let unavailable = fates.values().filter(|fate| **fate == Fate::Dead(DeadReason::EndpointUnavailable)).count();
    assert_eq!(stage.broker.deliveries_waiting(), 0);
    assert!(unavailable > 150, "{unavailable} of {}", fates.len());
    process.stop();
}
