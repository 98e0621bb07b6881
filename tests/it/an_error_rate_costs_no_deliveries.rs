//! A receiver that fails a part of its requests, by errors or without an answer, is tried as its schedule says: what three attempts give
//! is delivered on time, and nothing is left alone. One that is silent is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hookyard_e2e::{Api, Backend, World, eventually, or_more};
use hookyard_node::roles::Roles;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

on_both_backends! {
    what_three_attempts_give_is_delivered_on_time;
    one_that_is_silent_is_left_alone_and_comes_back;
}

/// Seconds of publishing unless `HOOKYARD_TEST_FAILING` asks for more, and events a second.
const SECONDS: usize = 12;
const EVENTS_PER_SECOND: usize = 30;
const SCHEDULE: [u64; 2] = [2, 4];
/// What a busy machine and the tick of a delay add to a schedule of seven seconds.
const LATE: Duration = Duration::from_secs(6);

/// How a request fails.
#[derive(Clone, Copy)]
enum Failure {
    /// An error at once.
    Error,
    /// The connection ends without an answer.
    Silence,
}

/// A receiver that fails a share of its requests; which, the message and the number of the attempt decide.
struct Flaky {
    address: SocketAddr,
    share: f64,
    /// When each attempt of a message came.
    came: Arc<Mutex<BTreeMap<String, Vec<Instant>>>>,
}

fn fails(share: f64, id: &str, attempt: usize) -> bool {
    let digest = ring::digest::digest(&ring::digest::SHA256, format!("{id}/{attempt}").as_bytes());
    let parts = digest.as_ref().iter().take(4).fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    f64::from(parts) < share * f64::from(u32::MAX)
}

impl Flaky {
    async fn start(share: f64, failure: Failure) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, came) = (listener.local_addr()?, Arc::default());
        let noted = Arc::clone(&came);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, share, failure, Arc::clone(&noted)));
            }
        });
        Ok(Self { address, share, came })
    }

    fn attempts(&self) -> BTreeMap<String, Vec<Instant>> {
        self.came.lock().expect("no holder panics").clone()
    }

    /// Messages it takes within three attempts.
    fn taken(&self) -> usize {
        self.attempts().keys().filter(|id| (0..3).any(|attempt| !fails(self.share, id, attempt))).count()
    }
}

/// One request, each on a connection of its own.
async fn answer(stream: TcpStream, share: f64, failure: Failure, came: Arc<Mutex<BTreeMap<String, Vec<Instant>>>>) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut id, mut length, mut line) = (String::new(), 0, String::new());
    while stream.read_line(&mut line).await? > 2 {
        if let Some((name, value)) = line.trim_end().split_once(": ") {
            match &*name.to_ascii_lowercase() {
                "webhook-id" => value.clone_into(&mut id),
                "content-length" => length = value.parse()?,
                _ => {}
            }
        }
        line.clear();
    }
    stream.read_exact(&mut vec![0; length]).await?;
    let attempt = {
        let mut came = came.lock().expect("no holder panics");
        let times = came.entry(id.clone()).or_default();
        times.push(Instant::now());
        times.len() - 1
    };
    let status = match (fails(share, &id, attempt), failure) {
        (false, _) => "200 OK",
        (true, Failure::Error) => "500 Internal Server Error",
        (true, Failure::Silence) => return Ok(()),
    };
    stream.write_all(format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").as_bytes()).await?;
    Ok(())
}

async fn what_three_attempts_give_is_delivered_on_time(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let mut all = Vec::new();
    for (share, failure) in
        [(0.2, Failure::Error), (0.5, Failure::Silence), (0.8, Failure::Error), (0.9, Failure::Silence), (1.0, Failure::Error)]
    {
        let flaky = Flaky::start(share, failure).await?;
        let url = format!("http://{}/", flaky.address);
        let endpoint = api.endpoint("default", &url, json!({"retrySchedule": SCHEDULE})).await?;
        all.push((flaky, endpoint));
    }
    let events = or_more("HOOKYARD_TEST_FAILING", SECONDS) * EVENTS_PER_SECOND;
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    for first in (0..events).step_by(EVENTS_PER_SECOND / 10) {
        ticks.tick().await;
        api.publish_many("a", first..first + EVENTS_PER_SECOND / 10).await?;
    }
    let published = Instant::now();
    let ended = async |flaky: &Flaky, endpoint: &str| -> Result<bool> {
        let stats = api.get(&format!("/app/default/endpoint/{endpoint}/stats")).await?;
        Ok(stats["success"] == flaky.taken() && stats["fail"] == events - flaky.taken())
    };
    for (flaky, endpoint) in &all {
        let what = format!("with {} failing all is delivered or dead", flaky.share);
        eventually(&what, async || flaky.attempts().len() == events && ended(flaky, endpoint).await.unwrap_or(false)).await?;
    }
    // Jitter adds a fifth to a schedule at most.
    let most = Duration::from_secs(SCHEDULE.iter().sum()).mul_f64(1.2) + LATE;
    ensure!(published.elapsed() < most, "{:?} after the last was published", published.elapsed());
    for (flaky, _) in &all {
        let given = 1.0 - flaky.share.powi(3);
        let delivered = f64::from(u32::try_from(flaky.taken())?) / f64::from(u32::try_from(events)?);
        ensure!((given - delivered).abs() < 0.08, "{} failing: {delivered} delivered, and {given} expected", flaky.share);
        for (id, times) in flaky.attempts() {
            let wanted = (0..3).find(|attempt| !fails(flaky.share, &id, *attempt)).map_or(3, |attempt| attempt + 1);
            ensure!(times.len() == wanted, "{id}: {} attempts, and not {wanted}", times.len());
            for (gap, wait) in times.windows(2).zip(SCHEDULE) {
                let (gap, wait) = (gap[1] - gap[0], Duration::from_secs(wait));
                ensure!(gap >= wait.mul_f64(0.95) && gap < wait.mul_f64(1.2) + LATE, "{id}: {gap:?} instead of {wait:?}");
            }
        }
    }
    let breakers = running.metrics.render();
    let moved = r#"hookyard_endpoint_breaker_transitions_total{to="open"} 0"#;
    ensure!(String::from_utf8_lossy(&breakers).contains(moved), "none is left alone");
    running.drain().await;
    Ok(())
}

async fn one_that_is_silent_is_left_alone_and_comes_back(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let mut config = world.config();
    config.delivery.breaker = vec![Duration::from_secs(4)];
    let running = world.start_unready(Roles::ALL, config).await?;
    eventually("ready", || running.is_ready()).await?;
    let api = Api::of(&running)?;
    // Nobody listens there until it is back.
    let place = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let schedule = json!({"retrySchedule": [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]});
    let endpoint = api.endpoint("default", &format!("http://{place}/"), schedule).await?;
    let breaker = async || -> Result<String> {
        let found = api.get(&format!("/app/default/endpoint/{endpoint}")).await?;
        Ok(found["breaker"].as_str().context("a breaker")?.to_owned())
    };
    let mut published = 0;
    let begun = Instant::now();
    while breaker().await? == "closed" {
        ensure!(begun.elapsed() < Duration::from_secs(40), "it is silent, and tried for ever");
        api.publish_many("a", published..published + 10).await?;
        published += 10;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    api.publish_many("a", published..published + 200).await?;
    published += 200;
    let listener = TcpListener::bind(place).await?;
    let came = Arc::default();
    let noted = Arc::clone(&came);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, 0.0, Failure::Error, Arc::clone(&noted)));
        }
    });
    let all = || came.lock().expect("no holder panics").keys().cloned().collect::<BTreeSet<String>>().len();
    eventually("it is tried again, and has all that waited", async || all() == published).await?;
    eventually("its breaker closes", async || breaker().await.is_ok_and(|state| state == "closed")).await?;
    running.drain().await;
    Ok(())
}
