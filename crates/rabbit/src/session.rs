//! A session: two connections to the broker and everything on them, thrown away as one at the first error and begun again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use hookyard_core::{Clock, Fault, FaultKind, Lane};
use hookyard_telemetry::Metrics;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Confirmation, Connection};
use tokio_util::sync::CancellationToken;

use crate::acker::Acker;
use crate::blocked::Blocked;
use crate::config::{Purpose, RabbitConfig, Shards};
use crate::connection::{CLOSE_TIMEOUT, CONNECT_TIMEOUT, close, connect_framed, watch};
use crate::consume::{self, Inbox, Intent};
use crate::names::Names;
use crate::publish::Publisher;
use crate::rabbit::{From, Rabbit};
use crate::together::Together;
use crate::topology::short;

/// Events a router holds at once.
const ROUTER_PREFETCH: u16 = 512;
/// Groups of spilled journal entries held at once: they are written back beside the living traffic.
const SPILL_PREFETCH: u16 = 8;

/// The largest content header published, whatever the broker takes: its own limit for a frame, unless configured.
const HEADER_MOST: usize = 128 * 1024;

/// One life with the broker, for one purpose.
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
    pub(crate) blocked: Blocked,
    /// Bytes that a content header published here may have.
    pub(crate) header_room: usize,
    pub(crate) draining: CancellationToken,
    pub(crate) together: Together,
    pub(crate) inboxes: Inboxes,
    ackers: Mutex<Vec<Acker>>,
    connections: Mutex<Vec<Connection>>,
}

/// Where what is consumed waits to be claimed.
#[derive(Default)]
pub struct Inboxes {
    events: Option<Inbox>,
    fast: Option<Inbox>,
    slow: Option<Inbox>,
    spill: Option<Inbox>,
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

    pub(crate) fn of(&self, from: From) -> Option<&Inbox> {
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
    pub(crate) async fn wait_unblocked(&self) -> bool {
        while self.blocked.is_set() {
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
    pub(crate) async fn flush(&self) {
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

    pub(crate) async fn end(&self) {
        self.dead.cancel();
        self.inboxes.clear().await;
        let connections = match self.connections.lock() {
            Ok(mut connections) => std::mem::take(&mut *connections),
            Err(_) => return,
        };
        join_all(connections.into_iter().map(close)).await;
        self.blocked.set(false);
    }
}

/// Begins a session for `purpose`: publishing works before anything is consumed.
pub async fn begin(rabbit: &Rabbit, purpose: Purpose) -> Result<Arc<Session>, Fault> {
    let broken = |error: lapin::Error| Fault::unavailable("begin a session", error);
    let (config, names, shards) = (&rabbit.config, &rabbit.names, rabbit.shards());
    let publishing = connect_framed(config, &format!("{} publish", purpose.as_str()), purpose.frame_max()).await?;
    let channel = publishing.create_channel().await.map_err(broken)?;
    rabbit.prepare(&channel, shards).await.map_err(broken)?;
    channel.close(200, short("done")).await.map_err(broken)?;
    probe(&publishing, names).await?;
    let (dead, blocked) = (CancellationToken::new(), rabbit.blocked.part());
    watch(&publishing, blocked.clone(), dead.clone());
    let mut publishers = Vec::with_capacity(3);
    for _ in 0..3 {
        let channel = publishing.create_channel().await.map_err(broken)?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(broken)?;
        publishers.push(Publisher::start(channel, rabbit.metrics.clone(), blocked.clone(), dead.clone()));
    }
    let header_room = header_room(&publishing);
    let mut connections = vec![publishing];
    let (mut inboxes, mut intents) = (Inboxes::default(), Vec::new());
    if purpose.consumes() {
        let consuming = connect_framed(config, &format!("{} consume", purpose.as_str()), purpose.frame_max()).await?;
        watch(&consuming, rabbit.blocked.part(), dead.clone());
        open_inboxes(&consuming, config, purpose, names, shards, &mut inboxes, &mut intents).await.map_err(broken)?;
        connections.push(consuming);
    }
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
        header_room,
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
    purpose: Purpose,
    names: &Names,
    shards: Shards,
    inboxes: &mut Inboxes,
    intents: &mut Vec<Intent>,
) -> lapin::Result<()> {
    match purpose {
        Purpose::Publish => {}
        Purpose::Route => {
            let (intent, inbox) = consume::open(connection, vec![names.ingest()], ROUTER_PREFETCH).await?;
            intents.push(intent);
            inboxes.events = Some(inbox);
        }
        Purpose::Dispatch => {
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
        Purpose::Drain => {
            let (intent, inbox) = consume::open(connection, vec![names.journal()], SPILL_PREFETCH).await?;
            intents.push(intent);
            inboxes.spill = Some(inbox);
        }
    }
    Ok(())
}

/// A content header is one frame, as large as was agreed at most; zero is no limit.
fn header_room(connection: &Connection) -> usize {
    match connection.configuration().frame_max() {
        0 => HEADER_MOST,
        most => usize::try_from(most).unwrap_or(HEADER_MOST).min(HEADER_MOST),
    }
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
