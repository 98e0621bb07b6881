//! The loop: one batch of claims after the other.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hookyard_core::event::EventId;
use hookyard_core::port::{Directory, Events, Journal, Marker, MarkerClaim, MarkerState, Remembered, Validated};
use hookyard_core::step::{Step, Tripwire};
use hookyard_core::{AppId, Claim, Clock, Entropy, Event, Fault, Intake, Message, MessageId, Refusal, RefusalReason};
use hookyard_telemetry::Metrics;
use hookyard_telemetry::label::{Routed, Source};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::batch::{self, RoutedEvent, persistently};
use crate::identify::{Identity, identify};
use crate::resolve::Names;
use crate::snapshots::{Snapshots, Standing};

/// Events taken at once.
const BATCH: usize = 256;
/// Batches on their way at once. While they are, the next one gathers: under load few large batches cost the broker and the store
/// far less than many small ones, and at idle nothing waits.
const BATCHES_IN_FLIGHT: usize = 2;
/// An event for more endpoints than this is completed beside its batch, so that the batch does not wait for it.
const LARGE_FAN_OUT: usize = 100;
/// How long the events of an application wait whose version went backwards, each time.
const REGRESSED_PAUSE: Duration = Duration::from_secs(1);

/// What the router works with.
#[derive(Clone)]
pub struct Seams {
    /// Events in, deliveries out.
    pub events: Arc<dyn Events>,
    /// Subscriptions and markers.
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

/// The router.
pub struct Router {
    seams: Seams,
    snapshots: Snapshots,
    names: Names,
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

/// A claimed, admitted event on its way through a batch.
struct Candidate {
    claim: Claim<Event>,
    app: AppId,
    marker: Option<MarkerClaim>,
    claimed_at: Instant,
}

/// How each application stands, and what each candidate's marker said before.
type Decided = (HashMap<AppId, Standing>, Vec<Option<Marker>>);

impl Router {
    /// A router that has not begun.
    pub fn new(seams: Seams) -> Self {
        let snapshots = Snapshots::new(seams.metrics.clone());
        let batches = Arc::new(Semaphore::new(BATCHES_IN_FLIGHT));
        Self { seams, snapshots, names: Names::default(), in_flight: Arc::default(), batches, tasks: TaskTracker::new() }
    }

    /// Routes until `stop`, then finishes what it holds.
    pub async fn run(mut self, stop: CancellationToken) {
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
                    let batch = tokio::select! {
                        () = stop.cancelled() => break,
                        batch = self.batch(events, permit) => batch,
                    };
                    match batch {
                        Ok(waiting) => held = waiting,
                        Err(fault) => tracing::error!(error = fault.chain(), "a batch was given back"),
                    }
                }
                Err(fault) => {
                    tracing::debug!(error = fault.chain(), "nothing to claim from");
                    tokio::time::sleep(Duration::from_millis(200)).await;
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
            self.seams.metrics.events_received_total.inc(Source::Amqp);
            match claim.transpose() {
                Err((refusal, claim)) => self.reject(claim, refusal),
                Ok(claim) => {
                    let bytes = u32::try_from(claim.item.data.len()).unwrap_or(u32::MAX);
                    self.seams.metrics.event_payload_bytes.observe(f64::from(bytes));
                    self.seams.metrics.router_event_lag_seconds.observe(now.since(claim.item.accepted_at).as_secs_f64());
                    events.push(claim);
                }
            }
        }
        events
    }

    /// Routes one batch; what must wait for another event in flight is handed back.
    async fn batch(
        &mut self,
        mut events: Vec<Claim<Event>>,
        mut permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Vec<Claim<Event>>, Fault> {
        let claimed_at = Instant::now();
        let mut waiting = Vec::new();
        while !events.is_empty() {
            let candidates = self.candidates(std::mem::take(&mut events), claimed_at, &mut waiting).await?;
            let ids = event_ids(&candidates);
            let validated = self.validate(&candidates).await.inspect_err(|_| self.in_flight.release(&ids))?;
            self.seams.tripwire.reached(Step::EventIdentified);
            if let Some((standings, found)) = validated {
                self.dispose(candidates, &standings, found, permit.take());
            } else {
                // The name of an application moved since it was resolved: what was published after that goes by the new name.
                self.in_flight.release(&ids);
                events = candidates.into_iter().map(|candidate| candidate.claim).collect();
            }
        }
        Ok(waiting)
    }

    async fn candidates(
        &mut self,
        events: Vec<Claim<Event>>,
        claimed_at: Instant,
        waiting: &mut Vec<Claim<Event>>,
    ) -> Result<Vec<Candidate>, Fault> {
        let ids = self.resolve(&events).await?;
        let mut candidates = Vec::with_capacity(events.len());
        for (claim, app) in events.into_iter().zip(ids) {
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
        Ok(candidates)
    }

    async fn resolve(&mut self, events: &[Claim<Event>]) -> Result<Vec<Option<AppId>>, Fault> {
        let directory = Arc::clone(&self.seams.directory);
        loop {
            let names: Vec<_> = events.iter().map(|claim| &claim.item.app).collect();
            match self.names.resolve(&*directory, &names).await {
                Ok(ids) => return Ok(ids),
                Err(fault) => wait_or_fail("resolve applications", fault).await?,
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
        let validated: Validated = persistently("validate a batch", validate).await?;
        let apps = remembered.into_iter().map(|remembered| remembered.app).zip(validated.apps);
        let standings = apps.map(|(app, freshness)| (app, self.snapshots.refresh(app, freshness))).collect();
        if !self.names.hold(validated.names) {
            self.names.forget();
            return Ok(None);
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
        let mut batch = Vec::with_capacity(candidates.len());
        for (candidate, found) in candidates.into_iter().zip(found) {
            let ids = event_ids(std::slice::from_ref(&candidate));
            match standings.get(&candidate.app) {
                Some(Standing::Current) => {}
                Some(Standing::Regressed) => {
                    let in_flight = Arc::clone(&self.in_flight);
                    self.tasks.spawn(async move {
                        tokio::time::sleep(REGRESSED_PAUSE).await;
                        drop(candidate);
                        in_flight.release(&ids);
                    });
                    continue;
                }
                Some(Standing::Gone) | None => {
                    let refusal = Refusal::new(RefusalReason::UnknownApp, "there is no such application");
                    self.reject(candidate.claim.map(drop), refusal);
                    self.in_flight.release(&ids);
                    continue;
                }
            }
            match self.route(candidate, found.as_ref()) {
                Some(event) if event.endpoints.len() > LARGE_FAN_OUT => self.complete(vec![event], None),
                Some(event) => batch.push(event),
                None => self.in_flight.release(&ids),
            }
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
        let endpoints = self.snapshots.route(app, &claim.item);
        let (event, claim) = claim.detach();
        // The moment of acceptance is the message id's: it stays the same when the fan-out is repeated, and so do the ids of attempts.
        let event = Arc::new(Event { accepted_at: id.time(), ..event });
        let message = Arc::new(Message { id, app, event });
        let proposed = Marker { message: id, ..marker.as_ref().map_or(EMPTY_MARKER, |marker| marker.proposed) };
        let marker = marker.map(|marker| MarkerClaim { proposed, ..marker });
        Some(RoutedEvent { claim, message, endpoints: Arc::from(endpoints), maybe_repeat: again, marker, claimed_at })
    }

    fn complete(&self, events: Vec<RoutedEvent>, permit: Option<OwnedSemaphorePermit>) {
        let (seams, in_flight) = (self.seams.clone(), Arc::clone(&self.in_flight));
        let ids: Vec<_> = events.iter().filter_map(|event| Some((event.message.app, event.message.event.id.clone()?))).collect();
        self.tasks.spawn(async move {
            batch::complete(&seams, events).await;
            in_flight.release(&ids);
            drop(permit);
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

/// A directory that is away or wrong is waited for; any other fault is the caller's.
async fn wait_or_fail(what: &'static str, fault: Fault) -> Result<(), Fault> {
    let mut first = Some(fault);
    persistently(what, || {
        let fault = first.take();
        async move { fault.map_or(Ok(()), Err) }
    })
    .await
}
