//! `/api/v1/dead-letter/sweep`: the queue of dead letters and the journal's list of them, made to agree.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::Json;
use hookyard_core::journal::{EndRecord, Entry, MessageRecord};
use hookyard_core::port::{DeadJudge, Looked};
use hookyard_core::{DeadReason, Delivery, Fault, FaultKind, Outcome, Timestamp};
use hookyard_telemetry::label::LetterAction;
use hookyard_wire::problem::Problem;
use hookyard_wire::reference::Errors;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::api::{Api, Caller, State, fail};
use crate::apps::require_admin;

/// Looked at in one request: as many as a look takes.
const STEP: usize = 500;
/// How often it is done without being asked for.
const EVERY: Duration = Duration::from_secs(24 * 3600);
/// When it is done first: a process that is started anew each day sweeps too.
const AT_FIRST: Duration = Duration::from_secs(10 * 60);

/// What one step of a sweep found.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SweptOut {
    /// Entries that were in the queue.
    waiting: usize,
    /// Entries looked at; ask again until these are as many as waited at first.
    examined: usize,
    /// Entries that were replayed, delivered or discarded meanwhile, and are in the queue no longer.
    removed: usize,
    /// Dead letters that the list did not have, and has now.
    restored: usize,
}

/// Looks at dead letters in their queue, those that wait for longest first.
#[utoipa::path(
    post,
    path = "/api/v1/dead-letter/sweep",
    operation_id = "sweep_dead_letters",
    tag = "Dead letter",
    responses((status = 200, description = "What was found", body = SweptOut), Errors),
)]
pub async fn sweep(api: State, caller: Caller) -> Result<Json<SweptOut>, Problem> {
    require_admin(&caller)?;
    // A step that was begun is finished, whoever hangs up: between its publishes and its acks there are two of each.
    #[expect(clippy::disallowed_methods, reason = "awaited: its panic is told there")]
    let step = tokio::spawn(async move { api.0.sweep().await });
    let swept = step.await.unwrap_or_else(|error| Err(Fault::caused(FaultKind::Unavailable, "sweep the dead letters", error)));
    swept.map(Json).map_err(|fault| fail(&fault))
}

/// Sweeps once a day, until `stop`. That several processes do is no harm.
pub async fn sweep_daily(api: Arc<Api>, stop: CancellationToken) {
    let mut pause = AT_FIRST;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = EVERY;
        let mut left = usize::MAX;
        while left > 0 && !stop.is_cancelled() {
            left = match api.sweep().await {
                Ok(swept) if swept.examined > 0 => left.min(swept.waiting).saturating_sub(swept.examined),
                Ok(_) => 0,
                Err(fault) => {
                    tracing::warn!(error = fault.chain(), "the dead letters were not swept");
                    0
                }
            };
        }
    }
}

impl Api {
    async fn sweep(&self) -> Result<SweptOut, Fault> {
        let census = Census { api: self, restored: AtomicUsize::default() };
        let swept = self.seams.dead_letters.sweep(STEP, &census).await?;
        let restored = census.restored.into_inner();
        self.seams.metrics.dead_letter_actions_total.add(LetterAction::Swept, swept.removed as u64);
        self.seams.metrics.dead_letter_actions_total.add(LetterAction::Restored, restored as u64);
        if swept.removed > 0 || restored > 0 {
            tracing::info!(examined = swept.examined, removed = swept.removed, restored, "dead letters swept");
        }
        Ok(SweptOut { waiting: swept.waiting, examined: swept.examined, removed: swept.removed, restored })
    }
}

/// Compares the queue with the journal.
struct Census<'a> {
    api: &'a Api,
    restored: AtomicUsize,
}

#[async_trait]
impl DeadJudge for Census<'_> {
    async fn is_dead(&self, delivery: &Delivery, reason: DeadReason, at: Timestamp) -> Result<bool, Fault> {
        let (seams, key) = (&self.api.seams, delivery.key());
        let states = seams.log.states(key.app, key.message).await?;
        let state = states.iter().find(|(endpoint, _)| *endpoint == key.endpoint).map(|(_, state)| state);
        match state {
            Some(state) if state.run > delivery.run => return Ok(false),
            Some(state) if state.run == delivery.run => {
                return Ok(!matches!(state.outcome, Outcome::Delivered | Outcome::Discarded(_)));
            }
            _ => {}
        }
        // After so long the journal has forgotten what was replayed or discarded: nobody can say, and it is not sent by mistake.
        if at.plus(seams.retention) <= seams.clock.now() {
            return Ok(true);
        }
        // The journal lost it, unless there is nobody left to whom it could be sent.
        match seams.directory.look_up(&[(key.app, key.endpoint)]).await?.pop() {
            Some(Looked::Deleted) => return Ok(false),
            Some(Looked::Found { .. }) => {}
            Some(Looked::Absent) | None => return Ok(true),
        }
        let is_known = seams.log.message(key.app, key.message).await?.is_some();
        let routed_to = (!is_known).then(|| [key.endpoint].into());
        let message = MessageRecord { message: Arc::clone(&delivery.message), routed_to };
        let end = EndRecord {
            delivery: key,
            run: delivery.run,
            number: u32::try_from(delivery.history.len()).unwrap_or(u32::MAX).saturating_add(1),
            event_type: delivery.message.event.event_type.clone(),
            outcome: Outcome::Dead(reason),
            at,
        };
        seams.journal.record([Entry::Message(message), Entry::End(end)].into()).await?;
        self.restored.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }
}
