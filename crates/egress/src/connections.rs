//! How many requests opened a connection, and how many went over one that was there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use hookyard_telemetry::CounterBy;
use hookyard_telemetry::label::Reused;

use tower_layer::Layer;
use tower_service::Service;

/// Counts. Which request a connection was opened for is not known; over all of them it comes out right.
#[derive(Clone)]
pub struct Connections {
    opened: Arc<AtomicU64>,
    requests: CounterBy<Reused>,
}

impl Connections {
    pub fn new(requests: CounterBy<Reused>) -> Self {
        Self { opened: Arc::default(), requests }
    }

    /// A request was made.
    pub fn requested(&self) {
        let take = |opened: u64| opened.checked_sub(1);
        let has_opened = self.opened.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
        self.requests.inc(if has_opened { Reused::No } else { Reused::Yes });
    }
}

impl<S> Layer<S> for Connections {
    type Service = Counted<S>;

    fn layer(&self, connector: S) -> Counted<S> {
        Counted { connector, opened: Arc::clone(&self.opened) }
    }
}

/// A connector, counted.
#[derive(Clone)]
pub struct Counted<S> {
    connector: S,
    opened: Arc<AtomicU64>,
}

impl<S: Service<R>, R> Service<R> for Counted<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, to: R) -> S::Future {
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.connector.call(to)
    }
}
