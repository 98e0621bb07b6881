//! What endpoints and applications allow is kept by all dispatchers together, and what was let leave and did not is given back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hookyard_core::{AttemptClass, RefusalReason};
use hookyard_testkit::Answer;

use crate::stage::{Fate, Stage};

/// The most requests that began within a second.
fn most_in_a_second(times: &[Duration]) -> usize {
    let within = |first: &Duration| times.iter().filter(|at| **at >= *first && **at < *first + Duration::from_secs(1)).count();
    times.iter().map(within).max().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_kept_and_used() {
    const RATE: u16 = 10;
    let stage = Stage::new(1);
    let app = stage.app().await;
    let endpoint = stage.endpoint(app.id, "limited.example", |endpoint| endpoint.throttle_rate = Some(RATE)).await;
    let processes = [stage.start(), stage.start()];
    let deliveries: Vec<_> = (0..300).map(|_| stage.publish(&endpoint)).collect();
    stage.pass(Duration::from_secs(60)).await;
    let times: Vec<Duration> = stage.receivers.asked().iter().map(|(asked, _)| asked.at).collect();
    assert_eq!(times.len(), deliveries.len(), "each arrives once");
    let took = times[times.len() - 1].saturating_sub(times[0]);
    // A burst of one second leaves at once.
    assert!(took > Duration::from_secs(27) && took < Duration::from_secs(34), "{took:?}");
    assert!(most_in_a_second(&times) <= usize::from(RATE) * 2 + 1, "{}", most_in_a_second(&times));
    processes.iter().for_each(crate::stage::Process::stop);
}

#[tokio::test(start_paused = true)]
async fn what_could_not_leave_costs_its_application_nothing() {
    const APP_RATE: u16 = 20;
    let stage = Stage::new(2);
    let app = hookyard_core::Application { throttle_rate: Some(APP_RATE), ..stage.make.app() };
    hookyard_core::port::Directory::put_app(&*stage.directory, &app, hookyard_core::port::Expect::New).await.expect("stored");
    // It lets a hundred wait for its two places, each of which was let leave by the application's gate before.
    let busy = stage.endpoint(app.id, "busy.example", |endpoint| endpoint.max_in_flight = Some(1)).await;
    let other = stage.endpoint(app.id, "other.example", |_| {}).await;
    stage.receivers.script("busy.example", |_| (Answer::Status(200), Duration::from_secs(4)));
    let process = stage.start();
    for _ in 0..100 {
        stage.publish(&busy);
    }
    stage.pass(Duration::from_secs(20)).await;
    for _ in 0..100 {
        stage.publish(&other);
    }
    stage.pass(Duration::from_secs(8)).await;
    let asked = stage.receivers.asked();
    let arrived = asked.iter().filter(|(asked, _)| asked.host == "other.example").count();
    assert_eq!(arrived, 100, "those that wait for a place do not use up the application's rate");
    process.stop();
}

#[tokio::test(start_paused = true)]
async fn no_more_are_out_at_once_than_an_endpoint_wants() {
    let stage = Stage::new(3);
    let app = stage.app().await;
    let endpoint = stage.endpoint(app.id, "narrow.example", |endpoint| endpoint.max_in_flight = Some(2)).await;
    stage.receivers.script("narrow.example", |_| (Answer::Status(200), Duration::from_millis(500)));
    let process = stage.start();
    for _ in 0..40 {
        stage.publish(&endpoint);
    }
    stage.pass(Duration::from_secs(60)).await;
    let times: Vec<Duration> = stage.receivers.asked().iter().map(|(asked, _)| asked.at).collect();
    assert_eq!(times.len(), 40);
    let at_once =
        |at: &Duration| times.iter().filter(|begun| **begun <= *at && *at < **begun + Duration::from_millis(500)).count();
    assert!(times.iter().map(at_once).max() <= Some(2));
    process.stop();
}

#[tokio::test(start_paused = true)]
async fn a_probe_whose_process_dies_is_followed_by_another() {
    let stage = Stage::new(4);
    let app = stage.app().await;
    let endpoint = stage.endpoint(app.id, "away.example", |_| {}).await;
    let back_at = Duration::from_secs(25);
    stage.receivers.script("away.example", move |asked| match asked.at {
        at if at < back_at => (Answer::Silence(AttemptClass::Connect), Duration::from_millis(20)),
        at if at < back_at * 3 => (Answer::Hang, Duration::ZERO),
        _ => (Answer::Status(200), Duration::from_millis(20)),
    });
    let process = stage.start();
    for _ in 0..200 {
        stage.publish(&endpoint);
        stage.pass(Duration::from_millis(100)).await;
    }
    // While its probe hangs.
    stage.pass(Duration::from_secs(25)).await;
    stage.kill(&process);
    let process = stage.start();
    stage.pass(Duration::from_secs(600)).await;
    assert_eq!(stage.broker.deliveries_waiting(), 0);
    process.stop();
}

/// A defect of ours, whatever it is: here the sender panics.
#[tokio::test(start_paused = true)]
async fn a_delivery_that_panics_is_quarantined_the_third_time_and_takes_no_place_with_it() {
    let stage = Stage::new(9);
    let app = stage.app().await;
    let endpoint = stage.endpoint(app.id, "one.example", |endpoint| endpoint.max_in_flight = Some(1)).await;
    let poison = stage.publish(&endpoint);
    let (id, panics) = (poison.message.id.to_string(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&panics);
    stage.receivers.script("one.example", move |asked| {
        if asked.id == id {
            counted.fetch_add(1, Ordering::Relaxed);
            panic!("the defect of this test");
        }
        (Answer::Status(200), Duration::from_millis(5))
    });
    let process = stage.start();
    let others: Vec<_> = (0..50).map(|_| stage.publish(&endpoint)).collect();
    stage.pass(Duration::from_secs(60)).await;
    let rejected = stage.broker.take_rejected();
    assert_eq!(rejected.iter().map(|rejected| rejected.reason).collect::<Vec<_>>(), [RefusalReason::CrashLoop]);
    assert_eq!(panics.load(Ordering::Relaxed), 3);
    let fates = stage.fates(&others).await;
    assert!(fates.values().all(|fate| *fate == Fate::Delivered), "{fates:?}");
    process.stop();
}
