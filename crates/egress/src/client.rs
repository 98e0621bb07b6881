//! The HTTP client that POSTs to receivers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use hookyard_core::address::AllowList;
use hookyard_core::port::{Request, Sender};
use hookyard_core::{AttemptClass, AttemptResult, Clock, Directive, Fault, FaultKind, RetryAfter, limits};
use hookyard_telemetry::label::Reused;
use hookyard_telemetry::{CounterBy, Metrics};
use hookyard_wire::coding::beginning;
use reqwest::header::{CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};

use crate::body::Told;
use crate::classify::{came_nothing, class_of, is_ours};
use crate::connections::{Watching, watched};
use crate::idle::Idle;
use crate::look_up::{BoundedLookUp, LookUp};
use crate::proxy::{EgressProxy, PROXY_AUTHENTICATION, away};
use crate::race::Race;
use crate::resolve::Vetting;
use crate::tls::{self, Authorities};

/// A connection nobody used for this long is closed: receivers commonly close theirs after a minute.
const IDLE: Duration = Duration::from_secs(50);
/// Idle connections kept per host: as many as a dispatcher's default of requests in flight, so that a steady stream to one receiver
/// opens none anew.
const IDLE_PER_HOST: usize = 512;

/// A connection that was closed while it was idle tells so within a round trip. What ends later was at work: that is an attempt.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);
/// Most headers of a response. The library's own bound is a hundred, which some receivers go beyond; for each more it prepares seventy
/// bytes per response, read or not (with a thousand that took 4 % of a dispatcher's time).
const HEADERS_MOST: usize = 400;

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
    requests: CounterBy<Reused>,
    idle: Arc<Idle>,
    race: Arc<Race>,
    /// Never uses a connection twice.
    fresh: reqwest::Client,
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

impl Egress {
    /// A door; names are resolved by `look_up`, or by the proxy if there is one.
    pub fn new(config: EgressConfig, look_up: Arc<dyn LookUp>, clock: Arc<dyn Clock>, metrics: &Metrics) -> Result<Self, Fault> {
        let refused = |error: reqwest::Error| Fault::caused(FaultKind::Refused, "build the HTTP client", error.without_url());
        let EgressConfig { allow, proxy, authorities } = config;
        let allow = Arc::new(allow);
        let proxy_host = proxy.as_ref().map(|proxy| proxy.host().to_owned());
        let (race, idle) = (Arc::new(Race::new()), Arc::new(Idle::new()));
        let look_up = Arc::new(BoundedLookUp::new(look_up));
        let vetting = Arc::new(Vetting { look_up, allow: Arc::clone(&allow), proxy_host, race: Arc::clone(&race) });
        let tls = authorities.client()?;
        let client = |idle_per_host| {
            let builder = match &proxy {
                Some(proxy) => reqwest::Client::builder().no_proxy().proxy(reqwest::Proxy::all(proxy.url().clone())?),
                None => reqwest::Client::builder().no_proxy(),
            };
            builder
                .redirect(reqwest::redirect::Policy::none())
                // A second request would be an attempt that nobody counts.
                .retry(reqwest::retry::never().max_retries_per_request(0))
                .referer(false)
                .connect_timeout(limits::CONNECT_TIMEOUT)
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(idle_per_host)
                .tcp_nodelay(true)
                // What receivers send, or the servers before them, and all that follows is understood.
                .http1_allow_obsolete_multiline_headers_in_responses(true)
                .http1_allow_spaces_after_header_name_in_responses(true)
                .http1_ignore_invalid_headers_in_responses(true)
                .http1_max_headers(HEADERS_MOST)
                .connector_layer(Watching)
                .tls_backend_preconfigured(tls.clone())
                .dns_resolver(Arc::clone(&vetting))
                .build()
        };
        let (pooled, fresh) = (client(IDLE_PER_HOST).map_err(refused)?, client(0).map_err(refused)?);
        let requests = metrics.delivery_connections_total.clone();
        Ok(Self { client: pooled, allow, proxy, clock, requests, idle, race, fresh })
    }

    /// Makes one request, and tells whether it went over a connection that was there.
    async fn make(&self, client: &reqwest::Client, request: &Request, headers: HeaderMap, left: Duration) -> (Made, bool) {
        let (body, taken) = Told::new(request.body.clone());
        let post = client.post(request.url.clone()).headers(headers).body(reqwest::Body::wrap(body)).timeout(left);
        let at = request.url.port_or_known_default().unwrap_or_default();
        // Under TLS it may be HTTP/2, where a request waits for the others of its connection.
        let taken = Some(&taken).filter(|_| request.url.scheme() == "http");
        let (made, was_reused) = watched(at, taken, post.send()).await;
        self.requests.inc(if was_reused { Reused::Yes } else { Reused::No });
        (made, was_reused)
    }
}

/// A response, or why there is none; `None` where a connection that was there did not take the request.
type Made = Option<reqwest::Result<reqwest::Response>>;

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
        let mut may_be_reused = !self.idle.is_over(&request.url, begun);
        let response = loop {
            let made_at = Instant::now();
            let left = deadline.saturating_duration_since(made_at);
            let client = if may_be_reused { &self.client } else { &self.fresh };
            let (made, was_reused) = self.make(client, &request, headers.clone(), left).await;
            let was_idle = may_be_reused && was_reused && made_at.elapsed() < CLOSED_WITHIN;
            match made {
                Some(Ok(response)) => break response,
                // The two missed each other.
                None => may_be_reused = false,
                // The receiver had closed it while it was idle: nothing was attempted yet. A fresh connection cannot have been.
                Some(Err(error)) if was_idle && !error.is_connect() && came_nothing(&error) => {
                    self.idle.was_closed(&request.url, Instant::now());
                    may_be_reused = false;
                }
                // Nothing has left, and it is not the receiver's doing.
                Some(Err(error)) if is_ours(&error) && left > OURS_PAUSE => {
                    tracing::warn!("out of file descriptors; raise this process's limit");
                    tokio::time::sleep(OURS_PAUSE).await;
                }
                Some(Err(error)) => {
                    let class = class_of(&error);
                    if error.is_connect() {
                        self.race.forget(
                            request.url.host_str().unwrap_or_default(),
                            request.url.port_or_known_default().unwrap_or_default(),
                        );
                    }
                    let said = if class == AttemptClass::Tls { tls::told(&error) } else { None };
                    let result =
                        AttemptResult { response: Bytes::from_static(said.unwrap_or_default().as_bytes()), ..without(class) };
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
        self.idle.answered(&request.url, response.headers(), Instant::now());
        let coding = response.headers().get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let retry_after = header(RETRY_AFTER.as_str()).and_then(RetryAfter::parse);
        let directive = header("webhook-delivery").and_then(Directive::parse);
        let (class, kept) = match read_bounded(response).await {
            Ok(read) => (AttemptClass::of_status(status), kept(read, coding.as_deref())),
            // The budget includes the body: a response that never ends is no answer.
            Err(error) => (class_of(&error), Bytes::new()),
        };
        let duration = begun.elapsed();
        Ok(AttemptResult { class, status: Some(status), response: kept, started_at, duration, retry_after, directive })
    }
}

/// Reads at most [`limits::RESPONSE_READ_BYTES`]; what is longer loses its connection, not its success.
async fn read_bounded(mut response: reqwest::Response) -> reqwest::Result<Bytes> {
    let mut read = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        let room = limits::RESPONSE_READ_BYTES - read.len();
        read.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if read.len() >= limits::RESPONSE_READ_BYTES {
            break;
        }
    }
    Ok(read.freeze())
}

/// What is kept for people: at most [`limits::RESPONSE_KEPT_BYTES`], decoded as far as it can be.
fn kept(read: Bytes, coding: Option<&str>) -> Bytes {
    let decoded = coding.and_then(|coding| beginning(&read, coding, limits::RESPONSE_KEPT_BYTES));
    let kept = decoded.unwrap_or(read);
    // In memory of its own: what was read of a long response is let go.
    if kept.len() > limits::RESPONSE_KEPT_BYTES { Bytes::copy_from_slice(&kept[..limits::RESPONSE_KEPT_BYTES]) } else { kept }
}

/// `None` if a header cannot be written: endpoints are checked when saved, so that is rare.
fn header_map(headers: &[(String, String)]) -> Option<HeaderMap> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        map.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?);
    }
    Some(map)
}
