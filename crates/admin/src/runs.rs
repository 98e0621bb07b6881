//! Beginning further runs of deliveries: a resend, a replay.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::Path;
use hookyard_core::journal::{Entry, MessageRecord, RunRecord};
use hookyard_core::{AppId, DeadLetterId, Delivery, EndpointId, Fault, Message, MessageId, Timestamp, Trigger};
use hookyard_telemetry::label::LetterAction;
use hookyard_wire::problem::Problem;
use hookyard_wire::reference::{DeliveryPath, Errors};
use http::StatusCode;
use serde_json::{Value, json};

use crate::api::{Api, Caller, State, fail};

/// Replays of one dead letter within this are one.
const REPLAY_WINDOW: Duration = Duration::from_secs(5 * 60);

/// Sends a message to an endpoint once more; the attempt is not repeated.
#[utoipa::path(
    post,
    path = "/api/v1/app/{app}/msg/{message}/endpoint/{endpoint}/resend",
    operation_id = "resend_message",
    tag = "Message attempt",
    params(DeliveryPath),
    responses((status = 202, description = "It is on its way", body = serde_json::Map<String, Value>), Errors),
)]
pub async fn resend(
    api: State,
    caller: Caller,
    Path((app, message, endpoint)): Path<(String, String, String)>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let app = api.app(&caller, &app).await?;
    let (record, endpoint) =
        (api.message(app, api.message_id(app, &message).await?).await?, api.endpoint(app, &endpoint).await?.id);
    if record.message.is_expunged() {
        return Err(Problem::new(StatusCode::CONFLICT, "expunged", "this message's payload was expunged"));
    }
    let states = api.seams.log.states(app, record.message.id).await.map_err(|fault| fail(&fault))?;
    let known = states.iter().find(|(id, _)| *id == endpoint).map(|(_, state)| state.run);
    // Never routed to it: this is the first there is.
    let run = known.map_or(1, |run| run + 1);
    let due = api.seams.clock.now();
    api.begin_run(record.message, endpoint, run, Trigger::Resend, due).await.map_err(|fault| fail(&fault))?;
    Ok((StatusCode::ACCEPTED, Json(json!({}))))
}

impl Api {
    /// Makes a further run durable, then writes it down: a run that is written down and was never enqueued would be lost. Repeating
    /// it with the same moment repeats the same attempts, of which the fence lets each through once.
    pub(crate) async fn begin_run(
        &self,
        message: Arc<Message>,
        endpoint: EndpointId,
        run: u32,
        trigger: Trigger,
        due: Timestamp,
    ) -> Result<(), Fault> {
        let delivery = Delivery::rerun(message, endpoint, run, trigger, due);
        let begun = RunRecord { delivery: delivery.key(), run, due };
        self.seams.deliveries.enqueue(vec![delivery]).await?;
        self.seams.journal.record([Entry::Run(begun)].into()).await
    }

    /// Begins the next run of what is dead; whether it was.
    pub(crate) async fn replay(&self, app: AppId, id: DeadLetterId, due: Timestamp) -> Result<bool, Fault> {
        let Some(letter) = self.seams.log.dead_letter(app, id).await? else { return Ok(false) };
        let Some(record) = self.seams.log.message(app, letter.delivery.message).await? else { return Ok(false) };
        if record.message.is_expunged() {
            return Ok(false);
        }
        // Asked for twice, or by two tasks: what is due at the same moment is the same attempt, which the fence lets through once.
        let window = i64::try_from(REPLAY_WINDOW.as_millis()).unwrap_or(1);
        let begin = Timestamp::from_millis(due.as_millis() - due.as_millis().rem_euclid(window));
        let (endpoint, run) = (letter.delivery.endpoint, letter.run + 1);
        self.begin_run(record.message, endpoint, run, Trigger::Replay, begin.max(letter.at)).await?;
        self.seams.metrics.dead_letter_actions_total.inc(LetterAction::Replayed);
        Ok(true)
    }

    /// A message, as recorded.
    pub(crate) async fn message(&self, app: AppId, id: MessageId) -> Result<MessageRecord, Problem> {
        let found = self.seams.log.message(app, id).await.map_err(|fault| fail(&fault))?;
        found.ok_or_else(|| Problem::not_found("there is no such message"))
    }
}
