//! What can be configured, and what it is unless somebody says otherwise.
//!
//! The descriptions are those of the reference in `docs/configuration.md`, which is made from here.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use hookyard_core::admission::{DISABLE_AFTER, OPEN_FOR, SILENT_PERCENT};
use hookyard_core::outcome::UNAVAILABLE_AFTER;
use hookyard_core::{BodyFormat, limits};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::load::Origins;
use crate::units;

/// Shards of the fast and the slow lane unless configured: measured on two cores, more queues cost more than they bring.
const SHARDS: (u32, u32) = (2, 1);

/// Everything that can be configured.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The broker: `amqp://user:password@host:5672/vhost`, or `amqps://`.
    pub amqp_url: Option<String>,
    /// The store, which also holds the journal unless that has its own: `redis://host:6379/0`.
    pub redis_url: Option<String>,
    /// Another store for journal and markers.
    pub redis_journal_url: Option<String>,
    /// Where everything is kept when there is neither broker nor store.
    #[schema(value_type = String)]
    pub data_dir: PathBuf,
    /// Where the API listens.
    #[schema(value_type = String)]
    #[serde(deserialize_with = "units::address")]
    pub listen: SocketAddr,
    /// Where people reach the API, for links to it: `http://` or `https://` and a host; `http://` and the listener's address unless given.
    pub public_url: Option<String>,
    /// Where `/metrics`, `/livez` and `/readyz` listen.
    #[schema(value_type = String)]
    #[serde(deserialize_with = "units::address")]
    pub ops_listen: SocketAddr,
    /// 32 bytes in base64 that seal secrets at rest (`hookyard secret-key create`); several, separated by commas: the first one seals.
    /// One process makes its own in the data folder; a cluster needs one.
    pub secret_key: Option<String>,
    /// What tokens are signed with: at least 32 characters. One process makes its own in the data folder; a cluster needs one.
    pub jwt_secret: Option<String>,
    /// What is logged, in the form of `RUST_LOG`.
    pub log: String,
    /// The broker's details.
    pub amqp: Amqp,
    /// Requests to the API.
    pub api: ApiConfig,
    /// Deliveries.
    pub delivery: DeliveryConfig,
    /// Events.
    pub events: EventsConfig,
    /// The journal.
    pub journal: JournalConfig,
    /// File that holds `amqp_url`.
    #[schema(value_type = Option<String>)]
    pub amqp_url_file: Option<PathBuf>,
    /// File that holds `redis_url`.
    #[schema(value_type = Option<String>)]
    pub redis_url_file: Option<PathBuf>,
    /// File that holds `redis_journal_url`.
    #[schema(value_type = Option<String>)]
    pub redis_journal_url_file: Option<PathBuf>,
    /// File that holds `secret_key`.
    #[schema(value_type = Option<String>)]
    pub secret_key_file: Option<PathBuf>,
    /// File that holds `jwt_secret`.
    #[schema(value_type = Option<String>)]
    pub jwt_secret_file: Option<PathBuf>,
    /// Where each value came from.
    #[serde(skip)]
    #[schema(ignore)]
    pub origins: Origins,
}

/// The broker's details.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Amqp {
    /// What every exchange and queue name begins with.
    pub prefix: String,
    /// Queues of the fast lane. The largest number ever used stays in use.
    pub shards: u32,
    /// Queues of the slow lane. They only grow, too.
    pub slow_shards: u32,
    /// Where the broker's management API is, for `hookyard doctor`: `http://user:password@host:15672`; port 15672 of the broker's host
    /// unless given.
    pub management_url: Option<String>,
    /// Whether to declare exchanges and queues at the start; `hookyard topology declare` does it otherwise.
    pub declare: bool,
}

/// Requests to the API.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ApiConfig {
    /// Most requests per second of one token to one process, that many at once; more are answered with 429.
    #[schema(value_type = Option<u32>)]
    pub rate_limit: Option<NonZeroU32>,
    /// The longest a request may take until its answer begins; beyond, 503. A connection without a request ends after four times that.
    #[serde(deserialize_with = "units::duration", serialize_with = "units::write_duration")]
    #[schema(value_type = String)]
    pub timeout: Duration,
    /// Origins whose pages may call the API with a token of their own, for portals that are built elsewhere: `https://portal.example`;
    /// `*` is any. None unless given.
    #[serde(deserialize_with = "units::list")]
    #[schema(value_type = String)]
    pub cors_origins: Vec<String>,
}

/// Deliveries.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DeliveryConfig {
    /// Delays after the first attempt.
    #[serde(deserialize_with = "units::durations", serialize_with = "units::write_durations")]
    #[schema(value_type = String)]
    pub retry_schedule: Vec<Duration>,
    /// An attempt's whole budget, response included: from 1s to 30s.
    #[serde(deserialize_with = "units::duration", serialize_with = "units::write_duration")]
    #[schema(value_type = String)]
    pub timeout: Duration,
    /// Most requests in flight of one dispatcher.
    pub concurrency: u16,
    /// Most requests of one dispatcher to one endpoint that is not known to answer within 100ms, at least 1; one that does earns up to a
    /// quarter of the fast lane's. One that was never seen to answer has two at most.
    pub per_endpoint_concurrency: u16,
    /// Networks that outbound safety lets through.
    #[serde(deserialize_with = "units::list")]
    #[schema(value_type = Vec<String>)]
    pub allow_networks: Vec<String>,
    /// Host names, or suffixes that begin with a dot, that outbound safety lets through.
    #[serde(deserialize_with = "units::list")]
    #[schema(value_type = Vec<String>)]
    pub allow_hosts: Vec<String>,
    /// The proxy through which all requests leave: `http://host:port`, with `user:password@` where it wants that. The environment's
    /// proxies are ignored.
    pub proxy: Option<String>,
    /// A file of certificates in PEM: authorities trusted beside the system's.
    #[schema(value_type = Option<String>)]
    pub ca_file: Option<PathBuf>,
    /// `standard`, `svix` or `both`.
    pub signature_headers: String,
    /// `payload`, `envelope`, `standard` or `cloudevents`, for endpoints that do not say.
    #[schema(value_type = String)]
    pub body_format: BodyFormat,
    /// How long an endpoint that is silent is left alone: the first time, the second, and so on, at most four; none
    /// means that it does not.
    #[serde(deserialize_with = "units::durations", serialize_with = "units::write_durations")]
    #[schema(value_type = String)]
    pub breaker: Vec<Duration>,
    /// From which share of attempts without any answer, in hundredths, that is: 75 to 100, or 0 for never. Endpoints may say otherwise
    /// (`breakerPercent`).
    pub breaker_percent: u8,
    /// How long a delivery waits for an endpoint that is left alone, from the moment its attempt first became due; then it is dead as
    /// `endpoint_unavailable`. At most 24h, and at least as long as the retry schedule in all.
    #[serde(deserialize_with = "units::duration", serialize_with = "units::write_duration")]
    #[schema(value_type = String)]
    pub unavailable_after: Duration,
    /// How long an endpoint may take nothing, with at least 20 deliveries given up meanwhile, before it is disabled; 0s means that it
    /// never is.
    #[serde(deserialize_with = "units::duration", serialize_with = "units::write_duration")]
    #[schema(value_type = String)]
    pub disable_after: Duration,
    /// How long the last known copy of an endpoint serves while the directory is away.
    #[serde(deserialize_with = "units::duration", serialize_with = "units::write_duration")]
    #[schema(value_type = String)]
    pub endpoint_memory: Duration,
}

/// Events.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventsConfig {
    /// Most bytes of one event.
    #[serde(deserialize_with = "units::size", serialize_with = "units::write_size")]
    #[schema(value_type = String)]
    pub max_bytes: usize,
    /// Whether an event must bring its own id.
    pub require_id: bool,
}

/// The journal.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JournalConfig {
    /// How long finished messages and their attempts are kept.
    #[serde(deserialize_with = "units::duration", serialize_with = "units::write_duration")]
    #[schema(value_type = String)]
    pub retention: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            amqp_url: None,
            redis_url: None,
            redis_journal_url: None,
            data_dir: PathBuf::from("hookyard-data"),
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            ops_listen: SocketAddr::from(([127, 0, 0, 1], 9464)),
            secret_key: None,
            jwt_secret: None,
            log: "info".to_owned(),
            amqp: Amqp::default(),
            api: ApiConfig::default(),
            delivery: DeliveryConfig::default(),
            events: EventsConfig::default(),
            journal: JournalConfig::default(),
            amqp_url_file: None,
            redis_url_file: None,
            redis_journal_url_file: None,
            secret_key_file: None,
            jwt_secret_file: None,
            origins: Origins::default(),
        }
    }
}

impl Default for Amqp {
    fn default() -> Self {
        Self { prefix: "hookyard".to_owned(), shards: SHARDS.0, slow_shards: SHARDS.1, management_url: None, declare: true }
    }
}

impl Default for ApiConfig {
    /// No limit, and as long as proxies commonly wait.
    fn default() -> Self {
        Self { rate_limit: None, timeout: Duration::from_secs(30), cors_origins: Vec::new() }
    }
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            retry_schedule: limits::RETRY_SCHEDULE.to_vec(),
            timeout: limits::ATTEMPT_TIMEOUT,
            concurrency: 512,
            per_endpoint_concurrency: 8,
            allow_networks: Vec::new(),
            allow_hosts: Vec::new(),
            proxy: None,
            ca_file: None,
            signature_headers: "standard".to_owned(),
            body_format: BodyFormat::Payload,
            breaker: OPEN_FOR.to_vec(),
            breaker_percent: SILENT_PERCENT,
            unavailable_after: UNAVAILABLE_AFTER,
            disable_after: DISABLE_AFTER,
            endpoint_memory: Duration::from_secs(15 * 60),
        }
    }
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self { max_bytes: limits::EVENT_BYTES, require_id: false }
    }
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self { retention: limits::RETENTION }
    }
}
