//! A correction of the machine's clock, an hour back or on, undoes and delays nothing.

use std::time::Duration;

use hookyard_core::port::{Directory as _, Expect};
use hookyard_core::{AttemptClass, BreakerState, Clock as _, Endpoint};
use hookyard_testkit::Answer;

use crate::stage::{Fate, Stage};

const HOUR: i64 = 3_600_000;
const QUICKLY: Duration = Duration::from_millis(20);

#[tokio::test(start_paused = true)]
async fn a_retry_is_made_when_the_schedule_says() {
    for correction in [-HOUR, HOUR] {
        let stage = Stage::new(3);
        let app = stage.app().await;
        let endpoint = stage.endpoint(app.id, "flaky.example", |_| {}).await;
        stage.receivers.script("flaky.example", |asked| {
            (if asked.before == 0 { Answer::Status(500) } else { Answer::Status(200) }, QUICKLY)
        });
        let process = stage.start();
        let delivery = stage.publish(&endpoint);
        stage.pass(Duration::from_secs(10)).await;
        stage.clock.correct(correction);
        stage.pass(Duration::from_secs(60)).await;
        let asked = stage.receivers.asked();
        assert_eq!((asked.len(), stage.fates(std::slice::from_ref(&delivery)).await[&delivery.key()]), (2, Fate::Delivered));
        let gap = asked[1].0.at.saturating_sub(asked[0].0.at);
        assert!(gap >= Duration::from_secs(30) && gap < Duration::from_secs(37), "{correction}: {gap:?}");
        process.stop();
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_of_an_endpoint_is_seen_within_seconds() {
    for correction in [-HOUR, HOUR] {
        let stage = Stage::new(4);
        let app = stage.app().await;
        let endpoint = stage.endpoint(app.id, "old.example", |_| {}).await;
        let process = stage.start();
        stage.publish(&endpoint);
        stage.pass(Duration::from_secs(1)).await;
        stage.clock.correct(correction);
        let changed = Endpoint { url: "https://new.example/".to_owned(), ..endpoint.clone() };
        stage.directory.put_endpoint(&changed, Expect::Revision(endpoint.revision)).await.expect("changed");
        stage.pass(Duration::from_secs(4)).await;
        stage.publish(&endpoint);
        stage.pass(Duration::from_secs(1)).await;
        let hosts: Vec<String> = stage.receivers.asked().into_iter().map(|(asked, _)| asked.host).collect();
        assert_eq!(hosts, ["old.example", "new.example"], "{correction}");
        process.stop();
    }
}

#[tokio::test(start_paused = true)]
async fn an_opening_lasts_no_longer() {
    for correction in [-HOUR, HOUR] {
        let stage = Stage::new(5);
        let app = stage.app().await;
        let endpoint = stage.endpoint(app.id, "away.example", |_| {}).await;
        let back_at = Duration::from_secs(30);
        stage.receivers.script("away.example", move |asked| {
            let is_away = asked.at < back_at;
            (if is_away { Answer::Silence(AttemptClass::Connect) } else { Answer::Status(200) }, QUICKLY)
        });
        let process = stage.start();
        let mut deliveries = Vec::new();
        for _ in 0..200 {
            deliveries.push(stage.publish(&endpoint));
            stage.pass(Duration::from_millis(100)).await;
        }
        assert_eq!(stage.gate(endpoint.id).await.breaker(stage.clock.now()), BreakerState::Open);
        stage.clock.correct(correction);
        stage.pass(Duration::from_secs(90)).await;
        let fates = stage.fates(&deliveries).await;
        let late = fates.values().filter(|fate| **fate != Fate::Delivered).count();
        assert_eq!(late, 0, "{correction}: {late} of {} still wait", fates.len());
        process.stop();
    }
}
