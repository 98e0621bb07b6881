//! What the adapter knows of a claim: where its message came from and how to let go of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use hookyard_core::{Fault, FaultKind};
use lapin::BasicProperties;

use crate::acker::Acker;
use crate::session::Session;

/// One message taken from a queue, as it was.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The queue it came from.
    pub queue: Arc<str>,
    /// The exchange it was first published to.
    pub exchange: String,
    /// The routing key it was first published with.
    pub routing_key: String,
    /// Its properties.
    pub properties: BasicProperties,
    /// Its body.
    pub body: Bytes,
    /// Whether the broker handed it out before.
    pub redelivered: bool,
}

/// A message the broker waits to hear of: acked when the last part of it is let go of, unless one is to come again.
#[derive(Clone)]
pub struct Hold(Arc<Held>);

struct Held {
    tag: u64,
    acker: Acker,
    is_kept: AtomicBool,
}

impl Hold {
    pub fn new(tag: u64, acker: Acker) -> Self {
        Self(Arc::new(Held { tag, acker, is_kept: AtomicBool::new(false) }))
    }

    /// It stays unacked, and comes again with the next session.
    pub fn keep(&self) {
        self.0.is_kept.store(true, Ordering::Release);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_kept.load(Ordering::Acquire) {
            self.acker.finish(self.tag);
        }
    }
}

/// The adapter's side of a claim. Dropped unsettled, it gives the message back and counts that.
pub struct Receipt {
    pub(crate) session: Arc<Session>,
    pub(crate) taken: Taken,
    hold: Hold,
    settled: bool,
}

impl Receipt {
    pub(crate) fn new(session: Arc<Session>, taken: Taken, hold: Hold) -> Self {
        Self { session, taken, hold, settled: false }
    }

    /// A receipt for each part of a message that holds several; it is let go of with the last of them.
    pub fn divide(mut self: Box<Self>, content_type: &str, parts: Vec<Bytes>) -> Vec<Self> {
        self.settled = true;
        let properties = self.taken.properties.clone().with_content_type(content_type.into());
        let part = |body| {
            let taken = Taken { body, properties: properties.clone(), ..self.taken.clone() };
            Self::new(Arc::clone(&self.session), taken, self.hold.clone())
        };
        parts.into_iter().map(part).collect()
    }

    /// The session this claim is of, if it still lives: nothing may be published for a claim whose session has ended, because the
    /// broker hands the message out again.
    pub fn live_session(&self, operation: &'static str) -> Result<&Arc<Session>, Fault> {
        if self.session.dead.is_cancelled() { Err(Fault::new(FaultKind::Unavailable, operation)) } else { Ok(&self.session) }
    }

    /// The successor is durable: let go. After the session's end that is a fault, because the broker hands the message out again.
    pub fn settle(mut self: Box<Self>, operation: &'static str) -> Result<(), Fault> {
        self.live_session(operation)?;
        self.settled = true;
        Ok(())
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        if self.session.dead.is_cancelled() || self.session.draining.is_cancelled() {
            self.hold.keep();
            return;
        }
        self.session.metrics.claims_dropped_total.inc();
        self.session.return_failed(&self.taken, self.hold.clone());
    }
}
