//! `/api/v1/activity`: attempts as they happen, as server-sent events (WHATWG HTML §9.2).

use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, RawQuery};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use hookyard_core::grant::Grant;
use hookyard_core::journal::{AttemptFilter, AttemptRecord, AttemptsOf, Cursor, PageRequest};
use hookyard_core::port::{Heard, Watch};
use hookyard_core::{AppId, AttemptId, Fault, limits};
use hookyard_wire::problem::Problem;
use hookyard_wire::reference::{Errors, EventTypesQuery};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Interval;
use utoipa::IntoParams;

use crate::api::{Api, Caller, State, fail};
use crate::attempts::{FilterQuery, show};

/// A line without meaning at least this often: who listens knows that the connection lives, and so do proxies.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Read at once for who comes back, and at most.
const CHUNK: usize = 250;
const REPLAYED_MOST: usize = 1_000;
/// Pages of the log looked through for it: with a filter, one may have nothing.
const PAGES_MOST: usize = 8;
/// Header of who comes back.
const LAST_EVENT_ID: &str = "last-event-id";

/// Whose attempts.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AppQuery {
    /// Id or uid of an application.
    #[param(required = true)]
    app: Option<String>,
}

/// One stream.
struct Watching {
    api: Arc<Api>,
    app: AppId,
    filter: AttemptFilter,
    watch: Box<dyn Watch>,
    /// What was there before, oldest first, and how much of it was too much.
    before: VecDeque<AttemptRecord>,
    missed_before: bool,
    told: HashSet<AttemptId>,
    /// Whose stream it is, and when it is next asked whether that is still so.
    grant: Grant,
    looks: Interval,
}

/// Streams the attempts of an application from now on; who comes back with `Last-Event-ID` gets what was in between, of which some
/// may come twice.
#[utoipa::path(
    get,
    path = "/api/v1/activity",
    operation_id = "stream_activity",
    tag = "Message attempt",
    params(AppQuery, FilterQuery, EventTypesQuery),
    responses((status = 200, description = "Events `attempt` (an attempt without its response, its id the event's) and `missed` (`{\"count\"}`, null where unknown)", body = String, content_type = "text/event-stream"), Errors),
)]
pub async fn stream(
    api: State,
    caller: Caller,
    Query(of): Query<AppQuery>,
    Query(query): Query<FilterQuery>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let named = of.app.ok_or_else(|| Problem::invalid_query("app", "field required"))?;
    let app = api.app(&caller, &named).await?;
    let filter = api.filter(app, query, raw.as_deref()).await?;
    let watch = api.seams.activity.watch().await.map_err(|fault| fail(&fault))?;
    let last = headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok()?.parse().ok());
    let (before, missed_before) = match last {
        None => (Vec::new(), false),
        Some(last) => api.since(app, &filter, last).await.map_err(|fault| fail(&fault))?,
    };
    let watching = Watching {
        api: Arc::clone(&api),
        app,
        filter,
        watch,
        told: before.iter().map(|record| record.id).collect(),
        before: before.into(),
        missed_before,
        grant: caller.0,
        looks: tokio::time::interval(HEARTBEAT),
    };
    let events = unfold(watching, |mut watching| async { Some((Ok(watching.next().await?), watching)) });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

impl Api {
    /// What was written down since an attempt, oldest first, and whether that is not all.
    async fn since(&self, app: AppId, filter: &AttemptFilter, last: AttemptId) -> Result<(Vec<AttemptRecord>, bool), Fault> {
        // Lists are in the order in which attempts were due; one that took long was written down after some that were due later.
        let from = AttemptId::at(last.time().minus(limits::ATTEMPT_TIMEOUT_MOST));
        let (mut found, mut from) = (Vec::new(), Cursor::Before(from));
        for _ in 0..PAGES_MOST {
            if found.len() >= REPLAYED_MOST {
                break;
            }
            let page = PageRequest { from: Some(from), limit: CHUNK };
            let page = self.seams.log.attempts(app, AttemptsOf::App, filter, page).await?;
            let reached = page.reached.map(AttemptId::from_bytes).or(page.items.first().map(|newest| newest.id));
            found.extend(page.items.into_iter().rev().filter(|record| record.id != last));
            match reached {
                Some(reached) if !page.done => from = Cursor::Before(reached),
                _ => return Ok((found, false)),
            }
        }
        Ok((found, true))
    }
}

impl Watching {
    /// The next event; `None` when this process ends.
    async fn next(&mut self) -> Option<Event> {
        if let Some(record) = self.before.pop_front() {
            return Some(attempt(&record));
        }
        if std::mem::take(&mut self.missed_before) {
            return Some(self.missed(None));
        }
        loop {
            let stop = self.api.stop.clone();
            let heard = tokio::select! {
                () = stop.cancelled() => return None,
                heard = self.watch.heard() => heard?,
                _ = self.looks.tick() => {
                    if is_over(&self.api, self.app, &self.grant).await {
                        return None;
                    }
                    continue;
                }
            };
            match heard {
                Heard::Missed(count) => return Some(self.missed(count)),
                Heard::Attempt(record) => {
                    let is_new = self.told.is_empty() || !self.told.remove(&record.id);
                    if is_new && record.delivery.app == self.app && self.filter.passes(&record) {
                        return Some(attempt(&record));
                    }
                }
            }
        }
    }

    fn missed(&self, count: Option<u64>) -> Event {
        self.api.seams.metrics.activity_dropped_total.inc_by(count.unwrap_or(1));
        Event::default().event("missed").data(json!({ "count": count }).to_string())
    }
}

/// Whether the token ended meanwhile, or its application is gone. What cannot be asked now is asked again.
async fn is_over(api: &Api, app: AppId, grant: &Grant) -> bool {
    let (seams, now) = (&api.seams, api.seams.clock.now());
    let revoked = seams.revocations.revoked(now).await.is_ok_and(|tokens| tokens.contains(&grant.token));
    grant.expires_at <= now || revoked || matches!(seams.directory.app(app).await, Ok(None))
}

fn attempt(record: &AttemptRecord) -> Event {
    // Without its response, an attempt always serialises.
    let shown = serde_json::to_string(&show(record, false)).unwrap_or_default();
    Event::default().event("attempt").id(record.id.to_string()).data(shown)
}
