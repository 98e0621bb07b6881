//! The operators' listener: `/livez`, `/readyz`, `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hookyard_telemetry::Metrics;
use http::{StatusCode, header};
use serde::Serialize;

use crate::backend::Backend;
use crate::supervisor::Supervisor;

/// What readiness is judged by.
pub struct Ops {
    pub metrics: Metrics,
    pub backend: Backend,
    pub draining: AtomicBool,
    pub supervisor: Supervisor,
}

/// Whether this process can do its work, and what is missing.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Readiness {
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    broker: Option<bool>,
    store: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    dataset: Option<bool>,
    draining: bool,
}

impl Ops {
    /// Asks everything that is needed.
    pub async fn readiness(&self) -> Readiness {
        // A process whose root task has ended drains at once.
        let draining = self.draining.load(Ordering::Relaxed) || self.supervisor.has_failed();
        let (broker, store, dataset) = match &self.backend {
            Backend::Cluster(cluster) => {
                let (found, adopted) = (cluster.store.meta().await, cluster.store.adopted());
                let is_same = matches!((&found, &adopted), (Ok(Some(found)), Some(adopted)) if found.dataset == adopted.dataset);
                // In this order: the sessions begin anew where establishing finds more shards than they were begun with.
                let dataset = is_same && cluster.established.load(Ordering::Acquire);
                (Some(cluster.rabbit.is_connected()), found.is_ok(), Some(dataset))
            }
            Backend::Embedded(file) => {
                let is_read = self.backend.ports().directory.resolve(&[]).await.is_ok();
                (None, is_read && file.store.is_writable(), None)
            }
        };
        let ready = broker.unwrap_or(true) && store && dataset.unwrap_or(true) && !draining;
        self.metrics.ready.set(i64::from(ready));
        Readiness { ready, broker, store, dataset, draining }
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
