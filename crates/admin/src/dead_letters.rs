//! `/api/v1/app/{app}/dead-letter`: what will not be tried again on its own, and beginning another run of it.

use axum::Json;
use axum::extract::{Path, Query};
use bytes::Bytes;
use hookyard_core::journal::{Cursor, Entry, RunRecord};
use hookyard_core::{
    AppId, DeadLetter, DeadLetterFilter, DeadLetterId, DeadReason, Delivery, EndpointId, Fault, MessageId, Timestamp, Trigger,
};
use hookyard_wire::problem::Problem;
use serde::{Deserialize, Serialize};

use crate::api::{Api, Caller, State, fail, object};
use crate::fields::{Fields, Mode, list as list_of};
use crate::page::{PageOut, PageQuery, moment};

/// Dead letters named one by one in one request: each costs a few round trips before the answer.
const IDS_MOST: usize = 250;

/// A dead letter as the API shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterOut {
    id: DeadLetterId,
    msg_id: MessageId,
    endpoint_id: EndpointId,
    event_type: String,
    reason: &'static str,
    attempts: u32,
    run: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status_code: Option<u16>,
    timestamp: String,
}

/// The filters.
#[derive(Deserialize)]
pub struct FilterQuery {
    endpoint_id: Option<String>,
    event_type: Option<String>,
    reason: Option<String>,
    before: Option<String>,
    after: Option<String>,
}

/// What came of a replay.
#[derive(Serialize)]
pub struct Replayed {
    /// Dead letters of which another run was begun; what was not dead any more is not among them.
    count: usize,
}

pub async fn list(
    api: State,
    caller: Caller,
    Path(app): Path<String>,
    Query(page): Query<PageQuery>,
    Query(query): Query<FilterQuery>,
) -> Result<Json<PageOut<DeadLetterOut>>, Problem> {
    let app = api.app(&caller, &app).await?;
    let request = page.read()?;
    let mut filter = api.dead_letter_filter(app, query).await?;
    if request.from.is_some() {
        // An iterator already says where to begin.
        (filter.before, filter.after) = (None, None);
    }
    let back = matches!(request.from, Some(Cursor::Before(_)));
    let found = api.seams.log.dead_letters(app, &filter, request).await.map_err(|fault| fail(&fault))?;
    Ok(Json(PageOut::filtered(found, |letter| letter.id, DeadLetterId::from_bytes, back, |letter| show(&letter))))
}

pub async fn replay(api: State, caller: Caller, Path(app): Path<String>, body: Bytes) -> Result<Json<Replayed>, Problem> {
    let app = api.app(&caller, &app).await?;
    let mut fields = Fields::new(object(&body)?, Mode::Whole);
    let mut ids: Vec<DeadLetterId> = Vec::new();
    fields.require("ids", &mut ids, list_of(IDS_MOST));
    fields.finish()?;
    let (mut count, due) = (0, api.seams.clock.now());
    for id in ids {
        count += usize::from(api.replay(app, id, due).await.map_err(|fault| fail(&fault))?);
    }
    Ok(Json(Replayed { count }))
}

impl Api {
    async fn dead_letter_filter(&self, app: AppId, query: FilterQuery) -> Result<DeadLetterFilter, Problem> {
        let endpoint = match query.endpoint_id {
            Some(named) => Some(self.endpoint(app, &named).await?.id),
            None => None,
        };
        let event_type = query.event_type.map(|name| name.parse()).transpose();
        let reason = query.reason.map(|name| DeadReason::from_name(&name).ok_or(name)).transpose();
        Ok(DeadLetterFilter {
            endpoint,
            event_type: event_type
                .map_err(|error: hookyard_core::name::BadName| Problem::invalid_query("event_type", error.to_string()))?,
            reason: reason.map_err(|name| Problem::invalid_query("reason", format!("{name} is none")))?,
            before: moment("before", query.before.as_deref())?,
            after: moment("after", query.after.as_deref())?,
        })
    }

    /// Begins the next run of what is dead, due at `due`; whether it was. Repeating it with the same moment repeats the same
    /// attempts, of which the fence lets each through once.
    async fn replay(&self, app: AppId, id: DeadLetterId, due: Timestamp) -> Result<bool, Fault> {
        let Some(letter) = self.seams.log.dead_letter(app, id).await? else { return Ok(false) };
        let Some(record) = self.seams.log.message(app, letter.delivery.message).await? else { return Ok(false) };
        let (endpoint, run) = (letter.delivery.endpoint, letter.run + 1);
        let delivery = Delivery::rerun(record.message, endpoint, run, Trigger::Replay, due);
        let begun = RunRecord { delivery: delivery.key(), run, due };
        self.seams.deliveries.enqueue(vec![delivery]).await?;
        // Only now: a run that is written down and was never enqueued would be lost.
        self.seams.journal.record([Entry::Run(begun)].into()).await?;
        Ok(true)
    }
}

fn show(letter: &DeadLetter) -> DeadLetterOut {
    DeadLetterOut {
        id: letter.id,
        msg_id: letter.delivery.message,
        endpoint_id: letter.delivery.endpoint,
        event_type: letter.event_type.to_string(),
        reason: letter.reason.as_str(),
        attempts: letter.attempts,
        run: letter.run,
        response_status_code: letter.status,
        timestamp: letter.at.to_string(),
    }
}
