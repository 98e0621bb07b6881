//! One endpoint's trouble is its own: breakers, limits, lanes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hookyard_core::Timestamp;
use hookyard_core::fleet::BEAT_EVERY;
use hookyard_e2e::receiver::{Answer, Hit};
use hookyard_e2e::{Api, Backend, World, aside, eventually, or_more};
use hookyard_node::Running;
use hookyard_node::config::Config;
use hookyard_node::roles::{Role, Roles};
use http::Method;
use serde_json::json;

on_both_backends! {
    an_endpoint_that_dies_is_left_alone_and_comes_back;
    every_process_and_the_api_see_how_a_breaker_moves;
    others_do_not_wait_for_those_that_misbehave;
    many_new_endpoints_that_hang_at_once_hold_nobody_up;
    a_rate_is_kept_and_nothing_is_lost_by_it;
    a_long_queue_leaves_at_its_rate_and_is_put_aside_once;
    an_application_has_a_rate_for_all_its_endpoints;
    no_more_requests_are_out_at_once_than_an_endpoint_wants;
}

fn with_breaker(world: &World) -> Config {
    let mut config = world.config();
    config.delivery.breaker = vec![Duration::from_secs(2)];
    config
}

async fn an_endpoint_that_dies_is_left_alone_and_comes_back(backend: Backend) -> Result<()> {
    let is_dead = Arc::new(AtomicBool::new(true));
    let dead = Arc::clone(&is_dead);
    let script = move |_: &Hit, _: usize| {
        let is_dead = dead.load(Ordering::SeqCst);
        if is_dead { Answer::Late(200, Duration::from_secs(60)) } else { Answer::Status(200) }
    };
    let world = World::on_with(backend, script).await?;
    let mut config = with_breaker(&world);
    config.delivery.timeout = Duration::from_secs(1);
    let running = world.start_unready(Roles::ALL, config).await?;
    eventually("ready", || running.is_ready()).await?;
    let api = Api::of(&running)?;
    let endpoint = api.endpoint("default", &world.receiver.url("/hook"), json!({"retrySchedule": vec![1; 19]})).await?;
    let standing = async || -> Result<(String, String)> {
        let found = api.get(&format!("/app/default/endpoint/{endpoint}")).await?;
        let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
        Ok((text("state"), text("breaker")))
    };
    ensure!(standing().await? == ("active".to_owned(), "closed".to_owned()));
    for number in 0..6 {
        world.publish(&api, "a", &format!("evt-{number}"), "{}").await?;
    }
    let transitions = |to: &str| counted(&running, &format!(r#"hookyard_endpoint_breaker_transitions_total{{to="{to}"}}"#));
    eventually("the breaker opens", async || transitions("open") >= 1).await?;
    let (state, breaker) = standing().await?;
    ensure!(state == "failing" && breaker != "closed", "{state} {breaker}");
    // While it is open nothing leaves, and no attempt is used up; then one does, to see. What was on its way has arrived by then.
    let put_aside = || counted(&running, r#"hookyard_deliveries_parked_total{reason="breaker_open"}"#);
    eventually("none is on its way", async || put_aside() >= 6).await?;
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

/// How long a probe takes, and a breaker is open: longer than from one look at it to the next, however busy the machine.
const MOVES_AFTER: Duration = Duration::from_secs(4);

async fn every_process_and_the_api_see_how_a_breaker_moves(backend: Backend) -> Result<()> {
    let is_dead = Arc::new(AtomicBool::new(true));
    let dead = Arc::clone(&is_dead);
    let script = move |_: &Hit, _: usize| {
        let is_dead = dead.load(Ordering::SeqCst);
        Answer::Late(200, if is_dead { MOVES_AFTER * 20 } else { MOVES_AFTER / 2 })
    };
    let world = World::on_with(backend, script).await?;
    let mut config = world.config();
    (config.delivery.breaker, config.delivery.timeout) = (vec![MOVES_AFTER], MOVES_AFTER);
    let (running, more) = replicas_with(&world, backend, &config).await?;
    let api = Api::of(&running)?;
    let endpoint = api.endpoint("default", &world.receiver.url("/hook"), json!({"retrySchedule": vec![1; 19]})).await?;
    api.publish_many("a", 0..24).await?;
    let look = |running: &Running| {
        let is = |state: &str| counted(running, &format!(r#"hookyard_endpoint_breakers{{state="{state}"}}"#)) > 0;
        ["open", "half_open"].into_iter().find(|state| is(state))
    };
    // One gauge is read after the other: between the two it may move from the one not yet read to the one that was.
    let gauged = |running: &Running| look(running).or_else(|| look(running)).unwrap_or("closed").to_owned();
    let mut seen: Vec<Vec<String>> = vec![Vec::new(); if more.is_some() { 3 } else { 2 }];
    let expected = ["closed", "open", "half_open", "open", "half_open", "closed"];
    let begun = Instant::now();
    while seen.iter().any(|states| states.len() < expected.len()) {
        let found = api.get(&format!("/app/default/endpoint/{endpoint}")).await?;
        let shown = found["breaker"].as_str().context("a breaker")?.to_owned();
        let states = [Some(shown), Some(gauged(&running)), more.as_ref().map(gauged)];
        for (seen, state) in seen.iter_mut().zip(states.into_iter().flatten()) {
            if seen.last() != Some(&state) {
                seen.push(state);
            }
        }
        // It opened a second time: the next probe finds it mended.
        is_dead.store(seen.iter().any(|states| states.len() < 4), Ordering::SeqCst);
        ensure!(begun.elapsed() < Duration::from_secs(150), "{seen:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ensure!(seen.iter().all(|states| *states == expected), "{seen:?}");
    close(running, more).await;
    Ok(())
}

/// How long an attempt at an endpoint that hangs takes.
const HANGS: Duration = Duration::from_secs(12);

async fn others_do_not_wait_for_those_that_misbehave(backend: Backend) -> Result<()> {
    let arrived: Arc<Mutex<Vec<(String, Instant)>>> = Arc::default();
    let arrivals = Arc::clone(&arrived);
    let script = move |hit: &Hit, _: usize| {
        match &*hit.path {
            "/hangs" => return Answer::Late(200, Duration::from_secs(60)),
            "/late" => return Answer::Late(200, Duration::from_secs(3)),
            "/fails" => return Answer::Status(500),
            _ => {}
        }
        arrivals.lock().expect("no holder panics").push((hit.path.clone(), Instant::now()));
        Answer::Status(200)
    };
    let world = World::on_with(backend, script).await?;
    let mut config = with_breaker(&world);
    config.delivery.concurrency = 32;
    // Far from how long the good one takes, however busy the machine.
    config.delivery.timeout = HANGS;
    let running = world.start_unready(Roles::ALL, config).await?;
    eventually("ready", || running.is_ready()).await?;
    let api = Api::of(&running)?;
    // Thirty times as many requests as there are permits, most of which would hang.
    for path in ["/hangs", "/late", "/fails"] {
        let endpoint = json!({"eventTypes": ["bad"], "retrySchedule": [60]});
        api.endpoint("default", &world.receiver.url(path), endpoint).await?;
    }
    api.endpoint("default", &world.receiver.url("/good"), json!({"eventTypes": ["good"]})).await?;
    api.publish_many("bad", 0..300).await?;
    let begun = Instant::now();
    for number in 0..20 {
        world.publish(&api, "good", &format!("good-{number}"), "{}").await?;
    }
    eventually("the good one has all of its own", async || arrived.lock().expect("no holder panics").len() == 20).await?;
    let last = arrived.lock().expect("no holder panics").iter().map(|(_, at)| *at).max().context("arrivals")?;
    ensure!(last.duration_since(begun) < HANGS, "{:?}", last.duration_since(begun));
    running.close().await;
    Ok(())
}

/// One event of an application goes to five times as many endpoints as there are permits, all new, and all hanging.
async fn many_new_endpoints_that_hang_at_once_hold_nobody_up(backend: Backend) -> Result<()> {
    let script = move |hit: &Hit, _: usize| match &*hit.path {
        "/good" => Answer::Status(200),
        _ => Answer::Late(200, Duration::from_secs(60)),
    };
    let world = World::on_with(backend, script).await?;
    let mut config = with_breaker(&world);
    (config.delivery.concurrency, config.delivery.timeout) = (32, HANGS);
    config.delivery.allow_hosts = vec!["localhost".to_owned()];
    let running = world.start_unready(Roles::ALL, config).await?;
    eventually("ready", || running.is_ready()).await?;
    let api = Api::of(&running)?;
    api.post("/app", &json!({"name": "A crowd", "uid": "crowd"})).await?;
    for number in 0..160 {
        api.endpoint("crowd", &world.receiver.url(&format!("/{number}")), json!({"retrySchedule": [60]})).await?;
    }
    // Another host: the same would be one crowd.
    let good = world.receiver.url("/good").replace("127.0.0.1", "localhost");
    api.endpoint("default", &good, json!({})).await?;
    api.post("/app/crowd/msg", &json!({"eventType": "a", "payload": {}})).await?;
    let begun = Instant::now();
    for number in 0..20 {
        world.publish(&api, "good", &format!("good-{number}"), "{}").await?;
    }
    eventually("the good one has all of its own", async || arrived(&world, "/good") == 20).await?;
    ensure!(begun.elapsed() < HANGS / 3, "{:?}", begun.elapsed());
    running.close().await;
    Ok(())
}

async fn a_rate_is_kept_and_nothing_is_lost_by_it(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let (running, more) = replicas(&world, backend).await?;
    let api = Api::of(&running)?;
    api.endpoint("default", &world.receiver.url("/hook"), json!({"throttleRate": 50})).await?;
    api.publish_many("a", 0..300).await?;
    eventually("all of them arrive", async || arrived(&world, "/hook") == 300).await?;
    let times = attempts(&api).await?;
    within_rate(&times, 50)?;
    ensure!(times[times.len() - 1].since(times[0]) > Duration::from_secs(4), "{times:?}");
    close(running, more).await;
    Ok(())
}

/// Deliveries of the long queue unless `HOOKYARD_TEST_QUEUED` asks for more.
const QUEUED: usize = 150;

async fn a_long_queue_leaves_at_its_rate_and_is_put_aside_once(backend: Backend) -> Result<()> {
    const RATE: usize = 10;
    let queued = or_more("HOOKYARD_TEST_QUEUED", QUEUED);
    aside::count()?;
    let world = World::on(backend).await?;
    let (running, more) = replicas(&world, backend).await?;
    let api = Api::of(&running)?;
    let endpoint = api.endpoint("default", &world.receiver.url("/hook"), json!({"throttleRate": RATE})).await?;
    api.publish_many("a", 0..queued).await?;
    let begun = Instant::now();
    while arrived(&world, "/hook") < queued {
        ensure!(begun.elapsed() < Duration::from_secs(30 + (queued / RATE) as u64), "{} of {queued}", arrived(&world, "/hook"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // When the burst is spent: windows of five seconds. A short queue is looked at beside other tests, and a moment's stall shows.
    let off_by = if queued > QUEUED { 20 } else { 5 };
    let times = attempts(&api).await?.split_off(RATE * 2);
    let (window, wanted) = (Duration::from_secs(5), RATE * 5);
    let last = times[times.len() - 1];
    let windows = times.iter().enumerate().filter(|(_, first)| first.plus(window) <= last);
    let counts = windows.map(|(index, first)| times[index..].iter().take_while(|at| at.since(*first) < window).count());
    let counts: Vec<usize> = counts.collect();
    let (fewest, most) = (counts.iter().min().context("windows")?, counts.iter().max().context("windows")?);
    ensure!(fewest.abs_diff(wanted).max(most.abs_diff(wanted)) * off_by <= wanted, "{fewest} to {most}, and not {wanted}");
    let parked = |running: &Running| counted(running, "hookyard_deliveries_parked_total{reason=");
    let all = parked(&running) + more.as_ref().map_or(0, parked);
    let each = aside::counts(&endpoint);
    ensure!(each.iter().all(|times| *times == 1) && each.iter().sum::<usize>() == all, "{all} times, {each:?}");
    // Whatever is neither in the burst nor within a second of its turn.
    ensure!(all >= queued - RATE * 4 && all < queued, "{queued} deliveries were put aside {all} times");
    close(running, more).await;
    Ok(())
}

async fn an_application_has_a_rate_for_all_its_endpoints(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let (running, more) = replicas(&world, backend).await?;
    let api = Api::of(&running)?;
    api.call(Method::PATCH, "/app/default", Some(&json!({"throttleRate": 50}))).await?;
    api.endpoint("default", &world.receiver.url("/free"), json!({})).await?;
    api.endpoint("default", &world.receiver.url("/limited"), json!({"throttleRate": 30})).await?;
    api.publish_many("a", 0..100).await?;
    let all = async || arrived(&world, "/free") + arrived(&world, "/limited") == 200;
    eventually("all of them arrive", all).await?;
    within_rate(&attempts(&api).await?, 50)?;
    close(running, more).await;
    Ok(())
}

async fn no_more_requests_are_out_at_once_than_an_endpoint_wants(backend: Backend) -> Result<()> {
    let (out, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, seen) = (Arc::clone(&out), Arc::clone(&most));
    let script = move |_: &Hit, _: usize| {
        seen.fetch_max(counted.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let counted = Arc::clone(&counted);
        tokio::spawn(async move {
            // Counted as out for less than the answer takes, so that the next one is never counted before this one is not.
            tokio::time::sleep(Duration::from_millis(10)).await;
            counted.fetch_sub(1, Ordering::SeqCst);
        });
        Answer::Late(200, Duration::from_millis(15))
    };
    let world = World::on_with(backend, script).await?;
    let (running, more) = replicas(&world, backend).await?;
    let api = Api::of(&running)?;
    eventually("each hears of the other", async || {
        let wanted = if more.is_some() { 2 } else { 1 };
        api.get("/system").await.is_ok_and(|found| found["members"].as_array().is_some_and(|members| members.len() == wanted))
    })
    .await?;
    // Two for each dispatcher, once both have counted the other.
    tokio::time::sleep(BEAT_EVERY).await;
    let wanted = if more.is_some() { 4 } else { 2 };
    api.endpoint("default", &world.receiver.url("/hook"), json!({"maxInFlight": wanted})).await?;
    api.publish_many("a", 0..100).await?;
    eventually("all of them arrive", async || arrived(&world, "/hook") == 100).await?;
    let most = most.load(Ordering::SeqCst);
    ensure!(most <= wanted && most > 1, "{most} at once");
    close(running, more).await;
    Ok(())
}

/// All roles, and a second dispatcher where there may be one: limits are the installation's, not a process's.
async fn replicas(world: &World, backend: Backend) -> Result<(Running, Option<Running>)> {
    replicas_with(world, backend, &world.config()).await
}

async fn replicas_with(world: &World, backend: Backend, config: &Config) -> Result<(Running, Option<Running>)> {
    let start = async |roles| {
        let running = world.start_unready(roles, config.clone()).await?;
        eventually("ready", || running.is_ready()).await?;
        anyhow::Ok(running)
    };
    let running = start(Roles::ALL).await?;
    let more = match backend {
        Backend::Cluster => Some(start(Roles::of(&[Role::Dispatcher])).await?),
        Backend::Embedded => None,
    };
    Ok((running, more))
}

async fn close(running: Running, more: Option<Running>) {
    if let Some(more) = more {
        more.drain().await;
    }
    running.drain().await;
}

/// The sum of a process's counters whose lines begin so.
fn counted(running: &Running, begins: &str) -> usize {
    let text = String::from_utf8_lossy(&running.metrics.render()).into_owned();
    let of_those = text.lines().filter(|line| line.starts_with(begins));
    of_those.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum()
}

/// How many messages arrived at a path.
fn arrived(world: &World, path: &str) -> usize {
    world.receiver.counts().keys().filter(|(at, _)| at == path).count()
}

/// When each attempt left, in order.
async fn attempts(api: &Api) -> Result<Vec<Timestamp>> {
    let (mut times, mut from) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/app/default/attempt?limit=250{from}")).await?;
        for attempt in page["data"].as_array().context("a list")? {
            let time = attempt["timestamp"].as_str().and_then(Timestamp::parse_rfc3339);
            times.push(time.context("a time")?);
        }
        if page["done"] == true {
            times.sort_unstable();
            return Ok(times);
        }
        from = format!("&iterator={}", page["iterator"].as_str().context("an iterator")?);
    }
}

/// In no two seconds more left than two seconds of the rate, one burst, and a little for what happens between the gate and the wire.
fn within_rate(times: &[Timestamp], rate: usize) -> Result<()> {
    for (index, first) in times.iter().enumerate() {
        let within = times[index..].iter().take_while(|at| at.since(*first) < Duration::from_secs(2)).count();
        ensure!(within <= rate * 3 + rate / 4, "{within} within two seconds of attempt {index}");
    }
    Ok(())
}
