//! Tasks: work over many deliveries that outlives the request and the process that began it.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::{AppId, DeadLetterId, EndpointId, MessageId, TaskId};
use crate::name::EventType;
use crate::outcome::DeadReason;

/// What a task does, over and over until nothing is left of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Work {
    /// Begins another run of every dead letter that passes, or discards them.
    #[serde(rename_all = "camelCase")]
    DeadLetters {
        /// Discards them.
        discard: bool,
        /// Only those of this endpoint.
        endpoint: Option<EndpointId>,
        /// Only this kind of event.
        event_type: Option<EventType>,
        /// Only for this reason, by name.
        reason: Option<ReasonName>,
        /// Only what died after this moment.
        after: Option<Timestamp>,
        /// Only what died before this moment.
        before: Option<Timestamp>,
        /// Only events accepted from this moment on.
        since: Option<Timestamp>,
        /// Only events accepted until this moment.
        until: Option<Timestamp>,
        /// Looked at up to here.
        reached: Option<DeadLetterId>,
    },
    /// Delivers to an endpoint the messages that are for it and were never routed to it.
    #[serde(rename_all = "camelCase")]
    ReplayMissing {
        /// The endpoint.
        endpoint: EndpointId,
        /// Only events accepted from this moment on.
        since: Timestamp,
        /// Only events accepted until this moment.
        until: Timestamp,
        /// Looked at up to here.
        reached: Option<MessageId>,
    },
}

/// A dead letter's reason, as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReasonName(pub DeadReason);

impl Serialize for ReasonName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for ReasonName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        DeadReason::from_name(&name).map(Self).ok_or_else(|| serde::de::Error::custom("no reason of this name"))
    }
}

/// How a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// Something is left to do.
    Running,
    /// Nothing is left.
    Finished,
    /// It cannot go on: what it works on is gone.
    Failed,
}

impl TaskState {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Failed => "failed",
        }
    }
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// The application it works in.
    pub app: AppId,
    /// What it does, and how far it is.
    pub work: Work,
    /// How it stands.
    pub state: TaskState,
    /// Deliveries of which another run was begun.
    pub begun: u64,
    /// When it was asked for; the runs it begins are due then, so that a step done twice repeats the same attempts.
    pub created_at: Timestamp,
    /// When it last got on.
    pub updated_at: Timestamp,
}
