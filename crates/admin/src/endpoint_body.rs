//! The fields of an endpoint: reading a body into one, and showing one.

use std::collections::BTreeMap;
use std::time::Duration;

use hookyard_core::address::AllowList;
use hookyard_core::admission::SILENT_LEAST;
use hookyard_core::directory::EndpointSecret;
use hookyard_core::signature::Secret;
use hookyard_core::{ApiKey, BodyFormat, BreakerState, Endpoint, EndpointId, Timestamp, limits};
use hookyard_wire::problem::Problem;
use hookyard_wire::request::HIDDEN;
use serde::Serialize;
use serde_json::Value;
use url::Url;
use utoipa::ToSchema;

use crate::apps::rate;
use crate::fields::{self, Fields};
use crate::headers::{check_header, check_headers};

/// Longest name and description.
const TEXT_BYTES: usize = 8 * 1024;
/// Longest `maxAge`: what a tombstone outlives.
const MAX_AGE_MOST_S: u64 = 30 * 24 * 3600;

/// An endpoint as the API shows it; nothing secret is in it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointOut {
    #[schema(value_type = String)]
    id: EndpointId,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    url: String,
    name: String,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_types: Option<Vec<String>>,
    /// The same, as releases of the official clients before 2.0 call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    filter_types: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channels: Option<Vec<String>>,
    disabled: bool,
    /// `active`, `inactive`, or `failing` while its breaker is not closed.
    state: &'static str,
    /// `closed`, `open`, or `half_open` while a probe finds out.
    breaker: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    throttle_rate: Option<u16>,
    /// The same, as releases of the official clients before 2.0 call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_limit: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_in_flight: Option<u16>,
    /// The share of silence, in hundredths, from which it is left alone, 0 for never, where that is not the deployment's.
    #[serde(skip_serializing_if = "Option::is_none")]
    breaker_percent: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    body_format: Option<BodyFormat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_schedule: Option<Vec<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<ApiKeyOut>,
    signature: &'static str,
    /// Until when a secret that was rotated away signs too.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_overlap_until: Option<String>,
    metadata: BTreeMap<String, String>,
    version: u64,
    created_at: String,
    updated_at: String,
}

#[derive(Serialize, ToSchema)]
struct ApiKeyOut {
    header: String,
    value: &'static str,
}

/// Reads a body into `endpoint`.
pub fn read(endpoint: &mut Endpoint, mut fields: Fields, allow: &AllowList) -> Result<(), Problem> {
    let stored_url = endpoint.url.clone();
    fields.require("url", &mut endpoint.url, |value| url(value, &stored_url, allow));
    fields.read("uid", &mut endpoint.uid, |value| fields::parsed(value).map(Some));
    fields.read("description", &mut endpoint.description, fields::text(TEXT_BYTES));
    fields.read_either("eventTypes", "filterTypes", &mut endpoint.event_types, fields::list(limits::ENDPOINT_EVENT_TYPES));
    fields.read("channels", &mut endpoint.channels, fields::list(limits::ENDPOINT_CHANNELS));
    fields.read("disabled", &mut endpoint.disabled, fields::boolean);
    fields.read("metadata", &mut endpoint.metadata, fields::metadata);
    fields.read_either("throttleRate", "rateLimit", &mut endpoint.throttle_rate, rate);
    // Ours: clients of the compatible API do not know them and must not wipe them.
    fields.read_if_present("name", &mut endpoint.name, fields::text(TEXT_BYTES));
    fields.read_if_present("headers", &mut endpoint.headers, |value| check_headers(fields::texts(value)?));
    let stored_key = endpoint.api_key.clone();
    fields.read_if_present("apiKey", &mut endpoint.api_key, |value| api_key(value, stored_key.as_ref()));
    fields.read_if_present("bodyFormat", &mut endpoint.body_format, body_format);
    fields.read_if_present("retrySchedule", &mut endpoint.retry_schedule, retry_schedule);
    fields.read_if_present("timeoutMs", &mut endpoint.timeout, |value| {
        let [least, most] = [limits::ATTEMPT_TIMEOUT_LEAST, limits::ATTEMPT_TIMEOUT_MOST].map(|d| d.as_secs() * 1000);
        fields::number(least, most)(value).map(|ms| Some(Duration::from_millis(ms)))
    });
    fields.read_if_present("maxInFlight", &mut endpoint.max_in_flight, rate);
    fields.read_if_present("breakerPercent", &mut endpoint.breaker_percent, breaker_percent);
    fields.read_if_present("maxAge", &mut endpoint.max_age, |value| {
        fields::number(1, MAX_AGE_MOST_S)(value).map(|seconds| Some(Duration::from_secs(seconds)))
    });
    fields.pass_over("secretOverlapUntil");
    fields.finish()
}

/// The share of silence from which an endpoint is left alone.
fn breaker_percent(value: &Value) -> Result<Option<u8>, String> {
    let percent = fields::number(0, 100)(value)?;
    let allowed = |percent: &u8| *percent == 0 || *percent >= SILENT_LEAST;
    let percent = u8::try_from(percent).ok().filter(allowed);
    percent.map(Some).ok_or_else(|| format!("must be 0, for never, or {SILENT_LEAST} to 100"))
}

/// Reads what only a new endpoint may bring: its secret, or the kind of secret to make.
pub fn read_secret(fields: &mut Fields, generate: impl Fn(bool) -> Secret) -> EndpointSecret {
    let (mut given, mut ed25519) = (None, false);
    fields.read("secret", &mut given, |value| {
        let text = value.as_str().ok_or_else(|| "must be a string".to_owned())?;
        Secret::parse(text).map(Some).map_err(|error| error.to_string())
    });
    fields.read("signature", &mut ed25519, |value| match value.as_str() {
        Some("hmac256") => Ok(false),
        Some("ed25519") => Ok(true),
        _ => Err("must be hmac256 or ed25519".to_owned()),
    });
    EndpointSecret { secret: given.unwrap_or_else(|| generate(ed25519)), expires_at: None }
}

/// Shows an endpoint and its breaker as they are at this moment.
pub fn show(endpoint: Endpoint, breaker: BreakerState, now: Timestamp) -> EndpointOut {
    let names = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
    let event_types = names(endpoint.event_types.iter().map(ToString::to_string).collect());
    let is_ed25519 = matches!(endpoint.secrets.first(), Some(current) if matches!(current.secret, Secret::Ed25519(_)));
    let overlap_until = endpoint.secrets.iter().filter_map(|secret| secret.expires_at).max().filter(|end| *end > now);
    EndpointOut {
        id: endpoint.id,
        uid: endpoint.uid.map(|uid| uid.to_string()),
        url: hidden_password(&endpoint.url),
        name: endpoint.name,
        description: endpoint.description,
        filter_types: event_types.clone(),
        event_types,
        channels: names(endpoint.channels.iter().map(ToString::to_string).collect()),
        disabled: endpoint.disabled,
        state: match breaker {
            _ if endpoint.disabled => "inactive",
            BreakerState::Closed => "active",
            BreakerState::Open | BreakerState::HalfOpen => "failing",
        },
        breaker: breaker.as_str(),
        throttle_rate: endpoint.throttle_rate,
        rate_limit: endpoint.throttle_rate,
        max_in_flight: endpoint.max_in_flight,
        breaker_percent: endpoint.breaker_percent,
        body_format: endpoint.body_format,
        retry_schedule: endpoint.retry_schedule.map(|delays| delays.iter().map(Duration::as_secs).collect()),
        timeout_ms: endpoint.timeout.map(|timeout| timeout.as_millis()),
        max_age: endpoint.max_age.map(|age| age.as_secs()),
        api_key: endpoint.api_key.map(|key| ApiKeyOut { header: key.header, value: HIDDEN }),
        signature: if is_ed25519 { "ed25519" } else { "hmac256" },
        secret_overlap_until: overlap_until.map(|end| end.to_string()),
        metadata: endpoint.metadata,
        version: endpoint.revision,
        created_at: endpoint.created_at.to_string(),
        updated_at: endpoint.updated_at.to_string(),
    }
}

/// A URL that may be called; a hidden password stands for the stored one.
fn url(value: &Value, stored: &str, allow: &AllowList) -> Result<String, String> {
    let text = fields::non_empty(limits::URL_BYTES)(value)?;
    let mut url = allow.parse_url(&text).map_err(|refused| refused.to_string())?;
    if url.password() == Some(HIDDEN)
        && let Ok(stored) = Url::parse(stored)
        && stored.host() == url.host()
        && stored.username() == url.username()
        && url.set_password(stored.password()).is_err()
    {
        return Err("this URL cannot have a password".to_owned());
    }
    Ok(url.into())
}

fn hidden_password(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return String::new() };
    if url.password().is_some() && url.set_password(Some(HIDDEN)).is_ok() { url.into() } else { text.to_owned() }
}

fn api_key(value: &Value, stored: Option<&ApiKey>) -> Result<Option<ApiKey>, String> {
    let pair = fields::texts(value)?;
    let get = |name: &str| pair.get(name).cloned().ok_or_else(|| format!("needs `{name}`"));
    let (header, mut value) = (get("header")?, get("value")?);
    if value == HIDDEN
        && let Some(stored) = stored
    {
        value.clone_from(&stored.value);
    }
    check_header(&header, &value)?;
    Ok(Some(ApiKey { header, value }))
}

fn body_format(value: &Value) -> Result<Option<BodyFormat>, String> {
    serde_json::from_value(value.clone()).map(Some).map_err(|_| "must be payload, envelope, standard or cloudevents".to_owned())
}

fn retry_schedule(value: &Value) -> Result<Option<Vec<Duration>>, String> {
    let delays = value.as_array().ok_or_else(|| "must be a list of seconds".to_owned())?;
    if delays.len() >= limits::ATTEMPTS_MOST {
        return Err(format!("at most {} delays", limits::ATTEMPTS_MOST - 1));
    }
    let read = fields::number(1, limits::RETRY_DELAY_MOST.as_secs());
    let delays: Vec<u64> = delays.iter().map(read).collect::<Result<_, _>>()?;
    if delays.iter().sum::<u64>() > limits::RETENTION.as_secs() {
        return Err("must fit into seven days in all".to_owned());
    }
    Ok(Some(delays.into_iter().map(Duration::from_secs).collect()))
}
