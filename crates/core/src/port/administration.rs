//! The ports of administration: no event waits for any of them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::delivery::Delivery;
use crate::fault::Fault;
use crate::id::{RejectionId, TaskId};
use crate::journal::{AttemptRecord, Page, PageRequest};
use crate::outcome::DeadReason;
use crate::rejection::Rejection;
use crate::task::Task;

/// What a watcher hears.
#[derive(Clone, Debug)]
pub enum Heard {
    /// An attempt was written down; without the response.
    Attempt(Arc<AttemptRecord>),
    /// So many were missed, where that is known.
    Missed(Option<u64>),
}

/// Attempts as they are written down, for those who watch: while nobody does, it costs nothing, and nobody waits for a watcher.
#[async_trait]
pub trait Activity: Send + Sync {
    /// Begins to watch: what is written from now on, of every application, is heard. Where several processes write, after a
    /// moment.
    async fn watch(&self) -> Result<Box<dyn Watch>, Fault>;
}

/// Somebody who watches.
#[async_trait]
pub trait Watch: Send {
    /// Waits for the next; `None` after the end.
    async fn heard(&mut self) -> Option<Heard>;
}

/// What was set aside, for those who look, in the order in which it was.
#[async_trait]
pub trait Rejections: Send + Sync {
    /// The first of them, or those after the cursor's; either kind of cursor means after. What lies too deep is not seen.
    async fn rejections(&self, page: PageRequest<RejectionId>) -> Result<Page<Rejection>, Fault>;

    /// Lets these go the way again that they came, as if published anew; how many were there.
    async fn retry(&self, ids: &[RejectionId]) -> Result<usize, Fault>;

    /// Lets go of these for good; how many were there.
    async fn discard(&self, ids: &[RejectionId]) -> Result<usize, Fault>;
}

/// Dead letters as their queue keeps them: the truth, of which the journal's list is an index.
#[async_trait]
pub trait DeadLetterQueue: Send + Sync {
    /// Looks at up to `most` of those that wait for longest, and keeps what is still dead.
    async fn sweep(&self, most: usize, judge: &dyn DeadJudge) -> Result<Swept, Fault>;
}

/// Who says what is dead.
#[async_trait]
pub trait DeadJudge: Send + Sync {
    /// Whether a delivery that died then, for this reason, is dead still.
    async fn is_dead(&self, delivery: &Delivery, reason: DeadReason, at: Timestamp) -> Result<bool, Fault>;
}

/// What a look into the queue found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Those that waited when it began.
    pub waiting: usize,
    /// Those looked at.
    pub examined: usize,
    /// Those of them that were dead no longer.
    pub removed: usize,
}

/// Work that outlives the process that began it. Whoever leases a task advances it by writing how far it is; a lease that ends
/// unwritten is somebody else's.
#[async_trait]
pub trait Tasks: Send + Sync {
    /// Writes a task, new or further on. An unfinished one stays the writer's for `lease`; without one, anybody's.
    async fn put(&self, task: &Task, lease: Option<Duration>) -> Result<(), Fault>;

    /// One task, finished or not; finished ones are forgotten after [`crate::limits::TASK_KEPT`].
    async fn task(&self, id: TaskId) -> Result<Option<Task>, Fault>;

    /// The unfinished ones, in no order; at most [`crate::limits::TASKS_SHOWN`].
    async fn unfinished(&self) -> Result<Vec<Task>, Fault>;

    /// Finished and unfinished ones, the newest first; at most [`crate::limits::TASKS_LISTED`].
    async fn recent(&self) -> Result<Vec<Task>, Fault>;

    /// Takes the unfinished task that nobody has and that waits for longest.
    async fn lease(&self, now: Timestamp, lease: Duration) -> Result<Option<Task>, Fault>;
}

/// Names a request that may be repeated: a hash of who asks for what, and of the key they gave it.
pub type AnswerKey = [u8; 16];

/// What is known of a request when it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It is the first of its key: do it, and finish.
    First,
    /// Another of its key is at work.
    Elsewhere,
    /// This was answered.
    Answered(Vec<u8>),
}

/// Answers to requests that may be repeated, kept for a while. They may be lost: then a request is done again.
#[async_trait]
pub trait Answers: Send + Sync {
    /// Takes a key for `lease`, unless somebody has it or it was answered.
    async fn begin(&self, key: AnswerKey, lease: Duration) -> Result<Begun, Fault>;

    /// Keeps the answer; without one, the key is anybody's again.
    async fn finish(&self, key: AnswerKey, answer: Option<Vec<u8>>, kept: Duration) -> Result<(), Fault>;
}

/// Tokens that are good no longer although they have not expired.
#[async_trait]
pub trait Revocations: Send + Sync {
    /// From now on this token is good no longer; it is forgotten at `until`, when it is not good by itself.
    async fn revoke(&self, token: &str, until: Timestamp) -> Result<(), Fault>;

    /// Every revoked token that has not expired.
    async fn revoked(&self, now: Timestamp) -> Result<Vec<String>, Fault>;
}
