//! A world of its own for each test: a prefix in the broker, a private store, a receiver, and roles started in this process.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures_util::future::join_all;
use hookyard_core::{AppId, DeadReason, Delivery, limits};
use hookyard_node::seams::{SystemClock, SystemEntropy};
use hookyard_node::settings::Settings;
use hookyard_node::{Config, Roles, Running, Seams, install_crypto, token};
use hookyard_wire::queue::{read_delivery, read_message_part, read_progress};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::amqp::Amqp;
use crate::receiver::{Answer, Hit, Receiver};
use crate::services::{AMQP_URL_VAR, PrivateRabbit, PrivateRedis};

/// The longest a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(60);
/// What secrets are sealed with in tests.
pub const SECRET_KEY: &str = "dGVzdC10ZXN0LXRlc3QtdGVzdC10ZXN0LXRlc3QtMzI=";
/// What tokens are signed with in tests.
pub const JWT_SECRET: &str = "a secret for tests and nothing else";

/// What a world keeps everything in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// RabbitMQ and Redis.
    Cluster,
    /// One SQLite file.
    Embedded,
}

/// A delivery that will not be tried again, as an operator finds it.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The delivery as it ended.
    pub delivery: Delivery,
    /// Why.
    pub reason: DeadReason,
}

/// Everything one test needs.
pub struct World {
    /// The store; only in a cluster.
    pub redis: Option<PrivateRedis>,
    /// The broker, where the test has its own.
    pub rabbit: Option<PrivateRabbit>,
    /// The receiver.
    pub receiver: Receiver,
    /// What the broker's names begin with.
    pub prefix: String,
    /// Most requests in flight of a dispatcher.
    pub concurrency: usize,
    /// Where the API of roles that run as processes listens.
    pub listen: Option<SocketAddr>,
    /// The broker; only in a cluster.
    amqp_url: Option<String>,
    dir: TempDir,
}

impl World {
    /// A world on this backend, with a receiver that answers 204.
    ///
    /// # Errors
    /// When a server does not start.
    pub async fn on(backend: Backend) -> Result<Self> {
        Self::on_with(backend, |_, _| Answer::Status(204)).await
    }

    /// A world on this backend, with a scripted receiver.
    ///
    /// # Errors
    /// When a server does not start.
    pub async fn on_with(backend: Backend, script: impl Fn(&Hit, usize) -> Answer + Send + Sync + 'static) -> Result<Self> {
        if backend == Backend::Cluster {
            return Self::with(script).await;
        }
        install_crypto();
        let (dir, receiver) = (tempfile::tempdir().context("a folder")?, Receiver::start(script).await?);
        let (redis, rabbit, amqp_url, prefix) = (None, None, None, String::new());
        Ok(Self { redis, rabbit, receiver, prefix, concurrency: 512, listen: None, amqp_url, dir })
    }

    /// A world in the shared broker, with a receiver that answers 204.
    ///
    /// # Errors
    /// When a server does not start.
    pub async fn new() -> Result<Self> {
        Self::with(|_, _| Answer::Status(204)).await
    }

    /// A world in the shared broker, with a scripted receiver.
    ///
    /// # Errors
    /// When a server does not start.
    pub async fn with(script: impl Fn(&Hit, usize) -> Answer + Send + Sync + 'static) -> Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "how the test command tells where the broker is")]
        match std::env::var(AMQP_URL_VAR) {
            Ok(url) => Self::build(Some(url), script).await,
            Err(_) => Self::build(None, script).await,
        }
    }

    /// A world with a broker of its own, which may be killed.
    ///
    /// # Errors
    /// When a server does not start.
    pub async fn alone(script: impl Fn(&Hit, usize) -> Answer + Send + Sync + 'static) -> Result<Self> {
        Self::build(None, script).await
    }

    /// A world in the broker at this URL.
    ///
    /// # Errors
    /// When a server does not start.
    pub async fn at(amqp_url: String, script: impl Fn(&Hit, usize) -> Answer + Send + Sync + 'static) -> Result<Self> {
        Self::build(Some(amqp_url), script).await
    }

    async fn build(shared: Option<String>, script: impl Fn(&Hit, usize) -> Answer + Send + Sync + 'static) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        install_crypto();
        let dir = tempfile::tempdir().context("a folder")?;
        let path = dir.path().to_owned();
        let (redis, rabbit) = tokio::task::spawn_blocking(move || -> Result<_> {
            let rabbit = if shared.is_some() { None } else { Some(PrivateRabbit::start(&path.join("rabbit"))?) };
            Ok((PrivateRedis::start(&path.join("redis"))?, (shared, rabbit)))
        })
        .await??;
        let (amqp_url, rabbit) = match rabbit {
            (Some(url), _) => (url, None),
            (None, Some(rabbit)) => (rabbit.url(), Some(rabbit)),
            (None, None) => bail!("no broker"),
        };
        let prefix = format!("t{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let receiver = Receiver::start(script).await?;
        Ok(Self { redis: Some(redis), rabbit, receiver, prefix, concurrency: 512, listen: None, amqp_url: Some(amqp_url), dir })
    }

    /// The configuration of this world: retries after one and two seconds, loopback allowed, any free port.
    pub fn config(&self) -> Config {
        let mut config = Config {
            amqp_url: self.amqp_url.clone(),
            redis_url: self.redis.as_ref().map(PrivateRedis::url),
            data_dir: self.dir.path().join("data"),
            listen: ([127, 0, 0, 1], 0).into(),
            ops_listen: ([127, 0, 0, 1], 0).into(),
            secret_key: Some(SECRET_KEY.to_owned()),
            jwt_secret: Some(JWT_SECRET.to_owned()),
            ..Config::default()
        };
        if self.amqp_url.is_some() {
            config.amqp.prefix.clone_from(&self.prefix);
        }
        config.delivery.retry_schedule = vec![Duration::from_secs(1), Duration::from_secs(2)];
        config.delivery.concurrency = u16::try_from(self.concurrency).unwrap_or(u16::MAX);
        config.delivery.timeout = Duration::from_secs(2);
        config.delivery.allow_networks = vec!["127.0.0.0/8".to_owned()];
        // Receivers here fail on purpose, and what is tested is what follows from it at once; breakers have tests of their own.
        config.delivery.breaker = Vec::new();
        config
    }

    /// The same as environment variables, for roles that run as processes.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let config = self.config();
        let prefix = config.amqp_url.is_some().then(|| self.prefix.clone());
        let cluster =
            [("HOOKYARD_AMQP_URL", config.amqp_url), ("HOOKYARD_REDIS_URL", config.redis_url), ("HOOKYARD_AMQP__PREFIX", prefix)];
        let cluster = cluster.into_iter().filter_map(|(name, url)| Some((name, url?)));
        let rest = vec![
            ("HOOKYARD_LISTEN", self.listen.map_or_else(|| "127.0.0.1:0".to_owned(), |address| address.to_string())),
            ("HOOKYARD_DATA_DIR", config.data_dir.display().to_string()),
            ("HOOKYARD_DELIVERY__CONCURRENCY", self.concurrency.to_string()),
            ("HOOKYARD_OPS_LISTEN", "127.0.0.1:0".to_owned()),
            ("HOOKYARD_SECRET_KEY", SECRET_KEY.to_owned()),
            ("HOOKYARD_JWT_SECRET", JWT_SECRET.to_owned()),
            ("HOOKYARD_DELIVERY__RETRY_SCHEDULE", "1s,2s".to_owned()),
            ("HOOKYARD_DELIVERY__TIMEOUT", "2s".to_owned()),
            ("HOOKYARD_DELIVERY__BREAKER", String::new()),
            ("HOOKYARD_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8".to_owned()),
            // Proxies of the environment are none of ours: nothing would arrive by this one.
            ("HTTP_PROXY", "http://127.0.0.1:9".to_owned()),
            ("http_proxy", "http://127.0.0.1:9".to_owned()),
            ("ALL_PROXY", "http://127.0.0.1:9".to_owned()),
        ];
        cluster.chain(rest).collect()
    }

    /// The judged configuration of this world.
    ///
    /// # Errors
    /// When it is wrong.
    pub fn settings(&self) -> Result<Settings> {
        self.config().judge()
    }

    /// Starts all roles and waits until they are ready.
    ///
    /// # Errors
    /// When they do not become ready.
    pub async fn start(&self) -> Result<Running> {
        self.start_roles(Roles::ALL).await
    }

    /// Starts these roles and waits until they are ready.
    ///
    /// # Errors
    /// When they do not become ready.
    pub async fn start_roles(&self, roles: Roles) -> Result<Running> {
        let running = self.start_unready(roles, self.config()).await?;
        eventually("the roles are ready", || running.is_ready()).await?;
        Ok(running)
    }

    /// Starts these roles with this configuration, ready or not.
    ///
    /// # Errors
    /// When the configuration is wrong.
    pub async fn start_unready(&self, roles: Roles, config: Config) -> Result<Running> {
        hookyard_node::start(&config.judge()?, roles, Seams::default()).await
    }

    /// A publisher.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn amqp(&self) -> Result<Amqp> {
        Amqp::connect(self.amqp_url.as_deref().context("this world has no broker")?, &self.prefix).await
    }

    /// Publishes an event through the backend's main door: AMQP where there is a broker, else HTTP.
    ///
    /// # Errors
    /// When it is not accepted.
    pub async fn publish(&self, api: &Api, event_type: &str, id: &str, data: &str) -> Result<()> {
        self.publish_on(api, event_type, id, &[], data).await
    }

    /// The same on channels.
    ///
    /// # Errors
    /// When it is not accepted.
    pub async fn publish_on(&self, api: &Api, event_type: &str, id: &str, channels: &[&str], data: &str) -> Result<()> {
        if self.amqp_url.is_some() {
            let labels = channels.join(",");
            let headers = if channels.is_empty() { vec![] } else { vec![("hookyard-channels", &*labels)] };
            return self.amqp().await?.raw(event_type, id, &headers, data.as_bytes()).await;
        }
        // As text: the payload's bytes are to arrive as they are.
        let channels = json!(channels);
        let body = format!(r#"{{"eventType": "{event_type}", "eventId": "{id}", "channels": {channels}, "payload": {data}}}"#);
        let (status, answer) = api.send_raw("/app/default/msg", body.into_bytes()).await?;
        if status == StatusCode::ACCEPTED { Ok(()) } else { bail!("not accepted: {status} {answer}") }
    }

    /// Whether no event and no delivery waits.
    ///
    /// # Errors
    /// When that cannot be said.
    pub async fn is_drained(&self) -> Result<bool> {
        if self.amqp_url.is_some() {
            let amqp = self.amqp().await?;
            for queue in ["ingest", "dispatch.0", "dispatch.1"] {
                if amqp.depth(queue).await? > 0 {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        let waiting = "SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM deliveries WHERE state = 'waiting')";
        Ok(self.file()?.query_row(waiting, [], |row| row.get::<_, i64>(0))? == 0)
    }

    /// Dead letters that the journal lists of an application, which need not be there any more.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn dead_in_journal(&self, app: AppId) -> Result<usize> {
        if let Some(redis) = &self.redis {
            let mut connection = redis_at(&redis.url()).await?;
            let key = format!("hookyard:{{{app}}}:dead");
            return Ok(redis::cmd("ZCARD").arg(key).query_async(&mut connection).await?);
        }
        let count = "SELECT count(*) FROM dead_letters WHERE app = ?1";
        Ok(self.file()?.query_row(count, [&app.as_bytes()[..]], |row| row.get(0))?)
    }

    /// The file of a world without broker and store.
    fn file(&self) -> Result<rusqlite::Connection> {
        let connection = rusqlite::Connection::open(self.dir.path().join("data/hookyard.db"))?;
        connection.busy_timeout(PATIENCE)?;
        Ok(connection)
    }

    /// Waits for this many dead letters and takes them out.
    ///
    /// # Errors
    /// When there are not so many in time, or one cannot be read.
    pub async fn dead_letters(&self, count: usize) -> Result<Vec<DeadLetter>> {
        let (begun, mut dead) = (Instant::now(), self.take_dead().await?);
        while dead.len() < count && begun.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(20)).await;
            dead.extend(self.take_dead().await?);
        }
        if dead.len() == count { Ok(dead) } else { bail!("{} dead letters, not {count}", dead.len()) }
    }

    async fn take_dead(&self) -> Result<Vec<DeadLetter>> {
        if self.amqp_url.is_some() {
            let found = self.amqp().await?.take_all("dead").await?;
            return found.into_iter().map(|found| dead_letter(read_delivery(found.body)?)).collect();
        }
        let connection = self.file()?;
        let query = "DELETE FROM deliveries WHERE state = 'dead'
                     RETURNING (SELECT body FROM messages WHERE id = deliveries.message), progress";
        let mut query = connection.prepare(query)?;
        let rows = query.query_map([], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
        let rows: Vec<(Vec<u8>, Vec<u8>)> = rows.collect::<rusqlite::Result<_>>()?;
        let read = |(body, progress): (Vec<u8>, Vec<u8>)| {
            let message = Arc::new(read_message_part(body.into())?);
            dead_letter(read_progress(message, &progress)?)
        };
        rows.into_iter().map(read).collect()
    }
}

fn dead_letter((delivery, reason): (Delivery, Option<DeadReason>)) -> Result<DeadLetter> {
    Ok(DeadLetter { delivery, reason: reason.context("a reason")? })
}

/// The API as an administrator sees it.
#[derive(Clone)]
pub struct Api {
    base: String,
    token: String,
    client: reqwest::Client,
}

impl Api {
    /// Of these roles, with everything allowed.
    ///
    /// # Errors
    /// When they do not serve it.
    pub fn of(running: &Running) -> Result<Self> {
        let address = running.api.context("these roles serve no API")?;
        Self::at(&format!("http://{address}"), "admin")
    }

    /// At an address, with a token of this scope.
    ///
    /// # Errors
    /// When the scope is none.
    pub fn at(address: &str, scope: &str) -> Result<Self> {
        let (clock, entropy) = (SystemClock, SystemEntropy::default());
        let token = token::create(JWT_SECRET, &scope.parse()?, Duration::from_secs(3600), &clock, &entropy)?;
        let client = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { base: format!("{address}/api/v1"), token, client })
    }

    /// The same address with a token of another scope.
    ///
    /// # Errors
    /// When the scope is none.
    pub fn scoped(&self, scope: &str) -> Result<Self> {
        Self::at(self.place().0, scope)
    }

    /// The address it is served at, and its token.
    #[must_use]
    pub fn place(&self) -> (&str, &str) {
        (self.base.trim_end_matches("/api/v1"), &self.token)
    }

    /// The same address with something else for a token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// Begins to read a stream of events, after the last one seen before.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn stream(&self, path: &str, last: Option<&str>) -> Result<reqwest::Response> {
        let request = self.client.get(format!("{}{path}", self.base)).bearer_auth(&self.token);
        let request = last.into_iter().fold(request, |request, last| request.header("last-event-id", last));
        Ok(request.send().await?)
    }

    /// Calls an operation; the status and the body, whatever they are.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn try_call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, Value)> {
        let response = self.respond(method, path, body).await?;
        let status = response.status();
        let text = response.text().await?;
        let answer = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).with_context(|| text)? };
        Ok((status, answer))
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send_raw(&self, path: &str, body: Vec<u8>) -> Result<(StatusCode, Value)> {
        self.send_as(path, "application/json", body).await
    }

    /// Calls an operation; the answer with its headers.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn respond(&self, method: Method, path: &str, body: Option<&Value>) -> Result<reqwest::Response> {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        Ok(request.send().await?)
    }

    /// Posts with an `Idempotency-Key`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post_with_key(&self, path: &str, key: &str, body: &Value) -> Result<(StatusCode, Value)> {
        let request = self.client.post(format!("{}{path}", self.base)).bearer_auth(&self.token);
        let response = request.header("idempotency-key", key).json(body).send().await?;
        Ok((response.status(), response.json().await?))
    }

    /// Sends bytes of this content type. An answer that cannot be read is given as text.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send_as(&self, path: &str, content_type: &str, body: Vec<u8>) -> Result<(StatusCode, Value)> {
        let request = self.client.post(format!("{}{path}", self.base)).bearer_auth(&self.token);
        let response = request.header("content-type", content_type).body(body).send().await?;
        let (status, text) = (response.status(), response.text().await?);
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// Calls an operation that must succeed.
    ///
    /// # Errors
    /// When it does not.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let (status, answer) = self.try_call(method.clone(), path, body).await?;
        if status.is_success() { Ok(answer) } else { bail!("{method} {path}: {status} {answer}") }
    }

    /// Gets.
    ///
    /// # Errors
    /// When it fails.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.call(Method::GET, path, None).await
    }

    /// Posts.
    ///
    /// # Errors
    /// When it fails.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Publishes events `evt-<number>` to the default application, hundreds at a time.
    ///
    /// # Errors
    /// When one is not accepted.
    pub async fn publish_many(&self, event_type: &str, numbers: Range<usize>) -> Result<()> {
        let numbers: Vec<usize> = numbers.collect();
        for some in numbers.chunks(limits::BATCH_MESSAGES * 4) {
            let requests = some.chunks(limits::BATCH_MESSAGES).map(async |batch| {
                let message =
                    |number: &usize| json!({"eventType": event_type, "eventId": format!("evt-{number}"), "payload": {}});
                let messages: Vec<Value> = batch.iter().map(message).collect();
                self.post("/app/default/msg/batch", &json!({"messages": messages})).await
            });
            for answer in join_all(requests).await {
                let answer = answer?;
                let accepted = answer["results"].as_array().is_some_and(|all| all.iter().all(|one| one["status"] == 202));
                ensure!(accepted, "{answer}");
            }
        }
        Ok(())
    }

    /// Creates an endpoint in an application; its id.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn endpoint(&self, app: &str, url: &str, more: Value) -> Result<String> {
        let mut body = json!({ "url": url });
        if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
            body.extend(more);
        }
        let created = self.post(&format!("/app/{app}/endpoint"), &body).await?;
        created["id"].as_str().map(str::to_owned).context("an id")
    }

    /// The secret of an endpoint.
    ///
    /// # Errors
    /// When there is none.
    pub async fn secret(&self, app: &str, endpoint: &str) -> Result<String> {
        let answer = self.get(&format!("/app/{app}/endpoint/{endpoint}/secret")).await?;
        answer["key"].as_str().map(str::to_owned).context("a key")
    }
}

/// How much of something a test does: `usual`, or what the environment's variable says, for a longer form.
pub fn or_more(variable: &str, usual: usize) -> usize {
    #[expect(clippy::disallowed_methods, reason = "how the longer form is asked for")]
    std::env::var(variable).ok().and_then(|count| count.parse().ok()).unwrap_or(usual)
}

/// Waits until a condition is true, and fails with its name when it does not become so.
///
/// # Errors
/// When the patience is over.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) -> Result<()> {
    let begun = Instant::now();
    while !condition().await {
        if begun.elapsed() > PATIENCE {
            bail!("not within {} s: {what}", PATIENCE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The store as another tool reaches it, with more patience than the library's half a second: a machine may be busy.
///
/// # Errors
/// There is none, or it does not answer.
pub async fn redis_at(url: &str) -> Result<redis::aio::MultiplexedConnection> {
    let patient = redis::AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE)).set_connection_timeout(Some(PATIENCE));
    Ok(redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&patient).await?)
}
