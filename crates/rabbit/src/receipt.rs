//! What the adapter knows of a claim: where its message came from and how to let go of it.

use std::sync::Arc;

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

/// The adapter's side of a claim. Dropped unsettled, it gives the message back and counts that.
pub struct Receipt {
    pub(crate) session: Arc<Session>,
    pub(crate) taken: Taken,
    tag: u64,
    acker: Acker,
    settled: bool,
}

impl Receipt {
    pub(crate) fn new(session: Arc<Session>, taken: Taken, tag: u64, acker: Acker) -> Self {
        Self { session, taken, tag, acker, settled: false }
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
        self.acker.finish(self.tag);
        Ok(())
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if !self.settled && !self.session.dead.is_cancelled() && !self.session.draining.is_cancelled() {
            self.session.metrics.claims_dropped_total.inc();
            self.session.return_failed(&self.taken, self.tag, self.acker.clone());
        }
    }
}
