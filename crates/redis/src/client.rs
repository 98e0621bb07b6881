//! The connection to one server: time limits, scripts, metrics, and errors as faults.

use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use hookyard_core::seal::SealingKeys;
use hookyard_core::{Clock, Entropy, Fault, FaultKind};
use hookyard_telemetry::Metrics;
use hookyard_telemetry::label::{StoreOp, Success};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{ErrorKind, FromRedisValue, Pipeline, RedisError, ServerErrorKind};

use crate::meta::Meta;
use crate::scripts::Scripts;

/// A store that does not answer within this is away: deliveries go on without it.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(500);
/// Time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How to reach the store and what it needs.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://…`: the directory, and the journal unless that has its own.
    pub url: String,
    /// Another server for journal and markers.
    pub journal_url: Option<String>,
    /// How long finished messages are kept.
    pub retention: Duration,
}

/// Whether a text is a store's URL.
pub fn is_url(text: &str) -> bool {
    redis::Client::open(text).is_ok()
}

/// One server.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) connection: ConnectionManager,
    /// For connections of another kind.
    pub(crate) client: redis::Client,
    pub(crate) scripts: Arc<Scripts>,
    metrics: Metrics,
    /// Which of the configured servers this is.
    number: u8,
}

/// The directory, and the way to the journal.
#[derive(Clone)]
pub struct RedisStore {
    pub(crate) directory: Server,
    pub(crate) journal: Server,
    pub(crate) keys: SealingKeys,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    pub(crate) retention: Duration,
    /// The dataset this process has verified against the broker's anchor; nothing is read before.
    pub(crate) dataset: Arc<RwLock<Option<Meta>>>,
}

impl RedisStore {
    /// Connects when first used, and again after every break.
    pub fn open(
        config: &RedisConfig,
        keys: SealingKeys,
        metrics: Metrics,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Fault> {
        let scripts = Arc::new(Scripts::new());
        let directory = Server::open(&config.url, 0, Arc::clone(&scripts), metrics.clone())?;
        let journal = match &config.journal_url {
            Some(url) => Server::open(url, 1, scripts, metrics.clone())?,
            None => directory.clone(),
        };
        let dataset = Arc::new(RwLock::new(None));
        Ok(Self { directory, journal, keys, entropy, clock, metrics, retention: config.retention, dataset })
    }

    pub(crate) fn nonce(&self) -> String {
        let mut bytes = [0; 6];
        self.entropy.fill(&mut bytes);
        bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    }

    /// By how much a counter moves on: it is not where it was once before, also not after the store went back in time.
    pub(crate) fn leap(&self) -> u32 {
        let mut bytes = [0; 4];
        self.entropy.fill(&mut bytes);
        u32::from_le_bytes(bytes).max(1)
    }
}

impl Server {
    fn open(url: &str, number: u8, scripts: Arc<Scripts>, metrics: Metrics) -> Result<Self, Fault> {
        // The error may quote the URL, which may hold a password.
        let refused = |_| Fault::new(FaultKind::Refused, "read the store's URL");
        let client = redis::Client::open(url).map_err(refused)?;
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(RESPONSE_TIMEOUT))
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(50))
            .set_max_delay(Duration::from_millis(250));
        let connection = ConnectionManager::new_lazy_with_config(client.clone(), config).map_err(refused)?;
        Ok(Self { connection, client, scripts, metrics, number })
    }

    /// Sends a pipeline; loads the scripts and sends it again if the server forgot them.
    pub async fn query<T: FromRedisValue>(&self, op: StoreOp, operation: &'static str, pipeline: &Pipeline) -> Result<T, Fault> {
        let begun = Instant::now();
        let mut connection = self.connection.clone();
        let mut answer = pipeline.query_async(&mut connection).await;
        if let Err(error) = &answer
            && error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
        {
            answer = match self.load_scripts().await {
                Ok(()) => pipeline.query_async(&mut connection).await,
                Err(error) => Err(error),
            };
        }
        let success = if answer.is_ok() { Success::Ok } else { Success::Failed };
        self.metrics.redis_commands_total.add((op, success), u64::try_from(pipeline.len()).unwrap_or(u64::MAX));
        self.metrics.redis_command_duration_seconds.observe(op, begun.elapsed());
        answer.map_err(|error| fault(operation, error))
    }

    /// Whether both are one server.
    pub fn is_same(&self, other: &Self) -> bool {
        self.number == other.number
    }

    async fn load_scripts(&self) -> Result<(), RedisError> {
        let mut connection = self.connection.clone();
        for script in self.scripts.all() {
            script.load_async(&mut connection).await?;
        }
        Ok(())
    }
}

/// Everything a server says while it is starting, failing over, full or read-only passes; the rest is a bug of ours.
fn fault(operation: &'static str, error: RedisError) -> Fault {
    let lasting = match error.kind() {
        ErrorKind::UnexpectedReturnType | ErrorKind::Parse | ErrorKind::InvalidClientConfig => true,
        _ => error.code() == Some("WRONGTYPE"),
    };
    let kind = if lasting { FaultKind::Refused } else { FaultKind::Unavailable };
    Fault::caused(kind, operation, error)
}
