//! `admit → identify → accept → record`.

use std::sync::Arc;

use futures_util::future::join;
use hookyard_core::event::{Admission, admit};
use hookyard_core::journal::{Entry, MessageRecord};
use hookyard_core::port::{Directory, Events, Journal, Marker, MarkerClaim, MarkerState};
use hookyard_core::step::{Step, Tripwire};
use hookyard_core::{AppId, Clock, Entropy, Event, Fault, Message, MessageId, Refusal, Submission};
use hookyard_telemetry::Metrics;
use hookyard_telemetry::label::Source;
use hookyard_wire::problem::Problem;

/// What intake works with.
#[derive(Clone)]
pub struct Seams {
    /// Where accepted events go.
    pub events: Arc<dyn Events>,
    /// Applications and markers.
    pub directory: Arc<dyn Directory>,
    /// The record of messages.
    pub journal: Arc<dyn Journal>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for message ids.
    pub entropy: Arc<dyn Entropy>,
    /// Metrics.
    pub metrics: Metrics,
    /// Told of every step.
    pub tripwire: Arc<dyn Tripwire>,
}

/// Intake.
pub struct Intake {
    pub(crate) seams: Seams,
    pub(crate) admission: Admission,
}

/// Why an event was not accepted.
#[derive(Debug)]
pub enum NotAccepted {
    /// It is wrong.
    Refused(Refusal),
    /// Its id is known.
    Known,
    /// We cannot now.
    Fault(Fault),
}

impl From<&NotAccepted> for Problem {
    fn from(error: &NotAccepted) -> Self {
        match error {
            NotAccepted::Refused(refusal) => Self::from(refusal),
            NotAccepted::Known => Self::conflict("a message with this eventId already exists"),
            NotAccepted::Fault(fault) => Self::from(fault),
        }
    }
}

impl Intake {
    /// Intake for a deployment that admits by `admission`.
    pub fn new(seams: Seams, admission: Admission) -> Arc<Self> {
        Arc::new(Self { seams, admission })
    }

    /// Accepts an event for `app`. When this returns a message, it is durable and its id is fixed.
    pub async fn accept(&self, app: AppId, submission: Submission) -> Result<Message, NotAccepted> {
        let seams = &self.seams;
        seams.metrics.events_received_total.inc(Source::Http);
        let now = seams.clock.now();
        let submission = Submission { app: Some(app.to_string()), ..submission };
        let event = admit(submission, &self.admission, now).map_err(|refusal| {
            seams.metrics.events_rejected_total.inc((Source::Http, refusal.reason));
            NotAccepted::Refused(refusal)
        })?;
        seams.metrics.event_payload_bytes.observe(f64::from(u32::try_from(event.data.len()).unwrap_or(u32::MAX)));
        let marker = self.identify(app, &event).await?;
        let id = marker.as_ref().map_or_else(|| MessageId::new(now, &*seams.entropy), |marker| marker.proposed.message);
        seams.tripwire.reached(Step::SubmissionIdentified);
        let event = Event { message_id: Some(id), accepted_at: id.time(), ..event };
        seams.events.accept(&event).await.map_err(NotAccepted::Fault)?;
        seams.tripwire.reached(Step::SubmissionAccepted);
        let message = Message { id, app, event: Arc::new(event) };
        // It is accepted: what fails from here on does not fail the request. The router writes what is missing.
        let record = MessageRecord { message: Arc::new(message.clone()), routed_to: None };
        let markers: Vec<MarkerClaim> = marker.into_iter().collect();
        let (moved, recorded) = join(
            seams.directory.mark(&markers, MarkerState::Accepted),
            seams.journal.record(Arc::from([Entry::Message(record)])),
        )
        .await;
        if let Err(fault) = moved {
            tracing::warn!(message = %id, error = fault.chain(), "an accepted event was not marked");
        }
        if let Err(fault) = recorded {
            tracing::warn!(message = %id, error = fault.chain(), "an accepted event was not recorded; the router will");
        }
        Ok(message)
    }

    /// Claims the event's id. A claim that was never finished may be taken up again: it keeps its message id, so nothing that was
    /// sent under it is sent under another.
    async fn identify(&self, app: AppId, event: &Event) -> Result<Option<MarkerClaim>, NotAccepted> {
        let Some(event_id) = event.id.clone() else { return Ok(None) };
        let message = MessageId::new(event.accepted_at, &*self.seams.entropy);
        let proposed = Marker { message, content: event.content_hash(app), state: MarkerState::Claimed };
        let claim = MarkerClaim { app, event_id, proposed };
        let validated = self.seams.directory.validate(&[], std::slice::from_ref(&claim)).await.map_err(NotAccepted::Fault)?;
        match validated.markers.into_iter().next().flatten() {
            None => Ok(Some(claim)),
            // Begun and never accepted: nobody was told that it was.
            Some(found) if found.state == MarkerState::Claimed => {
                let proposed = if found.content == proposed.content { found } else { proposed };
                Ok(Some(MarkerClaim { proposed, ..claim }))
            }
            Some(_) => {
                self.seams.metrics.events_duplicate_total.inc(Source::Http);
                Err(NotAccepted::Known)
            }
        }
    }
}
