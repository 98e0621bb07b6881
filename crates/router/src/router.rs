//! The loop: one batch of claims after the other.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hookyard_core::event::EventId;
use hookyard_core::port::{Catalog, Directory, Events, Gates, Journal, Marker, MarkerClaim, MarkerState, Remembered, Validated};
use hookyard_core::rules::Rules;
use hookyard_core::step::{Step, Tripwire};
use hookyard_core::{AppId, Claim, Clock, Entropy, Event, FanOut, Fault, Intake, Message, MessageId, Refusal, RefusalReason};
use hookyard_telemetry::label::{Routed, Source};
use hookyard_telemetry::traces::Stage;
use hookyard_telemetry::{Metrics, Traces};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::batch::{self, Patience, RoutedEvent, persistently};
use crate::identify::{Identity, identify};
use crate::resolve::Names;
use crate::snapshots::{Snapshots, Standing};
use crate::trouble::Trouble;
use crate::types::Types;

/// Events taken at once.
const BATCH: usize = 256;
/// Batches on their way at once. While they are, the next one gathers: under load few large batches cost the broker and the store
/// far less than many small ones, and at idle nothing waits.
const BATCHES_IN_FLIGHT: usize = 2;
/// An event for more endpoints than this is completed beside its batch, so that the batch does not wait for it.
const LARGE_FAN_OUT: usize = 100;
/// Pause before asking again what could not be answered.
const PAUSE: Duration = Duration::from_millis(200);
/// How long events wait, each time, that cannot be routed now.
const LATER: Duration = Duration::from_secs(1);

/// What the router works with.
#[derive(Clone)]
pub struct Seams {
    /// Events in, deliveries out.
    pub events: Arc<dyn Events>,
    /// Subscriptions and markers.
    pub directory: Arc<dyn Directory>,
    /// The event catalog.
    pub catalog: Arc<dyn Catalog>,
    /// The gates of endpoints.
    pub gates: Arc<dyn Gates>,
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

/// The router.
pub struct Router {
    seams: Seams,
    snapshots: Snapshots,
    names: Names,
    types: Types,
    trouble: Arc<Trouble>,
    in_flight: Arc<InFlight>,
    batches: Arc<Semaphore>,
    tasks: TaskTracker,
}

/// Event ids being routed by this process: a duplicate waits until the first of them is through, and is then recognised.
#[derive(Default)]
struct InFlight {
    ids: Mutex<HashSet<(AppId, EventId)>>,
    released: Notify,
}

impl InFlight {
    fn take(&self, app: AppId, id: &EventId) -> bool {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).insert((app, id.clone()))
    }

    fn release(&self, ids: &[(AppId, EventId)]) {
        let mut held = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            held.remove(id);
        }
        drop(held);
        self.released.notify_one();
    }
}

/// Ids that are released when their events are through, also if that ends by a panic.
struct Held {
    in_flight: Arc<InFlight>,
    ids: Vec<(AppId, EventId)>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.in_flight.release(&self.ids);
    }
}

/// A claimed, admitted event on its way through a batch.
struct Candidate {
    claim: Claim<Event>,
    app: AppId,
    marker: Option<MarkerClaim>,
    claimed_at: Duration,
}

/// How each application stands, and what each candidate's marker said before.
type Decided = (HashMap<AppId, Standing>, Vec<Option<Marker>>);

impl Router {
    /// A router that has not begun.
    pub fn new(seams: Seams) -> Self {
        let snapshots = Snapshots::new(seams.metrics.clone());
        let (types, batches) = (Types::new(seams.metrics.clone()), Arc::new(Semaphore::new(BATCHES_IN_FLIGHT)));
        let (names, trouble, in_flight, tasks) = (Names::default(), Arc::default(), Arc::default(), TaskTracker::new());
        Self { seams, snapshots, names, types, trouble, in_flight, batches, tasks }
    }

    /// Routes until `stop`, then finishes what it holds.
    pub async fn run(self, stop: CancellationToken) {
        let (gates, clock) = (Arc::clone(&self.seams.gates), Arc::clone(&self.seams.clock));
        let follow = Arc::clone(&self.trouble).follow(gates, clock, stop.clone());
        tokio::join!(self.go_on(stop), follow);
    }

    async fn go_on(mut self, stop: CancellationToken) {
        let mut held: Vec<Claim<Event>> = Vec::new();
        while !stop.is_cancelled() {
            let permit = tokio::select! {
                () = stop.cancelled() => break,
                permit = Arc::clone(&self.batches).acquire_owned() => permit.ok(),
            };
            let claimed = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.in_flight.released.notified(), if !held.is_empty() => Ok(Vec::new()),
                claimed = self.seams.events.claim(BATCH) => claimed,
            };
            match claimed {
                Ok(claims) => {
                    let mut events = std::mem::take(&mut held);
                    events.extend(self.receive(claims));
                    // Whatever is logged within says of which batch.
                    let span = tracing::info_span!("batch", events = events.len());
                    held = tokio::select! {
                        () = stop.cancelled() => break,
                        waiting = self.batch(events, permit).instrument(span) => waiting,
                    };
                    self.snapshots.shrink();
                }
                Err(fault) => {
                    tracing::debug!(error = fault.chain(), "nothing to claim from");
                    self.seams.clock.sleep(PAUSE).await;
                }
            }
        }
        drop(held);
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Refused events go their way; admitted ones stay.
    fn receive(&self, claims: Vec<Claim<Intake>>) -> Vec<Claim<Event>> {
        let now = self.seams.clock.now();
        let mut events = Vec::with_capacity(claims.len());
        for claim in claims {
            match claim.transpose() {
                Err((refusal, claim)) => {
                    self.seams.metrics.events_received_total.inc(Source::Amqp);
                    self.reject(claim, refusal);
                }
                Ok(claim) => {
                    // What came over HTTP has its message id from there, and was counted there.
                    if claim.item.message_id.is_none() {
                        self.seams.metrics.events_received_total.inc(Source::Amqp);
                        let bytes = u32::try_from(claim.item.data.len()).unwrap_or(u32::MAX);
                        self.seams.metrics.event_payload_bytes.observe(f64::from(bytes));
                    }
                    self.seams.metrics.router_event_lag_seconds.observe(now.since(claim.item.accepted_at).as_secs_f64());
                    events.push(claim);
                }
            }
        }
        events
    }

    /// Routes one batch; what must wait for another event in flight is handed back.
    async fn batch(&mut self, mut events: Vec<Claim<Event>>, mut permit: Option<OwnedSemaphorePermit>) -> Vec<Claim<Event>> {
        let claimed_at = self.seams.clock.monotonic();
        let mut waiting = Vec::new();
        while !events.is_empty() {
            let apps = match self.resolve(&events).await {
                Ok(apps) => apps,
                Err(fault) => {
                    tracing::error!(error = fault.chain(), "a batch is given back");
                    self.give_back(events, Vec::new());
                    break;
                }
            };
            let candidates = self.candidates(std::mem::take(&mut events), apps, claimed_at, &mut waiting);
            let ids = event_ids(&candidates);
            let validated = self.validate(&candidates).await;
            self.seams.tripwire.reached(Step::EventIdentified);
            let claims = |candidates: Vec<Candidate>| candidates.into_iter().map(|candidate| candidate.claim).collect();
            match validated {
                Ok(Some((standings, found))) => self.dispose(candidates, &standings, found, permit.take()),
                // The name of an application moved since it was resolved: what was published after that goes by the new name.
                Ok(None) => {
                    self.in_flight.release(&ids);
                    events = claims(candidates);
                }
                Err(fault) => {
                    tracing::error!(error = fault.chain(), "a batch is given back");
                    self.give_back(claims(candidates), ids);
                }
            }
        }
        waiting
    }

    fn candidates(
        &self,
        events: Vec<Claim<Event>>,
        apps: Vec<Option<AppId>>,
        claimed_at: Duration,
        waiting: &mut Vec<Claim<Event>>,
    ) -> Vec<Candidate> {
        let mut candidates = Vec::with_capacity(events.len());
        for (claim, app) in events.into_iter().zip(apps) {
            let Some(app) = app else {
                self.reject(claim.map(drop), Refusal::new(RefusalReason::UnknownApp, "there is no such application"));
                continue;
            };
            if claim.item.id.as_ref().is_some_and(|id| !self.in_flight.take(app, id)) {
                waiting.push(claim);
                continue;
            }
            let marker = self.propose(&claim.item, app);
            candidates.push(Candidate { claim, app, marker, claimed_at });
        }
        candidates
    }

    async fn resolve(&mut self, events: &[Claim<Event>]) -> Result<Vec<Option<AppId>>, Fault> {
        let (directory, clock) = (Arc::clone(&self.seams.directory), Arc::clone(&self.seams.clock));
        let mut patience = Patience::new("resolve applications", &*clock);
        loop {
            let names: Vec<_> = events.iter().map(|claim| &claim.item.app).collect();
            match self.names.resolve(&*directory, &names).await {
                Ok(ids) => return Ok(ids),
                Err(fault) => patience.after(fault).await?,
            }
        }
    }

    /// The batch's one round trip; `None` if names moved and must be resolved anew. Waits as long as the directory is away or
    /// wrong: nothing is decided without it.
    async fn validate(&mut self, candidates: &[Candidate]) -> Result<Option<Decided>, Fault> {
        let apps: HashSet<AppId> = candidates.iter().map(|candidate| candidate.app).collect();
        let remembered: Vec<Remembered> = apps.iter().map(|app| self.snapshots.remembered(*app)).collect();
        let markers: Vec<MarkerClaim> = candidates.iter().filter_map(|candidate| candidate.marker.clone()).collect();
        let validate = || self.seams.directory.validate(&remembered, &markers);
        let validated: Validated = persistently("validate a batch", &*self.seams.clock, validate).await?;
        let apps = remembered.into_iter().map(|remembered| remembered.app).zip(validated.apps);
        let standings = apps.map(|(app, freshness)| (app, self.snapshots.refresh(app, freshness))).collect();
        if !self.names.hold(validated.counters.names) {
            self.names.forget();
            return Ok(None);
        }
        let catalog = validated.counters.catalog;
        if !self.types.hold(catalog) {
            let read = || Rules::read(&*self.seams.catalog, catalog);
            self.types.learn(persistently("read the catalog", &*self.seams.clock, read).await?);
        }
        let mut found = validated.markers.into_iter();
        let found = candidates.iter().map(|candidate| candidate.marker.as_ref().and_then(|_| found.next().flatten())).collect();
        Ok(Some((standings, found)))
    }

    fn dispose(
        &self,
        candidates: Vec<Candidate>,
        standings: &HashMap<AppId, Standing>,
        found: Vec<Option<Marker>>,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        let (mut batch, mut detours) = (Vec::with_capacity(candidates.len()), Vec::new());
        for (candidate, found) in candidates.into_iter().zip(found) {
            let ids = event_ids(std::slice::from_ref(&candidate));
            match standings.get(&candidate.app) {
                Some(Standing::Current) => {}
                Some(Standing::Untrusted) => {
                    self.give_back(vec![candidate.claim], ids);
                    continue;
                }
                Some(Standing::Gone) | None => {
                    let refusal = Refusal::new(RefusalReason::UnknownApp, "there is no such application");
                    self.reject(candidate.claim.map(drop), refusal);
                    self.in_flight.release(&ids);
                    continue;
                }
            }
            let routed = self.route(candidate, found.as_ref());
            if let Some(event) = &routed {
                self.discover(&event.fan_out.message.event);
            }
            match routed {
                Some(event) if event.fan_out.endpoints.len() > LARGE_FAN_OUT => self.complete(vec![event], None),
                // What goes aside waits for more that do; nothing else waits for it.
                Some(event) if event.fan_out.has_detours() => detours.push(event),
                Some(event) => batch.push(event),
                None => self.in_flight.release(&ids),
            }
        }
        if !detours.is_empty() {
            self.complete(detours, None);
        }
        if !batch.is_empty() {
            self.complete(batch, permit);
        }
    }

    /// The event with its identity and its endpoints; `None` if it ends here.
    fn route(&self, candidate: Candidate, found: Option<&Marker>) -> Option<RoutedEvent> {
        let Candidate { claim, app, marker, claimed_at } = candidate;
        let identity = match &marker {
            Some(marker) => identify(&marker.proposed, found),
            None => Identity::First(self.message_id(&claim.item)),
        };
        // What intake over HTTP accepted under this id has its word; what was only begun has nobody's, and may be an event that was
        // refused before and comes again.
        let has_word = found.is_some_and(|found| found.state != MarkerState::Claimed);
        if matches!(identity, Identity::First(_) | Identity::Again(_))
            && !has_word
            && let Some(refusal) = self.types.refuse(&claim.item)
        {
            self.reject(claim.map(drop), refusal);
            return None;
        }
        let (id, again) = match identity {
            Identity::First(id) => (id, claim.redelivered),
            Identity::Again(id) => (id, true),
            Identity::Duplicate => {
                self.seams.metrics.events_duplicate_total.inc(Source::Amqp);
                self.seams.metrics.router_events_total.inc(Routed::Duplicate);
                self.suppress(claim.map(drop));
                return None;
            }
            Identity::Conflict => {
                let detail = "this event id is known with other content";
                self.reject(claim.map(drop), Refusal::new(RefusalReason::IdConflict, detail));
                return None;
            }
        };
        let Some((endpoints, as_of)) = self.snapshots.route(app, &claim.item) else {
            tracing::error!(%app, "there is no snapshot of an application; its events wait");
            self.give_back(vec![claim], Vec::new());
            return None;
        };
        let (event, claim) = claim.detach();
        // The moment of acceptance is the message id's: it stays the same when the fan-out is repeated, and so do the ids of attempts.
        let now = self.seams.clock.now();
        let mut span = self.seams.traces.begin(Stage::Route, event.traceparent.as_deref(), now);
        span.say("message_id", id);
        span.say("endpoints", endpoints.len());
        let traceparent = span.traceparent().or(event.traceparent);
        let event = Arc::new(Event { accepted_at: id.time(), traceparent, ..event });
        let message = Arc::new(Message { id, app, event });
        let proposed = Marker { message: id, ..marker.as_ref().map_or(EMPTY_MARKER, |marker| marker.proposed) };
        let marker = marker.map(|marker| MarkerClaim { proposed, ..marker });
        let gates = self.trouble.gates();
        let fan_out = FanOut { message, endpoints: Arc::from(endpoints), as_of, maybe_repeat: again, gates, now };
        Some(RoutedEvent { claim, fan_out, marker, claimed_at, span })
    }

    /// Tells the catalog of the event's type, if it is the first of it here.
    fn discover(&self, event: &Event) {
        if let Some(news) = self.types.meet(event, self.seams.clock.now()) {
            self.tasks.spawn(news.tell(Arc::clone(&self.seams.catalog)));
        }
    }

    fn complete(&self, events: Vec<RoutedEvent>, permit: Option<OwnedSemaphorePermit>) {
        let seams = self.seams.clone();
        let messages = events.iter().map(|event| &event.fan_out.message);
        let ids = messages.filter_map(|message| Some((message.app, message.event.id.clone()?))).collect();
        let held = Held { in_flight: Arc::clone(&self.in_flight), ids };
        let completed = async move {
            batch::complete(&seams, events).await;
            drop((held, permit));
        };
        self.tasks.spawn(completed.in_current_span());
    }

    /// Gives events back that cannot be routed now, a moment later; they are not being routed here until then.
    fn give_back(&self, claims: Vec<Claim<Event>>, ids: Vec<(AppId, EventId)>) {
        let (events, clock) = (Arc::clone(&self.seams.events), Arc::clone(&self.seams.clock));
        let held = Held { in_flight: Arc::clone(&self.in_flight), ids };
        self.tasks.spawn(async move {
            clock.sleep(LATER).await;
            for claim in claims {
                if let Err(fault) = events.give_back(claim.map(drop)).await {
                    tracing::debug!(error = fault.chain(), "an event was not given back; it comes again by itself");
                }
            }
            drop(held);
        });
    }

    fn suppress(&self, claim: Claim<()>) {
        let events = Arc::clone(&self.seams.events);
        self.tasks.spawn(async move {
            if let Err(fault) = events.suppress(claim).await {
                tracing::debug!(error = fault.chain(), "a duplicate was not acked; it will be recognised again");
            }
        });
    }

    fn reject(&self, claim: Claim<()>, refusal: Refusal) {
        self.seams.metrics.events_rejected_total.inc((Source::Amqp, refusal.reason));
        self.seams.metrics.router_events_total.inc(Routed::Rejected);
        tracing::info!(reason = refusal.reason.as_str(), detail = refusal.detail, "event rejected");
        let events = Arc::clone(&self.seams.events);
        self.tasks.spawn(async move {
            if let Err(fault) = events.reject(claim, &refusal).await {
                tracing::debug!(error = fault.chain(), "a rejected event was not moved; it comes again");
            }
        });
    }

    fn propose(&self, event: &Event, app: AppId) -> Option<MarkerClaim> {
        let Some(event_id) = event.id.clone() else {
            if event.message_id.is_none() {
                self.seams.metrics.events_without_id_total.inc();
            }
            return None;
        };
        let message = self.message_id(event);
        let proposed = Marker { message, content: event.content_hash(app), state: MarkerState::Claimed };
        Some(MarkerClaim { app, event_id, proposed })
    }

    /// The id intake gave the event, or a new one.
    fn message_id(&self, event: &Event) -> MessageId {
        event.message_id.unwrap_or_else(|| MessageId::new(self.seams.clock.now(), &*self.seams.entropy))
    }
}

const EMPTY_MARKER: Marker = Marker { message: MessageId::from_bytes([0; 20]), content: [0; 16], state: MarkerState::Claimed };

fn event_ids(candidates: &[Candidate]) -> Vec<(AppId, EventId)> {
    candidates.iter().filter_map(|candidate| Some((candidate.app, candidate.claim.item.id.clone()?))).collect()
}
