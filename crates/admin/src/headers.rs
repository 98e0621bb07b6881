//! `/api/v1/app/{app}/endpoint/{endpoint}/headers`: custom request headers, whose sensitive values are never shown again.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::Path;
use bytes::Bytes;
use hookyard_core::{Endpoint, limits};
use hookyard_wire::problem::Problem;
use hookyard_wire::reference::{EndpointPath, Errors};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::{Caller, State, object};
use crate::bodies::{HeadersIn, HeadersPatch};
use crate::fields::{self, Fields, Mode};

/// Headers an endpoint may not set: those of the connection (RFC 9110 §7.6.1), of the message, and ours.
const FORBIDDEN: [&str; 13] = [
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "user-agent",
    "traceparent",
];
const FORBIDDEN_PREFIXES: [&str; 3] = ["webhook-", "svix-", "proxy-"];
/// Parts of a name that say its value is a secret.
const SENSITIVE: [&str; 6] = ["authorization", "cookie", "key", "secret", "token", "password"];

/// Headers as the API shows them.
#[derive(Serialize, ToSchema)]
pub struct HeadersOut {
    headers: BTreeMap<String, String>,
    sensitive: Vec<String>,
}

/// Shows the custom headers of an endpoint; of sensitive ones only the names.
#[utoipa::path(
    get,
    path = "/api/v1/app/{app}/endpoint/{endpoint}/headers",
    operation_id = "get_endpoint_headers",
    tag = "Endpoint",
    params(EndpointPath),
    responses((status = 200, description = "The headers", body = HeadersOut), Errors),
)]
pub async fn get(api: State, caller: Caller, Path((app, endpoint)): Path<(String, String)>) -> Result<Json<HeadersOut>, Problem> {
    let app = api.app(&caller, &app).await?;
    let endpoint = api.endpoint(app, &endpoint).await?;
    let (sensitive, headers): (BTreeMap<_, _>, BTreeMap<_, _>) =
        endpoint.headers.into_iter().partition(|(name, _)| is_sensitive(name));
    Ok(Json(HeadersOut { headers, sensitive: sensitive.into_keys().collect() }))
}

/// Replaces the custom headers of an endpoint.
#[utoipa::path(
    put,
    path = "/api/v1/app/{app}/endpoint/{endpoint}/headers",
    operation_id = "put_endpoint_headers",
    tag = "Endpoint",
    params(EndpointPath),
    request_body = HeadersIn,
    responses((status = 204, description = "Replaced"), Errors),
)]
pub async fn put(
    api: State,
    caller: Caller,
    Path((app, endpoint)): Path<(String, String)>,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let app = api.app(&caller, &app).await?;
    let id = api.endpoint(app, &endpoint).await?.id;
    let change = |endpoint: &mut Endpoint| {
        let mut fields = Fields::new(object(&body)?, Mode::Whole);
        fields.require("headers", &mut endpoint.headers, |value| check_headers(fields::texts(value)?));
        fields.finish()
    };
    api.change_endpoint(app, id, change).await.map(|_| StatusCode::NO_CONTENT)
}

/// A null removes a header; what is left out stays.
#[utoipa::path(
    patch,
    path = "/api/v1/app/{app}/endpoint/{endpoint}/headers",
    operation_id = "patch_endpoint_headers",
    tag = "Endpoint",
    params(EndpointPath),
    request_body = HeadersPatch,
    responses((status = 204, description = "Changed"), Errors),
)]
pub async fn patch(
    api: State,
    caller: Caller,
    Path((app, endpoint)): Path<(String, String)>,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let app = api.app(&caller, &app).await?;
    let id = api.endpoint(app, &endpoint).await?.id;
    let change = |endpoint: &mut Endpoint| {
        let stored = endpoint.headers.clone();
        let mut fields = Fields::new(object(&body)?, Mode::Whole);
        fields.require("headers", &mut endpoint.headers, |value| merge(stored, value).and_then(check_headers));
        let mut deleted = Vec::new();
        fields.read("deleteHeaders", &mut deleted, fields::strings);
        endpoint.headers.retain(|name, _| !deleted.iter().any(|other| other.eq_ignore_ascii_case(name)));
        fields.finish()
    };
    api.change_endpoint(app, id, change).await.map(|_| StatusCode::NO_CONTENT)
}

fn merge(mut headers: BTreeMap<String, String>, value: &Value) -> Result<BTreeMap<String, String>, String> {
    for (name, value) in value.as_object().ok_or_else(|| "must be an object".to_owned())? {
        match value {
            Value::Null => {
                headers.remove(name);
            }
            Value::String(text) => {
                headers.insert(name.clone(), text.clone());
            }
            _ => return Err(format!("{name} must be a string or null")),
        }
    }
    Ok(headers)
}

/// Headers that may be sent.
pub fn check_headers(headers: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, String> {
    if headers.len() > limits::ENDPOINT_HEADERS {
        return Err(format!("at most {} headers", limits::ENDPOINT_HEADERS));
    }
    for (name, value) in &headers {
        check_header(name, value)?;
    }
    Ok(headers)
}

/// One header that may be sent: a valid name that is not ours or the connection's, a value without control characters.
pub fn check_header(name: &str, value: &str) -> Result<(), String> {
    let lower = name.to_ascii_lowercase();
    HeaderName::from_bytes(lower.as_bytes()).map_err(|_| "a header's name is not valid".to_owned())?;
    if FORBIDDEN.contains(&lower.as_str()) || FORBIDDEN_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
        return Err(format!("the header {lower} cannot be set"));
    }
    if value.len() > limits::HEADER_VALUE_BYTES || value.contains(['\r', '\n', '\0']) || HeaderValue::from_str(value).is_err() {
        return Err(format!("the value of {lower} is not valid"));
    }
    Ok(())
}

fn is_sensitive(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    SENSITIVE.iter().any(|part| lower.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn injection_and_reserved_names_are_refused() {
        for (name, value) in [
            ("x-a", "b\r\nevil: 1"),
            ("x-a\r\nevil", "b"),
            ("x a", "b"),
            ("", "b"),
            ("Host", "example.com"),
            ("webhook-signature", "v1,AAAA"),
            ("Svix-Id", "x"),
            ("Transfer-Encoding", "chunked"),
            ("proxy-authorization", "x"),
        ] {
            assert!(check_header(name, value).is_err(), "{name:?}: {value:?}");
        }
        assert_eq!(check_header("Authorization", "Bearer abc"), Ok(()));
        assert!(is_sensitive("X-Api-Key") && !is_sensitive("x-region"));
    }
}
