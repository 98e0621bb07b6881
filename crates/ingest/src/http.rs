//! `POST /api/v1/app/{app}/msg` and `…/msg/batch`.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json, Router};
use bytes::Bytes;
use hookyard_core::grant::Grant;
use hookyard_core::rules::Rules;
use hookyard_core::{AppId, AppRef, Fault, Submission, limits};
use hookyard_wire::ignored::{is_strict, name_ignored};
use hookyard_wire::problem::Problem;
use hookyard_wire::reference::{AppPath, Errors};
use hookyard_wire::shown::MessageOut;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::IntoParams;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;

use crate::accept::{Intake, NotAccepted};
use crate::application;
use crate::batch::{self, BatchOut};
use crate::body;
use crate::cloud_events;
use crate::reference::{BatchIn, MessageIn};

/// The operations of publishing with their description; the caller's [`Grant`] must be in the request's extensions.
pub fn operations() -> OpenApiRouter<Arc<Intake>> {
    let batch = routes!(publish_batch).layer(DefaultBodyLimit::max(limits::BATCH_BYTES));
    OpenApiRouter::new().routes(routes!(publish)).routes(batch)
}

/// The operations of publishing, served by `intake`.
pub fn routes(intake: Arc<Intake>) -> Router {
    operations().with_state(intake).into()
}

/// What else the target's clients may ask for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PublishQuery {
    with_content: Option<bool>,
}

/// Several of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch<'a> {
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
}

/// Publishes an event. When this is answered, it is durable. A CloudEvent is taken in any of the modes of its HTTP binding: binary,
/// structured, or a batch.
#[utoipa::path(
    post,
    path = "/api/v1/app/{app}/msg",
    operation_id = "create_message",
    tag = "Message",
    params(AppPath, PublishQuery),
    request_body = MessageIn,
    responses((status = 202, description = "Accepted: it will not be lost", body = MessageOut), Errors),
)]
async fn publish(
    State(intake): State<Arc<Intake>>,
    Extension(grant): Extension<Grant>,
    Path(app): Path<String>,
    Query(query): Query<PublishQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let is_event = cloud_events::is_one(&headers);
    let to = destination(&intake, &grant, &app, Some(&body).filter(|_| !is_event)).await?;
    if let Some(read) = cloud_events::read_batch(&headers, &body, intake.most_bytes())? {
        return publish_all(&intake, &to, read, &headers).await;
    }
    let (submission, ignored) = if is_event {
        (cloud_events::read(&headers, body, intake.most_bytes())?, Vec::new())
    } else {
        let read = body::read(&body)?;
        let ignored = read.ignored(is_strict(&headers))?.to_vec();
        (read.submission, ignored)
    };
    let submission = Submission { traceparent: submission.traceparent.or_else(|| traceparent(&headers)), ..submission };
    let message = accept(&intake, &to, submission, query.with_content.unwrap_or(true)).await?;
    let mut response = (StatusCode::ACCEPTED, Json(message)).into_response();
    name_ignored(response.headers_mut(), ignored);
    Ok(response)
}

/// The trace that whoever publishes goes on with (W3C Trace Context).
fn traceparent(headers: &HeaderMap) -> Option<String> {
    headers.get("traceparent")?.to_str().ok().map(str::to_owned)
}

/// Publishes up to 100 events, each accepted or refused by itself.
#[utoipa::path(
    post,
    path = "/api/v1/app/{app}/msg/batch",
    operation_id = "create_messages",
    tag = "Message",
    params(AppPath),
    request_body = BatchIn,
    responses((status = 202, description = "What became of each", body = BatchOut), Errors),
)]
async fn publish_batch(
    State(intake): State<Arc<Intake>>,
    Extension(grant): Extension<Grant>,
    Path(app): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let to = destination(&intake, &grant, &app, None).await?;
    let read = match cloud_events::read_batch(&headers, &body, intake.most_bytes())? {
        Some(read) => read,
        None => read_batch(&body)?,
    };
    publish_all(&intake, &to, read, &headers).await
}

fn read_batch(body: &Bytes) -> Result<Vec<Result<Submission, Problem>>, Problem> {
    let batch: Batch<'_> = serde_json::from_slice(body).map_err(|error| body::malformed(&error))?;
    Ok(batch.messages.iter().map(|message| read_ours(&body.slice_ref(message.get().as_bytes()))).collect())
}

async fn publish_all(
    intake: &Intake,
    to: &Destination,
    read: Vec<Result<Submission, Problem>>,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    if read.len() > limits::BATCH_MESSAGES {
        return Err(Problem::invalid("messages", format!("at most {} messages", limits::BATCH_MESSAGES)));
    }
    let parent = traceparent(headers);
    let results = batch::accept_all(read, |submission: Submission| {
        let traceparent = submission.traceparent.or_else(|| parent.clone());
        accept(intake, to, Submission { traceparent, ..submission }, true)
    });
    Ok((StatusCode::ACCEPTED, Json(results.await)).into_response())
}

/// Where to publish, and under which rules.
struct Destination {
    app: AppId,
    /// What the path calls it.
    named: String,
    rules: Arc<Rules>,
}

/// The application to publish to, if the caller may. One that is not there is created if the message in `body` brings it along.
async fn destination(intake: &Intake, grant: &Grant, app: &str, body: Option<&Bytes>) -> Result<Destination, Problem> {
    let path = app.to_owned();
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
    Ok(Destination { app, named: path, rules })
}

fn cannot(fault: &Fault) -> Problem {
    tracing::warn!(error = fault.chain(), "cannot accept");
    Problem::from(fault)
}

async fn accept(intake: &Intake, to: &Destination, submission: Submission, with_content: bool) -> Result<MessageOut, Problem> {
    // A CloudEvent may name its application, too.
    if submission.app.as_ref().is_some_and(|app| *app != to.named && *app != to.app.to_string()) {
        return Err(Problem::invalid("hookyardapp", "names another application than the path"));
    }
    match intake.accept(to.app, &to.rules, submission).await {
        Ok(message) => Ok(MessageOut::new(&message, with_content)),
        Err(NotAccepted::Fault(fault)) => Err(cannot(&fault)),
        Err(error) => Err(Problem::from(&error)),
    }
}

/// A message of a batch, which is an operation of ours: what nobody knows is a mistake there.
fn read_ours(body: &Bytes) -> Result<Submission, Problem> {
    let read = body::read(body)?;
    read.ignored(true)?;
    Ok(read.submission)
}
