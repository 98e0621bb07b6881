//! The processes of an installation, as they tell of themselves.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// How often a process tells that it is there.
pub const BEAT_EVERY: Duration = Duration::from_secs(5);
/// A process that was not heard of for this long is gone: three beats may be late.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(20);

/// One process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Random, of this life of the process.
    pub id: String,
    /// The parts it plays.
    pub roles: Vec<String>,
    /// The program's version.
    pub version: String,
    /// The machine's name, where it is known.
    pub host: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was last heard of.
    pub seen_at: Timestamp,
}

/// What waits in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueDepth {
    /// The queue's name.
    pub name: String,
    /// Messages that wait.
    pub messages: u64,
    /// Who consumes it, where that means anything.
    pub consumers: Option<u32>,
}
