//! The operator's proxy, through which everything goes outward if there is one: what it does wrong is not the receiver's doing.

use std::error::Error;
use std::time::Duration;

use hookyard_core::{Fault, FaultKind};
use tokio::net::TcpStream;
use url::Url;

/// A proxy that does not take a connection within this is away.
const TAKES_WITHIN: Duration = Duration::from_secs(1);
/// What the errors of the HTTP client about the tunnel begin with. The type behind them is not to be named.
const TUNNEL: &str = "tunnel error: ";
/// The one of them that tells of the receiver: the proxy answered, and does not connect.
const NOT_CONNECTED: &str = "tunnel error: unsuccessful";
/// "Proxy Authentication Required" (RFC 9110 §15.5.8): not for a receiver to say, and over plain HTTP the proxy's word.
pub const PROXY_AUTHENTICATION: u16 = 407;

/// An HTTP proxy; TLS goes through it by CONNECT (RFC 9110 §9.3.6).
#[derive(Clone)]
pub struct EgressProxy {
    url: Url,
    host: String,
    port: u16,
}

/// A URL that names no proxy.
#[derive(Debug, thiserror::Error)]
#[error("a proxy is http://host:port or https://host:port, with user:password@ where it wants that")]
pub struct BadProxy;

impl EgressProxy {
    /// From its URL.
    ///
    /// # Errors
    /// When it is no proxy's.
    pub fn parse(text: &str) -> Result<Self, BadProxy> {
        let url: Url = text.parse().map_err(|_| BadProxy)?;
        let host = url.host_str().ok_or(BadProxy)?.trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().ok_or(BadProxy)?;
        let is_proxy = matches!(url.scheme(), "http" | "https") && url.path() == "/" && url.query().is_none();
        if is_proxy { Ok(Self { url, host, port }) } else { Err(BadProxy) }
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Its host: ours to resolve, wherever it leads.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The fault behind an error, if it is not the receiver's.
    pub(crate) async fn fault_of(&self, error: &reqwest::Error) -> Option<Fault> {
        let tunnel = told_of_tunnel(error);
        let is_ours = match tunnel.as_deref() {
            Some(NOT_CONNECTED) => false,
            Some(_) => true,
            // Nothing but the proxy is connected to; yet a receiver that does not answer it looks alike.
            None => error.is_connect() && !self.takes_connections().await,
        };
        is_ours.then(away)
    }

    async fn takes_connections(&self) -> bool {
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        tokio::time::timeout(TAKES_WITHIN, connecting).await.is_ok_and(|connected| connected.is_ok())
    }
}

/// The proxy is away, or does not want us.
pub fn away() -> Fault {
    Fault::new(FaultKind::Unavailable, "reach the egress proxy")
}

fn told_of_tunnel(error: &reqwest::Error) -> Option<String> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = cause {
        let text = current.to_string();
        if text.starts_with(TUNNEL) {
            return Some(text);
        }
        cause = current.source();
    }
    None
}
