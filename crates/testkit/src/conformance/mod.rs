//! What every backend of a port must keep: one suite per port, each promise a function whose name says it.
//!
//! A backend under test brings its ports and a few hooks that no service has, such as a look at what is dead. Of each suite a macro,
//! `each_promise_of_events!` and so on, makes one test per promise, so that each runs alone, on a backend with nothing in it.

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

/// The functions of a suite, in the module given or in the suite's own, and the macro that makes a test of each. What that macro is
/// given is an expression that makes a backend, and may await. The first token is a `$`, which the inner macro cannot write by itself.
macro_rules! suite {
    ($dollar:tt $tests:ident: $suite:ident on $backend:ident, $($name:ident $(in $module:ident)?),* $(,)?) => {
        const PROMISES: &[$crate::conformance::Promise<dyn $backend>] = &[$($crate::conformance::Promise {
            name: stringify!($name),
            check: |backend| Box::pin($($module::)?$name(backend)),
        }),*];

        /// Checks the promise of this name.
        ///
        /// # Panics
        /// When it is broken, not decided within a minute, or none of the suite's.
        pub async fn check(promise: &str, backend: &(dyn $backend + 'static)) {
            $crate::conformance::keep(PROMISES, promise, backend).await;
        }

        /// A test of each promise of the suite, on the backend that `$fresh` makes.
        #[macro_export]
        macro_rules! $tests {
            ($dollar fresh:expr) => {
                $(
                    #[tokio::test(flavor = "multi_thread")]
                    async fn $name() {
                        $crate::conformance::$suite::check(stringify!($name), &$dollar fresh).await;
                    }
                )*
            };
        }
    };
}
use suite;

async fn keep<B: ?Sized>(promises: &[Promise<B>], name: &str, backend: &B) {
    let promise = promises.iter().find(|promise| promise.name == name).expect("a promise of this suite");
    let kept = tokio::time::timeout(PROMISE_WITHIN, (promise.check)(backend)).await;
    assert!(kept.is_ok(), "{name}: not decided within {} s", PROMISE_WITHIN.as_secs());
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
