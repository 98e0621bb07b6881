//! One endpoint's trouble is its own: breakers, limits, lanes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join_all;
use hookyard_e2e::receiver::{Answer, Hit};
use hookyard_e2e::{Api, Backend, World, eventually};
use hookyard_node::config::Config;
use hookyard_node::roles::{Role, Roles};
use serde_json::json;

on_both_backends! {
    an_endpoint_that_dies_is_left_alone_and_comes_back;
    others_do_not_wait_for_one_that_hangs;
    a_rate_is_kept_and_nothing_is_lost_by_it;
}

fn with_breaker(world: &World) -> Config {
    let mut config = world.config();
    config.delivery.breaker = vec![Duration::from_secs(2)];
    config
}

async fn an_endpoint_that_dies_is_left_alone_and_comes_back(backend: Backend) -> Result<()> {
    let is_dead = Arc::new(AtomicBool::new(true));
    let dead = Arc::clone(&is_dead);
    let script = move |_: &Hit, _: usize| Answer::Status(if dead.load(Ordering::SeqCst) { 503 } else { 200 });
    let world = World::on_with(backend, script).await?;
    let running = world.start_unready(Roles::ALL, with_breaker(&world)).await?;
    eventually("ready", || running.is_ready()).await?;
    let api = Api::of(&running)?;
    let endpoint = api.endpoint("default", &world.receiver.url("/hook"), json!({"retrySchedule": [1, 1, 1, 1, 1, 1]})).await?;
    let standing = async || -> Result<(String, String)> {
        let found = api.get(&format!("/app/default/endpoint/{endpoint}")).await?;
        let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
        Ok((text("state"), text("breaker")))
    };
    ensure!(standing().await? == ("active".to_owned(), "closed".to_owned()));
    for number in 0..6 {
        world.publish(&api, "a", &format!("evt-{number}"), "{}").await?;
    }
    let transitions = |to: &str| {
        let text = String::from_utf8_lossy(&running.metrics.render()).into_owned();
        let line = format!(r#"hookyard_endpoint_breaker_transitions_total{{to="{to}"}} "#);
        text.lines().find_map(|found| found.strip_prefix(&line)?.parse::<u64>().ok()).unwrap_or_default()
    };
    eventually("the breaker opens", async || transitions("open") >= 1).await?;
    let (state, breaker) = standing().await?;
    ensure!(state == "failing" && breaker != "closed", "{state} {breaker}");
    // While it is open nothing leaves, and no attempt is used up; then one does, to see.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (seen, since) = (world.receiver.hits().len(), Instant::now());
    eventually("the first probe comes", async || world.receiver.hits().len() > seen).await?;
    ensure!(world.receiver.hits().len() == seen + 1, "one at a time");
    is_dead.store(false, Ordering::SeqCst);
    eventually("all of them arrive", async || {
        api.get("/stats?app=default").await.is_ok_and(|found| found["total"]["attempts"]["success"] == 6)
    })
    .await?;
    ensure!(since.elapsed() > Duration::from_secs(1), "{:?}", since.elapsed());
    ensure!(api.get("/stats?app=default").await?["total"]["deadLetters"] == 0);
    eventually("the breaker closes", async || transitions("closed") >= 1).await?;
    ensure!(standing().await? == ("active".to_owned(), "closed".to_owned()));
    running.drain().await;
    Ok(())
}

async fn others_do_not_wait_for_one_that_hangs(backend: Backend) -> Result<()> {
    let arrived: Arc<Mutex<Vec<(String, Instant)>>> = Arc::default();
    let arrivals = Arc::clone(&arrived);
    let script = move |hit: &Hit, _: usize| {
        if hit.path == "/hangs" {
            return Answer::Late(200, Duration::from_secs(60));
        }
        arrivals.lock().expect("no holder panics").push((hit.path.clone(), Instant::now()));
        Answer::Status(200)
    };
    let world = World::on_with(backend, script).await?;
    let mut config = with_breaker(&world);
    config.delivery.concurrency = 32;
    let running = world.start_unready(Roles::ALL, config).await?;
    eventually("ready", || running.is_ready()).await?;
    let api = Api::of(&running)?;
    // Ten times as many requests as there are permits would hang.
    api.endpoint("default", &world.receiver.url("/hangs"), json!({"eventTypes": ["bad"], "retrySchedule": [60]})).await?;
    api.endpoint("default", &world.receiver.url("/good"), json!({"eventTypes": ["good"]})).await?;
    for number in 0..300 {
        world.publish(&api, "bad", &format!("bad-{number}"), "{}").await?;
    }
    let begun = Instant::now();
    for number in 0..20 {
        world.publish(&api, "good", &format!("good-{number}"), "{}").await?;
    }
    eventually("the good one has all of its own", async || arrived.lock().expect("no holder panics").len() == 20).await?;
    let last = arrived.lock().expect("no holder panics").iter().map(|(_, at)| *at).max().context("arrivals")?;
    // The attempts that hang take two seconds each.
    ensure!(last.duration_since(begun) < Duration::from_millis(1_900), "{:?}", last.duration_since(begun));
    running.close().await;
    Ok(())
}

async fn a_rate_is_kept_and_nothing_is_lost_by_it(backend: Backend) -> Result<()> {
    let arrived: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let arrivals = Arc::clone(&arrived);
    let script = move |_: &Hit, _: usize| {
        arrivals.lock().expect("no holder panics").push(Instant::now());
        Answer::Status(200)
    };
    let world = World::on_with(backend, script).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    // A second dispatcher, where there may be one: the rate is the endpoint's, not a process's.
    let more = match backend {
        Backend::Cluster => Some(world.start_roles(Roles::of(&[Role::Dispatcher])).await?),
        Backend::Embedded => None,
    };
    api.endpoint("default", &world.receiver.url("/hook"), json!({"throttleRate": 50})).await?;
    // All at once, so that hundreds ask for a slot in the same moment.
    let publish = async |number: usize| world.publish(&api, "a", &format!("evt-{number}"), "{}").await;
    for published in join_all((0..300).map(publish)).await {
        published?;
    }
    eventually("all of them arrive", async || arrived.lock().expect("no holder panics").len() == 300).await?;
    let mut times = arrived.lock().expect("no holder panics").clone();
    times.sort();
    for (index, first) in times.iter().enumerate() {
        let within = times[index..].iter().take_while(|at| at.duration_since(*first) < Duration::from_secs(2)).count();
        // Two seconds of the rate, one burst, and what came for its slot up to half a second late.
        ensure!(within <= 175, "{within} within two seconds of arrival {index}");
    }
    ensure!(times[299].duration_since(times[0]) > Duration::from_secs(4), "{:?}", times[299].duration_since(times[0]));
    if let Some(more) = more {
        more.drain().await;
    }
    running.drain().await;
    Ok(())
}
