//! `/api/v1/app/{app}/dead-letter`: what will not be tried again on its own, and beginning another run of it.

use axum::Json;
use axum::extract::{Path, Query};
use bytes::Bytes;
use hookyard_core::journal::{Cursor, EndRecord, Entry, PageRequest};
use hookyard_core::task::{ReasonName, Work};
use hookyard_core::{
    AppId, DeadLetter, DeadLetterFilter, DeadLetterId, DeadReason, DiscardReason, EndpointId, Fault, MessageId, Outcome, TaskId,
};
use hookyard_telemetry::label::LetterAction;
use hookyard_wire::problem::Problem;
use hookyard_wire::reference::{AppPath, Errors};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::{Api, Caller, State, fail, object};
use crate::bodies::SelectionIn;
use crate::fields::{Fields, boolean, list as list_of};
use crate::page::{PageOut, PageQuery, moment};

/// Dead letters named one by one in one request: each costs a few round trips before the answer.
const IDS_MOST: usize = 250;
/// Read at once to be counted.
const COUNTED_AT_ONCE: usize = 5_000;

/// A dead letter as the API shows it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterOut {
    #[schema(value_type = String)]
    id: DeadLetterId,
    #[schema(value_type = String)]
    msg_id: MessageId,
    #[schema(value_type = String)]
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
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FilterQuery {
    /// Only of this endpoint, by id or uid.
    endpoint_id: Option<String>,
    /// Only of this kind of event.
    #[param(pattern = "^[A-Za-z0-9._-]{1,256}$")]
    event_type: Option<String>,
    /// Only for this reason.
    #[param(pattern = "^(attempts_exhausted|gone|blocked|endpoint_inactive|endpoint_unavailable|expired|aborted)$")]
    reason: Option<String>,
    /// That died before this moment.
    #[param(format = DateTime)]
    before: Option<String>,
    /// That died after this moment.
    #[param(format = DateTime)]
    after: Option<String>,
}

/// The same in a body.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FilterBody {
    endpoint_id: Option<String>,
    event_type: Option<String>,
    reason: Option<String>,
    before: Option<String>,
    after: Option<String>,
}

impl From<FilterBody> for FilterQuery {
    fn from(body: FilterBody) -> Self {
        let FilterBody { endpoint_id, event_type, reason, before, after } = body;
        Self { endpoint_id, event_type, reason, before, after }
    }
}

/// What came of a replay or a discard.
#[derive(Serialize, ToSchema)]
pub struct Handled {
    /// Dead letters that were replayed or discarded, or would be; of a task, those it found when it was begun.
    count: usize,
    /// The task that does it, where they were named by a filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    task: Option<TaskId>,
}

/// Lists the dead letters of an application, those that died last first.
#[utoipa::path(
    get,
    path = "/api/v1/app/{app}/dead-letter",
    operation_id = "list_dead_letters",
    tag = "Dead letter",
    params(AppPath, PageQuery, FilterQuery),
    responses((status = 200, description = "A page of dead letters", body = PageOut<DeadLetterOut>), Errors),
)]
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

/// Sends dead letters again: named ones at once, those a filter names by a task.
#[utoipa::path(
    post,
    path = "/api/v1/app/{app}/dead-letter/replay",
    operation_id = "replay_dead_letters",
    tag = "Dead letter",
    params(AppPath),
    request_body = SelectionIn,
    responses((status = 200, description = "How many, and the task that does it", body = Handled), Errors),
)]
pub async fn replay(api: State, caller: Caller, Path(app): Path<String>, body: Bytes) -> Result<Json<Handled>, Problem> {
    let app = api.app(&caller, &app).await?;
    let (selection, is_dry) = api.selection(app, &body).await?;
    match selection {
        Selection::Ids(ids) if !is_dry => {
            let (mut count, due) = (0, api.seams.clock.now());
            for id in ids {
                count += usize::from(api.replay(app, id, due).await.map_err(|fault| fail(&fault))?);
            }
            Ok(Json(Handled { count, task: None }))
        }
        selection => api.by_filter(app, selection, is_dry, false).await,
    }
}

/// Lets go of dead letters for good.
#[utoipa::path(
    post,
    path = "/api/v1/app/{app}/dead-letter/discard",
    operation_id = "discard_dead_letters",
    tag = "Dead letter",
    params(AppPath),
    request_body = SelectionIn,
    responses((status = 200, description = "How many, and the task that does it", body = Handled), Errors),
)]
pub async fn discard(api: State, caller: Caller, Path(app): Path<String>, body: Bytes) -> Result<Json<Handled>, Problem> {
    let app = api.app(&caller, &app).await?;
    let (selection, is_dry) = api.selection(app, &body).await?;
    match selection {
        Selection::Ids(ids) if !is_dry => {
            let letters = api.still_dead(app, &ids).await?;
            let count = api.discard(&letters).await.map_err(|fault| fail(&fault))?;
            Ok(Json(Handled { count, task: None }))
        }
        selection => api.by_filter(app, selection, is_dry, true).await,
    }
}

/// Which dead letters a request is about.
enum Selection {
    Ids(Vec<DeadLetterId>),
    /// Those that pass.
    Filter(DeadLetterFilter),
}

impl Api {
    /// Which, and whether it is only asked how many.
    async fn selection(&self, app: AppId, body: &Bytes) -> Result<(Selection, bool), Problem> {
        let mut fields = Fields::of_ours(object(body)?);
        let (mut ids, mut filter, mut is_dry): (Vec<DeadLetterId>, Option<FilterQuery>, bool) = Default::default();
        fields.read("ids", &mut ids, list_of(IDS_MOST));
        fields.read("filter", &mut filter, |value| {
            serde_json::from_value::<FilterBody>(value.clone()).map(|body| Some(body.into())).map_err(|error| error.to_string())
        });
        fields.read("dryRun", &mut is_dry, boolean);
        fields.finish()?;
        match (ids.is_empty(), filter) {
            (false, None) => Ok((Selection::Ids(ids), is_dry)),
            (true, Some(filter)) => Ok((Selection::Filter(self.dead_letter_filter(app, filter).await?), is_dry)),
            _ => Err(Problem::invalid("ids", "either ids or a filter; an empty filter means all")),
        }
    }

    /// Discards everything dead of an application that was deleted: nobody can reach it any more, and what is dead is kept for ever.
    pub(crate) async fn forget_dead_letters(&self, app: AppId) {
        let work = Work::DeadLetters {
            discard: true,
            endpoint: None,
            event_type: None,
            reason: None,
            after: None,
            before: None,
            since: None,
            until: None,
            reached: None,
        };
        if self.begin_task(app, work).await.is_err() {
            tracing::warn!(%app, "the dead letters of a deleted application are kept");
        }
    }

    /// Counts what was selected and, unless it was only asked for that, begins the task that does it.
    async fn by_filter(&self, app: AppId, selection: Selection, is_dry: bool, discard: bool) -> Result<Json<Handled>, Problem> {
        let filter = match selection {
            Selection::Ids(ids) => return Ok(Json(Handled { count: self.still_dead(app, &ids).await?.len(), task: None })),
            Selection::Filter(filter) => filter,
        };
        let count = self.count(app, &filter).await?;
        if is_dry {
            return Ok(Json(Handled { count, task: None }));
        }
        let DeadLetterFilter { endpoint, event_type, reason, before, after } = filter;
        let (reason, since, until, reached) = (reason.map(ReasonName), None, None, None);
        let work = Work::DeadLetters { discard, endpoint, event_type, reason, after, before, since, until, reached };
        let task = self.begin_task(app, work).await?;
        Ok(Json(Handled { count, task: Some(task) }))
    }

    async fn still_dead(&self, app: AppId, ids: &[DeadLetterId]) -> Result<Vec<DeadLetter>, Problem> {
        let mut letters = Vec::with_capacity(ids.len());
        for id in ids {
            letters.extend(self.seams.log.dead_letter(app, *id).await.map_err(|fault| fail(&fault))?);
        }
        Ok(letters)
    }

    async fn count(&self, app: AppId, filter: &DeadLetterFilter) -> Result<usize, Problem> {
        let (mut count, mut from) = (0, None);
        loop {
            let page = PageRequest { from, limit: COUNTED_AT_ONCE };
            let found = self.seams.log.dead_letters(app, filter, page).await.map_err(|fault| fail(&fault))?;
            count += found.items.len();
            let last = found.items.last().map(|letter| letter.id);
            from = found.reached.map(DeadLetterId::from_bytes).or(last).map(Cursor::After);
            if found.done {
                return Ok(count);
            }
        }
    }

    /// Discards dead letters: how many.
    pub(crate) async fn discard(&self, letters: &[DeadLetter]) -> Result<usize, Fault> {
        let at = self.seams.clock.now();
        // Another run's end, so that it stands above the run that ended dead.
        let end = |letter: &DeadLetter| {
            let (outcome, event_type) = (Outcome::Discarded(DiscardReason::Operator), letter.event_type.clone());
            Entry::End(EndRecord { delivery: letter.delivery, run: letter.run + 1, number: 0, event_type, outcome, at })
        };
        self.seams.journal.record(letters.iter().map(end).collect()).await?;
        self.seams.metrics.dead_letter_actions_total.add(LetterAction::Discarded, letters.len() as u64);
        Ok(letters.len())
    }

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
