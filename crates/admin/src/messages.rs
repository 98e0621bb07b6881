//! `/api/v1/app/{app}/msg`: reading messages; publishing is the intake's.

use axum::Json;
use axum::extract::{Path, Query, RawQuery};
use hookyard_core::MessageId;
use hookyard_core::journal::{Cursor, MessageFilter};
use hookyard_wire::problem::Problem;
use hookyard_wire::shown::MessageOut;
use http::StatusCode;
use serde::Deserialize;

use crate::api::{Caller, State, fail};
use crate::page::{PageOut, PageQuery, moment};
use crate::query::{channel, event_types};

/// The filters; `event_types` may come several times and is read from the raw query.
#[derive(Deserialize)]
pub struct FilterQuery {
    channel: Option<String>,
    before: Option<String>,
    after: Option<String>,
    with_content: Option<bool>,
}

/// Whether the payload is wanted.
#[derive(Deserialize)]
pub struct ContentQuery {
    with_content: Option<bool>,
}

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

pub async fn get(
    api: State,
    caller: Caller,
    Path((app, message)): Path<(String, String)>,
    Query(query): Query<ContentQuery>,
) -> Result<Json<MessageOut>, Problem> {
    let app = api.app(&caller, &app).await?;
    let record = api.message(app, message_id(&message)?).await?;
    Ok(Json(MessageOut::new(&record.message, query.with_content.unwrap_or(true))))
}

/// Makes a message's data forgotten; what is on its way arrives all the same.
pub async fn expunge(api: State, caller: Caller, Path((app, message)): Path<(String, String)>) -> Result<StatusCode, Problem> {
    let app = api.app(&caller, &app).await?;
    let was_there = api.seams.log.expunge_message(app, message_id(&message)?).await.map_err(|fault| fail(&fault))?;
    if was_there { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("there is no such message")) }
}

/// The message a path names.
pub fn message_id(named: &str) -> Result<MessageId, Problem> {
    named.parse().map_err(|_| Problem::not_found("there is no such message"))
}
