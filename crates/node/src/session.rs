//! The console's way in: a token, exchanged for a cookie that no script can read and no other site can use.
//!
//! Requests that come with the cookie are this origin's own: `SameSite=Strict` (RFC 6265bis), the browser's word for where they came
//! from (`Sec-Fetch-Site`), and, for what changes something, a header that other origins could only send after asking.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use hookyard_core::grant::{Grant, Scope};
use hookyard_wire::problem::Problem;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::http::Front;

const COOKIE: &str = "hookyard-session";
/// Sent by the console with every request.
const OURS: &str = "hookyard-console";

/// A token to sign in with.
#[derive(Deserialize)]
struct SignIn {
    token: String,
}

/// Who is signed in.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SignedIn {
    /// `admin`, `publish` or `app`.
    scope: &'static str,
    /// The application, of a token of one.
    app: Option<String>,
    expires_at: String,
}

/// Signing in, looking who is, and signing out.
pub fn routes(front: Arc<Front>) -> Router {
    Router::new().route("/console/session", get(look).post(sign_in).delete(sign_out)).with_state(front)
}

/// The token of a request that comes from the console.
pub fn token<'a>(method: &Method, headers: &'a HeaderMap) -> Result<Option<&'a str>, Problem> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let Some((_, token)) = pairs.find(|(name, _)| *name == COOKIE) else { return Ok(None) };
    let is_elsewhere = headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none");
    if is_elsewhere || (!method.is_safe() && !headers.contains_key(OURS)) {
        return Err(Problem::forbidden());
    }
    Ok(Some(token))
}

async fn look(State(front): State<Arc<Front>>, request: Request) -> Result<Json<SignedIn>, Problem> {
    let token = token(request.method(), request.headers())?;
    let grant = token.and_then(|token| front.verifier.verify(token, &*front.clock));
    grant.map(|grant| Json(SignedIn::of(&grant))).ok_or_else(|| Problem::unauthenticated("nobody is signed in"))
}

async fn sign_in(State(front): State<Arc<Front>>, headers: HeaderMap, Json(asked): Json<SignIn>) -> Result<Response, Problem> {
    if !headers.contains_key(OURS) {
        return Err(Problem::forbidden());
    }
    let token = asked.token.trim();
    let grant = front.verifier.verify(token, &*front.clock);
    let grant = grant.ok_or_else(|| Problem::unauthenticated("this token is not valid, or no longer"))?;
    let lasts = grant.expires_at.since(front.clock.now()).as_secs();
    let cookie = front.cookie(token, lasts)?;
    Ok(([(header::SET_COOKIE, cookie)], Json(SignedIn::of(&grant))).into_response())
}

/// The cookie alone ends here; the token itself by `POST /api/v1/auth/logout`.
async fn sign_out(State(front): State<Arc<Front>>) -> Result<Response, Problem> {
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, front.cookie("", 0)?)]).into_response())
}

impl Front {
    fn cookie(&self, token: &str, lasts_s: u64) -> Result<HeaderValue, Problem> {
        let secure = if self.is_secure { "; Secure" } else { "" };
        let text = format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={lasts_s}{secure}");
        HeaderValue::from_str(&text).map_err(|_| Problem::unauthenticated("this token is not valid, or no longer"))
    }
}

impl SignedIn {
    fn of(grant: &Grant) -> Self {
        let (scope, app) = match &grant.scope {
            Scope::Admin => ("admin", None),
            Scope::Publish => ("publish", None),
            Scope::App(app) => ("app", Some(app.to_string())),
        };
        Self { scope, app, expires_at: grant.expires_at.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_counts_only_where_it_comes_from_the_console() {
        let with = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
        };
        let cookie = ("cookie", "a=b; hookyard-session=abc; c=d");
        assert!(matches!(token(&Method::GET, &with(&[cookie])), Ok(Some("abc"))));
        assert!(matches!(token(&Method::GET, &with(&[("cookie", "a=b")])), Ok(None)));
        assert!(token(&Method::POST, &with(&[cookie])).is_err(), "a form of another site can send a cookie");
        assert!(matches!(token(&Method::POST, &with(&[cookie, (OURS, "1")])), Ok(Some("abc"))));
        for site in ["cross-site", "same-site"] {
            assert!(token(&Method::GET, &with(&[cookie, ("sec-fetch-site", site)])).is_err(), "{site}");
        }
        assert!(token(&Method::GET, &with(&[cookie, ("sec-fetch-site", "same-origin")])).is_ok());
    }
}
