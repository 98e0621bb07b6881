//! The adapter: one running session at a time for each purpose, and what outlives it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use hookyard_core::step::Tripwire;
use hookyard_core::{Clock, Entropy, Fault, FaultKind, Lane};
use hookyard_telemetry::{Metrics, label};
use lapin::Channel;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use crate::beside::Beside;
use crate::blocked::BlockedConnections;
use crate::config::{Purpose, RabbitConfig, Shards};
use crate::connection::{close, connect};
use crate::names::Names;
use crate::receipt::Receipt;
use crate::reconnect::Reconnect;
use crate::session::{self, Session};
use crate::topology::Topology;

/// Time to begin a session, with every exchange and queue declared on a busy cluster.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(60);
/// A session that lived this long was a good one: the next wait begins from the shortest.
const GOOD_SESSION: Duration = Duration::from_secs(10);
/// Pause before sessions begin anew after what keeps them panicked: what made it panic may still be there.
const AFTER_PANIC: Duration = Duration::from_secs(10);
/// The sessions of a process begin together: what one of them has just declared, the others need not declare.
const DECLARED_FOR: Duration = Duration::from_secs(5);

/// The adapter. What breaks the session of one purpose leaves those of the others alone.
pub struct Rabbit {
    pub(crate) config: RabbitConfig,
    pub(crate) names: Names,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tripwire: Arc<dyn Tripwire>,
    entropy: Arc<dyn Entropy>,
    shards: AtomicU64,
    lives: Vec<Life>,
    declared: Mutex<Option<(Shards, Instant)>>,
    pub(crate) blocked: BlockedConnections,
    /// Held while the queue of what was rejected is looked into.
    pub(crate) looking: Mutex<()>,
    /// For what is looked at again and again.
    pub(crate) beside: Beside,
    /// Nothing more is claimed.
    pub(crate) draining: CancellationToken,
    stop: CancellationToken,
}

/// The sessions of one purpose, one after another.
struct Life {
    purpose: Purpose,
    current: watch::Sender<Option<Arc<Session>>>,
}

/// Which mailbox to claim from.
#[derive(Clone, Copy, Debug)]
pub enum From {
    Events,
    Lane(Lane),
    Spill,
}

impl From {
    fn purpose(self) -> Purpose {
        match self {
            Self::Events => Purpose::Route,
            Self::Lane(_) => Purpose::Dispatch,
            Self::Spill => Purpose::Drain,
        }
    }
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
        let purposes = config.consumes.purposes();
        let rabbit = Arc::new(Self {
            names: Names::new(&config.prefix),
            blocked: BlockedConnections::new(metrics.clone()),
            config,
            metrics,
            clock,
            tripwire,
            entropy,
            shards: AtomicU64::new(pack(shards)),
            lives: purposes.iter().map(|purpose| Life { purpose: *purpose, current: watch::Sender::new(None) }).collect(),
            declared: Mutex::default(),
            looking: Mutex::default(),
            beside: Beside::default(),
            draining: CancellationToken::new(),
            stop: CancellationToken::new(),
        });
        for purpose in purposes {
            let rabbit = Arc::clone(&rabbit);
            #[expect(clippy::disallowed_methods, reason = "begins anew if it panics")]
            tokio::spawn(async move {
                while AssertUnwindSafe(supervise(Arc::clone(&rabbit), purpose)).catch_unwind().await.is_err() {
                    tracing::error!(purpose = purpose.as_str(), "what keeps a connection to the broker panicked; it begins anew");
                    tokio::time::sleep(AFTER_PANIC).await;
                }
            });
        }
        rabbit
    }

    /// The number of shards in use may only grow; a larger one begins new sessions, which use and consume them all.
    pub fn grow_shards(&self, shards: Shards) {
        let known = self.shards();
        let grown = Shards { fast: known.fast.max(shards.fast), slow: known.slow.max(shards.slow) };
        if grown != known {
            self.shards.store(pack(grown), Ordering::Relaxed);
            for session in self.sessions() {
                session.dead.cancel();
            }
        }
    }

    /// The number of shards in use.
    pub fn shards(&self) -> Shards {
        let packed = self.shards.load(Ordering::Relaxed);
        Shards { fast: (packed >> 32) as u32, slow: (packed & 0xffff_ffff) as u32 }
    }

    /// Whether there is a session for every purpose.
    pub fn is_connected(&self) -> bool {
        self.lives.iter().all(Life::is_live)
    }

    /// The first part of a stop: nothing more is claimed, and what is dropped unsettled goes back with its session's end. Giving
    /// it back by a publish of its own, as otherwise, would race with that end and make two of it.
    pub fn stop_claiming(&self) {
        self.draining.cancel();
    }

    /// Ends the sessions for good: unsettled claims go back to the broker.
    pub async fn stop(&self) {
        self.stop_claiming();
        self.stop.cancel();
        let ending = self.sessions().into_iter().map(|session| async move {
            session.flush().await;
            session.end().await;
        });
        join_all(ending).await;
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

    /// The session for publishing, or the fault that there is none at this moment.
    pub(crate) fn session(&self, operation: &'static str) -> Result<Arc<Session>, Fault> {
        let life = self.life(Purpose::Publish);
        let session = life.and_then(Life::session);
        session.ok_or_else(|| Fault::new(FaultKind::Unavailable, operation))
    }

    /// Waits for messages in a mailbox, over as many sessions as it takes, and takes 1 to `max` of them.
    pub(crate) async fn take(&self, from: From, max: usize) -> Result<Vec<Box<Receipt>>, Fault> {
        let Some(life) = self.life(from.purpose()) else {
            // This process does not consume it.
            self.draining.cancelled().await;
            return Err(Fault::new(FaultKind::Unavailable, "claim"));
        };
        let mut sessions = life.current.subscribe();
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

    /// Makes sure that every exchange and queue is there before a session uses them.
    pub(crate) async fn prepare(&self, channel: &Channel, shards: Shards) -> lapin::Result<()> {
        let mut declared = self.declared.lock().await;
        if declared.is_some_and(|(known, at)| known == shards && at.elapsed() < DECLARED_FOR) {
            return Ok(());
        }
        let topology = Topology::new(&self.config.prefix, shards);
        if self.config.declare {
            topology.declare(channel).await?;
        } else {
            topology.expect(channel).await?;
        }
        *declared = Some((shards, Instant::now()));
        Ok(())
    }

    fn life(&self, purpose: Purpose) -> Option<&Life> {
        self.lives.iter().find(|life| life.purpose == purpose)
    }

    fn sessions(&self) -> Vec<Arc<Session>> {
        self.lives.iter().filter_map(|life| life.current.borrow().clone()).collect()
    }

    /// Tells which kinds of connections are up: one of a kind that is down is what an operator has to know of.
    fn tell_connected(&self) {
        let mut consuming = self.lives.iter().filter(|life| life.purpose.consumes()).peekable();
        let consumes = consuming.peek().is_some() && consuming.all(Life::is_live);
        self.metrics.set_connected(label::Connection::Consume, consumes);
        self.metrics.set_connected(label::Connection::Publish, self.is_connected());
    }
}

impl Life {
    fn session(&self) -> Option<Arc<Session>> {
        self.current.borrow().clone().filter(|session| !session.dead.is_cancelled())
    }

    fn is_live(&self) -> bool {
        self.session().is_some()
    }
}

async fn supervise(rabbit: Arc<Rabbit>, purpose: Purpose) {
    let Some(life) = rabbit.life(purpose) else { return };
    let mut reconnect = Reconnect::new();
    let mut sessions = 0_u64;
    let purpose = purpose.as_str();
    while !rabbit.stop.is_cancelled() {
        let begun = tokio::time::timeout(BEGIN_TIMEOUT, session::begin(&rabbit, life.purpose)).await;
        match begun.unwrap_or_else(|elapsed| Err(Fault::unavailable("begin a session", elapsed))) {
            Ok(session) => {
                // Also if this panics: its consumers would keep what they were given.
                let _ends_session = session.dead.clone().drop_guard();
                let begun = Instant::now();
                if sessions > 0 {
                    rabbit.metrics.amqp_reconnects_total.inc();
                }
                sessions += 1;
                tracing::info!(purpose, sessions, "connected to the broker");
                // More shards may have come into use while it began; those that come into use from now on find it.
                let cancel_outgrown = || {
                    if session.shards != rabbit.shards() {
                        session.dead.cancel();
                    }
                };
                cancel_outgrown();
                life.current.send_replace(Some(Arc::clone(&session)));
                cancel_outgrown();
                rabbit.tell_connected();
                tokio::select! {
                    () = session.dead.cancelled() => {}
                    // A stop that came while the session began did not know of it.
                    () = rabbit.stop.cancelled() => session.flush().await,
                }
                session.end().await;
                rabbit.tell_connected();
                if begun.elapsed() > GOOD_SESSION {
                    reconnect.reset();
                }
            }
            Err(fault) => tracing::warn!(purpose, error = fault.chain(), "no session with the broker"),
        }
        let pause = reconnect.next(&*rabbit.entropy);
        tokio::select! {
            () = rabbit.stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn pack(shards: Shards) -> u64 {
    (u64::from(shards.fast) << 32) | u64::from(shards.slow)
}
