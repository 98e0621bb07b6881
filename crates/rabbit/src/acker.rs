//! The one task that acks on a channel.

use std::time::{Duration, Instant};

use lapin::Channel;
use lapin::options::BasicAckOptions;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::ack::AckTracker;

/// Tags taken from the mailbox at once.
const BATCH: usize = 1024;
/// After an ack the next one waits this long for company: an ack costs the broker as much as a message does, whether it covers one
/// or hundreds. Nothing waits for an ack but the room it makes in the prefetch window.
const GATHER: Duration = Duration::from_millis(5);

/// Tells a channel's acker of finished tags.
#[derive(Clone, Debug)]
pub struct Acker(mpsc::UnboundedSender<Word>);

/// What an acker is told.
#[derive(Debug)]
enum Word {
    Finished(u64),
    /// Ack all that is finished, however it lies, and answer.
    Flush(oneshot::Sender<()>),
}

impl Acker {
    /// Begins acking on `channel`, whose consumers have this prefetch window in all, until `dead`. Ends the session when an ack
    /// cannot be sent.
    pub fn start(channel: Channel, window: usize, dead: CancellationToken) -> Self {
        // Unbounded, and still bounded: no more tags can be finished than the prefetch window has outstanding.
        let (sender, receiver) = mpsc::unbounded_channel();
        #[expect(clippy::disallowed_methods, reason = "ends its session however it ends")]
        tokio::spawn(run(channel, window, receiver, dead));
        Self(sender)
    }

    /// Returns when an ack was sent for every tag that was finished before, or the session has ended.
    pub async fn flush(&self) {
        let (answer, flushed) = oneshot::channel();
        if self.0.send(Word::Flush(answer)).is_err() || flushed.await.is_err() {
            tracing::debug!("the session ended before its acks were sent");
        }
    }

    /// A tag is finished. After the session's end this does nothing: the broker hands the message out again.
    pub fn finish(&self, tag: u64) {
        if self.0.send(Word::Finished(tag)).is_err() {
            tracing::debug!(tag, "finished after the end of its session");
        }
    }
}

async fn run(channel: Channel, window: usize, mut told: mpsc::UnboundedReceiver<Word>, dead: CancellationToken) {
    // However this ends, the session ends with it, and another begins.
    let _ends_session = dead.clone().drop_guard();
    let mut tracker = AckTracker::new(window, Instant::now());
    let mut words = Vec::with_capacity(BATCH);
    let mut flushed = Vec::new();
    loop {
        let waiting = tracker.is_waiting();
        tokio::select! {
            biased;
            () = dead.cancelled() => return,
            count = told.recv_many(&mut words, BATCH) => if count == 0 { return },
            () = tokio::time::sleep(Duration::from_millis(50)), if waiting => {}
        }
        for word in words.drain(..) {
            match word {
                Word::Finished(tag) => tracker.finish(tag),
                Word::Flush(answer) => flushed.push(answer),
            }
        }
        let acks = if flushed.is_empty() { tracker.take(Instant::now()) } else { tracker.take_all(Instant::now()) };
        for ack in acks {
            if let Err(error) = channel.basic_ack(ack.tag, BasicAckOptions { multiple: ack.multiple }).await {
                tracing::debug!(%error, "ack failed; the session ends");
                dead.cancel();
                return;
            }
        }
        for answer in flushed.drain(..) {
            if answer.send(()).is_err() {
                tracing::trace!("nobody waits for this flush any more");
            }
        }
        tokio::time::sleep(GATHER).await;
    }
}
