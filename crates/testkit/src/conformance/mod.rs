//! What every backend of a port must keep: one suite per port, each promise a function whose name says it.
//!
//! A backend under test brings its ports and a few hooks that no service has, such as a look at what is dead. Each promise gets a
//! backend with nothing in it. `run_all` checks every promise, then says which of them were broken.

pub mod activity;
pub mod answers;
pub mod catalog;
pub mod deliveries;
pub mod directory;
pub mod events;
pub mod gates;
pub mod journal;
pub mod revocations;
pub mod tasks;

mod lists;
mod queues;

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;

pub use self::queues::QueueBackend;
pub use crate::memory::{DeadLetter, Rejected};

/// The longest a step may take before it counts as never: far more than any backend needs, also on a busy machine.
const STEP_WITHIN: Duration = Duration::from_secs(20);
/// The longest a promise may take.
const PROMISE_WITHIN: Duration = Duration::from_secs(60);
/// How often a condition is looked at that nobody announces.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// One promise of a suite.
struct Promise<B: ?Sized + 'static> {
    name: &'static str,
    check: for<'a> fn(&'a B) -> LocalBoxFuture<'a, ()>,
}

/// The functions of a suite, each with its name.
macro_rules! promises {
    ($($name:path),* $(,)?) => {
        &[$($crate::conformance::Promise {
            name: stringify!($name),
            check: |backend| Box::pin($name(backend)),
        }),*]
    };
}
use promises;

/// Checks every promise, each on a fresh backend.
///
/// # Panics
/// When a promise was broken. What was wrong with each has been told on standard error before.
async fn keep_all<B: ?Sized, F: Future<Output = Box<B>>>(promises: &[Promise<B>], fresh: impl Fn() -> F) {
    let mut broken = Vec::new();
    for promise in promises {
        let checked = async {
            let backend = fresh().await;
            (promise.check)(&*backend).await;
        };
        let checked = tokio::time::timeout(PROMISE_WITHIN, checked);
        match std::panic::AssertUnwindSafe(checked).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => broken.push(format!("{} (not decided within {} s)", promise.name, PROMISE_WITHIN.as_secs())),
            Err(_) => broken.push(promise.name.to_owned()),
        }
    }
    assert!(broken.is_empty(), "{} of {} promises are broken:\n  {}", broken.len(), promises.len(), broken.join("\n  "));
}

/// What `step` brings, which must not take for ever.
async fn within<T>(what: &str, step: impl Future<Output = T>) -> T {
    let stepped = tokio::time::timeout(STEP_WITHIN, step).await;
    stepped.unwrap_or_else(|elapsed| panic!("{what}: not within {} s: {elapsed}", STEP_WITHIN.as_secs()))
}

/// Looks again and again until `look` sees something.
async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let watch = async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    within(what, watch).await
}
