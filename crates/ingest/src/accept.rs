//! `admit → identify → accept → record`.

use std::sync::Arc;

use futures_util::future::join;
use hookyard_core::event::{Admission, admit};
use hookyard_core::journal::{Entry, MessageRecord};
use hookyard_core::port::{Catalog, Directory, Events, Journal, Marker, MarkerClaim, MarkerState};
use hookyard_core::rules::Rules;
use hookyard_core::step::{Step, Tripwire};
use hookyard_core::{AppId, Clock, Entropy, Event, Fault, Message, MessageId, Refusal, RefusalReason, Submission};
use hookyard_telemetry::label::{Source, Warned};
use hookyard_telemetry::traces::Stage;
use hookyard_telemetry::{Metrics, Traces};
use hookyard_wire::problem::Problem;
use tokio::sync::Mutex;

/// What intake works with.
#[derive(Clone)]
pub struct Seams {
    /// Where accepted events go.
    pub events: Arc<dyn Events>,
    /// Applications and markers.
    pub directory: Arc<dyn Directory>,
    /// The event catalog.
    pub catalog: Arc<dyn Catalog>,
    /// The record of messages.
    pub journal: Arc<dyn Journal>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for message ids.
    pub entropy: Arc<dyn Entropy>,
    /// Metrics.
    pub metrics: Metrics,
    /// Traces.
    pub traces: Traces,
    /// Told of every step.
    pub tripwire: Arc<dyn Tripwire>,
}

/// Intake.
pub struct Intake {
    pub(crate) seams: Seams,
    pub(crate) admission: Admission,
    rules: Mutex<Arc<Rules>>,
}

/// Why an event was not accepted.
#[derive(Debug)]
pub enum NotAccepted {
    /// It is wrong.
    Refused(Refusal),
    /// Its id is known.
    Known {
        /// The message it stands for.
        message: MessageId,
        /// Whether that has the same content.
        is_same: bool,
    },
    /// We cannot now.
    Fault(Fault),
}

impl From<&NotAccepted> for Problem {
    fn from(error: &NotAccepted) -> Self {
        match error {
            NotAccepted::Refused(refusal) => Self::from(refusal),
            NotAccepted::Known { message, is_same } => Self::Known { message: *message, is_same: *is_same },
            NotAccepted::Fault(fault) => Self::from(fault),
        }
    }
}

impl Intake {
    /// Intake for a deployment that admits by `admission`.
    pub fn new(seams: Seams, admission: Admission) -> Arc<Self> {
        Arc::new(Self { seams, admission, rules: Mutex::default() })
    }

    /// Most bytes of an event.
    pub fn most_bytes(&self) -> usize {
        self.admission.max_bytes
    }

    /// The catalog's rules while its counter is `catalog`. Whoever comes first reads them; others wait for that.
    pub async fn rules(&self, catalog: u64) -> Result<Arc<Rules>, Fault> {
        let mut rules = self.rules.lock().await;
        if !rules.hold(catalog) {
            *rules = Arc::new(Rules::read(&*self.seams.catalog, catalog).await?);
        }
        Ok(Arc::clone(&rules))
    }

    /// Accepts an event for `app` under the catalog's rules. When this returns a message, it is durable and its id is fixed.
    pub async fn accept(&self, app: AppId, rules: &Rules, submission: Submission) -> Result<Message, NotAccepted> {
        let seams = &self.seams;
        seams.metrics.events_received_total.inc(Source::Http);
        let now = seams.clock.now();
        let submission = Submission { app: Some(app.to_string()), ..submission };
        let event = admit(submission, &self.admission, now);
        let event = event.and_then(|event| self.uphold(rules, event)).map_err(|refusal| {
            seams.metrics.events_rejected_total.inc((Source::Http, refusal.reason));
            NotAccepted::Refused(refusal)
        })?;
        seams.metrics.event_payload_bytes.observe(f64::from(u32::try_from(event.data.len()).unwrap_or(u32::MAX)));
        let marker = self.identify(app, &event).await?;
        let id = marker.as_ref().map_or_else(|| MessageId::new(now, &*seams.entropy), |marker| marker.proposed.message);
        seams.tripwire.reached(Step::SubmissionIdentified);
        let mut span = seams.traces.begin(Stage::Publish, event.traceparent.as_deref(), now);
        let traceparent = span.traceparent().or_else(|| event.traceparent.clone());
        let event = Event { message_id: Some(id), accepted_at: id.time(), traceparent, ..event };
        seams.events.accept(&event).await.map_err(NotAccepted::Fault)?;
        span.say("message_id", id);
        span.say("event_type", &event.event_type);
        span.end(seams.clock.now(), None);
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

    /// The event, unless the catalog has something against it that matters here.
    fn uphold(&self, rules: &Rules, event: Event) -> Result<Event, Refusal> {
        for objection in rules.objections(&event) {
            if objection.is_fatal || objection.refusal.reason == RefusalReason::ArchivedType {
                return Err(objection.refusal);
            }
            self.seams.metrics.events_warned_total.inc((Source::Http, Warned::SchemaViolation));
        }
        Ok(event)
    }

    /// Claims the event's id. A claim of the same content that was never finished may be taken up again: it keeps its message id, so
    /// nothing that was sent under it is sent under another. With other content it is refused: somebody may be at work with the first.
    async fn identify(&self, app: AppId, event: &Event) -> Result<Option<MarkerClaim>, NotAccepted> {
        let Some(event_id) = event.id.clone() else { return Ok(None) };
        let message = MessageId::new(event.accepted_at, &*self.seams.entropy);
        let proposed = Marker { message, content: event.content_hash(app), state: MarkerState::Claimed };
        let claim = MarkerClaim { app, event_id, proposed };
        let validated = self.seams.directory.validate(&[], std::slice::from_ref(&claim)).await.map_err(NotAccepted::Fault)?;
        match validated.markers.into_iter().next().flatten() {
            None => Ok(Some(claim)),
            Some(found) if found.state == MarkerState::Claimed && found.content == proposed.content => {
                Ok(Some(MarkerClaim { proposed: found, ..claim }))
            }
            Some(found) => {
                self.seams.metrics.events_duplicate_total.inc(Source::Http);
                Err(NotAccepted::Known { message: found.message, is_same: found.content == proposed.content })
            }
        }
    }
}
