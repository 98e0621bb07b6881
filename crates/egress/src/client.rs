//! The HTTP client that POSTs to receivers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use hookyard_core::address::AllowList;
use hookyard_core::port::{Request, Sender};
use hookyard_core::{AttemptClass, AttemptResult, Clock, Directive, Fault, FaultKind, RetryAfter, limits};
use hookyard_telemetry::Metrics;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};

use crate::classify::{class_of, is_ours};
use crate::connections::Connections;
use crate::proxy::{EgressProxy, PROXY_AUTHENTICATION, away};
use crate::resolve::{LookUp, Vetting};

/// A connection nobody used for this long is closed: receivers commonly close theirs after a minute.
const IDLE: Duration = Duration::from_secs(50);
/// Idle connections kept per host: as many as a dispatcher's default of requests in flight, so that a steady stream to one receiver
/// opens none anew.
const IDLE_PER_HOST: usize = 512;

/// Pause before a request is tried again that failed for want of a file descriptor of ours.
const OURS_PAUSE: Duration = Duration::from_millis(100);

/// Makes *ring* the process's cryptography. Must run before the first client is built; a second call changes nothing.
pub fn install_crypto() {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::trace!("a provider of cryptography was already installed");
    }
}

/// The one door outward.
#[derive(Clone)]
pub struct Egress {
    client: reqwest::Client,
    allow: Arc<AllowList>,
    proxy: Option<EgressProxy>,
    clock: Arc<dyn Clock>,
    connections: Connections,
}

/// An operator's choices. Nothing in the environment is one.
#[derive(Clone, Default)]
pub struct EgressConfig {
    /// What is let through although it is special.
    pub allow: AllowList,
    /// Through which everything goes.
    pub proxy: Option<EgressProxy>,
    /// Authorities trusted beside the system's.
    pub authorities: Authorities,
}

/// Certificates of authorities.
#[derive(Clone, Default)]
pub struct Authorities(Vec<reqwest::Certificate>);

impl Authorities {
    /// From a file of certificates in PEM.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(pem: &[u8]) -> Result<Self, Fault> {
        let read = reqwest::Certificate::from_pem_bundle(pem);
        read.map(Self).map_err(|error| Fault::caused(FaultKind::Refused, "read certificates", error))
    }
}

impl Egress {
    /// A door; names are resolved by `look_up`, or by the proxy if there is one.
    pub fn new(config: EgressConfig, look_up: Arc<dyn LookUp>, clock: Arc<dyn Clock>, metrics: &Metrics) -> Result<Self, Fault> {
        let refused = |error: reqwest::Error| Fault::caused(FaultKind::Refused, "build the HTTP client", error.without_url());
        let EgressConfig { allow, proxy, authorities } = config;
        let allow = Arc::new(allow);
        let proxy_host = proxy.as_ref().map(|proxy| proxy.host().to_owned());
        let builder = match &proxy {
            Some(proxy) => {
                let by_proxy = reqwest::Proxy::all(proxy.url().clone()).map_err(refused)?;
                reqwest::Client::builder().no_proxy().proxy(by_proxy)
            }
            None => reqwest::Client::builder().no_proxy(),
        };
        let connections = Connections::new(metrics.delivery_connections_total.clone());
        let client = builder
            .redirect(reqwest::redirect::Policy::none())
            // A second request would be an attempt that nobody counts.
            .retry(reqwest::retry::never().max_retries_per_request(0))
            .http1_only()
            .referer(false)
            .connect_timeout(limits::CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .tcp_nodelay(true)
            .connector_layer(connections.clone())
            .tls_certs_merge(authorities.0)
            .dns_resolver(Arc::new(Vetting { look_up, allow: Arc::clone(&allow), proxy_host }))
            .build()
            .map_err(refused)?;
        Ok(Self { client, allow, proxy, clock, connections })
    }
}

#[async_trait]
impl Sender for Egress {
    async fn send(&self, request: Request) -> Result<AttemptResult, Fault> {
        let (started_at, begun) = (self.clock.now(), Instant::now());
        let without = |class| AttemptResult::without_response(class, started_at, begun.elapsed());
        // The resolver is never asked about addresses that the URL spells out.
        if self.allow.judge_url(&request.url).is_err() {
            return Ok(without(AttemptClass::Blocked));
        }
        let Some(headers) = header_map(&request.headers) else { return Ok(without(AttemptClass::Protocol)) };
        let deadline = begun + request.timeout;
        let response = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let post = self.client.post(request.url.clone()).headers(headers.clone()).body(request.body.clone()).timeout(left);
            let sent = post.send().await;
            self.connections.requested();
            match sent {
                Ok(response) => break response,
                // Nothing has left, and it is not the receiver's doing.
                Err(error) if is_ours(&error) && left > OURS_PAUSE => {
                    tracing::warn!("out of file descriptors; raise this process's limit");
                    tokio::time::sleep(OURS_PAUSE).await;
                }
                Err(error) => {
                    let result = without(class_of(&error));
                    let fault = match &self.proxy {
                        Some(proxy) => proxy.fault_of(&error).await,
                        None => None,
                    };
                    return fault.map_or(Ok(result), Err);
                }
            }
        };
        let status = response.status().as_u16();
        // Inside a tunnel it is the receiver who speaks.
        if self.proxy.is_some() && status == PROXY_AUTHENTICATION && request.url.scheme() == "http" {
            return Err(away());
        }
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let retry_after = header(RETRY_AFTER.as_str()).and_then(RetryAfter::parse);
        let directive = header("webhook-delivery").and_then(Directive::parse);
        let (class, kept) = match read_bounded(response).await {
            Ok(kept) => (AttemptClass::of_status(status), kept),
            // The budget includes the body: a response that never ends is no answer.
            Err(error) => (class_of(&error), Bytes::new()),
        };
        let duration = begun.elapsed();
        Ok(AttemptResult { class, status: Some(status), response: kept, started_at, duration, retry_after, directive })
    }
}

/// Reads at most [`limits::RESPONSE_READ_BYTES`] and keeps at most [`limits::RESPONSE_KEPT_BYTES`]; what is longer loses its
/// connection, not its success.
async fn read_bounded(mut response: reqwest::Response) -> reqwest::Result<Bytes> {
    let (mut read, mut kept) = (0, BytesMut::new());
    while let Some(chunk) = response.chunk().await? {
        read += chunk.len();
        let room = limits::RESPONSE_KEPT_BYTES - kept.len();
        kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if read >= limits::RESPONSE_READ_BYTES {
            break;
        }
    }
    Ok(kept.freeze())
}

/// `None` if a header cannot be written: endpoints are checked when saved, so that is rare.
fn header_map(headers: &[(String, String)]) -> Option<HeaderMap> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        map.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?);
    }
    Some(map)
}
