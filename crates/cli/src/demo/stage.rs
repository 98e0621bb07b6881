//! The receivers on loopback, and the ledger of what they got.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use axum::Router;
use axum::extract::{Path, State};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use standardwebhooks::Webhook;
use tokio::net::TcpListener;

use super::script::{HANG, Part, SLOW};

/// One request received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// By whom.
    pub part: Part,
    /// Value of `webhook-id`.
    pub id: String,
    /// Whether the signature is good.
    pub verified: bool,
    /// The body.
    pub body: Bytes,
    /// The answer; nothing from who hangs.
    pub answer: Option<StatusCode>,
}

/// The receivers.
#[derive(Clone)]
pub struct Stage(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    secrets: Mutex<HashMap<&'static str, Webhook>>,
    hits: Mutex<Vec<Hit>>,
    mended: AtomicBool,
}

impl Stage {
    /// Begins to receive.
    pub async fn open() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("cannot listen on loopback")?;
        let address = listener.local_addr().context("no address")?;
        let (secrets, hits, mended) = (Mutex::default(), Mutex::default(), AtomicBool::new(false));
        let stage = Self(Arc::new(Inner { address, secrets, hits, mended }));
        let app = Router::new().route("/{part}", axum::routing::post(receive)).with_state(stage.clone());
        #[expect(clippy::disallowed_methods, reason = "ends with the program")]
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(stage)
    }

    /// Where `part` receives.
    pub fn url(&self, part: Part) -> String {
        format!("http://{}/{}", self.0.address, part.name())
    }

    /// What the requests to `part` are signed with.
    pub fn expect(&self, part: Part, secret: &str) -> anyhow::Result<()> {
        let webhook = Webhook::new(secret).context("the endpoint's secret cannot be read")?;
        self.0.secrets.lock().unwrap_or_else(PoisonError::into_inner).insert(part.name(), webhook);
        Ok(())
    }

    /// From now on the one that always failed answers 204.
    pub fn mend(&self) {
        self.0.mended.store(true, Ordering::SeqCst);
    }

    /// What was received so far.
    pub fn hits(&self) -> Vec<Hit> {
        self.ledger().clone()
    }

    fn ledger(&self) -> MutexGuard<'_, Vec<Hit>> {
        self.0.hits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_signed(&self, part: Part, headers: &HeaderMap, body: &Bytes) -> bool {
        let secrets = self.0.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.get(part.name()).is_some_and(|webhook| webhook.verify(body, headers).is_ok())
    }
}

async fn receive(State(stage): State<Stage>, Path(name): Path<String>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let Some(part) = Part::ALL.into_iter().find(|part| part.name() == name) else { return StatusCode::NOT_FOUND };
    let id = headers.get("webhook-id").and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned();
    let verified = stage.is_signed(part, &headers, &body);
    let answer = {
        let mut ledger = stage.ledger();
        let before = ledger.iter().filter(|hit| hit.part == part && hit.id == id).count();
        let answer = match part {
            Part::FailsTwice if before < 2 => Some(StatusCode::SERVICE_UNAVAILABLE),
            Part::Ok | Part::FailsTwice | Part::Slow | Part::Bound => Some(StatusCode::NO_CONTENT),
            Part::AlwaysFails if stage.0.mended.load(Ordering::SeqCst) => Some(StatusCode::NO_CONTENT),
            Part::AlwaysFails => Some(StatusCode::INTERNAL_SERVER_ERROR),
            Part::Gone => Some(StatusCode::GONE),
            Part::Hangs => None,
        };
        ledger.push(Hit { part, id, verified, body, answer });
        answer
    };
    match part {
        Part::Slow => tokio::time::sleep(SLOW).await,
        Part::Hangs => tokio::time::sleep(HANG * 10).await,
        _ => {}
    }
    answer.unwrap_or(StatusCode::NO_CONTENT)
}
