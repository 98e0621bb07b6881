//! A receiver of webhooks, and patience.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, StatusCode};

/// The longest a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(60);

/// One request received.
#[derive(Clone)]
pub struct Hit {
    pub path: String,
    pub id: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A receiver whose path `/flaky` answers 500 three times per message.
#[derive(Clone)]
pub struct Receiver {
    base: String,
    hits: Arc<Mutex<Vec<Hit>>>,
}

impl Receiver {
    pub async fn start() -> Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let receiver = Self { base: format!("http://{}", listener.local_addr()?), hits: Arc::default() };
        let app = Router::new().fallback(receive).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(receiver)
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub fn hits(&self) -> Vec<Hit> {
        self.hits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn receive(State(receiver): State<Receiver>, uri: OriginalUri, headers: HeaderMap, body: Bytes) -> StatusCode {
    let id = headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    let hit = Hit { path: uri.path().to_owned(), id, headers, body };
    let mut hits = receiver.hits.lock().unwrap_or_else(PoisonError::into_inner);
    let before = hits.iter().filter(|other| other.path == hit.path && other.id == hit.id).count();
    let fails = hit.path == "/flaky" && before < 3;
    hits.push(hit);
    if fails { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::NO_CONTENT }
}

pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) -> Result<()> {
    let begun = Instant::now();
    while !condition().await {
        ensure!(begun.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
