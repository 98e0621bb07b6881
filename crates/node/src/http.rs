//! The API's listener: who is calling, what it is called in the log, and errors in one shape.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state, map_request, map_response};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use hookyard_core::{Clock, Entropy};
use hookyard_telemetry::Metrics;
use hookyard_telemetry::label::{Method, Route, StatusClass};
use hookyard_wire::problem::Problem;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::sync::mpsc;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};
use tower_layer::Layer as _;
use tracing::Instrument as _;
use url::Url;

use crate::idempotency::{Once, answer_once};
use crate::ops::Ops;
use crate::quota::Quota;
use crate::session;
use crate::token::Verifier;

/// Room for what stands around an event's data in a request.
pub const BODY_MARGIN: usize = 64 * 1024;
/// Most of a body that is read although it was refused: several times what any operation takes.
const DRAINED_MOST: usize = 64 * 1024 * 1024;
const REQUEST_ID: &str = "hookyard-request-id";

/// What every request needs.
pub struct Front {
    pub verifier: Arc<Verifier>,
    pub once: Arc<Once>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub metrics: Metrics,
    pub ops: Arc<Ops>,
    pub max_event_bytes: usize,
    pub quota: Option<Quota>,
    pub timeout: Duration,
    /// Whether people reach it over TLS alone.
    pub is_secure: bool,
    /// Whose pages may call it.
    pub cors: Option<CorsLayer>,
}

/// The API: routes behind authentication, open ones beside them, with limits, ids, metrics and errors of one shape.
pub fn app(routes: Router, open: Router, front: Front) -> Router {
    let limit = DefaultBodyLimit::max(front.max_event_bytes + BODY_MARGIN);
    let front = Arc::new(front);
    let app = routes
        .layer(map_response(|response| async { in_our_shape(response) }))
        .layer(from_fn_with_state(Arc::clone(&front.once), answer_once))
        .layer(from_fn_with_state(Arc::clone(&front), authenticate))
        .merge(session::routes(Arc::clone(&front)))
        .merge(open)
        .route("/api/v1/health", get(healthy).with_state(Arc::clone(&front.ops)))
        .route("/api/v1/health/ping", get(|| async { StatusCode::NO_CONTENT }))
        .fallback(|| async { Problem::not_found("there is nothing at this path") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not know that method")
        })
        .layer(limit)
        .layer(from_fn_with_state(front.timeout, in_time));
    let app = match front.cors.clone() {
        Some(cors) => app.layer(cors),
        None => app,
    };
    app.layer(from_fn_with_state(front, observe))
}

/// Lets pages of these origins call the API and read what its answers say. They bring a token; cookies are the console's alone.
///
/// # Errors
/// When one is no origin.
pub fn cors(origins: &[String]) -> Result<Option<CorsLayer>, BadOrigin> {
    if origins.is_empty() {
        return Ok(None);
    }
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().map(|origin| parse_origin(origin)).collect::<Result<Vec<_>, _>>()?)
    };
    let exposed = [REQUEST_ID, "hookyard-ignored", "hookyard-unknown-types", "retry-after"].map(HeaderName::from_static);
    let layer = CorsLayer::new().allow_origin(allowed).allow_methods(AllowMethods::mirror_request());
    Ok(Some(layer.allow_headers(AllowHeaders::mirror_request()).expose_headers(exposed).max_age(PREFLIGHT_KEPT)))
}

/// How long a browser need not ask again: Chromium's longest.
const PREFLIGHT_KEPT: Duration = Duration::from_secs(7200);

/// Not an origin: a scheme, a host, and a port where it is not the scheme's (RFC 6454 §6.2).
#[derive(Debug, thiserror::Error)]
#[error("an origin is scheme://host or scheme://host:port, without a path")]
pub struct BadOrigin;

fn parse_origin(text: &str) -> Result<HeaderValue, BadOrigin> {
    let url: Url = text.parse().map_err(|_| BadOrigin)?;
    let origin = url.origin().ascii_serialization();
    let is_whole = matches!(url.scheme(), "http" | "https") && origin == text.to_ascii_lowercase();
    if is_whole { origin.parse().map_err(|_| BadOrigin) } else { Err(BadOrigin) }
}

/// Before anything is routed: older releases of the official clients end every path of the API with a slash.
pub fn without_trailing_slash(app: Router) -> Router {
    Router::new().fallback_service(
        map_request(async |mut request: Request| {
            let path = request.uri().path();
            if path.starts_with("/api/") && path.ends_with('/') {
                let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
                // What was a path without its last slash is one too.
                if let Ok(uri) = format!("{}{query}", path.trim_end_matches('/')).parse() {
                    *request.uri_mut() = uri;
                }
            }
            request
        })
        .layer(app),
    )
}

/// Whether the next request can be answered: clients wait for this before their first one, as they do with `/readyz`.
async fn healthy(State(ops): State<Arc<Ops>>) -> Result<StatusCode, Problem> {
    if ops.readiness().await.is_ready() {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "this process is not ready; try again"))
    }
}

async fn authenticate(State(front): State<Arc<Front>>, mut request: Request, next: Next) -> Result<Response, Problem> {
    let value = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = value.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let token = match bearer {
        Some((_, token)) => Some(token),
        None => session::token(request.method(), request.headers())?,
    };
    let token = token.ok_or_else(|| Problem::unauthenticated("send a token: `Authorization: Bearer …`"))?;
    let grant = front.verifier.verify(token.trim(), &*front.clock);
    let grant = grant.ok_or_else(|| Problem::unauthenticated("this token is not valid, or no longer"))?;
    if front.quota.as_ref().is_some_and(|quota| !quota.admits(&grant.token, Instant::now())) {
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "too many requests with this token; try again"));
    }
    request.extensions_mut().insert(grant);
    Ok(next.run(request).await)
}

/// An answer that does not begin in time is not waited for: neither a body that comes byte by byte nor a backend that hangs may hold
/// a request for ever.
async fn in_time(State(most): State<Duration>, request: Request, next: Next) -> Response {
    let late = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "this took too long; try again").into_response();
    tokio::time::timeout(most, next.run(request)).await.unwrap_or_else(late)
}

async fn observe(State(front): State<Arc<Front>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let mut id = [0; 8];
    front.entropy.fill(&mut id);
    let id = id.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let declared = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let labels = (Method::of(request.method().as_str()), Route::of(declared.as_deref()));
    let route = declared.as_deref().unwrap_or("other");
    let span = tracing::info_span!("http", request_id = id, method = %request.method(), route);
    let is_large = is_large(request.headers());
    // Who asks first sends nothing until it is wanted.
    let is_drained = is_large && !request.headers().contains_key(header::EXPECT);
    let request = if is_drained { drained(request, front.timeout) } else { request };
    let response = next.run(request).instrument(span.clone()).await;
    let mut response = in_our_shape(response);
    let status = response.status();
    if is_large && status.is_client_error() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    front.metrics.http_requests_total.inc((labels.0, labels.1, StatusClass::of(status.as_u16())));
    front.metrics.http_request_duration_seconds.observe(begun.elapsed().as_secs_f64());
    span.in_scope(|| tracing::debug!(status = status.as_u16(), "answered"));
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// A request whose body is read on when nobody wants the rest: a client that still sends does not read the answer, and would find its
/// connection broken instead.
fn drained(request: Request, most: Duration) -> Request {
    let (head, body) = request.into_parts();
    let (sender, mut receiver) = mpsc::channel::<Result<Bytes, axum::Error>>(1);
    #[expect(clippy::disallowed_methods, reason = "one connection of a listener")]
    tokio::spawn(async move {
        if tokio::time::timeout(most, pass_on(body, &sender)).await.is_err() {
            // What is cut short must not look whole.
            let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
            sender.send(Err(axum::Error::new(late))).await.ok();
        }
    });
    Request::from_parts(head, Body::from_stream(stream::poll_fn(move |context| receiver.poll_recv(context))))
}

/// Hands a body on for as long as it is wanted, then reads the rest of it.
async fn pass_on(body: Body, sender: &mpsc::Sender<Result<Bytes, axum::Error>>) {
    let (mut chunks, mut left) = (body.into_data_stream(), DRAINED_MOST);
    while let Some(chunk) = chunks.next().await {
        let (bytes, is_over) = (chunk.as_ref().map_or(0, Bytes::len), chunk.is_err());
        if sender.send(chunk).await.is_err() {
            left = left.saturating_sub(bytes);
        }
        if is_over || left == 0 {
            return;
        }
    }
}

/// Whether a refusal may come before the body was read to its end. Then the connection ends with it: a client that sent its next
/// request on the same connection would find it broken.
fn is_large(headers: &HeaderMap) -> bool {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    declared.map_or_else(|| headers.contains_key(header::TRANSFER_ENCODING), |bytes| bytes > BODY_MARGIN)
}

/// The framework's own refusals (a body too large, a query that cannot be read) in the shape of all others.
fn in_our_shape(response: Response) -> Response {
    let status = response.status();
    let is_ours = response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == "application/json");
    if !(status.is_client_error() || status.is_server_error()) || is_ours {
        return response;
    }
    let problem = match status {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(status, "too_large", "the body is too large"),
        StatusCode::BAD_REQUEST => Problem::new(status, "bad_request", "the request cannot be read"),
        _ => Problem::new(status, "error", status.canonical_reason().unwrap_or("an error")),
    };
    problem.into_response()
}
