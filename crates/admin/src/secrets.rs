//! `/api/v1/app/{app}/endpoint/{endpoint}/secret`.

use std::time::Duration;

use axum::Json;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use hookyard_core::signature::Secret;
use hookyard_core::{Endpoint, limits};
use hookyard_wire::problem::Problem;
use hookyard_wire::reference::{EndpointPath, Errors};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::{Caller, State, object};
use crate::bodies::RotateIn;
use crate::clients::is_before_2;
use crate::fields::{self, Body, Fields, Mode};

/// What the receiver verifies with.
#[derive(Serialize, ToSchema)]
pub struct SecretOut {
    key: String,
}

/// Shows what the receiver verifies signatures with.
#[utoipa::path(
    get,
    path = "/api/v1/app/{app}/endpoint/{endpoint}/secret",
    operation_id = "get_endpoint_secret",
    tag = "Endpoint",
    params(EndpointPath),
    responses((status = 200, description = "The secret", body = SecretOut), Errors),
)]
pub async fn get(api: State, caller: Caller, Path((app, endpoint)): Path<(String, String)>) -> Result<Json<SecretOut>, Problem> {
    let app = api.app(&caller, &app).await?;
    let endpoint = api.endpoint(app, &endpoint).await?;
    let current = endpoint.secrets.first().ok_or_else(|| Problem::not_found("this endpoint has no secret"))?;
    Ok(Json(SecretOut { key: current.secret.for_receiver() }))
}

/// Answers with the new key: official clients from 2.0 on read a body here. Older ones take no other answer than the published
/// description's, which has none.
#[utoipa::path(
    post,
    path = "/api/v1/app/{app}/endpoint/{endpoint}/secret/rotate",
    operation_id = "rotate_endpoint_secret",
    tag = "Endpoint",
    params(EndpointPath),
    request_body = Option<RotateIn>,
    responses((status = 200, description = "The new secret", body = SecretOut), (status = 204, description = "Rotated, to an official client of a release before 2.0"), Errors),
)]
pub async fn rotate(
    api: State,
    caller: Caller,
    Path((app, endpoint)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let app = api.app(&caller, &app).await?;
    let id = api.endpoint(app, &endpoint).await?.id;
    let (mut key, mut grace) = (None, None);
    let mut fields = Fields::new(if body.is_empty() { Body::new() } else { object(&body)? }, Mode::Whole);
    fields.read("key", &mut key, |value| {
        let text = value.as_str().ok_or_else(|| "must be a string".to_owned())?;
        Secret::parse(text).map(Some).map_err(|error| error.to_string())
    });
    fields.read("gracePeriodSeconds", &mut grace, |value| {
        fields::number(0, limits::SECRET_GRACE_MOST.as_secs())(value).map(|seconds| Some(Duration::from_secs(seconds)))
    });
    fields.finish()?;
    let entropy = &*api.seams.entropy;
    let now = api.seams.clock.now();
    let generated = (Secret::generate(entropy), Secret::generate_ed25519(entropy));
    let change = |endpoint: &mut Endpoint| {
        let is_ed25519 = matches!(endpoint.secrets.first(), Some(current) if matches!(current.secret, Secret::Ed25519(_)));
        let fresh = if is_ed25519 { &generated.1 } else { &generated.0 };
        let rotated =
            endpoint.rotate_secret(key.clone().unwrap_or_else(|| fresh.clone()), grace.unwrap_or(limits::SECRET_GRACE), now);
        rotated.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "limit_reached", error.to_string()))
    };
    let changed = api.change_endpoint(app, id, change).await?;
    let current = changed.secrets.first().map(|current| current.secret.for_receiver());
    if is_before_2(&headers) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(Json(SecretOut { key: current.unwrap_or_default() }).into_response())
}
