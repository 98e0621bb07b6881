//! Applications and endpoints as a store keeps them: JSON, with everything secret sealed.

use std::collections::BTreeMap;
use std::time::Duration;

use hookyard_core::clock::Entropy;
use hookyard_core::directory::EndpointSecret;
use hookyard_core::seal::{SealError, SealingKeys};
use hookyard_core::signature::{BadSecret, Secret};
use hookyard_core::{ApiKey, AppId, BodyFormat, Channel, Endpoint, EndpointId, EventPattern, Subscription, Timestamp, Uid};
use serde::{Deserialize, Serialize};

/// Why a record cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// Not our JSON.
    #[error("not a stored record")]
    Json(#[from] serde_json::Error),
    /// A sealed value does not open.
    #[error("sealed value")]
    Seal(#[from] SealError),
    /// An opened secret is none.
    #[error("secret")]
    Secret(#[from] BadSecret),
}

/// What stays of a deleted endpoint, or nothing of an existing one.
#[derive(Debug)]
pub enum StoredEndpoint {
    /// It exists.
    Present(Box<Endpoint>),
    /// It was deleted then.
    Deleted(Timestamp),
}

/// What routing needs of a stored endpoint.
#[derive(Debug)]
pub enum StoredSubscription {
    /// It exists.
    Present(Subscription),
    /// It was deleted.
    Deleted(EndpointId),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    id: EndpointId,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    event_types: Vec<EventPattern>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    channels: Vec<Channel>,
    disabled: bool,
    #[serde(flatten)]
    rest: Option<Rest>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rest {
    app: AppId,
    uid: Option<Uid>,
    name: String,
    description: String,
    body_format: Option<BodyFormat>,
    retry_schedule_ms: Option<Vec<u64>>,
    timeout_ms: Option<u64>,
    max_age_ms: Option<u64>,
    throttle_rate: Option<u16>,
    #[serde(default)]
    max_in_flight: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    breaker_percent: Option<u8>,
    metadata: BTreeMap<String, String>,
    created_at: Timestamp,
    updated_at: Timestamp,
    revision: u64,
    /// URL, headers, API key and signing secrets: a URL may hold a password, a header a token.
    sealed: String,
}

#[derive(Serialize, Deserialize)]
struct Sensitive {
    url: String,
    headers: BTreeMap<String, String>,
    api_key: Option<(String, String)>,
    secrets: Vec<(String, Option<Timestamp>)>,
}

/// Writes an endpoint.
pub fn write_endpoint(endpoint: &Endpoint, keys: &SealingKeys, entropy: &dyn Entropy) -> Result<String, StoredError> {
    let sensitive = Sensitive {
        url: endpoint.url.clone(),
        headers: endpoint.headers.clone(),
        api_key: endpoint.api_key.as_ref().map(|key| (key.header.clone(), key.value.clone())),
        secrets: endpoint.secrets.iter().map(|s| (s.secret.reveal(), s.expires_at)).collect(),
    };
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let record = Record {
        id: endpoint.id,
        deleted_at: None,
        event_types: endpoint.event_types.clone(),
        channels: endpoint.channels.clone(),
        disabled: endpoint.disabled,
        rest: Some(Rest {
            app: endpoint.app,
            uid: endpoint.uid.clone(),
            name: endpoint.name.clone(),
            description: endpoint.description.clone(),
            body_format: endpoint.body_format,
            retry_schedule_ms: endpoint.retry_schedule.as_ref().map(|delays| delays.iter().copied().map(millis).collect()),
            timeout_ms: endpoint.timeout.map(millis),
            max_age_ms: endpoint.max_age.map(millis),
            throttle_rate: endpoint.throttle_rate,
            max_in_flight: endpoint.max_in_flight,
            breaker_percent: endpoint.breaker_percent,
            metadata: endpoint.metadata.clone(),
            created_at: endpoint.created_at,
            updated_at: endpoint.updated_at,
            revision: endpoint.revision,
            sealed: keys.seal(&serde_json::to_vec(&sensitive)?, endpoint.id.as_bytes(), entropy)?,
        }),
    };
    Ok(serde_json::to_string(&record)?)
}

/// Writes what stays of a deleted endpoint.
pub fn write_tombstone(id: EndpointId, deleted_at: Timestamp) -> Result<String, StoredError> {
    let (event_types, channels) = (Vec::new(), Vec::new());
    let record = Record { id, deleted_at: Some(deleted_at), event_types, channels, disabled: true, rest: None };
    Ok(serde_json::to_string(&record)?)
}

/// Reads an endpoint with everything sealed opened.
pub fn read_endpoint(text: &[u8], keys: &SealingKeys) -> Result<StoredEndpoint, StoredError> {
    let record: SubscriptionRecord = serde_json::from_slice(text)?;
    if let Some(at) = record.deleted_at {
        return Ok(StoredEndpoint::Deleted(at));
    }
    let rest: Rest = serde_json::from_slice(text)?;
    let sensitive: Sensitive = serde_json::from_slice(&keys.open(&rest.sealed, record.id.as_bytes())?)?;
    let secrets = sensitive
        .secrets
        .into_iter()
        .map(|(text, expires_at)| Secret::parse(&text).map(|secret| EndpointSecret { secret, expires_at }));
    Ok(StoredEndpoint::Present(Box::new(Endpoint {
        id: record.id,
        app: rest.app,
        uid: rest.uid,
        url: sensitive.url,
        name: rest.name,
        description: rest.description,
        event_types: record.event_types,
        channels: record.channels,
        disabled: record.disabled,
        headers: sensitive.headers,
        api_key: sensitive.api_key.map(|(header, value)| ApiKey { header, value }),
        secrets: secrets.collect::<Result<_, _>>()?,
        body_format: rest.body_format,
        retry_schedule: rest.retry_schedule_ms.map(|delays| delays.into_iter().map(Duration::from_millis).collect()),
        timeout: rest.timeout_ms.map(Duration::from_millis),
        max_age: rest.max_age_ms.map(Duration::from_millis),
        throttle_rate: rest.throttle_rate,
        max_in_flight: rest.max_in_flight,
        breaker_percent: rest.breaker_percent,
        metadata: rest.metadata,
        created_at: rest.created_at,
        updated_at: rest.updated_at,
        revision: rest.revision,
    })))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SubscriptionRecord {
    id: EndpointId,
    deleted_at: Option<Timestamp>,
    #[serde(default)]
    event_types: Vec<EventPattern>,
    #[serde(default)]
    channels: Vec<Channel>,
    #[serde(default)]
    disabled: bool,
}

/// Reads only what routing needs; nothing is opened.
pub fn read_subscription(text: &[u8]) -> Result<StoredSubscription, StoredError> {
    let record: SubscriptionRecord = serde_json::from_slice(text)?;
    Ok(match record.deleted_at {
        Some(_) => StoredSubscription::Deleted(record.id),
        None => StoredSubscription::Present(Subscription {
            endpoint: record.id,
            event_types: record.event_types,
            channels: record.channels,
            active: !record.disabled,
        }),
    })
}
