//! Dead letters: deliveries that will not be tried again on their own, as the journal lists them until somebody begins another run.

use crate::clock::Timestamp;
use crate::delivery::DeliveryKey;
use crate::id::{DeadLetterId, EndpointId};
use crate::journal::{AttemptRecord, EndRecord, Entry, is_between};
use crate::name::EventType;
use crate::outcome::{DeadReason, Outcome};

/// A delivery that is dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its id; sorts by when it died.
    pub id: DeadLetterId,
    /// Which delivery.
    pub delivery: DeliveryKey,
    /// The run that ended so.
    pub run: u32,
    /// Why.
    pub reason: DeadReason,
    /// The kind of event.
    pub event_type: EventType,
    /// Attempts made in that run.
    pub attempts: u32,
    /// The status of the last attempt's response, if there was one.
    pub status: Option<u16>,
    /// When it died.
    pub at: Timestamp,
}

impl DeadLetter {
    /// The dead letter that writing `entry` down makes, if it makes one.
    pub fn of(entry: &Entry) -> Option<Self> {
        match entry {
            Entry::Attempt(record) => Self::of_attempt(record),
            Entry::End(record) => Self::of_end(record),
            Entry::Message(_) | Entry::Run(_) => None,
        }
    }

    fn of_attempt(record: &AttemptRecord) -> Option<Self> {
        let Outcome::Dead(reason) = record.outcome else { return None };
        let (delivery, run, at) = (record.delivery, record.run, record.result.started_at.plus(record.result.duration));
        let (event_type, attempts, status) = (record.event_type.clone(), record.number, record.result.status);
        let id = DeadLetterId::derive(at, delivery.message, delivery.endpoint, run);
        Some(Self { id, delivery, run, reason, event_type, attempts, status, at })
    }

    fn of_end(record: &EndRecord) -> Option<Self> {
        let Outcome::Dead(reason) = record.outcome else { return None };
        let (delivery, run, at) = (record.delivery, record.run, record.at);
        let (event_type, attempts) = (record.event_type.clone(), record.number.saturating_sub(1));
        let id = DeadLetterId::derive(at, delivery.message, delivery.endpoint, run);
        Some(Self { id, delivery, run, reason, event_type, attempts, status: None, at })
    }
}

/// Filters on dead letters; absent means any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Only those of this endpoint.
    pub endpoint: Option<EndpointId>,
    /// Only this kind of event.
    pub event_type: Option<EventType>,
    /// Only for this reason.
    pub reason: Option<DeadReason>,
    /// Only what died before this moment.
    pub before: Option<Timestamp>,
    /// Only what died after this moment.
    pub after: Option<Timestamp>,
}

impl DeadLetterFilter {
    /// Whether `letter` passes.
    pub fn passes(&self, letter: &DeadLetter) -> bool {
        self.endpoint.is_none_or(|endpoint| endpoint == letter.delivery.endpoint)
            && self.event_type.as_ref().is_none_or(|wanted| *wanted == letter.event_type)
            && self.reason.is_none_or(|reason| reason == letter.reason)
            && is_between(letter.at, self.after, self.before)
    }
}
