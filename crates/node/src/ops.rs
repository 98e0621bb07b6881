//! The operators' listener: `/livez`, `/readyz`, `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hookyard_rabbit::Rabbit;
use hookyard_redis::RedisStore;
use hookyard_telemetry::Metrics;
use http::{StatusCode, header};
use serde::Serialize;

/// What readiness is judged by.
pub struct Ops {
    pub metrics: Metrics,
    pub rabbit: Arc<Rabbit>,
    pub store: RedisStore,
    pub draining: AtomicBool,
}

/// Whether this process can do its work, and what is missing.
#[expect(clippy::struct_excessive_bools, reason = "an answer in JSON, one field per question")]
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Readiness {
    ready: bool,
    broker: bool,
    store: bool,
    dataset: bool,
    draining: bool,
}

impl Ops {
    /// Asks everything that is needed.
    pub async fn readiness(&self) -> Readiness {
        let (broker, draining) = (self.rabbit.is_connected(), self.draining.load(Ordering::Relaxed));
        let found = self.store.meta().await;
        let adopted = self.store.adopted();
        let dataset = matches!((&found, &adopted), (Ok(Some(found)), Some(adopted)) if found.dataset == adopted.dataset);
        let ready = broker && dataset && !draining;
        self.metrics.ready.set(i64::from(ready));
        Readiness { ready, broker, store: found.is_ok(), dataset, draining }
    }
}

impl Readiness {
    /// Whether nothing is missing.
    pub fn is_ready(self) -> bool {
        self.ready
    }
}

pub fn routes(ops: Arc<Ops>) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(ops)
}

async fn readyz(State(ops): State<Arc<Ops>>) -> Response {
    let readiness = ops.readiness().await;
    let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn metrics(State(ops): State<Arc<Ops>>) -> impl IntoResponse {
    ops.readiness().await;
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], ops.metrics.render())
}
