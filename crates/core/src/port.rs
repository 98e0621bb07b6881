//! The ports: steps of the flow that either happened or did not. No tag, key, exchange or row appears here.

mod administration;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::admission::{Gate, GateId, Mark, Passed, Reading, Step};
use crate::attempt::AttemptResult;
use crate::catalog::{CatalogEntry, CatalogFilter};
use crate::claim::Claim;
use crate::clock::Timestamp;
use crate::dead_letter::{DeadLetter, DeadLetterFilter};
use crate::delivery::{Delivery, DeliveryKey, Lane};
use crate::directory::{Application, Endpoint, Version};
use crate::event::{Event, EventId, Intake, Refusal};
use crate::fan_out::FanOut;
use crate::fault::Fault;
use crate::id::{AppId, AttemptId, DeadLetterId, EndpointId, MessageId};
use crate::journal::{
    AttemptFilter, AttemptRecord, AttemptsOf, DeliveryState, Entry, MessageFilter, MessageRecord, Page, PageRequest, Standing,
};
use crate::name::{AppRef, EventType, Uid};
use crate::outcome::Outcome;
use crate::route::Subscription;
use crate::stats::Count;

pub use administration::{
    Activity, AnswerKey, Answers, Begun, DeadJudge, DeadLetterQueue, Heard, Rejections, Revocations, Swept, Tasks, Watch,
};

/// An event whose deliveries are all durable: only such an event may be finished.
#[must_use = "a fanned-out event must be finished"]
#[derive(Debug)]
pub struct FannedOut(Claim<()>);

impl FannedOut {
    /// The adapter's side: every delivery is durable.
    pub fn new(claim: Claim<()>) -> Self {
        Self(claim)
    }

    /// The adapter's side: the claim to settle.
    pub fn into_claim(self) -> Claim<()> {
        self.0
    }
}

/// Events on their way from intake to the router.
#[async_trait]
pub trait Events: Send + Sync {
    /// Makes an event durable. When this returns, it will not be lost.
    async fn accept(&self, event: &Event) -> Result<(), Fault>;

    /// Waits for events and returns 1 to `max` of them, refused ones included.
    async fn claim(&self, max: usize) -> Result<Vec<Claim<Intake>>, Fault>;

    /// Makes one delivery per endpoint durable; the payload is shared. Repeating it repeats the same deliveries.
    async fn fan_out(&self, claim: Claim<()>, fan_out: FanOut) -> Result<FannedOut, Fault>;

    /// The event is a duplicate of one whose deliveries are all durable: nothing is made of it.
    async fn suppress(&self, claim: Claim<()>) -> Result<(), Fault>;

    /// The event is done with.
    async fn finish(&self, event: FannedOut) -> Result<(), Fault>;

    /// Gives the event back as it came: it comes again, after those that wait already. Unlike a claim that is dropped, this counts
    /// as no failure of handling it, however often it happens.
    async fn give_back(&self, claim: Claim<()>) -> Result<(), Fault>;

    /// Keeps the event, original bytes and all, among the rejected ones.
    async fn reject(&self, claim: Claim<()>, refusal: &Refusal) -> Result<(), Fault>;
}

/// Deliveries on their way from the router to their end.
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// Waits for deliveries of a lane and returns 1 to `max` of them; those that wait as one count as one.
    async fn claim(&self, lane: Lane, max: usize) -> Result<Vec<Claim<Delivery>>, Fault>;

    /// Makes the outcome's successor durable (the next attempt, a dead letter, nothing), then lets go of the claim.
    async fn settle(&self, claim: Claim<Delivery>, outcome: Outcome) -> Result<(), Fault>;

    /// Puts the delivery aside until `due`, after which it comes by this lane; at once, if that is past. Not an attempt.
    async fn defer(&self, claim: Claim<Delivery>, due: Timestamp, lane: Lane) -> Result<(), Fault>;

    /// Makes deliveries of further runs durable. Repeating it repeats the same attempts, which the fence absorbs.
    async fn enqueue(&self, deliveries: Vec<Delivery>) -> Result<(), Fault>;
}

/// What a marker says of an event id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkerState {
    /// Somebody began with it; whether it was finished is unknown.
    Claimed,
    /// Intake over HTTP made it durable.
    Accepted,
    /// Every delivery is durable: another event under this id is a duplicate.
    Routed,
}

/// The identity given to an event id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The message id everybody uses for it.
    pub message: MessageId,
    /// What the event held; see [`Event::content_hash`].
    pub content: [u8; 16],
    /// How far it got.
    pub state: MarkerState,
}

/// An event id to claim: the proposal is taken unless somebody was first.
#[derive(Clone, Debug)]
pub struct MarkerClaim {
    /// The application.
    pub app: AppId,
    /// The publisher's own id.
    pub event_id: crate::event::EventId,
    /// What to write if nobody was first.
    pub proposed: Marker,
}

/// What a router remembers of an application: enough for the store to say what changed since.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// The application.
    pub app: AppId,
    /// The version its snapshot is of; `None` if there is no snapshot.
    pub version: Option<Version>,
}

/// How an application's subscriptions stand against what was remembered.
#[derive(Clone, Debug)]
pub enum Freshness {
    /// Nothing changed.
    Current,
    /// These endpoints changed since; nothing else did.
    Changed {
        /// The version after the changes.
        version: Version,
        /// Whether the application is switched off.
        disabled: bool,
        /// Endpoints created or changed.
        put: Vec<Subscription>,
        /// Endpoints deleted.
        removed: Vec<EndpointId>,
    },
    /// Too much changed, nothing was remembered, or what was remembered is of no history of the store: everything anew.
    Replaced {
        /// The version of this snapshot.
        version: Version,
        /// Whether the application is switched off.
        disabled: bool,
        /// Every endpoint.
        all: Vec<Subscription>,
    },
    /// There is no such application: it was deleted, or never was.
    Gone,
    /// A record of it cannot be read: what the store says of this application is not to be trusted.
    Untrusted,
}

/// Counters that come with what is read: what was remembered holds while its counter stands still.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Moves whenever the name of an application does.
    pub names: u64,
    /// Moves whenever an administrator changes the catalog.
    pub catalog: u64,
}

/// Ids behind names, in the order asked.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// The application behind each name, if there is one.
    pub apps: Vec<Option<AppId>>,
    /// As of this answer.
    pub counters: Counters,
}

/// The answer to one batch: in the order of what was asked.
#[derive(Clone, Debug, Default)]
pub struct Validated {
    /// As of this answer.
    pub counters: Counters,
    /// One per remembered application.
    pub apps: Vec<Freshness>,
    /// One per marker claim: what was there before, if anything.
    pub markers: Vec<Option<Marker>>,
}

/// What a dispatcher finds when it looks an endpoint up.
#[derive(Clone, Debug)]
pub enum Looked {
    /// The endpoint as it is now, and what its application says of all of them.
    Found {
        /// The endpoint.
        endpoint: Arc<Endpoint>,
        /// Whether its application is switched off.
        app_disabled: bool,
        /// Most deliveries per second to all endpoints of its application.
        app_rate: Option<u16>,
    },
    /// A tombstone: it, or its application, was deleted.
    Deleted,
    /// Nothing, not even a tombstone: the store is not to be trusted about it.
    Absent,
}

/// What a writer believes about what it replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing was there.
    New,
    /// This revision was there.
    Revision(u64),
}

/// What became of a write to the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Done; this is the new revision.
    Done(u64),
    /// Somebody else wrote first.
    Conflict,
    /// Another one has this uid.
    UidTaken,
    /// There is no such application (any more).
    NoApp,
}

/// An endpoint named by whoever calls: its id, or the uid the caller gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointRef {
    /// By id.
    Id(EndpointId),
    /// By the caller's own name.
    Uid(Uid),
}

/// Applications and endpoints. Every reading method reads the dataset's sentinel too and answers with a
/// [`crate::FaultKind::WrongDataset`] fault rather than from a store that was emptied.
#[async_trait]
pub trait Directory: Send + Sync {
    /// One batch of events: claims their markers and says what changed in their applications, in one round trip when nothing did.
    async fn validate(&self, apps: &[Remembered], markers: &[MarkerClaim]) -> Result<Validated, Fault>;

    /// Moves markers on to `state`; never back.
    async fn mark(&self, markers: &[MarkerClaim], state: MarkerState) -> Result<(), Fault>;

    /// What an event id of an application stands for, while it is remembered.
    async fn marker(&self, app: AppId, event: &EventId) -> Result<Option<Marker>, Fault>;

    /// Whether what was read before still counts: a fault as soon as any reading found the store to be the wrong one. Asks nobody.
    fn standing(&self) -> Result<(), Fault>;

    /// Endpoints as they are now, in the order asked.
    async fn look_up(&self, endpoints: &[(AppId, EndpointId)]) -> Result<Vec<Looked>, Fault>;

    /// The ids behind names.
    async fn resolve(&self, apps: &[AppRef]) -> Result<Resolved, Fault>;

    /// One application.
    async fn app(&self, app: AppId) -> Result<Option<Application>, Fault>;

    /// Applications, newest first.
    async fn apps(&self, page: PageRequest<AppId>) -> Result<Page<Application>, Fault>;

    /// Creates or replaces an application.
    async fn put_app(&self, app: &Application, expect: Expect) -> Result<Written, Fault>;

    /// Deletes an application with everything it owns. Whether it was there.
    async fn delete_app(&self, app: AppId, now: Timestamp) -> Result<bool, Fault>;

    /// One endpoint.
    async fn endpoint(&self, app: AppId, endpoint: &EndpointRef) -> Result<Option<Endpoint>, Fault>;

    /// Endpoints of an application, newest first.
    async fn endpoints(&self, app: AppId, page: PageRequest<EndpointId>) -> Result<Page<Endpoint>, Fault>;

    /// Creates or replaces an endpoint.
    async fn put_endpoint(&self, endpoint: &Endpoint, expect: Expect) -> Result<Written, Fault>;

    /// Deletes an endpoint and leaves its tombstone. Whether it was there.
    async fn delete_endpoint(&self, app: AppId, endpoint: EndpointId, now: Timestamp) -> Result<bool, Fault>;
}

/// What became of an event type that was seen in traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// It is in the catalog now, for an administrator to look at.
    Added,
    /// It was there.
    Known,
    /// As many as there may be wait to be saved.
    Full,
}

/// The event catalog.
#[async_trait]
pub trait Catalog: Send + Sync {
    /// One event type.
    async fn entry(&self, name: &EventType) -> Result<Option<CatalogEntry>, Fault>;

    /// Event types in the order of their names, the last first. Cursors are names, or any text to begin beyond.
    async fn entries(&self, filter: CatalogFilter, page: PageRequest<String>) -> Result<Page<CatalogEntry>, Fault>;

    /// Creates or replaces an event type.
    async fn put_entry(&self, entry: &CatalogEntry, expect: Expect) -> Result<Written, Fault>;

    /// Removes an event type. Whether it was there.
    async fn remove_entry(&self, name: &EventType) -> Result<bool, Fault>;

    /// Adds an event type that was seen in traffic, unless it is there or `most` wait to be saved. Does not move the counter: it
    /// demands nothing of anybody.
    async fn discover(&self, entry: &CatalogEntry, most: usize) -> Result<Discovery, Fault>;
}

/// Messages, attempts and delivery states, written down; [`Log`] reads them.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Writes these down. When it returns, they are durable (in the journal or in its spill). Repeating changes nothing.
    async fn record(&self, entries: Arc<[Entry]>) -> Result<(), Fault>;

    /// The fence: this attempt of the delivery, if it was already made.
    async fn recorded(&self, delivery: DeliveryKey, attempt: AttemptId) -> Result<Option<AttemptRecord>, Fault>;
}

/// What a [`Journal`] holds, for those who look. Pages may be short and still not done; see [`Page::reached`].
#[async_trait]
pub trait Log: Send + Sync {
    /// One message.
    async fn message(&self, app: AppId, message: MessageId) -> Result<Option<MessageRecord>, Fault>;

    /// What is known of a message's deliveries; one of which nothing was written yet is pending.
    async fn states(&self, app: AppId, message: MessageId) -> Result<Vec<(EndpointId, DeliveryState)>, Fault>;

    /// One dead letter, if it is still dead.
    async fn dead_letter(&self, app: AppId, letter: DeadLetterId) -> Result<Option<DeadLetter>, Fault>;

    /// Dead letters of an application, those that died last first.
    async fn dead_letters(
        &self,
        app: AppId,
        filter: &DeadLetterFilter,
        page: PageRequest<DeadLetterId>,
    ) -> Result<Page<DeadLetter>, Fault>;

    /// How many deliveries to an endpoint stand how, by the hour (counted from 1970) in which their messages were accepted, from
    /// that of `since` to that of `until`, both included.
    async fn standings(
        &self,
        app: AppId,
        endpoint: EndpointId,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<BTreeMap<(i64, Standing), u64>, Fault>;

    /// What happened in an application in the minutes from `since` to `until`, both included. In no order.
    async fn counts(&self, app: AppId, since: Timestamp, until: Timestamp) -> Result<Vec<Count>, Fault>;

    /// How many events of which type an application had routed, by the hour (counted from 1970) in which they were accepted, from
    /// that of `since` to that of `until`, both included.
    async fn volumes(&self, app: AppId, since: Timestamp, until: Timestamp) -> Result<BTreeMap<(i64, EventType), u64>, Fault>;

    /// Makes a message's data forgotten, wherever it is not on its way any more; whether the message was there.
    async fn expunge_message(&self, app: AppId, message: MessageId) -> Result<bool, Fault>;

    /// Makes the response to an attempt forgotten; whether the attempt was there.
    async fn expunge_attempt(&self, app: AppId, message: MessageId, attempt: AttemptId) -> Result<bool, Fault>;

    /// Makes the data of messages forgotten that their publishers wanted kept no longer than until `now`, some hundred at once; how
    /// many were due, those included that are gone already.
    async fn expire_data(&self, now: Timestamp) -> Result<usize, Fault>;

    /// Messages of an application, newest first.
    async fn messages(
        &self,
        app: AppId,
        filter: &MessageFilter,
        page: PageRequest<MessageId>,
    ) -> Result<Page<MessageRecord>, Fault>;

    /// One attempt.
    async fn attempt(&self, app: AppId, message: MessageId, attempt: AttemptId) -> Result<Option<AttemptRecord>, Fault>;

    /// Attempts, newest first.
    async fn attempts(
        &self,
        app: AppId,
        of: AttemptsOf,
        filter: &AttemptFilter,
        page: PageRequest<AttemptId>,
    ) -> Result<Page<AttemptRecord>, Fault>;
}

/// The gates of endpoints, shared by all processes. They may be lost: then everybody passes, and it is found out again.
#[async_trait]
pub trait Gates: Send + Sync {
    /// The gates that changed since, if the store can say; else those that are not ordinary at `now`.
    async fn changed(&self, since: Option<Mark>, now: Timestamp) -> Result<Reading, Fault>;

    /// These gates, in order.
    async fn gates(&self, ids: &[GateId]) -> Result<Vec<Gate>, Fault>;

    /// Does steps at a gate, one after another and nobody else's between them.
    async fn steps(&self, id: GateId, steps: &[Step], now: Timestamp) -> Result<Passed, Fault>;
}

/// Where the journal's entries wait while the journal is away.
#[async_trait]
pub trait Spill: Send + Sync {
    /// Makes these durable here.
    async fn keep(&self, entries: &[Entry]) -> Result<(), Fault>;

    /// Waits for kept entries; each claim is let go with [`Spill::written`].
    async fn drain(&self) -> Result<Claim<Vec<Entry>>, Fault>;

    /// These reached the journal.
    async fn written(&self, claim: Claim<()>) -> Result<(), Fault>;
}

/// One request to a receiver, ready to leave.
#[derive(Clone)]
pub struct Request {
    /// Where to.
    pub url: url::Url,
    /// Headers, in order; names lowercase.
    pub headers: Vec<(String, String)>,
    /// The body, exactly as signed.
    pub body: bytes::Bytes,
    /// The whole budget, response included.
    pub timeout: Duration,
}

/// The one door outward. The receiver's failure is a result, not an error; a fault is that of what stands between it and us.
#[async_trait]
pub trait Sender: Send + Sync {
    /// POSTs the request and says what the receiver did. On a fault the receiver got nothing.
    async fn send(&self, request: Request) -> Result<AttemptResult, Fault>;
}
