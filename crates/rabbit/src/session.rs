//! A session: two connections to the broker and everything on them, thrown away as one at the first error and begun again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use hookyard_core::step::Tripwire;
use hookyard_core::{Clock, Entropy, Fault, FaultKind, Lane};
use hookyard_telemetry::Metrics;
use hookyard_telemetry::label;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::uri::AMQPUri;
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::acker::Acker;
use crate::beside::Beside;
use crate::config::{RabbitConfig, Shards};
use crate::consume::{self, Inbox, Intent};
use crate::names::Names;
use crate::publish::Publisher;
use crate::receipt::Receipt;
use crate::reconnect::Reconnect;
use crate::together::Together;
use crate::topology::{Topology, short};

/// Time to reach the broker and agree on a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time to begin a session, with every exchange and queue declared on a busy cluster.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(60);
/// Time to send the last acks, and for the broker's answer to a goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Seconds between heartbeats: a dead peer is noticed within twice that.
const HEARTBEAT_S: u16 = 10;
/// Events a router holds at once.
const ROUTER_PREFETCH: u16 = 512;
/// Groups of spilled journal entries held at once: they are written back beside the living traffic.
const SPILL_PREFETCH: u16 = 8;
/// A session that lived this long was a good one: the next wait begins from the shortest.
const GOOD_SESSION: Duration = Duration::from_secs(10);

/// The adapter: one running session at a time, and what outlives it.
pub struct Rabbit {
    pub(crate) config: RabbitConfig,
    pub(crate) names: Names,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tripwire: Arc<dyn Tripwire>,
    entropy: Arc<dyn Entropy>,
    shards: AtomicU64,
    current: watch::Sender<Option<Arc<Session>>>,
    /// Held by whoever looks into the queue of what was rejected.
    pub(crate) looking: tokio::sync::Mutex<()>,
    /// For what is looked at again and again.
    pub(crate) beside: Beside,
    /// Nothing more is claimed.
    draining: CancellationToken,
    stop: CancellationToken,
}

/// One life with the broker.
pub struct Session {
    /// Ends everything of the session.
    pub dead: CancellationToken,
    pub(crate) metrics: Metrics,
    pub(crate) names: Names,
    pub(crate) shards: Shards,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) events: Publisher,
    pub(crate) deliveries: Publisher,
    pub(crate) returns: Publisher,
    pub(crate) blocked: Arc<AtomicBool>,
    pub(crate) draining: CancellationToken,
    pub(crate) together: Together,
    inboxes: Inboxes,
    ackers: Mutex<Vec<Acker>>,
    connections: Mutex<Vec<Connection>>,
}

#[derive(Default)]
struct Inboxes {
    events: Option<Inbox>,
    fast: Option<Inbox>,
    slow: Option<Inbox>,
    spill: Option<Inbox>,
}

/// Which mailbox to claim from.
#[derive(Clone, Copy, Debug)]
pub enum From {
    Events,
    Lane(Lane),
    Spill,
}

impl Rabbit {
    /// Begins the sessions in the background; the first may take a while, and every call waits for one.
    pub fn start(
        config: RabbitConfig,
        shards: Shards,
        metrics: Metrics,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        tripwire: Arc<dyn Tripwire>,
    ) -> Arc<Self> {
        let names = Names::new(&config.prefix);
        let current = watch::Sender::new(None);
        let (draining, stop) = (CancellationToken::new(), CancellationToken::new());
        let shards = AtomicU64::new(pack(shards));
        let (looking, beside) = (tokio::sync::Mutex::default(), Beside::default());
        let rabbit = Self { config, names, metrics, clock, tripwire, entropy, shards, current, looking, beside, draining, stop };
        let rabbit = Arc::new(rabbit);
        tokio::spawn(supervise(Arc::clone(&rabbit)));
        rabbit
    }

    /// The number of shards in use may only grow; a larger one begins a new session that consumes them all.
    pub fn grow_shards(&self, shards: Shards) {
        let known = self.shards();
        let grown = Shards { fast: known.fast.max(shards.fast), slow: known.slow.max(shards.slow) };
        if grown != known {
            self.shards.store(pack(grown), Ordering::Relaxed);
            if let Some(session) = &*self.current.borrow() {
                session.dead.cancel();
            }
        }
    }

    /// The number of shards in use.
    pub fn shards(&self) -> Shards {
        let packed = self.shards.load(Ordering::Relaxed);
        Shards { fast: (packed >> 32) as u32, slow: (packed & 0xffff_ffff) as u32 }
    }

    /// Whether a session is up.
    pub fn is_connected(&self) -> bool {
        self.current.borrow().as_ref().is_some_and(|session| !session.dead.is_cancelled())
    }

    /// The first part of a stop: nothing more is claimed, and what is dropped unsettled goes back with the session's end. Giving
    /// it back by a publish of its own, as otherwise, would race with that end and make two of it.
    pub fn stop_claiming(&self) {
        self.draining.cancel();
    }

    /// Ends the session for good: unsettled claims go back to the broker.
    pub async fn stop(&self) {
        self.stop_claiming();
        self.stop.cancel();
        let session = self.current.borrow().clone();
        if let Some(session) = session {
            session.flush().await;
            session.end().await;
        }
        self.stop_looking().await;
    }

    /// Declares exchanges, queues and bindings once, on a connection of its own.
    pub async fn declare_topology(config: &RabbitConfig, shards: Shards) -> Result<(), Fault> {
        let unavailable = |error: lapin::Error| Fault::unavailable("declare topology", error);
        let connection = connect(config, "topology").await?;
        let channel = connection.create_channel().await.map_err(unavailable)?;
        let declared = Topology::new(&config.prefix, shards).declare(&channel).await;
        close(connection).await;
        declared.map_err(unavailable)
    }

    /// A connection of its own.
    pub(crate) async fn connect_once(config: &RabbitConfig, purpose: &str) -> Result<Connection, Fault> {
        connect(config, purpose).await
    }

    /// The session of this moment, or the fault that there is none.
    pub(crate) fn session(&self, operation: &'static str) -> Result<Arc<Session>, Fault> {
        let session = self.current.borrow().clone().filter(|session| !session.dead.is_cancelled());
        session.ok_or_else(|| Fault::new(FaultKind::Unavailable, operation))
    }

    /// Waits for messages in a mailbox, over as many sessions as it takes, and takes 1 to `max` of them.
    pub(crate) async fn take(&self, from: From, max: usize) -> Result<Vec<Box<Receipt>>, Fault> {
        let mut sessions = self.current.subscribe();
        loop {
            let session = sessions.borrow_and_update().clone();
            if let Some(session) = session
                && let Some(inbox) = session.inboxes.of(from)
            {
                let mut taken = Vec::new();
                let mut inbox = inbox.lock().await;
                let received = tokio::select! {
                    biased;
                    () = self.draining.cancelled() => 0,
                    () = session.dead.cancelled() => 0,
                    count = inbox.recv_many(&mut taken, max) => count,
                };
                // While the broker blocks publishing, nothing claimed could be settled.
                if received > 0 && !session.wait_unblocked().await {
                    continue;
                }
                if received > 0 {
                    return Ok(taken);
                }
            }
            tokio::select! {
                () = self.draining.cancelled() => return Err(Fault::new(FaultKind::Unavailable, "claim")),
                changed = sessions.changed() => changed.map_err(|error| Fault::unavailable("claim", error))?,
            }
        }
    }
}

impl Inboxes {
    /// What was taken and not claimed knows its session, and the session knows its inboxes: somebody has to let go.
    async fn clear(&self) {
        let inboxes: Vec<&Inbox> = [&self.events, &self.fast, &self.slow, &self.spill].into_iter().flatten().collect();
        for inbox in inboxes {
            let mut inbox = inbox.lock().await;
            inbox.close();
            while inbox.try_recv().is_ok() {}
        }
    }

    fn of(&self, from: From) -> Option<&Inbox> {
        match from {
            From::Events => self.events.as_ref(),
            From::Lane(Lane::Fast) => self.fast.as_ref(),
            From::Lane(Lane::Slow) => self.slow.as_ref(),
            From::Spill => self.spill.as_ref(),
        }
    }
}

impl Session {
    /// Whether publishing is possible (again); `false` if the session ended meanwhile.
    async fn wait_unblocked(&self) -> bool {
        while self.blocked.load(Ordering::Relaxed) {
            tokio::select! {
                () = self.dead.cancelled() => return false,
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
        }
        !self.dead.is_cancelled()
    }

    /// An acker of this session.
    pub(crate) fn keep(&self, acker: Acker) {
        if let Ok(mut ackers) = self.ackers.lock() {
            ackers.push(acker);
        }
    }

    /// Sends the acks that are still held together: what was settled before a deliberate stop does not come again.
    async fn flush(&self) {
        let Ok(ackers) = self.ackers.lock().map(|ackers| ackers.clone()) else { return };
        let flushing = async {
            for acker in ackers {
                acker.flush().await;
            }
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, flushing).await.is_err() {
            tracing::debug!("the broker did not take the last acks in time; what they were for comes again");
        }
    }

    async fn end(&self) {
        self.dead.cancel();
        self.inboxes.clear().await;
        let connections = match self.connections.lock() {
            Ok(mut connections) => std::mem::take(&mut *connections),
            Err(_) => return,
        };
        join_all(connections.into_iter().map(close)).await;
        self.metrics.set_connected(label::Connection::Publish, false);
        self.metrics.set_connected(label::Connection::Consume, false);
        self.metrics.amqp_blocked.set(0);
    }
}

/// Says goodbye, and does not wait for ever for the answer: lapin's close never returns when one of the connection's channels is
/// being closed at the same moment. A connection that is dropped unanswered is closed all the same.
pub(crate) async fn close(connection: Connection) {
    match tokio::time::timeout(CLOSE_TIMEOUT, connection.close(200, short("bye"))).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the connection was already closed"),
        Err(_) => tracing::debug!("the broker's goodbye did not come"),
    }
}

async fn supervise(rabbit: Arc<Rabbit>) {
    let mut reconnect = Reconnect::new();
    let mut sessions = 0_u64;
    while !rabbit.stop.is_cancelled() {
        let begun = tokio::time::timeout(BEGIN_TIMEOUT, begin(&rabbit)).await;
        match begun.unwrap_or_else(|elapsed| Err(Fault::unavailable("begin a session", elapsed))) {
            Ok(session) => {
                let begun = Instant::now();
                if sessions > 0 {
                    rabbit.metrics.amqp_reconnects_total.inc();
                }
                sessions += 1;
                tracing::info!(sessions, "connected to the broker");
                rabbit.current.send_replace(Some(Arc::clone(&session)));
                tokio::select! {
                    () = session.dead.cancelled() => {}
                    // A stop that came while the session began did not know of it.
                    () = rabbit.stop.cancelled() => session.flush().await,
                }
                session.end().await;
                if begun.elapsed() > GOOD_SESSION {
                    reconnect.reset();
                }
            }
            Err(fault) => tracing::warn!(error = fault.chain(), "no session with the broker"),
        }
        let pause = reconnect.next(&*rabbit.entropy);
        tokio::select! {
            () = rabbit.stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn connect(config: &RabbitConfig, purpose: &str) -> Result<Connection, Fault> {
    let mut uri: AMQPUri = config.url.parse().map_err(|error: String| {
        // The text may hold a password.
        Fault::caused(FaultKind::Refused, "read the broker's URL", error.replace(&config.url, "…"))
    })?;
    uri.query.heartbeat = Some(HEARTBEAT_S);
    let name = format!("{} {purpose}", config.name);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let connecting = Connection::connect_uri(uri, properties);
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(connected) => connected.map_err(|error| Fault::unavailable("connect to the broker", error)),
        Err(elapsed) => Err(Fault::unavailable("connect to the broker", elapsed)),
    }
}

async fn begin(rabbit: &Rabbit) -> Result<Arc<Session>, Fault> {
    let broken = |error: lapin::Error| Fault::unavailable("begin a session", error);
    let (config, names, shards) = (&rabbit.config, &rabbit.names, rabbit.shards());
    let publishing = connect(config, "publish").await?;
    if config.declare {
        let channel = publishing.create_channel().await.map_err(broken)?;
        Topology::new(&config.prefix, shards).declare(&channel).await.map_err(broken)?;
        channel.close(200, short("done")).await.map_err(broken)?;
    }
    probe(&publishing, names).await?;
    let (dead, blocked) = (CancellationToken::new(), Arc::new(AtomicBool::new(false)));
    watch_connection(&publishing, rabbit.metrics.clone(), Arc::clone(&blocked), dead.clone());
    let mut publishers = Vec::with_capacity(3);
    for _ in 0..3 {
        let channel = publishing.create_channel().await.map_err(broken)?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(broken)?;
        publishers.push(Publisher::start(channel, rabbit.metrics.clone(), Arc::clone(&blocked), dead.clone()));
    }
    let mut connections = vec![publishing];
    let (mut inboxes, mut intents) = (Inboxes::default(), Vec::new());
    if config.consumes.anything() {
        let consuming = connect(config, "consume").await?;
        watch_connection(&consuming, rabbit.metrics.clone(), Arc::new(AtomicBool::new(false)), dead.clone());
        open_inboxes(&consuming, config, names, shards, &mut inboxes, &mut intents).await.map_err(broken)?;
        connections.push(consuming);
        rabbit.metrics.set_connected(label::Connection::Consume, true);
    }
    rabbit.metrics.set_connected(label::Connection::Publish, true);
    let [returns, deliveries, events] = [publishers.pop(), publishers.pop(), publishers.pop()];
    let (Some(returns), Some(deliveries), Some(events)) = (returns, deliveries, events) else {
        return Err(Fault::new(FaultKind::Refused, "begin a session"));
    };
    let session = Arc::new(Session {
        dead,
        metrics: rabbit.metrics.clone(),
        names: names.clone(),
        shards,
        clock: Arc::clone(&rabbit.clock),
        events,
        deliveries,
        returns,
        blocked,
        draining: rabbit.draining.clone(),
        together: Together::default(),
        inboxes,
        ackers: Mutex::default(),
        connections: Mutex::new(connections),
    });
    for intent in intents {
        if let Err(error) = intent.begin(&session).await {
            session.end().await;
            return Err(broken(error));
        }
    }
    Ok(session)
}

async fn open_inboxes(
    connection: &Connection,
    config: &RabbitConfig,
    names: &Names,
    shards: Shards,
    inboxes: &mut Inboxes,
    intents: &mut Vec<Intent>,
) -> lapin::Result<()> {
    if config.consumes.events {
        let (intent, inbox) = consume::open(connection, vec![names.ingest()], ROUTER_PREFETCH).await?;
        intents.push(intent);
        inboxes.events = Some(inbox);
    }
    if config.consumes.deliveries {
        let queues = |lane, count: u32| (0..count).map(|shard| names.lane_queue(lane, shard)).collect::<Vec<_>>();
        for (lane, count) in [(Lane::Fast, shards.fast), (Lane::Slow, shards.slow)] {
            let prefetch = prefetch_per_shard(config.concurrency, count);
            let (intent, inbox) = consume::open(connection, queues(lane, count), prefetch).await?;
            intents.push(intent);
            match lane {
                Lane::Fast => inboxes.fast = Some(inbox),
                Lane::Slow => inboxes.slow = Some(inbox),
            }
        }
    }
    if config.consumes.spill {
        let (intent, inbox) = consume::open(connection, vec![names.journal()], SPILL_PREFETCH).await?;
        intents.push(intent);
        inboxes.spill = Some(inbox);
    }
    Ok(())
}

/// A quarter more than can be in flight, so that the next claim is at hand when a request ends.
fn prefetch_per_shard(concurrency: u16, shards: u32) -> u16 {
    let window = u32::from(concurrency) * 5 / 4;
    u16::try_from(window / shards.max(1)).unwrap_or(u16::MAX).max(1)
}

/// Publishing must work before anything is consumed: what is claimed could not be settled otherwise.
async fn probe(connection: &Connection, names: &Names) -> Result<(), Fault> {
    let broken = |error: lapin::Error| Fault::unavailable("probe the broker", error);
    let channel = connection.create_channel().await.map_err(broken)?;
    channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(broken)?;
    let options = BasicPublishOptions::default();
    let key = short(&names.probe());
    let confirm = channel.basic_publish(short(""), key, options, b"", BasicProperties::default()).await.map_err(broken)?;
    match tokio::time::timeout(CONNECT_TIMEOUT, confirm).await {
        Ok(Ok(Confirmation::Ack(_))) => channel.close(200, short("done")).await.map_err(broken),
        Ok(Ok(_)) => Err(Fault::new(FaultKind::Refused, "probe the broker")),
        Ok(Err(error)) => Err(broken(error)),
        Err(elapsed) => Err(Fault::unavailable("probe the broker", elapsed)),
    }
}

fn watch_connection(connection: &Connection, metrics: Metrics, blocked: Arc<AtomicBool>, dead: CancellationToken) {
    let mut events = Box::pin(connection.events_listener());
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                () = dead.cancelled() => return,
                event = events.next() => event,
            };
            match event {
                Some(lapin::Event::ConnectionBlocked(reason)) => {
                    tracing::warn!(reason, "the broker blocks publishing");
                    blocked.store(true, Ordering::Relaxed);
                    metrics.amqp_blocked.set(1);
                }
                Some(lapin::Event::ConnectionUnblocked) => {
                    tracing::info!("the broker no longer blocks publishing");
                    blocked.store(false, Ordering::Relaxed);
                    metrics.amqp_blocked.set(0);
                }
                Some(lapin::Event::Error(error)) if matches!(error.kind(), lapin::ErrorKind::ParsingError(_)) => {
                    tracing::error!(
                        %error,
                        "a message cannot be parsed, and no session lasts while it is first in its queue: somebody published text that \
                         is not UTF-8 in a property or a header's name; take it out of the queue (docs/behaviour.md: text that is not UTF-8)"
                    );
                    dead.cancel();
                }
                Some(lapin::Event::Error(error)) => {
                    tracing::warn!(%error, "the connection to the broker broke");
                    dead.cancel();
                }
                Some(_) => {}
                None => {
                    dead.cancel();
                    return;
                }
            }
        }
    });
}

fn pack(shards: Shards) -> u64 {
    (u64::from(shards.fast) << 32) | u64::from(shards.slow)
}
