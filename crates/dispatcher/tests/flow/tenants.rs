//! What one application, or one host, lets hang holds up no other.

use std::time::Duration;

use hookyard_core::{AppId, Endpoint};
use hookyard_testkit::Answer;

use crate::stage::Stage;

/// What another application's delivery may wait, although hundreds hang: a moment in memory, and none in a delay.
const AT_ONCE: Duration = Duration::from_millis(300);

async fn many(stage: &Stage, app: AppId, host: &str, count: usize) -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    for _ in 0..count {
        endpoints.push(stage.endpoint(app, host, |_| {}).await);
    }
    endpoints
}

/// Publishes ten a second to another application's endpoint, and says how late the latest came.
async fn latest_of_another(stage: &Stage, seconds: u32) -> Duration {
    let other = stage.app().await;
    let endpoint = stage.endpoint(other.id, "well.example", |_| {}).await;
    let mut published = Vec::new();
    for _ in 0..seconds * 10 {
        published.push((stage.publish(&endpoint).message.id.to_string(), hookyard_core::Clock::monotonic(&stage.clock)));
        stage.pass(Duration::from_millis(100)).await;
    }
    stage.pass(Duration::from_secs(60)).await;
    let asked = stage.receivers.asked();
    let late = published.iter().map(|(id, at)| {
        let came = asked.iter().find(|(asked, _)| asked.host == "well.example" && asked.id == *id).expect("it arrived");
        came.0.at.saturating_sub(*at)
    });
    late.max().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn one_event_to_two_thousand_new_endpoints_that_hang() {
    let stage = Stage::new(1);
    let app = stage.app().await;
    let endpoints = many(&stage, app.id, "hangs.example", 2_000).await;
    stage.receivers.script("hangs.example", |_| (Answer::Hang, Duration::ZERO));
    let process = stage.start();
    for endpoint in &endpoints {
        stage.publish(endpoint);
    }
    let latest = latest_of_another(&stage, 60).await;
    assert!(latest <= AT_ONCE, "{latest:?}");
    process.stop();
}

#[tokio::test(start_paused = true)]
async fn two_hundred_known_endpoints_that_hang_from_one_moment_on() {
    for is_one_host in [true, false] {
        let stage = Stage::new(2);
        let app = stage.app().await;
        let mut endpoints = Vec::new();
        for number in 0..200 {
            let host = if is_one_host { "turns.example".to_owned() } else { format!("turns-{number}.example") };
            stage.receivers.script(&host, |asked| {
                let hangs = asked.at > Duration::from_secs(5);
                (if hangs { Answer::Hang } else { Answer::Status(200) }, Duration::from_millis(20))
            });
            endpoints.extend(many(&stage, app.id, &host, 1).await);
        }
        let process = stage.start();
        for _ in 0..10 {
            for endpoint in &endpoints {
                stage.publish(endpoint);
            }
            stage.pass(Duration::from_millis(490)).await;
        }
        stage.pass(Duration::from_millis(200)).await;
        for _ in 0..10 {
            for endpoint in &endpoints {
                stage.publish(endpoint);
            }
        }
        let latest = latest_of_another(&stage, 30).await;
        assert!(latest <= AT_ONCE, "one host: {is_one_host}: {latest:?}");
        process.stop();
    }
}
