//! Ready means ready: the first request after `/readyz` or `/api/v1/health` said yes finds everything that always exists.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use hookyard_core::Entropy;
use hookyard_e2e::amqp::Amqp;
use hookyard_e2e::world::{JWT_SECRET, or_more, redis_at};
use hookyard_e2e::{Api, Backend, World, eventually};
use hookyard_node::seams::SystemEntropy;
use hookyard_node::{Config, Roles, Running, Seams, install_crypto, local, tools};
use hookyard_rabbit::{Shards, Topology};
use reqwest::{Client, Method, StatusCode};
use serde_json::json;

/// Starts at the same moment, on two cores: each waits for the others again and again.
const AT_ONCE: usize = 4;
/// Of an id: what is asked for when an application is made.
const ID_RANDOM_BYTES: usize = 14;
/// Events that wait before the first start.
const EARLY: usize = 50;
const SHARDS: Shards = Shards { fast: 1, slow: 1 };

/// Threads that compute all the time, so that tasks of a starting process are run late and in any order.
struct Load(Arc<AtomicBool>);

impl Load {
    fn begin() -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        for _ in 0..2 {
            let ended = Arc::clone(&ended);
            std::thread::spawn(move || while !ended.load(Ordering::Relaxed) {});
        }
        Self(ended)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Makes what makes the built-in applications late, as a slow disk does, and everything else not.
struct Slow(SystemEntropy);

impl Entropy for Slow {
    fn fill(&self, buffer: &mut [u8]) {
        if buffer.len() == ID_RANDOM_BYTES {
            std::thread::sleep(Duration::from_millis(150));
        }
        self.0.fill(buffer);
    }
}

fn slow() -> Seams {
    Seams { entropy: Arc::new(Slow(SystemEntropy::default())), ..Seams::default() }
}

/// Asks `url` until it says yes.
async fn says_yes(client: &Client, url: &str) -> Result<()> {
    let asked = async || Ok::<_, reqwest::Error>(client.get(url).send().await?.status());
    let begun = tokio::time::Instant::now();
    loop {
        let status = asked().await?;
        if status.is_success() {
            return Ok(());
        }
        ensure!(status == StatusCode::SERVICE_UNAVAILABLE, "{url}: {status}");
        ensure!(begun.elapsed() < Duration::from_secs(60), "{url} never said yes");
        tokio::task::yield_now().await;
    }
}

/// What must work at once after each of the two said yes.
async fn works_at_once(running: &Running) -> Result<()> {
    let api = Api::of(running)?;
    for app in ["default", "hookyard-operations"] {
        let (status, answer) = api.try_call(Method::GET, &format!("/app/{app}"), None).await?;
        ensure!(status == StatusCode::OK, "{app}: {status} {answer}");
    }
    let message = json!({"eventType": "user.created", "payload": {}});
    let (status, answer) = api.try_call(Method::POST, "/app/default/msg", Some(&message)).await?;
    ensure!(status == StatusCode::ACCEPTED, "publishing: {status} {answer}");
    Ok(())
}

/// Both answers on one fresh start, each followed by what must work then.
async fn is_true_to_its_word(running: &Running) -> Result<()> {
    let client = Client::builder().no_proxy().build()?;
    let readyz = format!("http://{}/readyz", running.ops);
    let health = format!("http://{}/api/v1/health", running.api.context("the API")?);
    let each = [readyz, health].map(async |url| {
        says_yes(&client, &url).await?;
        works_at_once(running).await.with_context(|| format!("after {url} said yes"))
    });
    try_join_all(each).await.map(drop)
}

fn on_one_file(folder: &Path) -> Result<Config> {
    let mut config = Config {
        data_dir: folder.to_owned(),
        listen: ([127, 0, 0, 1], 0).into(),
        ops_listen: ([127, 0, 0, 1], 0).into(),
        jwt_secret: Some(JWT_SECRET.to_owned()),
        ..Config::default()
    };
    local::create(&mut config, &SystemEntropy::default())?;
    Ok(config)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn on_a_fresh_folder() -> Result<()> {
    install_crypto();
    let load = Load::begin();
    for _ in 0..or_more("HOOKYARD_TEST_STARTS", 200) / AT_ONCE {
        let starts = (0..AT_ONCE).map(async |_| {
            let folder = tempfile::tempdir()?;
            let running = hookyard_node::start(&on_one_file(folder.path())?.judge()?, Roles::ALL, slow()).await?;
            let kept = is_true_to_its_word(&running).await;
            running.close().await;
            kept
        });
        try_join_all(starts).await?;
    }
    drop(load);
    Ok(())
}

/// Each on a database and a prefix that nothing was in before; also a first publish by AMQP is routed.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn on_an_empty_broker_and_store() -> Result<()> {
    let world = World::on(Backend::Cluster).await?;
    let load = Load::begin();
    for round in 0..or_more("HOOKYARD_TEST_STARTS", 100) / AT_ONCE {
        let starts = (0..AT_ONCE).map(async |slot| {
            let mut config = world.config();
            config.amqp.prefix = format!("{}-{round}-{slot}", world.prefix);
            (config.amqp.shards, config.amqp.slow_shards) = (SHARDS.fast, SHARDS.slow);
            config.redis_url = config.redis_url.map(|url| format!("{url}/{slot}"));
            on_nothing(config).await
        });
        try_join_all(starts).await?;
    }
    drop(load);
    Ok(())
}

/// Operators may declare exchanges and queues first, and publishers may come before the first process.
#[tokio::test(flavor = "multi_thread")]
async fn what_waited_for_the_very_first_start_is_not_refused() -> Result<()> {
    let world = World::on(Backend::Cluster).await?;
    let settings = world.settings()?;
    tools::declare_topology(&settings).await?;
    let amqp = world.amqp().await?;
    for number in 0..EARLY {
        amqp.raw("user.created", &format!("early-{number}"), &[], b"{}").await?;
    }
    let running = hookyard_node::start(&settings, Roles::ALL, slow()).await?;
    let api = Api::of(&running)?;
    let recorded = async || api.get("/app/default/msg?limit=250").await.ok()?["data"].as_array().map(Vec::len);
    eventually("all are routed, or refused", async || {
        let refused = amqp.depth("rejected").await.unwrap_or_default();
        recorded().await.is_some_and(|recorded| recorded + usize::try_from(refused).unwrap_or_default() == EARLY)
    })
    .await?;
    ensure!(amqp.depth("rejected").await? == 0, "an event was refused for want of its application");
    running.drain().await;
    Ok(())
}

async fn on_nothing(config: Config) -> Result<()> {
    let url = config.redis_url.clone().context("a store")?;
    let () = redis::cmd("FLUSHDB").query_async(&mut redis_at(&url).await?).await.context("an empty store")?;
    let prefix = config.amqp.prefix.clone();
    let running = hookyard_node::start(&config.clone().judge()?, Roles::ALL, slow()).await?;
    let mut kept = is_true_to_its_word(&running).await;
    if kept.is_ok() {
        let amqp = Amqp::connect(&config.amqp_url.context("a broker")?, &prefix).await?;
        kept = amqp.raw("user.created", "first", &[], b"{}").await.context("a first publish by AMQP");
        eventually("it is taken from its queue", async || amqp.depth("ingest").await.is_ok_and(|depth| depth == 0)).await?;
        ensure!(amqp.depth("rejected").await? == 0, "it was refused");
        running.close().await;
        let made = Topology::new(&prefix, SHARDS);
        let (exchanges, queues) = (made.exchanges.into_iter(), made.queues.into_iter());
        amqp.delete(exchanges.map(|exchange| exchange.name), queues.map(|queue| queue.name)).await?;
    } else {
        running.close().await;
    }
    kept
}
