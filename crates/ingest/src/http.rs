//! `POST /api/v1/app/{app}/msg`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use bytes::Bytes;
use hookyard_core::grant::Grant;
use hookyard_core::{AppRef, Message, Submission, limits};
use hookyard_wire::problem::Problem;
use hookyard_wire::shown;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::accept::{Intake, NotAccepted};

/// The routes of publishing; the caller's [`Grant`] must be in the request's extensions.
pub fn routes(intake: Arc<Intake>) -> Router {
    Router::new().route("/api/v1/app/{app}/msg", post(publish)).with_state(intake)
}

/// What the target's clients send; what else they send is ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageIn<'a> {
    event_type: String,
    event_id: Option<String>,
    #[serde(default)]
    channels: Option<Vec<String>>,
    #[serde(borrow)]
    payload: &'a RawValue,
}

/// A message as the API shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageOut {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    event_type: String,
    payload: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channels: Option<Vec<String>>,
    timestamp: String,
}

async fn publish(
    State(intake): State<Arc<Intake>>,
    Extension(grant): Extension<Grant>,
    Path(app): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let named: AppRef = app.parse().map_err(|_| Problem::not_found("there is no such application"))?;
    let resolved = intake.seams.directory.resolve(std::slice::from_ref(&named)).await;
    let resolved = resolved.map_err(|fault| {
        tracing::warn!(error = fault.chain(), "cannot accept");
        Problem::from(&fault)
    })?;
    let id = resolved.apps.first().copied().flatten();
    if !grant.may_publish(&named, id) {
        return Err(Problem::forbidden());
    }
    let id = id.ok_or_else(|| Problem::not_found("there is no such application"))?;
    let submission = read(&body)?;
    match intake.accept(id, submission).await {
        Ok(message) => Ok((StatusCode::ACCEPTED, Json(show(&message))).into_response()),
        Err(error) => {
            if let NotAccepted::Fault(fault) = &error {
                tracing::warn!(error = fault.chain(), "cannot accept");
            }
            Err(Problem::from(&error))
        }
    }
}

fn read(body: &Bytes) -> Result<Submission, Problem> {
    let message: MessageIn<'_> = serde_json::from_slice(body).map_err(|error| match error.classify() {
        // A shape that is wrong names fields of ours, no payload.
        serde_json::error::Category::Data => Problem::invalid("", error.to_string()),
        category => {
            let detail = format!("{category:?} error at line {} column {}", error.line(), error.column());
            Problem::new(StatusCode::BAD_REQUEST, "invalid_json", detail)
        }
    })?;
    let channels = message.channels.unwrap_or_default();
    if channels.len() > limits::HTTP_EVENT_CHANNELS {
        return Err(Problem::invalid("channels", format!("at most {} channels", limits::HTTP_EVENT_CHANNELS)));
    }
    Ok(Submission {
        event_id: message.event_id,
        event_type: Some(message.event_type),
        channels,
        data: body.slice_ref(message.payload.get().as_bytes()),
        ..Submission::default()
    })
}

fn show(message: &Message) -> MessageOut {
    let event = &*message.event;
    let channels: Vec<String> = event.channels.iter().map(ToString::to_string).collect();
    MessageOut {
        id: message.id.to_string(),
        event_id: event.id.as_ref().map(|id| id.as_str().to_owned()),
        event_type: event.event_type.to_string(),
        payload: shown::payload(event),
        channels: Some(channels).filter(|channels| !channels.is_empty()),
        timestamp: event.accepted_at.to_string(),
    }
}
