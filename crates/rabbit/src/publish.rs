//! The one task that publishes on a channel, with confirms and a bounded window.
//!
//! lapin assigns publish tags and queues frames under different locks: two tasks on one channel could swap confirms. So one task
//! owns the channel, and others hand it messages. Within that task many publishes are under way at once: lapin does both at a
//! publish's first poll, and then only waits until the frames are written. Waiting for each would make every message two switches
//! between threads and one small write.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hookyard_core::{Fault, FaultKind};
use hookyard_telemetry::Metrics;
use hookyard_telemetry::label::{Exchange, Success};
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::blocked::Blocked;

/// Messages published and not yet confirmed, per channel: enough to keep a quorum queue busy over a fast network.
const WINDOW_MESSAGES: usize = 1024;
/// Bytes published and not yet confirmed, per channel.
const WINDOW_BYTES: usize = 16 * 1024 * 1024;
/// A confirm later than this ends the session: the broker is not well.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);

/// One message to publish.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Which kind of exchange, for the metrics.
    pub kind: Exchange,
    /// The exchange.
    pub exchange: ShortString,
    /// The routing key.
    pub routing_key: ShortString,
    /// Properties and headers.
    pub properties: BasicProperties,
    /// The body.
    pub body: Bytes,
}

struct Job {
    message: Outgoing,
    confirmed: oneshot::Sender<()>,
}

/// Hands messages to a publishing task.
#[derive(Clone, Debug)]
pub struct Publisher {
    jobs: mpsc::Sender<Job>,
    dead: CancellationToken,
}

impl Publisher {
    /// Begins publishing on `channel`, which is in confirm mode.
    pub fn start(channel: Channel, metrics: Metrics, blocked: Blocked, dead: CancellationToken) -> Self {
        let (jobs, receiver) = mpsc::channel(WINDOW_MESSAGES);
        let task = Task { channel, metrics, blocked, dead: dead.clone(), window: BTreeMap::new(), bytes: 0, next: 0 };
        #[expect(clippy::disallowed_methods, reason = "ends its session however it ends")]
        tokio::spawn(task.run(receiver));
        Self { jobs, dead }
    }

    /// Publishes one message; returns when the broker has confirmed it.
    pub async fn publish(&self, message: Outgoing) -> Result<(), Fault> {
        self.begin(message).await?.confirmed().await
    }

    /// Hands a message over and returns at once with its pending confirm; waits only while the mailbox is full.
    pub async fn begin(&self, message: Outgoing) -> Result<Pending, Fault> {
        let (confirmed, pending) = oneshot::channel();
        if self.dead.is_cancelled() || self.jobs.send(Job { message, confirmed }).await.is_err() {
            return Err(Fault::new(FaultKind::Unavailable, "publish"));
        }
        Ok(Pending(pending))
    }
}

/// A publish not yet confirmed.
#[derive(Debug)]
pub struct Pending(oneshot::Receiver<()>);

impl Pending {
    /// Of a message that this tells of.
    pub fn of(told: oneshot::Receiver<()>) -> Self {
        Self(told)
    }

    /// Waits for the confirm.
    pub async fn confirmed(self) -> Result<(), Fault> {
        self.0.await.map_err(|_| Fault::new(FaultKind::Unavailable, "publish"))
    }
}

struct InFlight {
    kind: Exchange,
    bytes: usize,
    since: Instant,
    confirmed: oneshot::Sender<()>,
}

struct Task {
    channel: Channel,
    metrics: Metrics,
    blocked: Blocked,
    dead: CancellationToken,
    window: BTreeMap<u64, InFlight>,
    bytes: usize,
    next: u64,
}

impl Task {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        // However this ends, the session ends with it, and another begins.
        let _ends_session = self.dead.clone().drop_guard();
        let mut confirms = FuturesUnordered::new();
        let mut tick = tokio::time::interval(CONFIRM_TIMEOUT / 6);
        loop {
            let room = self.window.len() < WINDOW_MESSAGES && self.bytes < WINDOW_BYTES;
            let ended = tokio::select! {
                biased;
                () = self.dead.cancelled() => break,
                Some((number, confirmation)) = confirms.next() => self.settle(number, confirmation),
                job = jobs.recv(), if room => match job {
                    None => break,
                    Some(job) => {
                        confirms.push(self.begin(job));
                        Ok(())
                    }
                },
                _ = tick.tick() => self.check_age(),
            };
            if let Err(why) = ended {
                tracing::warn!(why, "publishing failed; the session ends");
                self.dead.cancel();
                break;
            }
        }
        for lost in self.window.values() {
            self.metrics.amqp_publishes_total.inc((lost.kind, Success::Failed));
        }
        // Dropping the window tells everybody who waits that it is not known to be published.
    }

    fn begin(&mut self, job: Job) -> impl Future<Output = (u64, lapin::Result<Confirmation>)> + use<> {
        let Outgoing { kind, exchange, routing_key, properties, body } = job.message;
        let number = self.next;
        self.next += 1;
        self.bytes += body.len();
        self.window.insert(number, InFlight { kind, bytes: body.len(), since: Instant::now(), confirmed: job.confirmed });
        // A message without a queue behind its key goes to the alternate exchange; without that, it comes back.
        let options = BasicPublishOptions { mandatory: kind != Exchange::Default, ..BasicPublishOptions::default() };
        let channel = self.channel.clone();
        async move {
            let published = channel.basic_publish(exchange, routing_key, options, &body, properties).await;
            // lapin has its own copy: waiting for the confirm needs none.
            drop((body, channel));
            match published {
                Ok(confirm) => (number, confirm.await),
                Err(error) => (number, Err(error)),
            }
        }
    }

    /// Only a plain ack counts. A returned message is attached to whichever confirm completes next, so a return or a nack makes
    /// the whole window unpublished.
    fn settle(&mut self, number: u64, confirmation: lapin::Result<Confirmation>) -> Result<(), String> {
        match confirmation {
            Ok(Confirmation::Ack(None)) => {}
            Ok(Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned))) => {
                return Err(format!("returned: {} ({})", returned.reply_text, returned.reply_code));
            }
            Ok(other) => return Err(format!("not acked: {other:?}")),
            Err(error) => return Err(error.to_string()),
        }
        if let Some(done) = self.window.remove(&number) {
            self.bytes -= done.bytes;
            self.metrics.amqp_publishes_total.inc((done.kind, Success::Ok));
            self.metrics.amqp_confirm_duration_seconds.observe(done.since.elapsed().as_secs_f64());
            if done.confirmed.send(()).is_err() {
                tracing::trace!("nobody waits for this confirm any more");
            }
        }
        Ok(())
    }

    fn check_age(&self) -> Result<(), String> {
        let oldest = self.window.first_key_value().map_or(Duration::ZERO, |(_, oldest)| oldest.since.elapsed());
        // A broker under an alarm blocks its publishers for as long as the alarm lasts: not an error.
        if oldest > CONFIRM_TIMEOUT && !self.blocked.is_set() {
            return Err(format!("no confirm for {} s", oldest.as_secs()));
        }
        Ok(())
    }
}
