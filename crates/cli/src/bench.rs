//! A load that measures: events published over HTTP, and when each of them arrived at a receiver on loopback.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use axum::Router;
use axum::extract::{Path, State};
use bytes::Bytes;
use http::StatusCode;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::client::Server;
use crate::output::talk;

/// What every payload begins with, and its number after it.
const HEAD: &str = r#"{"number":""#;
const DIGITS: usize = 10;
/// Events one at a time, for how long one takes by itself.
const SINGLE: u32 = 200;
const SINGLE_EVERY: Duration = Duration::from_millis(20);
/// Without an arrival for this long, what is missing is lost.
const STALLED_AFTER: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const TELL_EVERY: Duration = Duration::from_secs(2);
/// Deliveries whose arrivals are kept in mind: some hundred megabytes.
const DELIVERIES_MOST: u32 = 10_000_000;

/// What to play.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub events: u32,
    pub endpoints: u16,
    /// Bytes of an event.
    pub bytes: u32,
    /// Requests that publish at once.
    pub publishers: u16,
}

impl Plan {
    fn deliveries(self) -> u32 {
        self.events.saturating_mul(u32::from(self.endpoints))
    }

    /// # Errors
    /// When it is more than can be kept in mind.
    pub fn judge(self) -> anyhow::Result<Self> {
        let deliveries = self.deliveries();
        ensure!(deliveries <= DELIVERIES_MOST, "that is {deliveries} deliveries; at most {DELIVERIES_MOST} are measured at once");
        Ok(self)
    }
}

/// The arrivals of one load, by event and endpoint.
struct Board {
    begun: Instant,
    endpoints: usize,
    /// Microseconds after `begun` at which each event was about to be published.
    sent: Vec<AtomicU64>,
    /// How often each delivery arrived.
    arrived: Vec<AtomicU32>,
    distinct: AtomicU64,
    /// Of first arrivals, in microseconds.
    took: Mutex<Vec<u64>>,
    last: AtomicU64,
}

impl Board {
    fn new(events: u32, endpoints: u16) -> Arc<Self> {
        let (events, endpoints) = (usize::try_from(events).unwrap_or(usize::MAX), usize::from(endpoints));
        Arc::new(Self {
            begun: Instant::now(),
            endpoints,
            sent: (0..events).map(|_| AtomicU64::new(0)).collect(),
            arrived: (0..events * endpoints).map(|_| AtomicU32::new(0)).collect(),
            distinct: AtomicU64::new(0),
            took: Mutex::default(),
            last: AtomicU64::new(0),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// An event arrived at an endpoint. `None` if it is none of ours.
    fn arrive(&self, number: usize, endpoint: usize) -> Option<()> {
        let now = self.now();
        let sent = self.sent.get(number)?.load(Ordering::Relaxed);
        let count = self.arrived.get(number * self.endpoints + endpoint)?;
        if count.fetch_add(1, Ordering::Relaxed) == 0 {
            self.last.fetch_max(now, Ordering::Relaxed);
            self.took.lock().unwrap_or_else(PoisonError::into_inner).push(now.saturating_sub(sent));
            self.distinct.fetch_add(1, Ordering::Relaxed);
        }
        Some(())
    }

    fn repeated(&self) -> u32 {
        self.arrived.iter().map(|count| count.load(Ordering::Relaxed).saturating_sub(1)).sum()
    }

    fn missing(&self) -> u64 {
        u64::try_from(self.arrived.len()).unwrap_or(u64::MAX) - self.distinct.load(Ordering::Relaxed)
    }

    /// Returns when everything has arrived, or nothing more does.
    async fn filled(&self) {
        let (mut missing, mut since, mut told) = (self.missing(), Instant::now(), Instant::now());
        while missing > 0 && since.elapsed() < STALLED_AFTER {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.missing();
            if now < missing {
                (missing, since) = (now, Instant::now());
            }
            if told.elapsed() > TELL_EVERY {
                talk(&format!("{missing} deliveries to come"));
                told = Instant::now();
            }
        }
    }
}

/// Where the receiver looks for the load that is played now.
type Current = Arc<Mutex<Arc<Board>>>;

/// Plays a load, and then single events, against a running service.
///
/// # Errors
/// When an event is not accepted, does not arrive, or arrives twice.
pub async fn play(server: &Server, plan: Plan) -> anyhow::Result<Value> {
    let current: Current = Arc::new(Mutex::new(Board::new(0, plan.endpoints)));
    let receiver = receive(Arc::clone(&current)).await?;
    let app = set_up(server, receiver, plan.endpoints).await?;
    let measured = measure(server, &app, plan, &current).await;
    let deleted = server.call(Method::DELETE, &format!("/app/{app}"), None).await;
    // What went wrong first is what is told.
    let measured = measured?;
    deleted.map(|_| measured)
}

async fn measure(server: &Server, app: &str, plan: Plan, current: &Current) -> anyhow::Result<Value> {
    let load = Board::new(plan.events, plan.endpoints);
    *current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&load);
    let endpoints = if plan.endpoints == 1 { "one endpoint".to_owned() } else { format!("{} endpoints", plan.endpoints) };
    talk(&format!("publishing {} events of {} bytes to {endpoints}", plan.events, plan.bytes));
    let mut answers = publish(server, app, plan, &load).await?;
    let accepted_in = load.now();
    load.filled().await;
    ensure!(load.missing() == 0, "{} deliveries did not arrive", load.missing());
    talk("publishing one at a time");
    let single = Board::new(SINGLE, plan.endpoints);
    *current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&single);
    for number in 0..SINGLE {
        publish_one(server, app, plan.bytes, number, &single).await?;
        tokio::time::sleep(SINGLE_EVERY).await;
    }
    single.filled().await;
    let (lost, repeated) = (single.missing(), load.repeated() + single.repeated());
    if lost > 0 || repeated > 0 {
        bail!("{lost} deliveries did not arrive, {repeated} arrived again");
    }
    let of = |board: &Board, quantile| percentile(&mut board.took.lock().unwrap_or_else(PoisonError::into_inner), quantile);
    let delivered_in = load.last.load(Ordering::Relaxed);
    Ok(json!({
        "events": plan.events,
        "deliveries": plan.deliveries(),
        "acceptedPerSecond": rate(plan.events, accepted_in),
        "acceptedP50Ms": percentile(&mut answers, 0.5),
        "acceptedP99Ms": percentile(&mut answers, 0.99),
        "deliveredPerSecond": rate(plan.deliveries(), delivered_in),
        "arrivedP50Ms": of(&load, 0.5),
        "arrivedP99Ms": of(&load, 0.99),
        "singleP50Ms": of(&single, 0.5),
        "singleP99Ms": of(&single, 0.99),
    }))
}

/// So many in so many microseconds, per second.
fn rate(count: u32, micros: u64) -> u64 {
    u64::from(count) * 1_000_000 / micros.max(1)
}

/// In milliseconds, to the hundredth, of microseconds.
fn percentile(took: &mut [u64], quantile: f64) -> f64 {
    took.sort_unstable();
    let last = took.len().saturating_sub(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in a list")]
    let place = (last as f64 * quantile).round() as usize;
    let micros = took.get(place).copied().unwrap_or(0);
    (Duration::from_micros(micros).as_secs_f64() * 100_000.0).round() / 100.0
}

/// An application of its own, with its endpoints: its id.
async fn set_up(server: &Server, receiver: SocketAddr, endpoints: u16) -> anyhow::Result<String> {
    let app = server.call(Method::POST, "/app", Some(&json!({"name": "Benchmark"}))).await?;
    let app = app["id"].as_str().context("the answer has no id")?.to_owned();
    for number in 0..endpoints {
        let endpoint = json!({"url": format!("http://{receiver}/{number}"), "name": format!("Receiver {number}")});
        server.call(Method::POST, &format!("/app/{app}/endpoint"), Some(&endpoint)).await?;
    }
    Ok(app)
}

/// Publishes every event of a load, so many at once. How long each answer took, in microseconds.
async fn publish(server: &Server, app: &str, plan: Plan, board: &Arc<Board>) -> anyhow::Result<Vec<u64>> {
    let (next, mut publishers) = (Arc::new(AtomicU32::new(0)), JoinSet::new());
    for _ in 0..plan.publishers {
        let (server, app, next, board) = (server.clone(), app.to_owned(), Arc::clone(&next), Arc::clone(board));
        publishers.spawn(async move {
            let mut took = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= plan.events {
                    return anyhow::Ok(took);
                }
                took.push(publish_one(&server, &app, plan.bytes, number, &board).await?);
            }
        });
    }
    let mut took = Vec::new();
    while let Some(ended) = publishers.join_next().await {
        took.extend(ended.context("a publisher ended")??);
    }
    Ok(took)
}

/// How long the answer took, in microseconds.
async fn publish_one(server: &Server, app: &str, bytes: u32, number: u32, board: &Board) -> anyhow::Result<u64> {
    let begin = format!("{HEAD}{number:0DIGITS$}\",\"filler\":\"");
    let filler = usize::try_from(bytes).unwrap_or(usize::MAX).saturating_sub(begin.len() + 2);
    let body = format!(r#"{{"eventType":"bench.happened","payload":{begin}{}"}}}}"#, "x".repeat(filler));
    let sent = board.now();
    if let Some(place) = usize::try_from(number).ok().and_then(|number| board.sent.get(number)) {
        place.store(sent, Ordering::Relaxed);
    }
    server.send(Method::POST, &format!("/app/{app}/msg"), Some(body)).await?;
    Ok(board.now().saturating_sub(sent))
}

/// Begins to receive.
async fn receive(current: Current) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("cannot listen on loopback")?;
    let address = listener.local_addr().context("no address")?;
    let app = Router::new().route("/{endpoint}", axum::routing::post(arrived)).with_state(current);
    #[expect(clippy::disallowed_methods, reason = "ends with the program")]
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

async fn arrived(State(current): State<Current>, Path(endpoint): Path<usize>, body: Bytes) -> StatusCode {
    let number = body.get(HEAD.len()..HEAD.len() + DIGITS).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    let board = Arc::clone(&current.lock().unwrap_or_else(PoisonError::into_inner));
    match number.and_then(|number| board.arrive(number, endpoint)) {
        Some(()) => StatusCode::NO_CONTENT,
        None => StatusCode::BAD_REQUEST,
    }
}
