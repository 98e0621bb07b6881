//! A configuration, judged: nothing in it is wrong or missing.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use hookyard_core::address::AllowList;
use hookyard_core::admission::{BreakerRule, SILENT_LEAST};
use hookyard_core::event::Admission;
use hookyard_core::limits::RETRY_DELAY_MOST;
use hookyard_core::outcome::UNAVAILABLE_AFTER;
use hookyard_core::seal::SealingKeys;
use hookyard_core::{Policy, limits};
use hookyard_egress::{Authorities, EgressConfig, EgressProxy};
use hookyard_wire::request::SignatureHeaders;
use ipnet::IpNet;
use tower_http::cors::CorsLayer;

use crate::config::Config;
use crate::http::cors;

/// Shortest token secret: HS256 wants a key as long as its hash (RFC 7518 §3.2).
const JWT_SECRET_BYTES: usize = 32;

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
    /// Whose pages may call the API.
    pub cors: Option<CorsLayer>,
    /// When breakers open, and for how long.
    pub breaker: BreakerRule,
}

impl Config {
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
        let cors = cors(&self.api.cors_origins).context("HOOKYARD_API__CORS_ORIGINS")?;
        self.judge_urls()?;
        self.judge_bounds()?;
        let last = delivery.breaker.last().copied().unwrap_or_default();
        let open_for = std::array::from_fn(|level| delivery.breaker.get(level).copied().unwrap_or(last));
        let breaker = BreakerRule { silent_percent: delivery.breaker_percent, open_for };
        let policy = Policy {
            retry_schedule: delivery.retry_schedule.clone().into(),
            timeout: delivery.timeout,
            max_age: None,
            body_format: delivery.body_format,
        };
        let admission = Admission { max_bytes: self.events.max_bytes, require_id: self.events.require_id };
        let egress = EgressConfig { allow, proxy, authorities };
        Ok(Settings { backend, keys, jwt_secret, egress, signature_headers, policy, admission, cors, breaker, config: self })
    }

    /// What must be addresses of what is there.
    fn judge_urls(&self) -> anyhow::Result<()> {
        if let Some(url) = &self.amqp_url {
            ensure!(
                hookyard_rabbit::is_url(url),
                "HOOKYARD_AMQP_URL must be like amqp://user:password@host:5672/vhost, or amqps://"
            );
        }
        for (variable, url) in [("HOOKYARD_REDIS_URL", &self.redis_url), ("HOOKYARD_REDIS_JOURNAL_URL", &self.redis_journal_url)]
        {
            let is_url = url.as_deref().is_none_or(hookyard_redis::is_url);
            ensure!(is_url, "{variable} must be like redis://user:password@host:6379/0");
        }
        let is_http =
            |url: &String| url::Url::parse(url).is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
        ensure!(
            self.amqp.management_url.as_ref().is_none_or(is_http),
            "HOOKYARD_AMQP__MANAGEMENT_URL must be like http://user:password@host:15672"
        );
        ensure!(self.public_url.as_ref().is_none_or(is_http), "HOOKYARD_PUBLIC_URL must be like https://hooks.example.com");
        Ok(())
    }

    /// What must lie within bounds.
    fn judge_bounds(&self) -> anyhow::Result<()> {
        let delivery = &self.delivery;
        ensure!(self.api.timeout >= Duration::from_secs(1), "HOOKYARD_API__TIMEOUT must be at least 1s");
        ensure!(delivery.concurrency >= 4, "HOOKYARD_DELIVERY__CONCURRENCY must be at least 4");
        ensure!(delivery.per_endpoint_concurrency >= 1, "HOOKYARD_DELIVERY__PER_ENDPOINT_CONCURRENCY must be at least 1");
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
        ensure!(
            delivery.breaker_percent == 0 || (SILENT_LEAST..=100).contains(&delivery.breaker_percent),
            "HOOKYARD_DELIVERY__BREAKER_PERCENT must be 0, for never, or {SILENT_LEAST} to 100"
        );
        // A schedule may be longer than anything waits.
        let schedule = delivery.retry_schedule.iter().sum::<Duration>().min(UNAVAILABLE_AFTER);
        ensure!(
            (schedule..=UNAVAILABLE_AFTER).contains(&delivery.unavailable_after),
            "HOOKYARD_DELIVERY__UNAVAILABLE_AFTER must be at most 24h, and no shorter than HOOKYARD_DELIVERY__RETRY_SCHEDULE in all"
        );
        Ok(())
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

    type Mistake = (&'static str, fn(&mut Config));

    #[test]
    fn every_mistake_is_told() {
        assert!(complete().judge().is_ok());
        let cases: [Mistake; 14] = [
            ("go together", |c| c.redis_url = None),
            ("SECRET_KEY", |c| c.secret_key = None),
            ("SECRET_KEY", |c| c.secret_key = Some("short".into())),
            ("JWT_SECRET", |c| c.jwt_secret = Some("short".into())),
            ("ALLOW_NETWORKS", |c| c.delivery.allow_networks = vec!["10.0.0.0".into()]),
            ("TIMEOUT", |c| c.delivery.timeout = Duration::from_secs(60)),
            ("RETENTION", |c| c.journal.retention = Duration::from_secs(1)),
            ("CORS_ORIGINS", |c| c.api.cors_origins = vec!["https://a.example/path".into()]),
            ("PREFIX", |c| c.amqp.prefix = "a b".into()),
            ("HOOKYARD_AMQP_URL", |c| c.amqp_url = Some("http://localhost".into())),
            ("HOOKYARD_REDIS_URL", |c| c.redis_url = Some("localhost:6379".into())),
            ("HOOKYARD_REDIS_JOURNAL_URL", |c| c.redis_journal_url = Some("http://localhost".into())),
            ("MANAGEMENT_URL", |c| c.amqp.management_url = Some("amqp://localhost".into())),
            ("PUBLIC_URL", |c| c.public_url = Some("hooks.example.com".into())),
        ];
        for (what, break_it) in cases {
            let mut config = complete();
            break_it(&mut config);
            let error = config.judge().err().map(|error| format!("{error:#}")).unwrap_or_default();
            assert!(error.contains(what), "{what}: {error}");
        }
    }
}
