//! The root tasks of a process: what it is for goes on in them. One that panics, or ends before it is told to, leaves a process that looks
//! well and does nothing, so it takes the process with it: no longer ready, a soft stop, and an exit code that makes an orchestrator
//! start another.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use hookyard_core::fault::panic_text;
use hookyard_core::step::Tripwire;
use hookyard_core::{Fault, FaultKind};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Every task that the process itself starts, of both backends and all roles. What goes on within one connection to the broker ends with
/// that, and another connection begins.
pub const ROOTS: [&str; 15] = [
    "router",
    "dispatcher",
    "worker of tasks",
    "forgetting",
    "daily sweep",
    "api listener",
    "operations listener",
    "heartbeat",
    "survey of queues",
    "canaries",
    "revocations",
    "journal writer",
    "journal watch",
    "journal spill",
    "guard",
];

/// Watches root tasks.
#[derive(Clone)]
pub struct Supervisor(Arc<Inner>);

struct Inner {
    /// The first failure.
    failed: watch::Sender<Option<Arc<Fault>>>,
    tripwire: Arc<dyn Tripwire>,
}

/// A root task that should not have ended.
#[derive(Debug, thiserror::Error)]
#[error("{name} {how}")]
struct Ended {
    name: &'static str,
    how: String,
}

impl Supervisor {
    /// One that has seen nothing fail. The tripwire is told of each root task as it begins.
    pub fn new(tripwire: Arc<dyn Tripwire>) -> Self {
        Self(Arc::new(Inner { failed: watch::Sender::new(None), tripwire }))
    }

    /// Runs a root task of this name, one of [`ROOTS`], that is to go on until `stop`.
    pub fn root(
        &self,
        tracker: &TaskTracker,
        name: &'static str,
        stop: &CancellationToken,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let result = task.map(Ok);
        self.root_that_fails(tracker, name, stop, result);
    }

    /// The same of a task that may find what no waiting mends.
    pub fn root_that_fails(
        &self,
        tracker: &TaskTracker,
        name: &'static str,
        stop: &CancellationToken,
        task: impl Future<Output = Result<(), Fault>> + Send + 'static,
    ) {
        let (this, stop) = (self.clone(), stop.clone());
        let task = async move {
            this.0.tripwire.root_begins(name);
            task.await
        };
        let this = self.clone();
        tracker.spawn(async move {
            let how = match AssertUnwindSafe(task).catch_unwind().await {
                Ok(Err(fault)) => return this.fail(fault),
                Ok(Ok(())) if stop.is_cancelled() => return,
                Ok(Ok(())) => "ended by itself".to_owned(),
                Err(panic) => format!("panicked: {}", panic_text(&*panic)),
            };
            this.fail(Fault::caused(FaultKind::Refused, "keep a root task going", Ended { name, how }));
        });
    }

    fn fail(&self, fault: Fault) {
        tracing::error!(error = fault.chain(), "this process cannot go on; it stops, to be started again");
        self.0.failed.send_if_modified(|failed| {
            let is_first = failed.is_none();
            failed.get_or_insert_with(|| Arc::new(fault));
            is_first
        });
    }

    /// Whether one failed.
    pub fn has_failed(&self) -> bool {
        self.0.failed.borrow().is_some()
    }

    /// Waits for the first failure.
    pub async fn failed(&self) -> Arc<Fault> {
        let mut failed = self.0.failed.subscribe();
        match failed.wait_for(Option::is_some).await.map(|fault| fault.clone()) {
            Ok(Some(fault)) => fault,
            // The sender is here.
            _ => std::future::pending().await,
        }
    }
}
