//! A receiver that verifies and prints what it gets: for trying things out.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use standardwebhooks::Webhook;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// One request received.
#[derive(Clone, Debug)]
pub struct Received {
    /// Value of `webhook-id`.
    pub id: String,
    /// Whether the signature is good; `None` without a secret to check it with.
    pub verified: Option<bool>,
    /// The body.
    pub body: Bytes,
}

impl Received {
    /// One line for people.
    pub fn line(&self) -> String {
        let verified = match self.verified {
            Some(true) => "signature good",
            Some(false) => "SIGNATURE BAD",
            None => "signature not checked",
        };
        format!("received {} ({verified}): {}", self.id, String::from_utf8_lossy(&self.body))
    }
}

struct Checking {
    webhook: Option<Webhook>,
    sender: mpsc::Sender<Received>,
}

/// Begins to receive on `address`; the secret may be told later through the returned handle.
pub async fn start(address: SocketAddr, secret: Option<&str>) -> anyhow::Result<(SocketAddr, mpsc::Receiver<Received>)> {
    let webhook = secret.map(Webhook::new).transpose().context("the secret is not of the form whsec_…")?;
    let (sender, receiver) = mpsc::channel(1024);
    let app = Router::new().fallback(receive).with_state(Arc::new(Checking { webhook, sender }));
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr().context("no address")?;
    #[expect(clippy::disallowed_methods, reason = "ends with the program")]
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok((address, receiver))
}

async fn receive(State(checking): State<Arc<Checking>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let id = headers.get("webhook-id").and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned();
    let verified = checking.webhook.as_ref().map(|webhook| webhook.verify(&body, &headers).is_ok());
    let received = Received { id, verified, body };
    match checking.sender.send(received).await {
        Ok(()) if verified != Some(false) => StatusCode::NO_CONTENT,
        Ok(()) => StatusCode::BAD_REQUEST,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
