//! A scripted receiver: one listener, any number of endpoints by path, a ledger of everything it got.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri};
use tokio::net::TcpListener;

/// One request received.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The path, which stands for the endpoint.
    pub path: String,
    /// Value of `webhook-id`.
    pub id: String,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
    /// When.
    pub at: Instant,
}

/// What to answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// This status at once.
    Status(u16),
    /// This status, these headers and this body.
    Full(u16, Vec<(&'static str, &'static str)>, &'static str),
    /// This status after a while.
    Late(u16, Duration),
}

type Script = Arc<dyn Fn(&Hit, usize) -> Answer + Send + Sync>;

/// The receiver.
#[derive(Clone)]
pub struct Receiver {
    address: SocketAddr,
    state: Arc<Scripted>,
}

struct Scripted {
    script: Script,
    hits: Mutex<Vec<Hit>>,
    /// Requests per (path, id) so far.
    counts: Mutex<HashMap<(String, String), usize>>,
}

impl Receiver {
    /// Answers what `script` says to a request; it is told how many came for the same path and `webhook-id` before.
    ///
    /// # Errors
    /// When nothing can listen.
    pub async fn start(script: impl Fn(&Hit, usize) -> Answer + Send + Sync + 'static) -> Result<Self> {
        let state = Arc::new(Scripted { script: Arc::new(script), hits: Mutex::default(), counts: Mutex::default() });
        let app = Router::new().fallback(receive).with_state(Arc::clone(&state));
        let listener = TcpListener::bind("127.0.0.1:0").await.context("a port for the receiver")?;
        let address = listener.local_addr().context("its address")?;
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { address, state })
    }

    /// The URL of the endpoint with this path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Everything received so far.
    pub fn hits(&self) -> Vec<Hit> {
        lock(&self.state.hits).clone()
    }

    /// Everything received at one path so far.
    pub fn at(&self, path: &str) -> Vec<Hit> {
        lock(&self.state.hits).iter().filter(|hit| hit.path == path).cloned().collect()
    }

    /// How many requests came per (path, id).
    pub fn counts(&self) -> HashMap<(String, String), usize> {
        lock(&self.state.counts).clone()
    }

    /// Forgets everything received.
    pub fn forget(&self) {
        lock(&self.state.hits).clear();
        lock(&self.state.counts).clear();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn receive(State(state): State<Arc<Scripted>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let id = headers.get("webhook-id").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let hit = Hit { path: uri.path().to_owned(), id, headers, body, at: Instant::now() };
    let before = {
        let mut counts = lock(&state.counts);
        let count = counts.entry((hit.path.clone(), hit.id.clone())).or_default();
        *count += 1;
        *count - 1
    };
    let answer = (state.script)(&hit, before);
    lock(&state.hits).push(hit);
    let status = |code| StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match answer {
        Answer::Status(code) => status(code).into_response(),
        Answer::Full(code, headers, body) => {
            let mut response = (status(code), body).into_response();
            for (name, value) in headers {
                response.headers_mut().insert(name, http::HeaderValue::from_static(value));
            }
            response
        }
        Answer::Late(code, delay) => {
            tokio::time::sleep(delay).await;
            status(code).into_response()
        }
    }
}
