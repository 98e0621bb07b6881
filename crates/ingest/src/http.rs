//! `POST /api/v1/app/{app}/msg` and `…/msg/batch`.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use bytes::Bytes;
use futures_util::future::join_all;
use hookyard_core::grant::Grant;
use hookyard_core::rules::Rules;
use hookyard_core::{AppId, AppRef, Fault, Submission, limits};
use hookyard_wire::ignored::name_ignored;
use hookyard_wire::problem::Problem;
use hookyard_wire::shown::MessageOut;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::accept::{Intake, NotAccepted};
use crate::application;
use crate::body::{self, MessageIn};

/// The routes of publishing; the caller's [`Grant`] must be in the request's extensions.
pub fn routes(intake: Arc<Intake>) -> Router {
    let batch = post(publish_batch).layer(DefaultBodyLimit::max(limits::BATCH_BYTES));
    Router::new().route("/api/v1/app/{app}/msg", post(publish)).route("/api/v1/app/{app}/msg/batch", batch).with_state(intake)
}

/// What else the target's clients may ask for.
#[derive(Deserialize)]
struct PublishQuery {
    with_content: Option<bool>,
}

/// Several of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchIn<'a> {
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
}

#[derive(Serialize)]
struct BatchOut {
    results: Vec<ResultOut>,
}

/// What became of one of them: the status it would have had alone, and its message or its error.
#[derive(Serialize)]
struct ResultOut {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<MessageOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Problem>,
}

async fn publish(
    State(intake): State<Arc<Intake>>,
    Extension(grant): Extension<Grant>,
    Path(app): Path<String>,
    Query(query): Query<PublishQuery>,
    body: Bytes,
) -> Result<Response, Problem> {
    let to = destination(&intake, &grant, &app, Some(&body)).await?;
    let MessageIn { submission, unknown } = body::read(&body)?;
    let message = accept(&intake, &to, submission, query.with_content.unwrap_or(true)).await?;
    let mut response = (StatusCode::ACCEPTED, Json(message)).into_response();
    name_ignored(response.headers_mut(), unknown);
    Ok(response)
}

/// Each message is accepted or not by itself, in no order.
async fn publish_batch(
    State(intake): State<Arc<Intake>>,
    Extension(grant): Extension<Grant>,
    Path(app): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let to = destination(&intake, &grant, &app, None).await?;
    let batch: BatchIn<'_> = serde_json::from_slice(&body).map_err(|error| body::malformed(&error))?;
    if batch.messages.len() > limits::BATCH_MESSAGES {
        return Err(Problem::invalid("messages", format!("at most {} messages", limits::BATCH_MESSAGES)));
    }
    let bodies: Vec<Bytes> = batch.messages.iter().map(|message| body.slice_ref(message.get().as_bytes())).collect();
    let accepting = bodies.iter().map(async |body| accept(&intake, &to, read_ours(body)?, true).await);
    let results = join_all(accepting).await.into_iter().map(|accepted| match accepted {
        Ok(message) => ResultOut { status: StatusCode::ACCEPTED.as_u16(), message: Some(message), error: None },
        Err(problem) => ResultOut { status: problem.status().as_u16(), message: None, error: Some(problem) },
    });
    Ok((StatusCode::ACCEPTED, Json(BatchOut { results: results.collect() })).into_response())
}

/// Where to publish, and under which rules.
struct Destination {
    app: AppId,
    rules: Arc<Rules>,
}

/// The application to publish to, if the caller may. One that is not there is created if the message in `body` brings it along.
async fn destination(intake: &Intake, grant: &Grant, app: &str, body: Option<&Bytes>) -> Result<Destination, Problem> {
    let named: AppRef = app.parse().map_err(|_| Problem::not_found("there is no such application"))?;
    let resolved = intake.seams.directory.resolve(std::slice::from_ref(&named)).await;
    let resolved = resolved.map_err(|fault| cannot(&fault))?;
    let id = resolved.apps.first().copied().flatten();
    if !grant.may_publish(&named, id) {
        return Err(Problem::forbidden());
    }
    let app = match (id, body) {
        (Some(id), _) => id,
        (None, Some(body)) if grant.is_admin() => application::create(intake, named, body).await?,
        (None, _) => return Err(application::none()),
    };
    let rules = intake.rules(resolved.counters.catalog).await.map_err(|fault| cannot(&fault))?;
    Ok(Destination { app, rules })
}

fn cannot(fault: &Fault) -> Problem {
    tracing::warn!(error = fault.chain(), "cannot accept");
    Problem::from(fault)
}

async fn accept(intake: &Intake, to: &Destination, submission: Submission, with_content: bool) -> Result<MessageOut, Problem> {
    match intake.accept(to.app, &to.rules, submission).await {
        Ok(message) => Ok(MessageOut::new(&message, with_content)),
        Err(NotAccepted::Fault(fault)) => Err(cannot(&fault)),
        Err(error) => Err(Problem::from(&error)),
    }
}

/// A message of a batch, which is an operation of ours: what nobody knows is a mistake there.
fn read_ours(body: &Bytes) -> Result<Submission, Problem> {
    let MessageIn { submission, unknown } = body::read(body)?;
    match unknown.first() {
        None => Ok(submission),
        Some(name) => Err(Problem::invalid(name, "there is no such field")),
    }
}
