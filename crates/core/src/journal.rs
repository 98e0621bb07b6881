//! What the journal keeps: messages, attempts and the state of each delivery.

use std::sync::Arc;

use crate::attempt::{AttemptClass, AttemptResult};
use crate::clock::Timestamp;
use crate::delivery::{Delivery, DeliveryKey, Trigger};
use crate::event::Message;
use crate::id::{AppId, AttemptId, EndpointId, ID_BYTES, MessageId};
use crate::name::{Channel, EventType};
use crate::outcome::Outcome;

/// A message as recorded: the event and the endpoints it was routed to.
#[derive(Clone, Debug, PartialEq)]
pub struct MessageRecord {
    /// The event with its identity.
    pub message: Arc<Message>,
    /// Where it was routed; `None` while only accepted over HTTP.
    pub routed_to: Option<Arc<[EndpointId]>>,
}

/// A request as it may be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Where it went, without userinfo and query.
    pub url: String,
    /// Its headers, in order; what the endpoint was given to keep is not among the values.
    pub headers: Vec<(String, String)>,
}

/// What stands in place of a response that was made forgotten: the compatible API's word.
pub const EXPUNGED_RESPONSE: &[u8] = b"EXPUNGED";

/// One attempt with its outcome: the log's line, and the fence against doing it twice.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptRecord {
    /// Its id, derived from what follows.
    pub id: AttemptId,
    /// Which delivery.
    pub delivery: DeliveryKey,
    /// Which run of it.
    pub run: u32,
    /// Which attempt of the run, from 1.
    pub number: u32,
    /// Why the run was started.
    pub trigger: Trigger,
    /// The kind of event.
    pub event_type: EventType,
    /// The event's channels.
    pub channels: Vec<Channel>,
    /// What was sent.
    pub sent: Shown,
    /// What the receiver did.
    pub result: AttemptResult,
    /// What followed.
    pub outcome: Outcome,
}

/// A delivery that ended without an attempt: its endpoint was inactive or gone, or it had become too old.
#[derive(Clone, Debug, PartialEq)]
pub struct EndRecord {
    /// Which delivery.
    pub delivery: DeliveryKey,
    /// Which run of it.
    pub run: u32,
    /// The attempt that would have been next.
    pub number: u32,
    /// The kind of event.
    pub event_type: EventType,
    /// How it ended.
    pub outcome: Outcome,
    /// When.
    pub at: Timestamp,
}

/// A further run of a delivery was begun: a resend, a replay, a recovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRecord {
    /// Which delivery.
    pub delivery: DeliveryKey,
    /// The run.
    pub run: u32,
    /// When its first attempt is due.
    pub due: Timestamp,
}

/// One thing to write down.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A message was accepted or routed.
    Message(MessageRecord),
    /// An attempt was made.
    Attempt(AttemptRecord),
    /// A delivery ended without an attempt.
    End(EndRecord),
    /// A further run of a delivery was begun.
    Run(RunRecord),
}

impl Entry {
    /// The application it belongs to.
    pub fn app(&self) -> AppId {
        match self {
            Self::Message(record) => record.message.app,
            Self::Attempt(record) => record.delivery.app,
            Self::End(record) => record.delivery.app,
            Self::Run(record) => record.delivery.app,
        }
    }
}

/// The state of one delivery, ordered: a late or stale write never overwrites a higher one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryState {
    /// The highest run begun.
    pub run: u32,
    /// Attempts made in it.
    pub attempt: u32,
    /// What followed the last of them.
    pub outcome: Outcome,
}

impl DeliveryState {
    /// Its place in the order: by run, then terminal over not, delivered over dead, then attempt.
    ///
    /// Fits 53 bits, so that a script in the store can compare it as a number: 24 bits of run, 3 of standing, 20 of attempt.
    pub fn rank(&self) -> u64 {
        let standing = match self.outcome {
            Outcome::Retry { .. } => 0,
            Outcome::Discarded(_) => 1,
            Outcome::Dead(_) => 2,
            Outcome::Delivered => 3,
        };
        (u64::from(self.run.min(0xff_ffff)) << 23) | (standing << 20) | u64::from(self.attempt.min(0xf_ffff))
    }

    /// The state of this rank, of which the outcome is known.
    pub fn of_rank(rank: u64, outcome: Outcome) -> Self {
        let part = |bits: u64| u32::try_from(bits).unwrap_or(u32::MAX);
        Self { run: part(rank >> 23), attempt: part(rank & 0xf_ffff), outcome }
    }
}

impl EndRecord {
    /// The delivery's state after it.
    pub fn state(&self) -> DeliveryState {
        DeliveryState { run: self.run, attempt: self.number, outcome: self.outcome }
    }
}

impl RunRecord {
    /// The delivery's state after it: nothing of the run was tried yet.
    pub fn state(&self) -> DeliveryState {
        DeliveryState { run: self.run, attempt: 0, outcome: Outcome::Retry { at: self.due } }
    }
}

/// How a delivery stands, for those who count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It arrived.
    Success,
    /// Tried, and to be tried again.
    Pending,
    /// Dead.
    Fail,
    /// Not tried yet in its latest run.
    Sending,
    /// Discarded.
    Canceled,
}

impl Standing {
    /// Every standing.
    pub const ALL: [Self; 5] = [Self::Success, Self::Pending, Self::Fail, Self::Sending, Self::Canceled];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Pending => "pending",
            Self::Fail => "fail",
            Self::Sending => "sending",
            Self::Canceled => "canceled",
        }
    }

    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|standing| standing.as_str() == name)
    }
}

impl DeliveryState {
    /// How it stands.
    pub const fn standing(&self) -> Standing {
        match self.outcome {
            Outcome::Delivered => Standing::Success,
            Outcome::Retry { .. } if self.attempt == 0 => Standing::Sending,
            Outcome::Retry { .. } => Standing::Pending,
            Outcome::Dead(_) => Standing::Fail,
            Outcome::Discarded(_) => Standing::Canceled,
        }
    }
}

impl AttemptRecord {
    /// The record of an attempt of `delivery`.
    pub fn new(delivery: &Delivery, sent: Shown, result: AttemptResult, outcome: Outcome) -> Self {
        Self {
            id: delivery.attempt_id(),
            delivery: delivery.key(),
            run: delivery.run,
            number: delivery.attempt,
            trigger: delivery.trigger,
            event_type: delivery.message.event.event_type.clone(),
            channels: delivery.message.event.channels.clone(),
            sent,
            result,
            outcome,
        }
    }

    /// The delivery's state after it.
    pub fn state(&self) -> DeliveryState {
        DeliveryState { run: self.run, attempt: self.number, outcome: self.outcome }
    }
}

/// Which attempts to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptsOf {
    /// Of one message, to every endpoint.
    Message(MessageId),
    /// To one endpoint, of every message.
    Endpoint(EndpointId),
    /// Of every message, to every endpoint.
    App,
}

impl AttemptsOf {
    /// The list that holds least of what `filter` leaves out.
    #[must_use]
    pub fn narrowed(self, filter: &AttemptFilter) -> Self {
        match (self, filter.endpoint) {
            (Self::App, Some(endpoint)) => Self::Endpoint(endpoint),
            _ => self,
        }
    }
}

/// Filters on messages; absent means any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MessageFilter {
    /// Only events on this channel.
    pub channel: Option<Channel>,
    /// Only events with this tag.
    pub tag: Option<String>,
    /// Only these event types; empty means any.
    pub event_types: Vec<EventType>,
    /// Only messages accepted before this moment.
    pub before: Option<Timestamp>,
    /// Only messages accepted after this moment.
    pub after: Option<Timestamp>,
}

impl MessageFilter {
    /// Whether `record` passes.
    pub fn passes(&self, record: &MessageRecord) -> bool {
        let event = &*record.message.event;
        self.channel.as_ref().is_none_or(|channel| event.channels.contains(channel))
            && self.tag.as_ref().is_none_or(|tag| event.tags.iter().any(|other| **other == **tag))
            && (self.event_types.is_empty() || self.event_types.contains(&event.event_type))
            && is_between(record.message.id.time(), self.after, self.before)
    }
}

/// Whether `moment` lies after the one and before the other, where they are given.
pub(crate) fn is_between(moment: Timestamp, after: Option<Timestamp>, before: Option<Timestamp>) -> bool {
    after.is_none_or(|after| moment > after) && before.is_none_or(|before| moment < before)
}

/// Filters on attempts; absent means any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AttemptFilter {
    /// Only attempts to this endpoint.
    pub endpoint: Option<EndpointId>,
    /// Only successes, or only failures.
    pub success: Option<bool>,
    /// Only responses of this class of status, 1 to 5.
    pub status_class: Option<u16>,
    /// Only these event types; empty means any.
    pub event_types: Vec<EventType>,
    /// Only events on this channel.
    pub channel: Option<Channel>,
    /// Only the first attempt there was of each message as it was routed.
    pub first_only: bool,
    /// Only attempts due before this moment.
    pub before: Option<Timestamp>,
    /// Only attempts due after this moment.
    pub after: Option<Timestamp>,
}

impl AttemptFilter {
    /// Whether `record` passes.
    pub fn passes(&self, record: &AttemptRecord) -> bool {
        let success = record.result.class == AttemptClass::Success;
        self.endpoint.is_none_or(|endpoint| endpoint == record.delivery.endpoint)
            && self.success.is_none_or(|wanted| wanted == success)
            && self.status_class.is_none_or(|class| record.result.status.is_some_and(|status| status / 100 == class))
            && (self.event_types.is_empty() || self.event_types.contains(&record.event_type))
            && (!self.first_only || (record.run, record.number) == (0, 1))
            && self.channel.as_ref().is_none_or(|channel| record.channels.contains(channel))
            && is_between(record.id.time(), self.after, self.before)
    }
}

/// Which page of a list, newest first.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest<I> {
    /// Begin beyond this item; absent means at the newest.
    pub from: Option<Cursor<I>>,
    /// Most items.
    pub limit: usize,
}

/// Where a page begins: past an item, towards older or newer ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor<I> {
    /// Items older than this one.
    After(I),
    /// Items newer than this one.
    Before(I),
}

impl<I> Cursor<I> {
    /// The same place in a list of another kind of item.
    pub fn map<J>(self, other: impl FnOnce(I) -> J) -> Cursor<J> {
        match self {
            Self::After(item) => Cursor::After(other(item)),
            Self::Before(item) => Cursor::Before(other(item)),
        }
    }
}

impl<I> PageRequest<I> {
    /// The same page of another kind of item.
    pub fn map<J>(self, other: impl FnOnce(I) -> J) -> PageRequest<J> {
        PageRequest { from: self.from.map(|cursor| cursor.map(other)), limit: self.limit }
    }
}

/// A page of a list, newest first.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Whether nothing lies beyond them in the direction asked.
    pub done: bool,
    /// The id up to which the list was looked at, where that is not an item's: a filter left out so much that the page ended short.
    pub reached: Option<[u8; ID_BYTES]>,
}

impl<T> Page<T> {
    /// A page that ends with its last item.
    pub fn whole(items: Vec<T>, done: bool) -> Self {
        Self { items, done, reached: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{DeadReason, DiscardReason};

    #[test]
    fn states_are_ordered_by_run_then_end_then_attempt() {
        let at = Timestamp::default();
        let state = |run, attempt, outcome| DeliveryState { run, attempt, outcome }.rank();
        let retry = Outcome::Retry { at };
        let ascending = [
            state(0, 1, retry),
            state(0, 2, retry),
            state(0, 1, Outcome::Discarded(DiscardReason::EndpointDeleted)),
            state(0, 1, Outcome::Dead(DeadReason::Gone)),
            state(0, 3, Outcome::Dead(DeadReason::AttemptsExhausted)),
            state(0, 1, Outcome::Delivered),
            state(1, 1, retry),
            state(1, 1, Outcome::Delivered),
        ];
        assert!(ascending.is_sorted_by(|a, b| a < b), "{ascending:?}");
        assert!(state(u32::MAX, u32::MAX, Outcome::Delivered) < 1 << 53);
        let known = DeliveryState { run: 7, attempt: 3, outcome: Outcome::Dead(DeadReason::Gone) };
        assert_eq!(DeliveryState::of_rank(known.rank(), known.outcome), known);
    }
}
