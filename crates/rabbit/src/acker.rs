//! The one task that acks on a channel.

use std::time::{Duration, Instant};

use lapin::Channel;
use lapin::options::BasicAckOptions;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::ack::AckTracker;

/// Tags taken from the mailbox at once.
const BATCH: usize = 1024;

/// Tells a channel's acker of finished tags.
#[derive(Clone, Debug)]
pub struct Acker(mpsc::UnboundedSender<u64>);

impl Acker {
    /// Begins acking on `channel`, whose consumers have this prefetch window in all, until `dead`. Ends the session when an ack
    /// cannot be sent.
    pub fn start(channel: Channel, window: usize, dead: CancellationToken) -> Self {
        // Unbounded, and still bounded: no more tags can be finished than the prefetch window has outstanding.
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(run(channel, window, receiver, dead));
        Self(sender)
    }

    /// A tag is finished. After the session's end this does nothing: the broker hands the message out again.
    pub fn finish(&self, tag: u64) {
        if self.0.send(tag).is_err() {
            tracing::debug!(tag, "finished after the end of its session");
        }
    }
}

async fn run(channel: Channel, window: usize, mut finished: mpsc::UnboundedReceiver<u64>, dead: CancellationToken) {
    let mut tracker = AckTracker::new(window, Instant::now());
    let mut tags = Vec::with_capacity(BATCH);
    loop {
        let waiting = tracker.is_waiting();
        tokio::select! {
            biased;
            () = dead.cancelled() => return,
            count = finished.recv_many(&mut tags, BATCH) => if count == 0 { return },
            () = tokio::time::sleep(Duration::from_millis(50)), if waiting => {}
        }
        for tag in tags.drain(..) {
            tracker.finish(tag, false);
        }
        for ack in tracker.take(Instant::now()) {
            if let Err(error) = channel.basic_ack(ack.tag, BasicAckOptions { multiple: ack.multiple }).await {
                tracing::debug!(%error, "ack failed; the session ends");
                dead.cancel();
                return;
            }
        }
    }
}
