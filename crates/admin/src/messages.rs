//! `/api/v1/app/{app}/msg`: reading messages; publishing is the intake's.

use axum::Json;
use axum::extract::{Path, Query, RawQuery};
use hookyard_core::journal::{Cursor, MessageFilter};
use hookyard_core::port::MarkerState;
use hookyard_core::{AppId, EventId, MessageId};
use hookyard_wire::problem::Problem;
use hookyard_wire::reference::{AppPath, Errors, EventTypesQuery, MessagePath};
use hookyard_wire::shown::MessageOut;
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::{Api, Caller, State, fail};
use crate::page::{PageOut, PageQuery, moment};
use crate::query::{channel, event_types};

/// The filters; `event_types` may come several times and is read from the raw query.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FilterQuery {
    /// Only of events on this channel.
    #[param(pattern = "^[A-Za-z0-9._-]{1,128}$")]
    channel: Option<String>,
    /// Only of events with this tag.
    #[param(max_length = 128)]
    tag: Option<String>,
    /// Accepted before this moment.
    #[param(format = DateTime)]
    before: Option<String>,
    /// Accepted after this moment.
    #[param(format = DateTime)]
    after: Option<String>,
    /// Whether payloads and responses are wanted.
    with_content: Option<bool>,
}

/// Whether the payload is wanted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ContentQuery {
    /// Whether payloads and responses are wanted.
    with_content: Option<bool>,
}

/// Lists the messages of an application, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/app/{app}/msg",
    operation_id = "list_messages",
    tag = "Message",
    params(AppPath, PageQuery, FilterQuery, EventTypesQuery),
    responses((status = 200, description = "A page of messages", body = PageOut<MessageOut>), Errors),
)]
pub async fn list(
    api: State,
    caller: Caller,
    Path(app): Path<String>,
    Query(page): Query<PageQuery>,
    Query(query): Query<FilterQuery>,
    RawQuery(raw): RawQuery,
) -> Result<Json<PageOut<MessageOut>>, Problem> {
    let app = api.app(&caller, &app).await?;
    let request = page.read()?;
    let mut filter = MessageFilter {
        channel: channel(query.channel.as_deref())?,
        tag: query.tag,
        event_types: event_types(raw.as_deref())?,
        before: moment("before", query.before.as_deref())?,
        after: moment("after", query.after.as_deref())?,
    };
    if request.from.is_some() {
        // An iterator already says where to begin.
        (filter.before, filter.after) = (None, None);
    }
    let (back, with_content) = (matches!(request.from, Some(Cursor::Before(_))), query.with_content.unwrap_or(true));
    let found = api.seams.log.messages(app, &filter, request).await.map_err(|fault| fail(&fault))?;
    let show = |record: hookyard_core::journal::MessageRecord| MessageOut::new(&record.message, with_content);
    Ok(Json(PageOut::filtered(found, |record| record.message.id, MessageId::from_bytes, back, show)))
}

/// Shows a message.
#[utoipa::path(
    get,
    path = "/api/v1/app/{app}/msg/{message}",
    operation_id = "get_message",
    tag = "Message",
    params(MessagePath, ContentQuery),
    responses((status = 200, description = "The message", body = MessageOut), Errors),
)]
pub async fn get(
    api: State,
    caller: Caller,
    Path((app, message)): Path<(String, String)>,
    Query(query): Query<ContentQuery>,
) -> Result<Json<MessageOut>, Problem> {
    let app = api.app(&caller, &app).await?;
    let record = api.message(app, api.message_id(app, &message).await?).await?;
    Ok(Json(MessageOut::new(&record.message, query.with_content.unwrap_or(true))))
}

/// Makes a message's data forgotten; what is on its way arrives all the same.
#[utoipa::path(
    delete,
    path = "/api/v1/app/{app}/msg/{message}/content",
    operation_id = "expunge_message",
    tag = "Message",
    params(MessagePath),
    responses((status = 204, description = "Forgotten"), Errors),
)]
pub async fn expunge(api: State, caller: Caller, Path((app, message)): Path<(String, String)>) -> Result<StatusCode, Problem> {
    let app = api.app(&caller, &app).await?;
    let was_there =
        api.seams.log.expunge_message(app, api.message_id(app, &message).await?).await.map_err(|fault| fail(&fault))?;
    if was_there { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("there is no such message")) }
}

impl Api {
    /// The message a path names: by its id, or by the publisher's own, for as long as that is remembered.
    pub(crate) async fn message_id(&self, app: AppId, named: &str) -> Result<MessageId, Problem> {
        let none = || Problem::not_found("there is no such message");
        if let Ok(id) = named.parse() {
            return Ok(id);
        }
        // A CloudEvent is shown by its source and its id with a blank between them.
        let of_source = named.rsplit_once(' ').and_then(|(source, id)| EventId::of_source(source, id));
        for event in EventId::parse(named).into_iter().chain(of_source) {
            let marker = self.seams.directory.marker(app, &event).await.map_err(|fault| fail(&fault))?;
            if let Some(marker) = marker.filter(|marker| marker.state != MarkerState::Claimed) {
                return Ok(marker.message);
            }
        }
        Err(none())
    }
}
