//! Lists of a full journal: how long first pages take, with and without filters, and the memory a full journal takes.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use hookyard_core::attempt::AttemptResult;
use hookyard_core::event::{Admission, Event, Message};
use hookyard_core::journal::{AttemptRecord, Entry, MessageRecord, Shown};
use hookyard_core::port::Journal;
use hookyard_core::seal::SealingKeys;
use hookyard_core::step::NoTripwire;
use hookyard_core::{
    AppId, AttemptClass, Clock, DeadReason, Delivery, EndpointId, Entropy, FaultKind, MessageId, Outcome, Timestamp,
};
use hookyard_embedded::Store;
use hookyard_node::seams::{SystemClock, SystemEntropy};
use hookyard_redis::{RedisConfig, RedisJournal, RedisStore};
use hookyard_telemetry::Metrics;

use crate::api::Api;
use crate::hookyard::{Hookyard, Places, app_name};
use crate::redis_info::Info;
use crate::report::{Bound, say, verdict};
use crate::stage::Services;
use crate::throughput::number;

/// Endpoints each message went to, and the attempts of a message.
const ENDPOINTS: usize = 3;
/// What the messages are spread over: less than the retention, so that all of them are kept.
const SPAN: Duration = Duration::from_secs(5 * 24 * 3600);
/// Messages recorded at once.
const GROUP: usize = 500;
/// Groups on their way at once.
const IN_FLIGHT: usize = 2;
/// Requests per list.
const REQUESTS: usize = 100;
/// Slowest first page, at the 99th percentile, in ms.
const P99_MOST: f64 = 50.0;

/// Fills both journals with so many messages, three attempts each, and measures.
pub async fn measure(services: &Services, folder: &Path, program: &Path, messages: usize) -> Result<()> {
    say(&format!("lists of {messages} messages and {} attempts; first pages over HTTP, {REQUESTS} each", messages * ENDPOINTS));
    let api = Api::new()?;
    let embedded = on_sqlite(folder, program, &api, messages).await.context("SQLite")?;
    let cluster = on_redis(services, program, &api, messages).await.context("Redis")?;
    verdict("slowest list on SQLite, p99 (ms)", Some(embedded), Bound::Most(P99_MOST));
    verdict("slowest list on Redis, p99 (ms)", Some(cluster), Bound::Most(P99_MOST));
    Ok(())
}

async fn on_sqlite(folder: &Path, program: &Path, api: &Api, messages: usize) -> Result<f64> {
    let hookyard = Hookyard::embedded(program, folder);
    let first = hookyard.start_whole(api).await?;
    let (base, token) = (first.api.clone().context("it has no API")?, hookyard.token().await?);
    Hookyard::create_apps(api, &base, &token, "http://127.0.0.1:9999/", &[ENDPOINTS].into()).await?;
    let target = Target::read(api, &base, &token).await?;
    first.process.stop().await?;
    let data = folder.join("data");
    let key = std::fs::read_to_string(data.join("secret.key"))?;
    let seams = hookyard_embedded::Seams {
        admission: Admission { max_bytes: usize::MAX, require_id: false },
        concurrency: 4,
        keys: SealingKeys::parse(key.trim())?,
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy::default()),
        tripwire: Arc::new(NoTripwire),
    };
    let store = Store::open(&data, seams)?;
    fill("SQLite", Arc::new(store.clone()), &target, messages).await?;
    store.close().await;
    let bytes = std::fs::metadata(data.join("hookyard.db"))?.len();
    say(&format!("  the file has {:.0} MB, {:.0} bytes per event with its deliveries", mega(bytes), per_event(bytes, messages)));
    let role = hookyard.start_whole(api).await?;
    let base = role.api.clone().context("it has no API")?;
    let slowest = target.measure_all(api, &base, &token).await?;
    role.process.stop().await?;
    Ok(slowest)
}

async fn on_redis(services: &Services, program: &Path, api: &Api, messages: usize) -> Result<f64> {
    let (amqp, directory, journal) = (services.rabbit.url(), services.directory.url(), services.journal.url());
    let places = Places { amqp: &amqp, directory: &directory, journal: &journal };
    let hookyard = Hookyard::install(program, &places, api, "http://127.0.0.1:9999/", &[ENDPOINTS].into()).await?;
    let (role, token) = (hookyard.start("admin", api).await?, hookyard.token().await?);
    let base = role.api.clone().context("it has no API")?;
    let target = Target::read(api, &base, &token).await?;
    let config = RedisConfig { url: directory, journal_url: Some(journal), retention: 2 * SPAN };
    let keys = SealingKeys::parse(&SealingKeys::generate(&SystemEntropy::default()))?;
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy::default()));
    let store = RedisStore::open(&config, keys, Metrics::unregistered(), clock, entropy)?;
    let before = Info::ask(services.journal.port()).await?.used_memory()?;
    fill("Redis", Arc::new(RedisJournal::start(store)), &target, messages).await?;
    let bytes = Info::ask(services.journal.port()).await?.used_memory()?.saturating_sub(before);
    let rest = per_event(bytes, messages) - number(PAYLOAD.len() + ENDPOINTS * RESPONSE.len());
    say(&format!(
        "  the journal takes {:.0} MB, {:.0} bytes per event with {ENDPOINTS} deliveries; {:.0} per delivered event beyond payload and responses",
        mega(bytes),
        per_event(bytes, messages),
        rest / number(ENDPOINTS)
    ));
    let slowest = target.measure_all(api, &base, &token).await?;
    role.process.stop().await?;
    Ok(slowest)
}

fn mega(bytes: u64) -> f64 {
    number(usize::try_from(bytes).unwrap_or(usize::MAX)) / 1e6
}

fn per_event(bytes: u64, messages: usize) -> f64 {
    mega(bytes) * 1e6 / number(messages)
}

/// The application whose journal is filled.
struct Target {
    app: AppId,
    endpoints: Vec<EndpointId>,
}

impl Target {
    async fn read(api: &Api, base: &str, token: &str) -> Result<Self> {
        let url = format!("{base}/api/v1/app/{}", app_name(ENDPOINTS));
        let app = api.get(&url, token).await?["id"].as_str().and_then(|id| id.parse().ok()).context("an id")?;
        let found = api.get(&format!("{url}/endpoint"), token).await?;
        let ids = found["data"].as_array().context("a list")?.iter().filter_map(|endpoint| endpoint["id"].as_str()?.parse().ok());
        Ok(Self { app, endpoints: ids.collect() })
    }

    /// Every list, plain and filtered; the slowest one's 99th percentile.
    async fn measure_all(&self, api: &Api, base: &str, token: &str) -> Result<f64> {
        let middle = SystemClock.now().minus(SPAN / 2);
        let endpoint = format!("attempt/endpoint/{}", self.endpoints[0]);
        let lists = [
            ("msg", "messages"),
            ("msg?with_content=false&limit=250", "messages, 250 without content"),
            (&format!("msg?before={middle}"), "messages before a moment"),
            ("msg?event_types=common.1", "messages of a common type"),
            ("msg?event_types=rare", "messages of a rare type"),
            ("msg?channel=region_2", "messages on a common channel"),
            ("msg?channel=nobody", "messages on a channel nobody uses"),
            ("attempt", "attempts"),
            (&format!("attempt?before={middle}"), "attempts before a moment"),
            ("attempt?status=2", "failed attempts"),
            ("attempt?status_code_class=500", "attempts answered with 5xx"),
            ("attempt?event_types=rare", "attempts of a rare type"),
            ("attempt?channel=nobody", "attempts on a channel nobody uses"),
            (&format!("attempt?endpoint_id={}", self.endpoints[1]), "attempts, by an endpoint as a filter"),
            (&format!("attempt?endpoint_id={}&status=2&event_types=rare", self.endpoints[1]), "attempts, three filters"),
            (&endpoint, "attempts to an endpoint"),
            (&format!("{endpoint}?status=2"), "failed attempts to an endpoint"),
            (&format!("{endpoint}?event_types=rare"), "attempts to an endpoint of a rare type"),
            (&format!("endpoint/{}/msg", self.endpoints[0]), "messages of an endpoint"),
            ("dead-letter", "dead letters"),
            ("dead-letter?event_type=rare", "dead letters of a rare type"),
        ];
        let mut slowest = 0_f64;
        for (path, name) in lists {
            let url = format!("{base}/api/v1/app/{}/{path}", app_name(ENDPOINTS));
            let mut took = Vec::with_capacity(REQUESTS);
            let mut page = serde_json::Value::Null;
            for _ in 0..REQUESTS {
                let begun = Instant::now();
                page = api.get(&url, token).await?;
                took.push(begun.elapsed().as_secs_f64() * 1e3);
            }
            took.sort_by(f64::total_cmp);
            let (median, p99) = (took[REQUESTS / 2], took[REQUESTS * 99 / 100]);
            let (items, done) = (page["data"].as_array().context("a list")?.len(), &page["done"]);
            say(&format!("  {name:44} p50 {median:7.2} ms  p99 {p99:7.2} ms  ({items} items, done: {done})"));
            slowest = slowest.max(p99);
        }
        Ok(slowest)
    }
}

const PAYLOAD: &[u8] = br#"{"id":"ord_2b7c9d","amount":129900,"currency":"EUR","customer":{"id":"cus_81f3","name":"Example GmbH","country":"DE"},"lines":[{"sku":"A-1","quantity":2},{"sku":"B-7","quantity":1}],"status":"paid","created":"2026-01-31T12:00:00Z"}"#;
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
const RESPONSE: &[u8] = br#"{"received":true}"#;

/// Records messages with their attempts, oldest first.
async fn fill(what: &str, journal: Arc<dyn Journal>, target: &Target, messages: usize) -> Result<()> {
    ensure!(target.endpoints.len() == ENDPOINTS, "an odd number of endpoints");
    let (begun, oldest) = (Instant::now(), SystemClock.now().minus(SPAN));
    let step = SPAN / u32::try_from(messages)?;
    let mut writing = tokio::task::JoinSet::new();
    for first in (0..messages).step_by(GROUP) {
        let entries: Arc<[Entry]> = (first..messages.min(first + GROUP))
            .flat_map(|index| entries(target, index, oldest.plus(step * u32::try_from(index).unwrap_or(u32::MAX))))
            .collect();
        while writing.len() >= IN_FLIGHT {
            writing.join_next().await.context("something is written")???;
        }
        let journal = Arc::clone(&journal);
        writing.spawn(async move { record(&*journal, entries).await });
    }
    while let Some(written) = writing.join_next().await {
        written??;
    }
    say(&format!("{what}: filled in {:.0} s", begun.elapsed().as_secs_f64()));
    Ok(())
}

/// Writes a group; a store that writes its own file anew for a moment is asked again.
async fn record(journal: &dyn Journal, entries: Arc<[Entry]>) -> Result<()> {
    for _ in 0..100 {
        match journal.record(Arc::clone(&entries)).await {
            Err(fault) if fault.kind == FaultKind::Unavailable => tokio::time::sleep(Duration::from_millis(200)).await,
            done => return Ok(done?),
        }
    }
    bail!("the journal does not take any more")
}

/// A message to every endpoint: one in 20 deliveries fails, one in 100 messages is dead at one of them, one type in 100,000 is rare.
fn entries(target: &Target, index: usize, at: Timestamp) -> Vec<Entry> {
    let entropy: &dyn Entropy = &SystemEntropy::default();
    let id = MessageId::new(at, entropy);
    let name = if index.is_multiple_of(100_000) { "rare".to_owned() } else { format!("common.{}", index % 20) };
    let channels = if index.is_multiple_of(2) { vec![format!("region_{}", index % 10)] } else { Vec::new() };
    let event = Event {
        app: hookyard_core::AppRef::Id(target.app),
        id: hookyard_core::event::EventId::parse(&format!("evt-{index}")),
        message_id: None,
        event_type: name.parse().expect("an event type"),
        channels: channels.iter().map(|channel| channel.parse().expect("a channel")).collect(),
        time: Arc::from(at.to_string()),
        context: None,
        content_type: Arc::from("application/json"),
        data: Bytes::from_static(PAYLOAD),
        traceparent: None,
        accepted_at: at,
        data_kept: None,
        tags: Vec::new(),
    };
    let message = Arc::new(Message { id, app: target.app, event: Arc::new(event) });
    let routed_to = Some(Arc::from(target.endpoints.as_slice()));
    let mut entries = vec![Entry::Message(MessageRecord { message: Arc::clone(&message), routed_to })];
    for (place, endpoint) in target.endpoints.iter().enumerate() {
        let number = index * ENDPOINTS + place;
        let (class, outcome) = match number {
            _ if number.is_multiple_of(300) => (AttemptClass::Http5xx, Outcome::Dead(DeadReason::AttemptsExhausted)),
            _ if number.is_multiple_of(20) => (AttemptClass::Http5xx, Outcome::Retry { at: at.plus(SPAN) }),
            _ => (AttemptClass::Success, Outcome::Delivered),
        };
        let status = if class == AttemptClass::Success { 200 } else { 503 };
        let result = AttemptResult {
            class,
            status: Some(status),
            duration: Duration::from_millis(20),
            response: Bytes::from_static(RESPONSE),
            started_at: at,
            retry_after: None,
            directive: None,
        };
        let delivery = Delivery::routed(Arc::clone(&message), *endpoint, false);
        let url = "https://example.com/hooks/hookyard".to_owned();
        let id = message.id.to_string();
        let header = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let headers = [("webhook-id", id.as_str()), ("webhook-signature", SIGNATURE), ("content-type", "application/json")];
        let sent = Shown { url, headers: headers.into_iter().map(header).collect() };
        entries.push(Entry::Attempt(AttemptRecord::new(&delivery, sent, result, outcome)));
    }
    entries
}
