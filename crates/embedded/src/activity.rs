//! Activity on SQLite: what this process writes down, told to those who watch in it.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use hookyard_core::Fault;
use hookyard_core::journal::Entry;
use hookyard_core::port::{Activity, Heard, Watch};
use tokio::sync::broadcast;

use crate::store::Store;

/// Attempts a watcher may be behind: a second of all this can do.
pub const BEHIND_MOST: usize = 8_192;

/// One watcher.
struct Watcher(broadcast::Receiver<Heard>);

#[async_trait]
impl Activity for Store {
    async fn watch(&self) -> Result<Box<dyn Watch>, Fault> {
        Ok(Box::new(Watcher(self.0.activity.subscribe())))
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

impl Store {
    /// Tells of what was written down, if anybody watches.
    pub(crate) fn announce(&self, entries: &[Entry]) {
        let activity = &self.0.activity;
        if activity.receiver_count() == 0 {
            return;
        }
        for entry in entries {
            let Entry::Attempt(record) = entry else { continue };
            let mut told = record.clone();
            told.result.response = Bytes::new();
            if activity.send(Heard::Attempt(Arc::new(told))).is_err() {
                return;
            }
        }
    }
}
