//! Which requests opened a connection, and which went over one that was there.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tower_layer::Layer;
use tower_service::Service;

use crate::body::Taken;

tokio::task_local! {
    /// What is known of the request that this task makes.
    static MAKING: Making;
}

/// A request being made.
struct Making {
    port: u16,
    has_begun: Cell<bool>,
    has_opened: Cell<bool>,
    has_failed: Cell<bool>,
}

/// A connection of HTTP/1 that is there takes a request at once. One that does not within this never will: it ended at the very moment the
/// request was handed to it, and the two missed each other (seen with hyper 1.12 on tokio 1.54: the request waits for its time to run out).
const TAKEN_WITHIN: Duration = Duration::from_millis(200);

/// Makes a request to this port, and tells whether it went over a connection that was there: none was opened for it, and none failed to
/// be. One that was begun and not waited for, because another became free, is neither. `None` is a request that was not taken by the
/// connection that was there; nothing of it was sent. Without `taken` that is not found out.
pub async fn watched<F: Future>(port: u16, taken: Option<&Taken>, request: F) -> (Option<F::Output>, bool) {
    let making = Making { port, has_begun: Cell::new(false), has_opened: Cell::new(false), has_failed: Cell::new(false) };
    let missed = async {
        if let Some(taken) = taken {
            tokio::time::sleep(TAKEN_WITHIN).await;
            if !taken.is_taken() && !MAKING.with(|making| making.has_begun.get()) {
                return;
            }
        }
        std::future::pending::<()>().await;
    };
    let watched = async move {
        let made = tokio::select! {
            biased;
            made = request => Some(made),
            () = missed => None,
        };
        (made, MAKING.with(|making| !making.has_opened.get() && !making.has_failed.get()))
    };
    MAKING.scope(making, watched).await
}

/// The port of the request that is being made here.
pub fn port() -> Option<u16> {
    MAKING.try_with(|making| making.port).ok()
}

/// A layer around the connector.
#[derive(Clone, Copy)]
pub struct Watching;

impl<S> Layer<S> for Watching {
    type Service = Watched<S>;

    fn layer(&self, connector: S) -> Watched<S> {
        Watched { connector }
    }
}

/// A connector that is watched.
#[derive(Clone)]
pub struct Watched<S> {
    connector: S,
}

impl<S: Service<R>, R> Service<R> for Watched<S>
where
    S::Future: Send + 'static,
    S::Response: 'static,
    S::Error: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, to: R) -> Self::Future {
        if MAKING.try_with(|making| making.has_begun.set(true)).is_err() {
            tracing::trace!("a connection is opened for nobody");
        }
        let connecting = self.connector.call(to);
        Box::pin(async move {
            let connected = connecting.await;
            // Where nobody waits any more, it is finished in a task of the client's own.
            let is_waited_for = MAKING.try_with(|making| match &connected {
                Ok(_) => making.has_opened.set(true),
                Err(_) => making.has_failed.set(true),
            });
            if is_waited_for.is_err() {
                tracing::trace!("a connection was opened for later requests");
            }
            connected
        })
    }
}
