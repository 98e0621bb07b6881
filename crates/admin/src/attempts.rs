//! `/api/v1/app/{app}/attempt/…`: what was tried, and what the receivers did.

use axum::Json;
use axum::extract::{Path, Query, RawQuery};
use hookyard_core::journal::{AttemptFilter, AttemptRecord, AttemptsOf, Cursor, Page};
use hookyard_core::{AppId, AttemptClass, AttemptId, EndpointId, MessageId, Outcome, Trigger};
use hookyard_wire::problem::Problem;
use hookyard_wire::reference::{AppPath, AttemptPath, DeliveryPath, EndpointPath, Errors, EventTypesQuery, MessagePath};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::{Api, Caller, State, fail};
use crate::page::{PageOut, PageQuery, moment};
use crate::query::{channel, event_types};

/// An attempt as the API shows it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptOut {
    #[schema(value_type = String)]
    id: AttemptId,
    #[schema(value_type = String)]
    msg_id: MessageId,
    #[schema(value_type = String)]
    endpoint_id: EndpointId,
    url: String,
    status: u8,
    status_text: &'static str,
    response_status_code: u16,
    response_duration_ms: u64,
    response: String,
    timestamp: String,
    trigger_type: u8,
    /// Ours: the headers that were sent, where responses are shown too; the values an endpoint was given to keep are not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Vec<String>>)]
    request_headers: Vec<(String, String)>,
    /// Ours: the kind of event.
    event_type: String,
    /// Ours: its channels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    channels: Vec<String>,
    /// Ours: the outcome class.
    outcome: &'static str,
    /// Ours: which attempt of its run.
    attempt: u32,
    /// Ours: which run.
    run: u32,
    /// Ours: when the next attempt is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<String>,
    /// Ours: why there will be none.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_reason: Option<&'static str>,
}

/// The filters; `event_types` may come several times and is read from the raw query.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FilterQuery {
    /// 0 for successes, 2 for failures; 1 and 3, pending and sending, are no attempt that is over, and find none.
    #[param(minimum = 0, maximum = 3)]
    status: Option<u8>,
    /// Only of events on this channel.
    #[param(pattern = "^[A-Za-z0-9._-]{1,128}$")]
    channel: Option<String>,
    /// Only responses of this class of status: 100, 200 and so on; 0 means any.
    #[param(minimum = 0, maximum = 500, multiple_of = 100)]
    status_code_class: Option<u16>,
    /// Only of this endpoint, by id or uid.
    endpoint_id: Option<String>,
    /// Due before this moment.
    #[param(format = DateTime)]
    before: Option<String>,
    /// Due after this moment.
    #[param(format = DateTime)]
    after: Option<String>,
    /// Whether payloads and responses are wanted.
    with_content: Option<bool>,
    /// Newer clients send it; there are no other standings to be told apart.
    #[serde(rename = "expanded_statuses")]
    _expanded_statuses: Option<bool>,
    /// Newer clients send it; the message is named, and not shown.
    #[serde(rename = "with_msg")]
    _with_msg: Option<bool>,
}

/// What newer clients ask of one attempt.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AttemptQuery {
    /// Newer clients send it; there are no other standings to be told apart.
    #[serde(rename = "expanded_statuses")]
    _expanded_statuses: Option<bool>,
}

/// Lists the attempts of a message, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/app/{app}/attempt/msg/{message}",
    operation_id = "list_attempts_of_message",
    tag = "Message attempt",
    params(MessagePath, PageQuery, FilterQuery, EventTypesQuery),
    responses((status = 200, description = "A page of attempts", body = PageOut<AttemptOut>), Errors),
)]
pub async fn of_message(
    api: State,
    caller: Caller,
    Path((app, message)): Path<(String, String)>,
    Query(page): Query<PageQuery>,
    Query(query): Query<FilterQuery>,
    RawQuery(raw): RawQuery,
) -> Result<Json<PageOut<AttemptOut>>, Problem> {
    let app = api.app(&caller, &app).await?;
    let message = api.message(app, api.message_id(app, &message).await?).await?.message.id;
    api.attempts(app, AttemptsOf::Message(message), &page, query, raw).await
}

/// Lists the attempts of a message, as old releases of the official clients ask for them.
#[utoipa::path(
    get,
    path = "/api/v1/app/{app}/msg/{message}/attempt",
    operation_id = "list_attempts_of_message_once",
    tag = "Message attempt",
    params(MessagePath, PageQuery, FilterQuery, EventTypesQuery),
    responses((status = 200, description = "A page of attempts", body = PageOut<AttemptOut>), Errors),
)]
pub async fn of_message_once(
    api: State,
    caller: Caller,
    path: Path<(String, String)>,
    page: Query<PageQuery>,
    query: Query<FilterQuery>,
    raw: RawQuery,
) -> Result<Json<PageOut<AttemptOut>>, Problem> {
    of_message(api, caller, path, page, query, raw).await
}

/// Lists the attempts to deliver a message to an endpoint, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/app/{app}/msg/{message}/endpoint/{endpoint}/attempt",
    operation_id = "list_attempts_of_delivery",
    tag = "Message attempt",
    params(DeliveryPath, PageQuery, FilterQuery, EventTypesQuery),
    responses((status = 200, description = "A page of attempts", body = PageOut<AttemptOut>), Errors),
)]
pub async fn of_delivery(
    api: State,
    caller: Caller,
    Path((app, message, endpoint)): Path<(String, String, String)>,
    page: Query<PageQuery>,
    Query(query): Query<FilterQuery>,
    raw: RawQuery,
) -> Result<Json<PageOut<AttemptOut>>, Problem> {
    if query.endpoint_id.as_ref().is_some_and(|other| *other != endpoint) {
        return Err(Problem::invalid_query("endpoint_id", "the path already names an endpoint"));
    }
    let query = FilterQuery { endpoint_id: Some(endpoint), ..query };
    of_message(api, caller, Path((app, message)), page, Query(query), raw).await
}

/// Lists every attempt of an application, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/app/{app}/attempt",
    operation_id = "list_attempts",
    tag = "Message attempt",
    params(AppPath, PageQuery, FilterQuery, EventTypesQuery),
    responses((status = 200, description = "A page of attempts", body = PageOut<AttemptOut>), Errors),
)]
pub async fn of_app(
    api: State,
    caller: Caller,
    Path(app): Path<String>,
    Query(page): Query<PageQuery>,
    Query(query): Query<FilterQuery>,
    RawQuery(raw): RawQuery,
) -> Result<Json<PageOut<AttemptOut>>, Problem> {
    let app = api.app(&caller, &app).await?;
    api.attempts(app, AttemptsOf::App, &page, query, raw).await
}

/// Shows an attempt.
#[utoipa::path(
    get,
    path = "/api/v1/app/{app}/msg/{message}/attempt/{attempt}",
    operation_id = "get_attempt",
    tag = "Message attempt",
    params(AttemptPath, AttemptQuery),
    responses((status = 200, description = "The attempt", body = AttemptOut), Errors),
)]
pub async fn get(
    api: State,
    caller: Caller,
    Path((app, message, attempt)): Path<(String, String, String)>,
) -> Result<Json<AttemptOut>, Problem> {
    let app = api.app(&caller, &app).await?;
    let none = || Problem::not_found("there is no such attempt");
    let attempt: AttemptId = attempt.parse().map_err(|_| none())?;
    let found = api.seams.log.attempt(app, api.message_id(app, &message).await?, attempt).await.map_err(|fault| fail(&fault))?;
    Ok(Json(show(&found.ok_or_else(none)?, true)))
}

/// Lists the attempts to an endpoint, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/app/{app}/attempt/endpoint/{endpoint}",
    operation_id = "list_attempts_to_endpoint",
    tag = "Message attempt",
    params(EndpointPath, PageQuery, FilterQuery, EventTypesQuery),
    responses((status = 200, description = "A page of attempts", body = PageOut<AttemptOut>), Errors),
)]
pub async fn to_endpoint(
    api: State,
    caller: Caller,
    Path((app, endpoint)): Path<(String, String)>,
    Query(page): Query<PageQuery>,
    Query(query): Query<FilterQuery>,
    RawQuery(raw): RawQuery,
) -> Result<Json<PageOut<AttemptOut>>, Problem> {
    let app = api.app(&caller, &app).await?;
    let endpoint = api.endpoint(app, &endpoint).await?.id;
    api.attempts(app, AttemptsOf::Endpoint(endpoint), &page, query, raw).await
}

/// Makes the response to an attempt forgotten.
#[utoipa::path(
    delete,
    path = "/api/v1/app/{app}/msg/{message}/attempt/{attempt}/content",
    operation_id = "expunge_attempt",
    tag = "Message attempt",
    params(AttemptPath),
    responses((status = 204, description = "Forgotten"), Errors),
)]
pub async fn expunge(
    api: State,
    caller: Caller,
    Path((app, message, attempt)): Path<(String, String, String)>,
) -> Result<StatusCode, Problem> {
    let app = api.app(&caller, &app).await?;
    let none = || Problem::not_found("there is no such attempt");
    let attempt: AttemptId = attempt.parse().map_err(|_| none())?;
    let was_there =
        api.seams.log.expunge_attempt(app, api.message_id(app, &message).await?, attempt).await.map_err(|fault| fail(&fault))?;
    if was_there { Ok(StatusCode::NO_CONTENT) } else { Err(none()) }
}

impl Api {
    async fn attempts(
        &self,
        app: AppId,
        of: AttemptsOf,
        page: &PageQuery,
        query: FilterQuery,
        raw: Option<String>,
    ) -> Result<Json<PageOut<AttemptOut>>, Problem> {
        let request = page.read()?;
        if matches!(query.status, Some(1 | 3)) {
            // An attempt that is written down is over: none is pending or being sent.
            let none = Page { items: Vec::new(), done: true, reached: None };
            return Ok(Json(PageOut::new(none, |record: &AttemptRecord| record.id, |record| show(&record, true))));
        }
        let with_content = query.with_content.unwrap_or(true);
        let mut filter = self.filter(app, query, raw.as_deref()).await?;
        if request.from.is_some() {
            // An iterator already says where to begin.
            (filter.before, filter.after) = (None, None);
        }
        let back = matches!(request.from, Some(Cursor::Before(_)));
        let found = self.seams.log.attempts(app, of, &filter, request).await.map_err(|fault| fail(&fault))?;
        Ok(Json(PageOut::filtered(found, |record| record.id, AttemptId::from_bytes, back, |record| show(&record, with_content))))
    }

    pub(crate) async fn filter(&self, app: AppId, query: FilterQuery, raw: Option<&str>) -> Result<AttemptFilter, Problem> {
        let endpoint = match query.endpoint_id {
            Some(named) => Some(self.endpoint(app, &named).await?.id),
            None => None,
        };
        Ok(AttemptFilter {
            endpoint,
            success: match query.status {
                None => None,
                Some(0) => Some(true),
                Some(2) => Some(false),
                Some(_) => return Err(Problem::invalid_query("status", "an attempt is 0 (success) or 2 (fail)")),
            },
            // The compatible API writes classes as 100, 200 …
            status_class: query.status_code_class.filter(|class| *class > 0).map(|class| class / 100),
            event_types: event_types(raw)?,
            channel: channel(query.channel.as_deref())?,
            first_only: false,
            before: moment("before", query.before.as_deref())?,
            after: moment("after", query.after.as_deref())?,
        })
    }
}

pub fn show(record: &AttemptRecord, with_content: bool) -> AttemptOut {
    let success = record.result.class == AttemptClass::Success;
    let (next_attempt_at, dead_reason) = match record.outcome {
        Outcome::Retry { at } => (Some(at.to_string()), None),
        Outcome::Dead(reason) => (None, Some(reason.as_str())),
        Outcome::Delivered | Outcome::Discarded(_) => (None, None),
    };
    AttemptOut {
        id: record.id,
        msg_id: record.delivery.message,
        endpoint_id: record.delivery.endpoint,
        url: record.sent.url.clone(),
        status: if success { 0 } else { 2 },
        status_text: if success { "success" } else { "fail" },
        response_status_code: record.result.status.unwrap_or(0),
        response_duration_ms: u64::try_from(record.result.duration.as_millis()).unwrap_or(u64::MAX),
        response: if with_content { String::from_utf8_lossy(&record.result.response).into_owned() } else { String::new() },
        timestamp: record.result.started_at.to_string(),
        trigger_type: u8::from(record.trigger == Trigger::Resend),
        request_headers: if with_content { record.sent.headers.clone() } else { Vec::new() },
        event_type: record.event_type.to_string(),
        channels: record.channels.iter().map(ToString::to_string).collect(),
        outcome: record.result.class.as_str(),
        attempt: record.number,
        run: record.run,
        next_attempt_at,
        dead_reason,
    }
}
