//! What administrators manage: applications and endpoints.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::{AppId, EndpointId};
use crate::limits;
use crate::name::{Channel, EventPattern, Uid};
use crate::route::Subscription;
use crate::signature::Secret;

/// A tenant: owns endpoints and messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Application {
    /// Its id.
    pub id: AppId,
    /// The caller's own name for it, unique.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<Uid>,
    /// For people.
    pub name: String,
    /// Webhooks are switched off for the whole application.
    #[serde(default)]
    pub disabled: bool,
    /// Most deliveries per second to its endpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle_rate: Option<u16>,
    /// The caller's own notes.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts its changes; 0 means not yet stored.
    #[serde(default)]
    pub revision: u64,
}

/// How the body of a request is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyFormat {
    /// The data as published, byte for byte.
    #[default]
    Payload,
    /// `{"event_time", "event_type", "current_context", "data"}`.
    Envelope,
    /// `{"type", "timestamp", "data"}`.
    Standard,
    /// CloudEvents 1.0 structured JSON.
    CloudEvents,
}

/// A header the receiver knows us by.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Header name.
    pub header: String,
    /// Its value: a secret.
    pub value: String,
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKey").field("header", &self.header).finish_non_exhaustive()
    }
}

/// A secret that signs, until it expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSecret {
    /// The key.
    pub secret: Secret,
    /// A rotated secret signs until then; the current one has no end.
    pub expires_at: Option<Timestamp>,
}

/// A customer's URL and how to call it.
#[derive(Clone, PartialEq)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// The application that owns it.
    pub app: AppId,
    /// The caller's own name for it, unique in the application.
    pub uid: Option<Uid>,
    /// Where to POST.
    pub url: String,
    /// For people.
    pub name: String,
    /// For people.
    pub description: String,
    /// Types it wants; empty means every type.
    pub event_types: Vec<EventPattern>,
    /// Channels it is narrowed to; empty means none.
    pub channels: Vec<Channel>,
    /// Switched off.
    pub disabled: bool,
    /// Custom request headers.
    pub headers: BTreeMap<String, String>,
    /// The header the receiver knows us by.
    pub api_key: Option<ApiKey>,
    /// Signing secrets, the current one first.
    pub secrets: Vec<EndpointSecret>,
    /// How bodies are written; absent means the deployment's default.
    pub body_format: Option<BodyFormat>,
    /// Delays after the first attempt; absent means the deployment's default.
    pub retry_schedule: Option<Vec<Duration>>,
    /// An attempt's whole budget; absent means the deployment's default.
    pub timeout: Option<Duration>,
    /// Deliveries older than this are dead.
    pub max_age: Option<Duration>,
    /// Most deliveries per second.
    pub throttle_rate: Option<u16>,
    /// Most requests at once.
    pub max_in_flight: Option<u16>,
    /// The share of silence, in hundredths, from which it is left alone: 75 to 100, or 0 for never; absent means the deployment's default.
    pub breaker_percent: Option<u8>,
    /// The caller's own notes.
    pub metadata: BTreeMap<String, String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts its changes; 0 means not yet stored.
    pub revision: u64,
}

impl std::fmt::Debug for Endpoint {
    /// Names the endpoint only: its URL and headers may hold credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("id", &self.id).field("revision", &self.revision).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// What routing needs to know of it.
    pub fn subscription(&self) -> Subscription {
        Subscription {
            endpoint: self.id,
            event_types: self.event_types.clone(),
            channels: self.channels.clone(),
            active: !self.disabled,
        }
    }

    /// The secrets that sign at `now`.
    pub fn live_secrets(&self, now: Timestamp) -> impl Iterator<Item = &Secret> {
        self.secrets.iter().filter(move |s| s.expires_at.is_none_or(|end| end > now)).map(|s| &s.secret)
    }

    /// Makes `new` the current secret and lets the present one sign for `grace` more. Drops what has expired.
    ///
    /// # Errors
    /// When more than [`limits::SECRETS_LIVE`] would sign: none is dropped before its grace ends.
    pub fn rotate_secret(&mut self, new: Secret, grace: Duration, now: Timestamp) -> Result<(), TooManySecrets> {
        for old in &mut self.secrets {
            let end = now.plus(grace.min(limits::SECRET_GRACE_MOST));
            old.expires_at = Some(old.expires_at.map_or(end, |already| already.min(end)));
        }
        self.secrets.retain(|old| old.expires_at.is_none_or(|end| end > now));
        if self.secrets.len() >= limits::SECRETS_LIVE {
            return Err(TooManySecrets);
        }
        self.secrets.insert(0, EndpointSecret { secret: new, expires_at: None });
        Ok(())
    }
}

/// As many secrets sign as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} secrets sign already; rotate again when the grace of one has ended, or without one", limits::SECRETS_LIVE)]
pub struct TooManySecrets;

/// How deliveries to an endpoint are attempted: its own wishes over the deployment's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Delays after the first attempt; one attempt more than its length is made in all.
    pub retry_schedule: Arc<[Duration]>,
    /// An attempt's whole budget, response included.
    pub timeout: Duration,
    /// Deliveries older than this are dead.
    pub max_age: Option<Duration>,
    /// How bodies are written.
    pub body_format: BodyFormat,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            retry_schedule: Arc::from(limits::RETRY_SCHEDULE),
            timeout: limits::ATTEMPT_TIMEOUT,
            max_age: None,
            body_format: BodyFormat::Payload,
        }
    }
}

impl Policy {
    /// This policy with what `endpoint` says of itself.
    #[must_use]
    pub fn of(&self, endpoint: &Endpoint) -> Self {
        let timeout = endpoint.timeout.unwrap_or(self.timeout);
        Self {
            retry_schedule: endpoint.retry_schedule.as_deref().map_or_else(|| Arc::clone(&self.retry_schedule), Arc::from),
            timeout: timeout.clamp(limits::ATTEMPT_TIMEOUT_LEAST, limits::ATTEMPT_TIMEOUT_MOST),
            max_age: endpoint.max_age.or(self.max_age),
            body_format: endpoint.body_format.unwrap_or(self.body_format),
        }
    }
}

/// A version of everything one application owns: a place in one history. It is equal only as a whole, and what came after it can be told
/// only by a store that knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    /// Grows with every change.
    pub counter: u64,
    /// Differs even where a fail-over reused a counter.
    pub nonce: Arc<str>,
}

impl Version {
    /// Reads `<counter>.<random>`.
    pub fn parse(text: &str) -> Option<Self> {
        let (counter, nonce) = text.split_once('.')?;
        Some(Self { counter: counter.parse().ok()?, nonce: Arc::from(nonce) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint {
            id: EndpointId::from_bytes([1; 20]),
            app: AppId::from_bytes([2; 20]),
            uid: None,
            url: "https://user:pass@example.com/?token=1".into(),
            name: String::new(),
            description: String::new(),
            event_types: vec![],
            channels: vec![],
            disabled: false,
            headers: BTreeMap::from([("authorization".into(), "Bearer hunter2".into())]),
            api_key: Some(ApiKey { header: "x-api-key".into(), value: "hunter2".into() }),
            secrets: vec![EndpointSecret { secret: Secret::hmac(vec![7; 24]).expect("valid"), expires_at: None }],
            body_format: None,
            retry_schedule: None,
            timeout: None,
            max_age: None,
            throttle_rate: None,
            max_in_flight: None,
            breaker_percent: None,
            metadata: BTreeMap::new(),
            created_at: Timestamp::default(),
            updated_at: Timestamp::default(),
            revision: 1,
        }
    }

    #[test]
    fn a_rotated_secret_signs_until_its_grace_ends() {
        let mut endpoint = endpoint();
        let now = Timestamp::from_millis(1_000);
        let old = endpoint.secrets[0].secret.clone();
        let new = Secret::hmac(vec![8; 24]).expect("valid");
        assert_eq!(endpoint.rotate_secret(new.clone(), Duration::from_secs(1), now), Ok(()));
        assert_eq!(endpoint.live_secrets(now).collect::<Vec<_>>(), [&new, &old]);
        assert_eq!(endpoint.live_secrets(now.plus(Duration::from_secs(1))).collect::<Vec<_>>(), [&new]);
        assert_eq!(endpoint.rotate_secret(old.clone(), Duration::ZERO, now), Ok(()));
        assert_eq!(endpoint.live_secrets(now).collect::<Vec<_>>(), [&old]);
    }

    #[test]
    fn no_secret_is_dropped_before_its_grace_ends() {
        let (mut endpoint, now, grace) = (endpoint(), Timestamp::from_millis(1_000), Duration::from_secs(1));
        let secret = |byte| Secret::hmac(vec![byte; 24]).expect("valid");
        for byte in 1..=10 {
            assert_eq!(endpoint.rotate_secret(secret(byte), grace, now), Ok(()));
        }
        let all: Vec<Secret> = endpoint.live_secrets(now).cloned().collect();
        assert_eq!(all.len(), limits::SECRETS_LIVE);
        assert_eq!(endpoint.rotate_secret(secret(11), grace, now), Err(TooManySecrets));
        assert_eq!(endpoint.live_secrets(now).cloned().collect::<Vec<_>>(), all);
        assert_eq!(endpoint.rotate_secret(secret(11), grace, now.plus(grace)), Ok(()), "the others' grace has ended");
        assert_eq!(endpoint.rotate_secret(secret(12), Duration::ZERO, now.plus(grace)), Ok(()));
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let text = format!("{:?} {:?} {:?}", endpoint(), endpoint().api_key, endpoint().secrets);
        assert!(!text.contains("hunter2") && !text.contains("token") && !text.contains("BwcH"), "{text}");
    }

    #[test]
    fn an_endpoint_overrides_the_deployment_within_bounds() {
        let own = Endpoint { timeout: Some(Duration::from_secs(3600)), retry_schedule: Some(vec![]), ..endpoint() };
        let policy = Policy::default().of(&own);
        assert_eq!(policy.timeout, limits::ATTEMPT_TIMEOUT_MOST);
        assert!(policy.retry_schedule.is_empty());
        assert_eq!(Policy::default().of(&endpoint()), Policy::default());
    }
}
