//! Configuration: flag over environment over file over default.
//!
//! The environment variable of a key is `HOOKYARD_` and its path, joined by `__`: `HOOKYARD_DELIVERY__TIMEOUT`. Every secret can
//! come from a file named by the same key with `_file` behind it.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use figment::Figment;
use figment::providers::{Env, Format as _, Toml};
use hookyard_core::address::AllowList;
use hookyard_core::event::Admission;
use hookyard_core::gate::{DISABLE_AFTER, OPEN_FOR};
use hookyard_core::limits::RETRY_DELAY_MOST;
use hookyard_core::seal::SealingKeys;
use hookyard_core::{BodyFormat, Policy, limits};
use hookyard_egress::{Authorities, EgressConfig, EgressProxy};
use hookyard_wire::request::SignatureHeaders;
use ipnet::IpNet;
use serde::Deserialize;

use crate::{local, units};

/// Shards of the fast and the slow lane unless configured: measured on two cores, more queues cost more than they bring.
const SHARDS: (u32, u32) = (2, 1);
/// Shortest token secret: HS256 wants a key as long as its hash (RFC 7518 §3.2).
const JWT_SECRET_BYTES: usize = 32;

/// Everything that can be configured.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The broker: `amqp://user:password@host:5672/vhost`.
    pub amqp_url: Option<String>,
    /// The store: `redis://host:6379/0`.
    pub redis_url: Option<String>,
    /// Another store for journal and markers.
    pub redis_journal_url: Option<String>,
    /// Where everything is kept when there is neither broker nor store.
    pub data_dir: PathBuf,
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Where people reach the API, for links to it; `http://` and the listener's address unless given.
    pub public_url: Option<String>,
    /// Where `/metrics`, `/livez` and `/readyz` listen.
    pub ops_listen: SocketAddr,
    /// 32 bytes in base64 that seal secrets at rest; several, separated by commas: the first one seals.
    pub secret_key: Option<String>,
    /// What tokens are signed with.
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
    pub amqp_url_file: Option<PathBuf>,
    /// File that holds `redis_url`.
    pub redis_url_file: Option<PathBuf>,
    /// File that holds `redis_journal_url`.
    pub redis_journal_url_file: Option<PathBuf>,
    /// File that holds `secret_key`.
    pub secret_key_file: Option<PathBuf>,
    /// File that holds `jwt_secret`.
    pub jwt_secret_file: Option<PathBuf>,
}

/// The broker's details.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Amqp {
    /// What every exchange and queue name begins with.
    pub prefix: String,
    /// Queues of the fast lane. The largest number ever used stays in use.
    pub shards: u32,
    /// Queues of the slow lane.
    pub slow_shards: u32,
    /// Whether to declare exchanges and queues at the start.
    pub declare: bool,
}

/// Requests to the API.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiConfig {
    /// Most requests per second of one token to one process, that many at once; more are answered with 429.
    pub rate_limit: Option<NonZeroU32>,
    /// The longest a request may take until its answer begins.
    #[serde(deserialize_with = "units::duration")]
    pub timeout: Duration,
}

/// Deliveries.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeliveryConfig {
    /// Delays after the first attempt.
    #[serde(deserialize_with = "units::durations")]
    pub retry_schedule: Vec<Duration>,
    /// An attempt's whole budget, response included.
    #[serde(deserialize_with = "units::duration")]
    pub timeout: Duration,
    /// Most requests in flight.
    pub concurrency: u16,
    /// Networks that outbound safety lets through.
    #[serde(deserialize_with = "units::list")]
    pub allow_networks: Vec<String>,
    /// Host names, or suffixes that begin with a dot, that outbound safety lets through.
    #[serde(deserialize_with = "units::list")]
    pub allow_hosts: Vec<String>,
    /// The proxy through which all requests leave: `http://host:port`, with `user:password@` where it wants that.
    pub proxy: Option<String>,
    /// A file of certificates in PEM: authorities trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// `standard`, `svix` or `both`.
    pub signature_headers: String,
    /// `payload`, `envelope`, `standard` or `cloudevents`, for endpoints that do not say.
    pub body_format: BodyFormat,
    /// How long an endpoint's breaker opens after five failures in a row: the first time, the second, and so on, at most four; none
    /// means that it does not.
    #[serde(deserialize_with = "units::durations")]
    pub breaker: Vec<Duration>,
    /// How long an endpoint may take nothing, with at least 20 deliveries given up meanwhile, before it is disabled; 0s means that it
    /// never is.
    #[serde(deserialize_with = "units::duration")]
    pub disable_after: Duration,
    /// How long the last known copy of an endpoint serves while the directory is away.
    #[serde(deserialize_with = "units::duration")]
    pub endpoint_memory: Duration,
}

/// Events.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventsConfig {
    /// Most bytes of one event.
    #[serde(deserialize_with = "units::size")]
    pub max_bytes: usize,
    /// Whether an event must bring its own id.
    pub require_id: bool,
}

/// The journal.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JournalConfig {
    /// How long finished messages and their attempts are kept.
    #[serde(deserialize_with = "units::duration")]
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
        }
    }
}

impl Default for Amqp {
    fn default() -> Self {
        Self { prefix: "hookyard".to_owned(), shards: SHARDS.0, slow_shards: SHARDS.1, declare: true }
    }
}

impl Default for ApiConfig {
    /// No limit, and as long as proxies commonly wait.
    fn default() -> Self {
        Self { rate_limit: None, timeout: Duration::from_secs(30) }
    }
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            retry_schedule: limits::RETRY_SCHEDULE.to_vec(),
            timeout: limits::ATTEMPT_TIMEOUT,
            concurrency: 512,
            allow_networks: Vec::new(),
            allow_hosts: Vec::new(),
            proxy: None,
            ca_file: None,
            signature_headers: "standard".to_owned(),
            body_format: BodyFormat::Payload,
            breaker: OPEN_FOR.to_vec(),
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

/// Which backend.
#[derive(Clone)]
pub enum BackendSettings {
    /// RabbitMQ and Redis.
    Cluster(ClusterSettings),
    /// One file in this folder.
    Embedded(PathBuf),
}

/// Where broker and store are.
#[derive(Clone)]
pub struct ClusterSettings {
    /// The broker.
    pub amqp_url: String,
    /// The store.
    pub redis_url: String,
}

/// A configuration that was judged: nothing in it is wrong or missing.
#[derive(Clone)]
pub struct Settings {
    /// As read.
    pub config: Config,
    /// What everything is kept in.
    pub backend: BackendSettings,
    /// What seals.
    pub keys: SealingKeys,
    /// What tokens are signed with.
    pub jwt_secret: String,
    /// How requests leave, and what outbound safety lets through.
    pub egress: EgressConfig,
    /// Names of the signature headers.
    pub signature_headers: SignatureHeaders,
    /// How deliveries are attempted.
    pub policy: Policy,
    /// How events are admitted.
    pub admission: Admission,
    /// How long breakers open.
    pub open_for: [Duration; 4],
}

impl Config {
    /// Reads the file, if one is named, and the environment.
    pub fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let mut figment = Figment::new();
        if let Some(file) = file {
            ensure!(file.exists(), "there is no configuration file {}", file.display());
            figment = figment.merge(Toml::file_exact(file));
        }
        // These belong to the command line's client and to the tests.
        let env = Env::prefixed("HOOKYARD_")
            .ignore(&["url", "token", "config", "test_amqp_url", "test_redis_url", "test_crashes"])
            .split("__");
        let mut config: Self = figment.merge(env).extract().context("the configuration is wrong")?;
        config.read_files()?;
        local::fill_in(&mut config)?;
        Ok(config)
    }

    /// Whether everything is kept in one file, with neither broker nor store.
    pub fn is_embedded(&self) -> bool {
        self.amqp_url.is_none() && self.redis_url.is_none()
    }

    fn read_files(&mut self) -> anyhow::Result<()> {
        let pairs = [
            (&mut self.amqp_url, &self.amqp_url_file),
            (&mut self.redis_url, &self.redis_url_file),
            (&mut self.redis_journal_url, &self.redis_journal_url_file),
            (&mut self.secret_key, &self.secret_key_file),
            (&mut self.jwt_secret, &self.jwt_secret_file),
        ];
        for (value, file) in pairs {
            if let Some(file) = file {
                let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
                *value = Some(text.trim().to_owned());
            }
        }
        Ok(())
    }

    /// Judges everything at once, before anything is started.
    pub fn judge(self) -> anyhow::Result<Settings> {
        let backend = match (&self.amqp_url, &self.redis_url) {
            (Some(amqp), Some(redis)) => {
                BackendSettings::Cluster(ClusterSettings { amqp_url: amqp.clone(), redis_url: redis.clone() })
            }
            (None, None) => BackendSettings::Embedded(self.data_dir.clone()),
            _ => bail!("HOOKYARD_AMQP_URL and HOOKYARD_REDIS_URL go together: one of them is missing"),
        };
        let keys =
            self.secret_key.as_deref().context("HOOKYARD_SECRET_KEY is missing; `hookyard secret-key create` makes one")?;
        let keys = SealingKeys::parse(keys).context("HOOKYARD_SECRET_KEY")?;
        let jwt_secret = self.jwt_secret.clone().context("HOOKYARD_JWT_SECRET is missing; any 32 random characters will do")?;
        ensure!(jwt_secret.len() >= JWT_SECRET_BYTES, "HOOKYARD_JWT_SECRET must have at least {JWT_SECRET_BYTES} characters");
        let delivery = &self.delivery;
        let network = |text: &String| text.parse::<IpNet>().with_context(|| format!("HOOKYARD_DELIVERY__ALLOW_NETWORKS: {text}"));
        let networks = delivery.allow_networks.iter().map(network).collect::<Result<_, _>>()?;
        let allow = AllowList { networks, hosts: delivery.allow_hosts.iter().map(|host| host.to_ascii_lowercase()).collect() };
        let authorities = match &delivery.ca_file {
            Some(file) => {
                let pem = std::fs::read(file).with_context(|| format!("HOOKYARD_DELIVERY__CA_FILE: {}", file.display()))?;
                Authorities::parse(&pem).context("HOOKYARD_DELIVERY__CA_FILE")?
            }
            None => Authorities::default(),
        };
        let proxy = delivery.proxy.as_deref().map(EgressProxy::parse).transpose().context("HOOKYARD_DELIVERY__PROXY")?;
        let signature_headers = match delivery.signature_headers.as_str() {
            "standard" => SignatureHeaders::Standard,
            "svix" => SignatureHeaders::Svix,
            "both" => SignatureHeaders::Both,
            other => bail!("HOOKYARD_DELIVERY__SIGNATURE_HEADERS is standard, svix or both, not {other:?}"),
        };
        ensure!(self.api.timeout >= Duration::from_secs(1), "HOOKYARD_API__TIMEOUT must be at least 1s");
        ensure!(delivery.concurrency >= 4, "HOOKYARD_DELIVERY__CONCURRENCY must be at least 4");
        ensure!(
            (limits::ATTEMPT_TIMEOUT_LEAST..=limits::ATTEMPT_TIMEOUT_MOST).contains(&delivery.timeout),
            "HOOKYARD_DELIVERY__TIMEOUT must be from 1s to 30s"
        );
        ensure!(
            delivery.retry_schedule.len() < limits::ATTEMPTS_MOST,
            "HOOKYARD_DELIVERY__RETRY_SCHEDULE has more than 19 delays"
        );
        ensure!(
            delivery.retry_schedule.iter().all(|delay| *delay <= limits::RETRY_DELAY_MOST),
            "HOOKYARD_DELIVERY__RETRY_SCHEDULE has a delay over 24h"
        );
        ensure!(
            delivery.retry_schedule.iter().sum::<Duration>() <= self.journal.retention,
            "HOOKYARD_DELIVERY__RETRY_SCHEDULE does not fit into HOOKYARD_JOURNAL__RETENTION"
        );
        ensure!(
            (1..=limits::EVENT_BYTES_MOST).contains(&self.events.max_bytes),
            "HOOKYARD_EVENTS__MAX_BYTES must be at most 8MiB"
        );
        ensure!((1..=64).contains(&self.amqp.shards) && (1..=64).contains(&self.amqp.slow_shards), "shards must be from 1 to 64");
        ensure!(is_prefix(&self.amqp.prefix), "HOOKYARD_AMQP__PREFIX must be 1 to 64 characters of A-Z a-z 0-9 . _ -");
        ensure!(
            delivery.breaker.len() <= 4
                && delivery.breaker.iter().all(|open| (Duration::from_secs(1)..=RETRY_DELAY_MOST).contains(open)),
            "HOOKYARD_DELIVERY__BREAKER is up to four durations from 1s to 24h"
        );
        let last = delivery.breaker.last().copied().unwrap_or_default();
        let open_for = std::array::from_fn(|level| delivery.breaker.get(level).copied().unwrap_or(last));
        let policy = Policy {
            retry_schedule: delivery.retry_schedule.clone().into(),
            timeout: delivery.timeout,
            max_age: None,
            body_format: delivery.body_format,
        };
        let admission = Admission { max_bytes: self.events.max_bytes, require_id: self.events.require_id };
        let egress = EgressConfig { allow, proxy, authorities };
        Ok(Settings { backend, keys, jwt_secret, egress, signature_headers, policy, admission, open_for, config: self })
    }
}

impl Settings {
    /// Broker and store, for what only makes sense with them.
    pub fn cluster(&self) -> anyhow::Result<&ClusterSettings> {
        match &self.backend {
            BackendSettings::Cluster(cluster) => Ok(cluster),
            BackendSettings::Embedded(_) => {
                bail!("this is about RabbitMQ and Redis: set HOOKYARD_AMQP_URL and HOOKYARD_REDIS_URL")
            }
        }
    }
}

fn is_prefix(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Config {
        Config {
            amqp_url: Some("amqp://localhost".into()),
            redis_url: Some("redis://localhost".into()),
            secret_key: Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".into()),
            jwt_secret: Some("x".repeat(32)),
            ..Config::default()
        }
    }

    fn from_toml(text: &str) -> Result<Config, String> {
        Figment::new().merge(Toml::string(text)).extract().map_err(|error| error.to_string())
    }

    #[test]
    fn human_values_are_read_and_unknown_keys_refused() {
        let config =
            from_toml("[delivery]\nretry_schedule = '1s, 2m'\ntimeout = '5s'\n[events]\nmax_bytes = '1MiB'").expect("valid");
        assert_eq!(config.delivery.retry_schedule, [Duration::from_secs(1), Duration::from_secs(120)]);
        assert_eq!(config.events.max_bytes, 1 << 20);
        let error = from_toml("[delivery]\ntimeuot = '5s'").err().expect("refused");
        assert!(error.contains("timeuot") && error.contains("timeout"), "{error}");
    }

    type Mistake = (&'static str, fn(&mut Config));

    #[test]
    fn every_mistake_is_told() {
        assert!(complete().judge().is_ok());
        let cases: [Mistake; 8] = [
            ("go together", |c| c.redis_url = None),
            ("SECRET_KEY", |c| c.secret_key = None),
            ("SECRET_KEY", |c| c.secret_key = Some("short".into())),
            ("JWT_SECRET", |c| c.jwt_secret = Some("short".into())),
            ("ALLOW_NETWORKS", |c| c.delivery.allow_networks = vec!["10.0.0.0".into()]),
            ("TIMEOUT", |c| c.delivery.timeout = Duration::from_secs(60)),
            ("RETENTION", |c| c.journal.retention = Duration::from_secs(1)),
            ("PREFIX", |c| c.amqp.prefix = "a b".into()),
        ];
        for (what, break_it) in cases {
            let mut config = complete();
            break_it(&mut config);
            let error = config.judge().err().map(|error| format!("{error:#}")).unwrap_or_default();
            assert!(error.contains(what), "{what}: {error}");
        }
    }
}
