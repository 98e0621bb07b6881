//! A delivery: one event for one endpoint, on its way.

use std::sync::Arc;
use std::time::Duration;

use ring::digest;

use crate::admission::Reservation;
use crate::attempt::AttemptClass;
use crate::clock::Timestamp;
use crate::event::Message;
use crate::id::{AppId, AttemptId, EndpointId, MessageId};
use crate::limits;

/// Which of the two ways to the endpoint a delivery takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Endpoints that answer.
    Fast,
    /// Endpoints that do not, or take long.
    Slow,
}

/// Why a run was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// The router routed an event: run 0.
    #[default]
    Routed,
    /// Somebody asked for one more attempt; it is not retried.
    Resend,
    /// Replayed from the dead letters, recovered or found missing: a full run.
    Replay,
}

/// Names a delivery: one event for one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryKey {
    /// The application.
    pub app: AppId,
    /// The event.
    pub message: MessageId,
    /// The endpoint.
    pub endpoint: EndpointId,
}

impl DeliveryKey {
    /// The delivery's own id, a hash of message and endpoint in hexadecimal: the broker's `message_id`, so that doing something
    /// twice is recognisable.
    pub fn id(&self) -> String {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(self.message.as_bytes());
        hash.update(self.endpoint.as_bytes());
        hash.finish().as_ref()[..16].iter().fold(String::with_capacity(32), |mut text, byte| {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
            }
            text
        })
    }
}

/// What a delivery remembers of an attempt already made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastAttempt {
    /// What happened.
    pub class: AttemptClass,
    /// The response's status code, if there was a response.
    pub status: Option<u16>,
    /// When the request left.
    pub at: Timestamp,
}

/// A delivery as it travels: everything needed to make its next attempt except what the endpoint says of itself now.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The event. The payload travels by value: losing the store must not lose events.
    pub message: Arc<Message>,
    /// Who receives it.
    pub endpoint: EndpointId,
    /// 0 as routed; each resend, replay or recovery takes the next.
    pub run: u32,
    /// Why this run was started.
    pub trigger: Trigger,
    /// The attempt to make, from 1.
    pub attempt: u32,
    /// When this attempt became due: acceptance for the first, the judged moment for a retry.
    pub due: Timestamp,
    /// Not to be sent before this moment.
    pub not_before: Option<Timestamp>,
    /// Whether that moment is a slot of its own.
    pub reserved: Reservation,
    /// The delay first asked for, of which `not_before` is the end, in milliseconds.
    pub delay_ms: u64,
    /// What is left of that delay when it comes back from where it waits, in milliseconds; see [`Self::rest`].
    pub rest_ms: Option<u64>,
    /// The counter of its application's part of the directory when it was routed; an endpoint that was read before that may not be
    /// used for it. 0 where it is not known.
    pub as_of: u64,
    /// Whether a step before this one may have been done twice, so that the journal must be asked before sending.
    pub maybe_repeat: bool,
    /// Attempts of this run already made, oldest first, at most [`limits::HISTORY_KEPT`].
    pub history: Vec<PastAttempt>,
}

impl Delivery {
    /// The first delivery of `message` to `endpoint`.
    pub fn routed(message: Arc<Message>, endpoint: EndpointId, maybe_repeat: bool) -> Self {
        let due = message.event.accepted_at;
        Self {
            message,
            endpoint,
            run: 0,
            trigger: Trigger::Routed,
            attempt: 1,
            due,
            not_before: None,
            reserved: Reservation::default(),
            delay_ms: 0,
            rest_ms: None,
            as_of: 0,
            maybe_repeat,
            history: Vec::new(),
        }
    }

    /// The first delivery of a further run, due at `due`. Somebody may have begun the same run before, so the journal is asked.
    pub fn rerun(message: Arc<Message>, endpoint: EndpointId, run: u32, trigger: Trigger, due: Timestamp) -> Self {
        Self { run, trigger, due, ..Self::routed(message, endpoint, true) }
    }

    /// Its name.
    pub fn key(&self) -> DeliveryKey {
        DeliveryKey { app: self.message.app, message: self.message.id, endpoint: self.endpoint }
    }

    /// The id of the attempt it asks for.
    pub fn attempt_id(&self) -> AttemptId {
        AttemptId::derive(self.due, self.message.id, self.endpoint, self.run, self.attempt)
    }

    /// Whether an attempt with this id could already have been made, so that the journal must be asked.
    pub fn may_be_recorded(&self, redelivered: bool) -> bool {
        redelivered || self.attempt > 1 || self.not_before.is_some() || self.maybe_repeat || self.run > 0
    }

    /// The same delivery, to be sent no earlier than `at`; no attempt is used up.
    #[must_use]
    pub fn deferred(mut self, at: Timestamp, now: Timestamp) -> Self {
        if self.not_before != Some(at) {
            // A slot is a moment: the slack of a long delay would gather many of them.
            self.delay_ms =
                if self.reserved.is_some() { 0 } else { u64::try_from(at.since(now).as_millis()).unwrap_or(u64::MAX) };
            self.not_before = Some(at);
        }
        self.rest_ms = Some(0);
        self
    }

    /// How long it has to wait from now on, after it came back from where it waited. A clock that was set back does not make it wait
    /// longer than was left.
    pub fn rest(&self, now: Timestamp) -> Duration {
        let left = self.rest_ms.map_or(Duration::MAX, Duration::from_millis);
        self.not_before.map_or(Duration::ZERO, |at| at.since(now)).min(left)
    }

    /// The same delivery with `made` added to what it remembers.
    #[must_use]
    pub fn after(mut self, made: PastAttempt) -> Self {
        if self.history.len() == limits::HISTORY_KEPT {
            self.history.remove(0);
        }
        self.history.push(made);
        self
    }

    /// The delivery that makes the next attempt at `at`.
    #[must_use]
    pub fn retried(self, at: Timestamp, now: Timestamp) -> Self {
        let next = Self { reserved: Reservation::default(), ..self }.deferred(at, now);
        Self { attempt: next.attempt + 1, due: at, maybe_repeat: false, ..next }
    }
}
