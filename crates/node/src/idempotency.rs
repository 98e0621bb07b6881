//! `Idempotency-Key`: a POST that is repeated is answered as it was the first time, and done once.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use hookyard_core::AppRef;
use hookyard_core::grant::Grant;
use hookyard_core::id::ID_BYTES;
use hookyard_core::port::{AnswerKey, Answers, Begun, Directory};
use hookyard_wire::problem::{Invalid, Problem};
use http::{HeaderValue, Method, StatusCode, header};
use ring::digest;
use tracing::Instrument as _;

const KEY: &str = "idempotency-key";
/// Longest key: the compatible API's.
const KEY_BYTES: usize = 256;
/// How long an answer to a key of the caller's own is kept: a night.
const KEPT: Duration = Duration::from_secs(12 * 3600);
/// Official clients give every request a key for their own retries, which end within a minute or so.
const KEPT_OF_CLIENTS: Duration = Duration::from_secs(5 * 60);
const CLIENTS_PREFIX: &str = "auto_";
/// The longest a request may take before it counts as never answered.
const LEASE: Duration = Duration::from_secs(60);
/// Another of the same key is waited for this long in all, looking this often.
const PATIENCE: u32 = 50;
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Largest body of a request with a key: a catalog in a file is the largest there is.
const BODY_BYTES: usize = 16 * 1024 * 1024;
/// Operations that take more than an event.
const LARGE: [&str; 2] = ["/msg/batch", "/event-type/import"];
/// Begins an answer that is kept with its request's fingerprint.
const PRINTED: u8 = 0xff;
/// Largest answer kept: those of nearly all operations are far below.
const ANSWER_BYTES: u64 = 1024 * 1024;
/// What stands for a larger one.
const TOO_LARGE: &[u8] = br#"{"code":"conflict","detail":"this was done, and its answer is too large to be given again"}"#;
/// Operations whose answers are secrets, which are kept sealed or not at all.
const SECRET: [&str; 2] = ["/secret/rotate", "/auth/"];

/// What answering once works with.
pub struct Once {
    /// What was answered.
    pub answers: Arc<dyn Answers>,
    /// Which application a name stands for.
    pub directory: Arc<dyn Directory>,
    /// Most bytes of a body.
    pub most_bytes: usize,
}

/// Answers a repeated request; one that is another under the same key is refused. While the store is away, requests are done without: it is for convenience, not for safety.
pub async fn answer_once(State(once): State<Arc<Once>>, request: Request, next: Next) -> Result<Response, Problem> {
    let is_secret = SECRET.iter().any(|part| request.uri().path().contains(part));
    let given = request.headers().get(KEY).filter(|_| request.method() == Method::POST && !is_secret);
    let Some(given) = given.and_then(|value| value.to_str().ok()).map(str::to_owned) else {
        return Ok(next.run(request).await);
    };
    if given.is_empty() || given.len() > KEY_BYTES {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "bad_request", format!("{KEY} must have 1 to {KEY_BYTES} characters")));
    }
    let key = key_of(&request, &given);
    let (request, print) = once.fingerprint(request).await?;
    for _ in 0..PATIENCE {
        match once.answers.begin(key, LEASE).await {
            Ok(Begun::First) => {
                // In a task of its own: who asked may go away, and what was begun is finished and its answer kept.
                let working = async move {
                    let response = next.run(request).await;
                    done(&*once.answers, key, print, kept(&given), response).await
                };
                #[expect(clippy::disallowed_methods, reason = "awaited: its panic is answered there")]
                return Ok(tokio::spawn(working.in_current_span()).await.unwrap_or_else(|error| {
                    tracing::error!(%error, "a request was cut short");
                    internal()
                }));
            }
            Ok(Begun::Answered(answer)) => return repeated(&answer, print),
            Ok(Begun::Elsewhere) => tokio::time::sleep(LOOK_AGAIN).await,
            Err(fault) => {
                tracing::debug!(error = fault.chain(), "nobody knows whether this request is a repeated one");
                return Ok(next.run(request).await);
            }
        }
    }
    Err(Problem::conflict("a request with this idempotency-key is still at work"))
}

fn kept(given: &str) -> Duration {
    if given.starts_with(CLIENTS_PREFIX) { KEPT_OF_CLIENTS } else { KEPT }
}

/// Who asks for what, under which key.
fn key_of(request: &Request, given: &str) -> AnswerKey {
    let scope = request.extensions().get::<Grant>().map(|grant| grant.scope.to_string()).unwrap_or_default();
    let mut hash = digest::Context::new(&digest::SHA256);
    for part in [&*scope, request.uri().path(), request.uri().query().unwrap_or_default(), given] {
        hash.update(part.as_bytes());
        hash.update(&[0]);
    }
    let mut key = [0; 16];
    key.copy_from_slice(&hash.finish().as_ref()[..16]);
    key
}

/// What a request was about, beside its path.
#[derive(Clone, Copy)]
struct Fingerprint {
    /// A hash of the body.
    body: [u8; 16],
    /// The application that the path names, as it was before the request; zeros for none.
    app: [u8; ID_BYTES],
}

impl Fingerprint {
    /// As many bytes as it is kept in.
    const BYTES: usize = 16 + ID_BYTES;

    fn to_bytes(self) -> Vec<u8> {
        [&self.body[..], &self.app].concat()
    }

    /// Whether a kept one is of the same request. An application that was not there may have come with it, and the directory may have
    /// been silent.
    fn is_same(&self, kept: &[u8; Self::BYTES]) -> bool {
        let (body, app) = kept.split_at(16);
        let is_none = |app: &[u8]| app == [0; ID_BYTES];
        body == self.body && (app == self.app || is_none(app) || is_none(&self.app))
    }
}

impl Once {
    /// Reads the body to its end; whoever handles the request has limits of its own.
    async fn fingerprint(&self, request: Request) -> Result<(Request, Fingerprint), Problem> {
        let mut print = Fingerprint { body: [0; 16], app: [0; ID_BYTES] };
        let named = request.uri().path().strip_prefix("/api/v1/app/").and_then(|rest| rest.split('/').next());
        if let Some(Ok(app)) = named.map(str::parse::<AppRef>)
            && let Ok(resolved) = self.directory.resolve(&[app]).await
            && let Some(Some(id)) = resolved.apps.first()
        {
            // Another application may have had the same name.
            print.app = *id.as_bytes();
        }
        let (head, body) = request.into_parts();
        let too_large = |_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is too large");
        let most = if LARGE.iter().any(|end| head.uri.path().ends_with(end)) { BODY_BYTES } else { self.most_bytes };
        let body = to_bytes(body, most).await.map_err(too_large)?;
        print.body.copy_from_slice(&digest::digest(&digest::SHA256, &body).as_ref()[..16]);
        Ok((Request::from_parts(head, Body::from(body)), print))
    }
}

/// Keeps the answer; one that is a fault of ours, or of the moment, is no answer.
async fn done(answers: &dyn Answers, key: AnswerKey, print: Fingerprint, kept: Duration, response: Response) -> Response {
    let status = response.status();
    let is_lasting = !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS;
    let is_small = response.body().size_hint().upper().is_some_and(|bytes| bytes <= ANSWER_BYTES);
    let (answer, response) = match (is_lasting, is_small) {
        (false, _) => (None, response),
        // It was done, and must not be done again.
        (true, false) => (Some(stored(print, StatusCode::CONFLICT, TOO_LARGE)), response),
        (true, true) => {
            let (head, body) = response.into_parts();
            // Of a known size and in memory already.
            let Ok(body) = to_bytes(body, usize::MAX).await else { return internal() };
            (Some(stored(print, status, &body)), Response::from_parts(head, Body::from(body)))
        }
    };
    if let Err(fault) = answers.finish(key, answer, kept).await {
        tracing::debug!(error = fault.chain(), "an answer is not kept; a repeated request will be done again");
    }
    response
}

/// An answer as it is kept: a mark, the request's fingerprint, two bytes of status, then the body. Versions before kept no fingerprint,
/// and no mark: no status begins with it.
fn stored(print: Fingerprint, status: StatusCode, body: &[u8]) -> Vec<u8> {
    [&[PRINTED][..], &print.to_bytes(), &status.as_u16().to_be_bytes(), body].concat()
}

fn internal() -> Response {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "an internal error; it is in the log").into_response()
}

fn repeated(answer: &[u8], print: Fingerprint) -> Result<Response, Problem> {
    let answer = match answer.split_first() {
        Some((&PRINTED, rest)) => match rest.split_first_chunk() {
            Some((kept, rest)) if print.is_same(kept) => rest,
            _ => return Err(another()),
        },
        _ => answer,
    };
    let (status, body) = answer.split_first_chunk().map_or((StatusCode::OK, answer), |(status, body)| {
        (StatusCode::from_u16(u16::from_be_bytes(*status)).unwrap_or(StatusCode::OK), body)
    });
    let mut response = (status, body.to_vec()).into_response();
    if body.is_empty() {
        response.headers_mut().remove(header::CONTENT_TYPE);
    } else {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    Ok(response)
}

fn another() -> Problem {
    let msg = "this key was used for another request; a new request needs a new key".to_owned();
    let loc = vec!["header".to_owned(), KEY.to_owned()];
    Problem::Invalid(vec![Invalid { loc, msg, r#type: "value_error".to_owned() }])
}
