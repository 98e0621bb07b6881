//! The steps of the flow, enumerated, so that tests can stop the machine at each of them.

/// A point between two durable effects. A crash at any of them must lose nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Router: events are claimed, nothing is written.
    EventClaimed,
    /// Router: message ids are fixed in the markers.
    EventIdentified,
    /// Router: some deliveries of an event are published, others are not.
    FanOutBegun,
    /// Router: every delivery and the message record are durable.
    FanOutDone,
    /// Router: the marker says `routed`, the event is not acked.
    EventRouted,
    /// Dispatcher: a delivery is claimed, nothing is sent.
    DeliveryClaimed,
    /// Dispatcher: the request was answered, nothing is recorded.
    AttemptSent,
    /// Dispatcher: the attempt is recorded, the delivery is not settled.
    AttemptRecorded,
    /// Dispatcher: the successor (retry or dead letter) is confirmed, the delivery is not acked.
    SuccessorPublished,
    /// Intake over HTTP: the marker is claimed, nothing is published.
    SubmissionIdentified,
    /// Intake over HTTP: the event is confirmed, nothing is answered.
    SubmissionAccepted,
}

impl Step {
    /// Every step, in the order of the flow.
    pub const ALL: [Self; 11] = [
        Self::SubmissionIdentified,
        Self::SubmissionAccepted,
        Self::EventClaimed,
        Self::EventIdentified,
        Self::FanOutBegun,
        Self::FanOutDone,
        Self::EventRouted,
        Self::DeliveryClaimed,
        Self::AttemptSent,
        Self::AttemptRecorded,
        Self::SuccessorPublished,
    ];
}

/// Told of every step as it is reached. Production uses [`NoTripwire`]; fault tests kill the process here.
pub trait Tripwire: Send + Sync {
    /// The flow reached `step`.
    fn reached(&self, step: Step);

    /// A root task of this name begins.
    fn root_begins(&self, _name: &'static str) {}
}

/// Ignores every step.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTripwire;

impl Tripwire for NoTripwire {
    fn reached(&self, _step: Step) {}
}
