//! Activity on Redis: the journal's writer publishes what it wrote while somebody listens, and one subscription per process hears it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use hookyard_core::journal::{AttemptRecord, Entry};
use hookyard_core::port::{Activity, Heard, Watch};
use hookyard_core::{Fault, FaultKind};
use hookyard_wire::record::{read_attempts, write_attempts};
use redis::aio::{ConnectionManager, PubSub};
use tokio::sync::{broadcast, watch};

use crate::journal::RedisJournal;
use crate::keys;

/// Attempts a watcher may be behind: some seconds of a busy installation.
const BEHIND_MOST: usize = 8_192;
/// Attempts in one message; more of one group are missed.
const PUBLISHED_MOST: usize = 1_000;
/// After a message that nobody received: how long until the next is tried.
const QUIET: Duration = Duration::from_millis(500);
/// Between two tries to subscribe.
const AGAIN: Duration = Duration::from_secs(1);
/// How often a subscription looks whether anybody still watches, and whether it is still heard itself.
const LOOK: Duration = Duration::from_secs(5);
/// The longest a watcher waits for the subscription to begin.
const BEGIN_WITHIN: Duration = Duration::from_secs(2);

/// What is heard goes to every watcher of this process.
pub struct Hub {
    heard: broadcast::Sender<Heard>,
    subscribed: watch::Sender<bool>,
    is_running: AtomicBool,
    client: redis::Client,
    connection: ConnectionManager,
}

fn broken(what: &'static str) -> redis::RedisError {
    redis::RedisError::from((redis::ErrorKind::Io, what))
}

/// One watcher.
struct Watcher(broadcast::Receiver<Heard>);

impl Hub {
    pub fn new(client: redis::Client, connection: ConnectionManager) -> Arc<Self> {
        let (heard, subscribed) = (broadcast::Sender::new(BEHIND_MOST), watch::Sender::new(false));
        Arc::new(Self { heard, subscribed, is_running: AtomicBool::new(false), client, connection })
    }

    async fn run(self: Arc<Self>) {
        loop {
            while self.heard.receiver_count() > 0 {
                if let Err(error) = self.listen().await {
                    tracing::debug!(%error, "the activity is not heard");
                    self.subscribed.send_replace(false);
                    // Nobody knows how many.
                    self.tell(Heard::Missed(None));
                    tokio::time::sleep(AGAIN).await;
                }
            }
            self.subscribed.send_replace(false);
            self.is_running.store(false, Ordering::SeqCst);
            // Who came in between has seen that somebody listens.
            if self.heard.receiver_count() == 0 || self.is_running.swap(true, Ordering::SeqCst) {
                return;
            }
        }
    }

    /// Listens until nobody watches any more.
    async fn listen(&self) -> redis::RedisResult<()> {
        let mut subscription: PubSub = self.client.get_async_pubsub().await?;
        subscription.subscribe(keys::ACTIVITY).await?;
        // Writers that found nobody try again after this; what is written until then is not told.
        tokio::time::sleep(QUIET).await;
        self.subscribed.send_replace(true);
        let mut messages = subscription.on_message();
        let (mut looks, mut is_alive) = (tokio::time::interval(LOOK), true);
        loop {
            tokio::select! {
                message = messages.next() => {
                    let Some(message) = message else { return Err(broken("the subscription ended")) };
                    is_alive = true;
                    self.hear(message.get_payload_bytes());
                }
                _ = looks.tick() => {
                    if self.heard.receiver_count() == 0 {
                        return Ok(());
                    }
                    // A connection whose other end is gone without a word looks like a quiet one.
                    if !std::mem::take(&mut is_alive) {
                        return Err(broken("the subscription fell silent"));
                    }
                    self.knock().await?;
                }
            }
        }
    }

    /// A message to ourselves, with nothing in it.
    async fn knock(&self) -> redis::RedisResult<()> {
        let mut connection = self.connection.clone();
        redis::cmd("PUBLISH").arg(keys::ACTIVITY).arg("").query_async::<i64>(&mut connection).await.map(drop)
    }

    fn hear(&self, message: &[u8]) {
        match read_attempts(Bytes::copy_from_slice(message)) {
            Ok((attempts, missed)) => {
                for attempt in attempts {
                    self.tell(Heard::Attempt(Arc::new(attempt)));
                }
                if missed > 0 {
                    self.tell(Heard::Missed(Some(missed)));
                }
            }
            Err(error) => tracing::debug!(%error, "an activity message of another version"),
        }
    }

    fn tell(&self, heard: Heard) {
        if self.heard.send(heard).is_err() {
            tracing::trace!("nobody watches");
        }
    }
}

#[async_trait]
impl Activity for RedisJournal {
    async fn watch(&self) -> Result<Box<dyn Watch>, Fault> {
        const OPERATION: &str = "watch the activity";
        let hub = self.hub();
        let watcher = Watcher(hub.heard.subscribe());
        if !hub.is_running.swap(true, Ordering::SeqCst) {
            #[expect(clippy::disallowed_methods, reason = "begun again by the next watcher")]
            tokio::spawn(Arc::clone(hub).run());
        }
        let mut subscribed = hub.subscribed.subscribe();
        match tokio::time::timeout(BEGIN_WITHIN, subscribed.wait_for(|subscribed| *subscribed)).await {
            Ok(Ok(_)) => Ok(Box::new(watcher)),
            _ => Err(Fault::new(FaultKind::Unavailable, OPERATION)),
        }
    }
}

#[async_trait]
impl Watch for Watcher {
    async fn heard(&mut self) -> Option<Heard> {
        match self.0.recv().await {
            Ok(heard) => Some(heard),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Heard::Missed(Some(missed))),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// The writer's side: what to publish of a group, while somebody listens.
pub struct Announcer {
    quiet_until: Instant,
}

impl Announcer {
    pub fn new() -> Self {
        Self { quiet_until: Instant::now() }
    }

    /// The message that tells of these entries, if it is worth sending now.
    pub fn announce(&self, entries: &[&Entry]) -> Option<Vec<u8>> {
        if Instant::now() < self.quiet_until {
            return None;
        }
        let attempts = entries.iter().filter_map(|entry| match entry {
            Entry::Attempt(record) => Some(record),
            Entry::Message(_) | Entry::End(_) | Entry::Run(_) => None,
        });
        let attempts: Vec<&AttemptRecord> = attempts.collect();
        let told = attempts.len().min(PUBLISHED_MOST);
        (told > 0).then(|| write_attempts(&attempts[..told], attempts.len() - told))
    }

    /// How many received the last one.
    pub fn received(&mut self, listeners: i64) {
        if listeners == 0 {
            self.quiet_until = Instant::now() + QUIET;
        }
    }
}
