//! A dispatcher, or several, on ports in memory, scripted receivers and paused time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hookyard_core::admission::{BreakerRule, Mark, Passed, Reading, Step};
use hookyard_core::journal::{AttemptFilter, AttemptRecord, AttemptsOf, Entry, PageRequest};
use hookyard_core::outcome::UNAVAILABLE_AFTER;
use hookyard_core::port::{Directory as _, Expect, Gates, Journal, Log as _, Request, Sender, Written};
use hookyard_core::step::NoTripwire;
use hookyard_core::{
    AppId, Application, AttemptId, AttemptResult, Clock as _, DeadReason, Delivery, DeliveryKey, Endpoint, EndpointId, Fault,
    Gate, GateId, Lane, Outcome, Policy, Timestamp,
};
use hookyard_dispatcher::{Dispatcher, DispatcherConfig, Seams};
use hookyard_operations::Operations;
use hookyard_telemetry::{Metrics, Traces};
use hookyard_testkit::memory::{MemoryBroker, MemoryDirectory, MemoryGates, MemoryJournal};
use hookyard_testkit::{Builders, PausedClock, Receivers};
use hookyard_wire::request::SignatureHeaders;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long the journal keeps messages: longer than any test lasts.
const RETENTION: Duration = Duration::from_secs(90 * 24 * 3600);

/// The world of a test.
pub struct Stage {
    pub clock: PausedClock,
    pub make: Builders,
    pub broker: MemoryBroker,
    pub directory: Arc<MemoryDirectory>,
    pub gates: Arc<MemoryGates>,
    pub journal: Arc<MemoryJournal>,
    pub receivers: Arc<Receivers>,
    pub config: DispatcherConfig,
    alive: watch::Sender<usize>,
}

/// A dispatcher at work.
pub struct Process {
    pub metrics: Metrics,
    stop: CancellationToken,
    dead: CancellationToken,
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Delivered,
    Dead(DeadReason),
    Waiting,
}

impl Stage {
    /// With endpoints and events whose ids come from `seed`.
    pub fn new(seed: u64) -> Self {
        let clock = PausedClock::default();
        let shared: Arc<PausedClock> = Arc::new(clock.clone());
        let config = DispatcherConfig {
            policy: Policy::default(),
            concurrency: 512,
            per_endpoint_concurrency: 8,
            signature_headers: SignatureHeaders::Standard,
            user_agent: "Hookyard/test".to_owned(),
            endpoint_memory: Duration::from_secs(600),
            breaker: BreakerRule::default(),
            unavailable_after: UNAVAILABLE_AFTER,
            disable_after: None,
        };
        Self {
            make: Builders::new(Arc::clone(&shared) as _, seed),
            broker: MemoryBroker::new(Arc::clone(&shared) as _),
            directory: Arc::default(),
            gates: Arc::default(),
            journal: Arc::new(MemoryJournal::new(Arc::clone(&shared) as _, RETENTION)),
            receivers: Arc::new(Receivers::new(shared)),
            config,
            alive: watch::Sender::new(0),
            clock,
        }
    }

    /// A stored application.
    pub async fn app(&self) -> Application {
        let app = self.make.app();
        assert!(matches!(self.directory.put_app(&app, Expect::New).await, Ok(Written::Done(_))));
        app
    }

    /// A stored endpoint at `host`, changed as `change` says.
    pub async fn endpoint(&self, app: AppId, host: &str, change: impl FnOnce(&mut Endpoint)) -> Endpoint {
        let mut endpoint = Endpoint { url: format!("https://{host}/"), ..self.make.endpoint(app) };
        change(&mut endpoint);
        match self.directory.put_endpoint(&endpoint, Expect::New).await {
            Ok(Written::Done(revision)) => Endpoint { revision, ..endpoint },
            other => panic!("{other:?}"),
        }
    }

    /// A delivery of a new event, on its way.
    pub fn publish(&self, endpoint: &Endpoint) -> Delivery {
        let message = Arc::new(self.make.message(endpoint.app));
        let delivery = Delivery::routed(message, endpoint.id, false);
        self.broker.submit_delivery(Lane::Fast, delivery.clone());
        delivery
    }

    /// Starts a dispatcher.
    pub fn start(&self) -> Process {
        let metrics = Metrics::unregistered();
        let (stop, dead) = (CancellationToken::new(), CancellationToken::new());
        let mortal = |port| Mortal { port, dead: dead.clone() };
        let clock: Arc<PausedClock> = Arc::new(self.clock.clone());
        let events = Arc::new(self.broker.clone());
        let entropy = Arc::clone(&self.make.entropy);
        let operations =
            Operations::new(events, Arc::clone(&self.directory) as _, Arc::clone(&clock) as _, Arc::clone(&entropy) as _);
        self.alive.send_modify(|alive| *alive += 1);
        let seams = Seams {
            deliveries: Arc::new(self.broker.clone()),
            gates: Arc::new(Mortal { port: Arc::clone(&self.gates) as Arc<dyn Gates>, dead: dead.clone() }),
            directory: Arc::clone(&self.directory) as _,
            journal: Arc::new(Mortal { port: Arc::clone(&self.journal) as Arc<dyn Journal>, dead: dead.clone() }),
            operations: Arc::new(operations),
            sender: Arc::new(mortal(Arc::clone(&self.receivers) as Arc<dyn Sender>)),
            dispatchers: self.alive.subscribe(),
            longest_wait: Arc::default(),
            clock,
            entropy,
            metrics: metrics.clone(),
            traces: Traces::default(),
            tripwire: Arc::new(NoTripwire),
        };
        let dispatcher = Dispatcher::new(seams, self.config.clone());
        tokio::spawn(dispatcher.run(stop.clone(), TaskTracker::new()));
        Process { metrics, stop, dead }
    }

    /// Ends a process as the kernel does: from now on nothing of it has any effect, and what it held comes again.
    pub fn kill(&self, process: &Process) {
        process.dead.cancel();
        process.stop.cancel();
        self.alive.send_modify(|alive| *alive -= 1);
        self.broker.restart();
    }

    /// The recorded attempts of a delivery, in order.
    pub async fn attempts(&self, delivery: &Delivery) -> Vec<AttemptRecord> {
        let (app, of) = (delivery.message.app, AttemptsOf::Message(delivery.message.id));
        let page = PageRequest { from: None, limit: 1_000 };
        let page = self.journal.attempts(app, of, &AttemptFilter::default(), page).await.expect("answered");
        let mut attempts: Vec<_> =
            page.items.into_iter().filter(|attempt| attempt.delivery.endpoint == delivery.endpoint).collect();
        attempts.sort_by_key(|attempt| attempt.number);
        attempts
    }

    /// What became of deliveries, by message and endpoint. Takes the dead letters out.
    pub async fn fates(&self, deliveries: &[Delivery]) -> BTreeMap<DeliveryKey, Fate> {
        let dead: BTreeMap<_, _> =
            self.broker.take_dead().into_iter().map(|letter| (letter.delivery.key(), letter.reason)).collect();
        let mut fates = BTreeMap::new();
        for delivery in deliveries {
            let attempts = self.attempts(delivery).await;
            let is_delivered = attempts.iter().any(|attempt| attempt.outcome == Outcome::Delivered);
            let fate = match dead.get(&delivery.key()) {
                Some(reason) => Fate::Dead(*reason),
                None if is_delivered => Fate::Delivered,
                None => Fate::Waiting,
            };
            fates.insert(delivery.key(), fate);
        }
        fates
    }

    /// The gate of an endpoint.
    pub async fn gate(&self, endpoint: EndpointId) -> Gate {
        self.gates.gates(&[endpoint.into()]).await.expect("answered")[0]
    }

    /// Lets so much time pass.
    pub async fn pass(&self, time: Duration) {
        self.clock.sleep(time).await;
    }
}

impl Process {
    /// Ends it as an operator does.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

/// A port of a process that may die: then what was asked is never answered, and has no effect.
struct Mortal<T: ?Sized> {
    port: Arc<T>,
    dead: CancellationToken,
}

impl<T: ?Sized> Mortal<T> {
    async fn unless_dead<R>(&self, answer: impl Future<Output = R>) -> R {
        tokio::select! {
            biased;
            () = self.dead.cancelled() => std::future::pending().await,
            answer = answer => answer,
        }
    }
}

#[async_trait]
impl Gates for Mortal<dyn Gates> {
    async fn changed(&self, mark: Option<Mark>, now: Timestamp) -> Result<Reading, Fault> {
        self.unless_dead(self.port.changed(mark, now)).await
    }

    async fn gates(&self, ids: &[GateId]) -> Result<Vec<Gate>, Fault> {
        self.unless_dead(self.port.gates(ids)).await
    }

    async fn steps(&self, id: GateId, steps: &[Step], now: Timestamp) -> Result<Passed, Fault> {
        self.unless_dead(self.port.steps(id, steps, now)).await
    }
}

#[async_trait]
impl Journal for Mortal<dyn Journal> {
    async fn record(&self, entries: Arc<[Entry]>) -> Result<(), Fault> {
        self.unless_dead(self.port.record(entries)).await
    }

    async fn recorded(&self, delivery: DeliveryKey, attempt: AttemptId) -> Result<Option<AttemptRecord>, Fault> {
        self.unless_dead(self.port.recorded(delivery, attempt)).await
    }
}

#[async_trait]
impl Sender for Mortal<dyn Sender> {
    async fn send(&self, request: Request) -> Result<AttemptResult, Fault> {
        self.unless_dead(self.port.send(request)).await
    }
}
