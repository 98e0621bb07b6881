//! Tasks: `/task/{task}`, what begins them, and the worker that advances them.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query};
use bytes::Bytes;
use futures_util::future::join_all;
use hookyard_core::grant::Scope;
use hookyard_core::id::ID_BYTES;
use hookyard_core::journal::{Cursor, MessageFilter, Page, PageRequest};
use hookyard_core::port::EndpointRef;
use hookyard_core::task::{Task, TaskState, Work};
use hookyard_core::{
    AppId, DeadLetter, DeadLetterFilter, DeadLetterId, EndpointId, Fault, MessageId, TaskId, Timestamp, Trigger,
};
use hookyard_wire::problem::Problem;
use hookyard_wire::reference::{EndpointPath, Errors, OrderedPage, TaskPath};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use utoipa::{IntoParams, ToSchema};

use crate::api::{Api, Caller, State, fail, object};
use crate::bodies::RecoverIn;
use crate::fields::{self, Fields, Mode};
use crate::page::{PageOut, PageQuery};

/// Items looked at in one step: a step is written down before the next, and repeated when its process ends in between.
const STEP: usize = 100;
/// A task whose process ended goes on elsewhere after this.
const LEASE: Duration = Duration::from_secs(30);
/// Data is kept for days: a minute more is nothing.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// How often an idle worker looks for a task.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A task as the API shows it; the compatible API's recovery is one.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskOut {
    #[schema(value_type = String)]
    id: TaskId,
    #[schema(value_type = String)]
    app_id: AppId,
    task: &'static str,
    #[schema(value_type = String)]
    status: TaskState,
    updated_at: String,
    begun: u64,
}

/// Tasks under way.
#[derive(Serialize, ToSchema)]
pub struct TasksOut {
    data: Vec<TaskOut>,
}

/// Shows how far a task is.
#[utoipa::path(
    get,
    path = "/api/v1/task/{task}",
    operation_id = "get_task",
    tag = "Task",
    params(TaskPath),
    responses((status = 200, description = "The task", body = TaskOut), Errors),
)]
pub async fn get(api: State, caller: Caller, Path(task): Path<String>) -> Result<Json<TaskOut>, Problem> {
    let none = || Problem::not_found("there is no such task");
    let id: TaskId = task.parse().map_err(|_| none())?;
    let task = api.seams.tasks.task(id).await.map_err(|fault| fail(&fault))?.ok_or_else(none)?;
    // Another application's task is none of this caller's.
    if api.owns(&caller, task.app).await? { Ok(Json(show(&task))) } else { Err(none()) }
}

/// Lists the tasks that are under way, of an application for its own token.
#[utoipa::path(
    get,
    path = "/api/v1/task",
    operation_id = "list_tasks",
    tag = "Task",
    responses((status = 200, description = "Those under way, up to 100", body = TasksOut), Errors),
)]
pub async fn list(api: State, caller: Caller) -> Result<Json<TasksOut>, Problem> {
    let mut data = Vec::new();
    for task in api.seams.tasks.unfinished().await.map_err(|fault| fail(&fault))? {
        if api.owns(&caller, task.app).await? {
            data.push(show(&task));
        }
    }
    Ok(Json(TasksOut { data }))
}

/// A task as official clients know it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackgroundTaskOut {
    #[schema(value_type = String)]
    id: TaskId,
    task: &'static str,
    #[schema(value_type = String)]
    status: TaskState,
    data: BackgroundData,
    updated_at: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BackgroundData {
    messages_sent: u64,
}

/// Which tasks.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BackgroundQuery {
    /// Only those that stand so: `running`, `finished` or `failed`.
    status: Option<String>,
    /// Only those of this kind: `endpoint.recover` or `endpoint.replay`.
    task: Option<String>,
}

/// Lists what recovers and replays endpoints, as official clients ask for it: the newest first, those of the last days.
#[utoipa::path(
    get,
    path = "/api/v1/background-task",
    operation_id = "list_background_tasks",
    tag = "Task",
    params(OrderedPage, BackgroundQuery),
    responses((status = 200, description = "A page of tasks", body = PageOut<BackgroundTaskOut>), Errors),
)]
pub async fn list_background(
    api: State,
    caller: Caller,
    Query(page): Query<PageQuery>,
    Query(query): Query<BackgroundQuery>,
) -> Result<Json<PageOut<BackgroundTaskOut>>, Problem> {
    let is_state = |status: &String| ["running", "finished", "failed"].contains(&status.as_str());
    if !query.status.as_ref().is_none_or(is_state) {
        return Err(Problem::invalid_query("status", "must be running, finished or failed"));
    }
    let listing = page.read_ordered(false, TaskId::from_bytes([0; ID_BYTES]))?;
    let PageRequest { from, limit } = listing.request;
    let own = match &caller.scope {
        Scope::Admin => None,
        Scope::App(own) => Some(api.resolve(&caller, &own.to_string()).await?),
        Scope::Publish => Some(None),
    };
    let (mut items, mut done) = (Vec::new(), true);
    let mut all = api.seams.tasks.recent().await.map_err(|fault| fail(&fault))?;
    if matches!(from, Some(Cursor::Before(_))) {
        all.reverse();
    }
    for task in all {
        let is_wanted = is_for_clients(&task)
            && own.is_none_or(|own| own == Some(task.app))
            && query.status.as_ref().is_none_or(|status| status == task.state.as_str())
            && query.task.as_ref().is_none_or(|kind| kind == kind_of(&task))
            && match from {
                None => true,
                Some(Cursor::After(id)) => task.id < id,
                Some(Cursor::Before(id)) => task.id > id,
            };
        if !is_wanted {
            continue;
        }
        if items.len() == limit {
            done = false;
            break;
        }
        items.push(task);
    }
    if matches!(from, Some(Cursor::Before(_))) {
        items.reverse();
    }
    let page = Page { items, done, reached: None };
    Ok(Json(PageOut::ordered(page, listing.is_ascending, |task| task.id, |task| show_background(&task))))
}

/// Shows one of them.
#[utoipa::path(
    get,
    path = "/api/v1/background-task/{task}",
    operation_id = "get_background_task",
    tag = "Task",
    params(TaskPath),
    responses((status = 200, description = "The task", body = BackgroundTaskOut), Errors),
)]
pub async fn get_background(api: State, caller: Caller, Path(task): Path<String>) -> Result<Json<BackgroundTaskOut>, Problem> {
    let none = || Problem::not_found("there is no such task");
    let id: TaskId = task.parse().map_err(|_| none())?;
    let task = api.seams.tasks.task(id).await.map_err(|fault| fail(&fault))?.filter(is_for_clients).ok_or_else(none)?;
    if api.owns(&caller, task.app).await? { Ok(Json(show_background(&task))) } else { Err(none()) }
}

/// Clients know no other kinds, and some refuse what they do not know.
fn is_for_clients(task: &Task) -> bool {
    ["endpoint.recover", "endpoint.replay"].contains(&kind_of(task))
}

fn show_background(task: &Task) -> BackgroundTaskOut {
    let data = BackgroundData { messages_sent: task.begun };
    BackgroundTaskOut { id: task.id, task: kind_of(task), status: task.state, data, updated_at: task.updated_at.to_string() }
}

/// Sends again what failed at an endpoint since a moment.
#[utoipa::path(
    post,
    path = "/api/v1/app/{app}/endpoint/{endpoint}/recover",
    operation_id = "recover_endpoint",
    tag = "Endpoint",
    params(EndpointPath),
    request_body = RecoverIn,
    responses((status = 202, description = "The task that does it", body = TaskOut), Errors),
)]
pub async fn recover(
    api: State,
    caller: Caller,
    Path((app, endpoint)): Path<(String, String)>,
    body: Bytes,
) -> Result<(StatusCode, Json<TaskOut>), Problem> {
    let (app, endpoint, since, until) = api.range(&caller, &app, &endpoint, &body, false).await?;
    let work = Work::DeadLetters {
        discard: false,
        endpoint: Some(endpoint),
        event_type: None,
        reason: None,
        after: None,
        before: None,
        since: Some(since),
        until,
        reached: None,
    };
    Ok((StatusCode::ACCEPTED, Json(show(&api.put_task(app, work).await?))))
}

/// Sends what an endpoint would have received since a moment had it been there.
#[utoipa::path(
    post,
    path = "/api/v1/app/{app}/endpoint/{endpoint}/replay-missing",
    operation_id = "replay_missing",
    tag = "Endpoint",
    params(EndpointPath),
    request_body = RecoverIn,
    responses((status = 202, description = "The task that does it", body = TaskOut), Errors),
)]
pub async fn replay_missing(
    api: State,
    caller: Caller,
    Path((app, endpoint)): Path<(String, String)>,
    body: Bytes,
) -> Result<(StatusCode, Json<TaskOut>), Problem> {
    let (app, endpoint, since, until) = api.range(&caller, &app, &endpoint, &body, true).await?;
    let until = until.unwrap_or_else(|| api.seams.clock.now());
    let task = api.put_task(app, Work::ReplayMissing { endpoint, since, until, reached: None }).await?;
    Ok((StatusCode::ACCEPTED, Json(show(&task))))
}

/// Has data forgotten whose time has come, until `stop`.
pub async fn forget(api: Arc<Api>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        match api.seams.log.expire_data(api.seams.clock.now()).await {
            // There may be more.
            Ok(1..) => continue,
            Ok(0) => {}
            Err(fault) => tracing::debug!(error = fault.chain(), "no data was forgotten"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(FORGET_EVERY) => {}
        }
    }
}

/// Advances tasks until `stop`.
pub async fn work(api: Arc<Api>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let now = api.seams.clock.now();
        match api.seams.tasks.lease(now, LEASE).await {
            Ok(Some(task)) => {
                let id = task.id;
                if let Err(fault) = api.advance(task, &stop).await {
                    tracing::warn!(task = %id, error = fault.chain(), "a task waits");
                }
                continue;
            }
            Ok(None) => {}
            Err(fault) => tracing::debug!(error = fault.chain(), "nobody can say whether there is a task"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = api.new_task.notified() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

impl Api {
    async fn range(
        &self,
        caller: &Caller,
        app: &str,
        endpoint: &str,
        body: &Bytes,
        is_ours: bool,
    ) -> Result<(AppId, EndpointId, Timestamp, Option<Timestamp>), Problem> {
        let app = self.app(caller, app).await?;
        let endpoint = self.endpoint(app, endpoint).await?.id;
        let mut fields = if is_ours { Fields::of_ours(object(body)?) } else { Fields::new(object(body)?, Mode::Whole) };
        let (mut since, mut until) = (Timestamp::default(), None);
        fields.require("since", &mut since, fields::moment);
        fields.read("until", &mut until, |value| fields::moment(value).map(Some));
        if until.is_some_and(|until| until < since) {
            fields.wrong("until", "must not be before since");
        }
        fields.finish()?;
        Ok((app, endpoint, since, until))
    }

    pub(crate) async fn begin_task(&self, app: AppId, work: Work) -> Result<TaskId, Problem> {
        Ok(self.put_task(app, work).await?.id)
    }

    async fn put_task(&self, app: AppId, work: Work) -> Result<Task, Problem> {
        let now = self.seams.clock.now();
        let id = TaskId::new(now, &*self.seams.entropy);
        let task = Task { id, app, work, state: TaskState::Running, begun: 0, created_at: now, updated_at: now };
        self.seams.tasks.put(&task, None).await.map_err(|fault| fail(&fault))?;
        self.new_task.notify_one();
        Ok(task)
    }

    /// Advances a task step by step until it is finished.
    async fn advance(&self, mut task: Task, stop: &CancellationToken) -> Result<(), Fault> {
        while task.state == TaskState::Running && !stop.is_cancelled() {
            task = self.step(task).await?;
            task.updated_at = self.seams.clock.now();
            self.seams.tasks.put(&task, Some(LEASE)).await?;
        }
        tracing::info!(task = %task.id, begun = task.begun, state = ?task.state, "a task got on");
        Ok(())
    }

    async fn step(&self, task: Task) -> Result<Task, Fault> {
        match task.work.clone() {
            Work::DeadLetters { discard, endpoint, event_type, reason, after, before, since, until, reached } => {
                // What died after it was asked for may have died of this very task.
                let before = Some(before.map_or(task.created_at, |before| before.min(task.created_at)));
                let filter = DeadLetterFilter {
                    endpoint,
                    event_type: event_type.clone(),
                    reason: reason.map(|name| name.0),
                    before,
                    after,
                };
                let page = PageRequest { from: reached.map(Cursor::After), limit: STEP };
                let found = self.seams.log.dead_letters(task.app, &filter, page).await?;
                let mut begun = task.begun;
                let is_within = |letter: &&DeadLetter| {
                    let accepted = letter.delivery.message.time();
                    since.is_none_or(|since| accepted >= since) && until.is_none_or(|until| accepted <= until)
                };
                let letters: Vec<DeadLetter> = found.items.iter().filter(is_within).cloned().collect();
                if discard {
                    begun += u64::try_from(self.discard(&letters).await?).unwrap_or(0);
                } else {
                    // At once: broker and journal take them together.
                    let replays = letters.iter().map(|letter| self.replay(task.app, letter.id, task.created_at));
                    for replayed in join_all(replays).await {
                        begun += u64::from(replayed?);
                    }
                }
                let last = found.items.last().map(|letter| letter.id);
                let reached = found.reached.map(DeadLetterId::from_bytes).or(last).or(reached);
                let state = if found.done { TaskState::Finished } else { TaskState::Running };
                let work = Work::DeadLetters { discard, endpoint, event_type, reason, after, before, since, until, reached };
                Ok(Task { work, begun, state, ..task })
            }
            Work::ReplayMissing { endpoint, since, until, reached } => {
                self.step_missing(task, endpoint, since, until, reached).await
            }
        }
    }

    async fn step_missing(
        &self,
        task: Task,
        endpoint: EndpointId,
        since: Timestamp,
        until: Timestamp,
        reached: Option<MessageId>,
    ) -> Result<Task, Fault> {
        let found = self.seams.directory.endpoint(task.app, &EndpointRef::Id(endpoint)).await?;
        let Some(subscriber) = found else { return Ok(Task { state: TaskState::Failed, ..task }) };
        let subscription = subscriber.subscription();
        // Both ends belong to the range, and a filter leaves both out.
        let (after, before) = (Some(since.minus(Duration::from_millis(1))), Some(until.plus(Duration::from_millis(1))));
        let filter = MessageFilter { after, before, ..MessageFilter::default() };
        let page = PageRequest { from: reached.map(Cursor::After), limit: STEP };
        let page = self.seams.log.messages(task.app, &filter, page).await?;
        let mut begun = task.begun;
        for record in &page.items {
            let event = &record.message.event;
            // Not routed yet: the router will.
            let Some(routed_to) = record.routed_to.as_ref().filter(|_| !record.message.is_expunged()) else { continue };
            if routed_to.contains(&endpoint) || !subscription.wants(&event.event_type, &event.channels) {
                continue;
            }
            let known = self.seams.log.states(task.app, record.message.id).await?;
            if known.iter().all(|(id, _)| *id != endpoint) {
                let message = Arc::clone(&record.message);
                self.begin_run(message, endpoint, 1, Trigger::Replay, task.created_at).await?;
                begun += 1;
            }
        }
        let last = page.items.last().map(|record| record.message.id);
        let reached = page.reached.map(MessageId::from_bytes).or(last).or(reached);
        let state = if page.done { TaskState::Finished } else { TaskState::Running };
        Ok(Task { work: Work::ReplayMissing { endpoint, since, until, reached }, begun, state, ..task })
    }
}

fn kind_of(task: &Task) -> &'static str {
    match &task.work {
        Work::DeadLetters { discard: true, .. } => "dead-letter.discard",
        Work::DeadLetters { endpoint: Some(_), since: Some(_), .. } => "endpoint.recover",
        Work::DeadLetters { .. } => "dead-letter.replay",
        Work::ReplayMissing { .. } => "endpoint.replay",
    }
}

fn show(task: &Task) -> TaskOut {
    let app_id = task.app;
    TaskOut {
        id: task.id,
        app_id,
        task: kind_of(task),
        status: task.state,
        updated_at: task.updated_at.to_string(),
        begun: task.begun,
    }
}
