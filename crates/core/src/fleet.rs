//! The processes of an installation, as they tell of themselves.

use std::sync::atomic::{AtomicU64, Ordering};
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
    /// Of a dispatcher: the longest that a delivery it took up since it told before had waited beyond its due time, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_wait_ms: Option<u64>,
}

/// The longest wait since somebody looked.
#[derive(Debug, Default)]
pub struct LongestWait(AtomicU64);

impl LongestWait {
    /// One more wait.
    pub fn note(&self, waited: Duration) {
        self.0.fetch_max(u64::try_from(waited.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The longest, in ms, and begins anew.
    pub fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// What waits in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueDepth {
    /// The queue's name.
    pub name: String,
    /// What it is for.
    pub kind: QueueKind,
    /// Messages that wait.
    pub messages: u64,
    /// Who consumes it, where that means anything.
    pub consumers: Option<u32>,
}

/// What a queue is for; a kind may have several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QueueKind {
    /// Events for the router.
    Ingest,
    /// Deliveries to endpoints that answer.
    Fast,
    /// Deliveries to those that do not, or take long.
    Slow,
    /// Deliveries whose moment has not come.
    Delay,
    /// Dead letters.
    Dead,
    /// What could not be handled.
    Rejected,
    /// Journal entries while the journal is away.
    Journal,
}

impl QueueKind {
    /// Every kind, in the order of the flow.
    pub const ALL: [Self; 7] = [Self::Ingest, Self::Fast, Self::Slow, Self::Delay, Self::Dead, Self::Rejected, Self::Journal];

    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Fast => "fast",
            Self::Slow => "slow",
            Self::Delay => "delay",
            Self::Dead => "dead",
            Self::Rejected => "rejected",
            Self::Journal => "journal",
        }
    }
}
