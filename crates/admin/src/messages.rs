//! `/api/v1/app/{app}/msg`: reading messages; publishing is the intake's.

use axum::Json;
use axum::extract::{Path, Query};
use hookyard_core::MessageId;
use hookyard_core::journal::MessageRecord;
use hookyard_wire::problem::Problem;
use hookyard_wire::shown;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::api::{Caller, State, fail};
use crate::page::{PageOut, PageQuery};

/// A message as the API shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageOut {
    id: MessageId,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    event_type: String,
    payload: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channels: Option<Vec<String>>,
    timestamp: String,
}

pub async fn list(
    api: State,
    caller: Caller,
    Path(app): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageOut<MessageOut>>, Problem> {
    let app = api.app(&caller, &app).await?;
    let page = api.seams.log.messages(app, query.read()?).await.map_err(|fault| fail(&fault))?;
    Ok(Json(PageOut::new(page, |record| record.message.id, |record| show(&record))))
}

pub async fn get(api: State, caller: Caller, Path((app, message)): Path<(String, String)>) -> Result<Json<MessageOut>, Problem> {
    let app = api.app(&caller, &app).await?;
    let not_found = || Problem::not_found("there is no such message");
    let id: MessageId = message.parse().map_err(|_| not_found())?;
    let found = api.seams.log.message(app, id).await.map_err(|fault| fail(&fault))?;
    Ok(Json(show(&found.ok_or_else(not_found)?)))
}

fn show(record: &MessageRecord) -> MessageOut {
    let event = &*record.message.event;
    let channels: Vec<String> = event.channels.iter().map(ToString::to_string).collect();
    MessageOut {
        id: record.message.id,
        event_id: event.id.as_ref().map(|id| id.as_str().to_owned()),
        event_type: event.event_type.to_string(),
        payload: shown::payload(event),
        channels: Some(channels).filter(|channels| !channels.is_empty()),
        timestamp: event.accepted_at.to_string(),
    }
}
