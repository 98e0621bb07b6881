//! `/api/v1/auth`: a token for an application's own portal, and the end of a token.

use std::time::Duration;

use axum::Json;
use axum::extract::Path;
use bytes::Bytes;
use hookyard_core::grant::{Grant, Scope};
use hookyard_core::port::{Expect, Written};
use hookyard_core::{AppId, AppRef, Fault};
use hookyard_wire::problem::Problem;
use hookyard_wire::reference::{AppPath, Errors};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::{Api, Caller, State, fail, no_app, object};
use crate::apps::{read, require_admin};
use crate::bodies::PortalIn;
use crate::fields::{self, Body, Fields, Mode};

/// How long a portal's token is good: a working day, and then some.
const PORTAL_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The longest: the compatible API's.
const PORTAL_LIFETIME_MOST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Signs tokens.
pub trait Tokens: Send + Sync {
    /// A token of this scope, good for `lifetime`.
    ///
    /// # Errors
    /// When it cannot be signed.
    fn issue(&self, scope: &Scope, lifetime: Duration) -> Result<String, Fault>;

    /// Where people reach this installation, without a slash at the end.
    fn public_url(&self) -> &str;
}

/// The way into an application's own portal.
#[derive(Serialize, ToSchema)]
pub struct PortalOut {
    url: String,
    token: String,
}

/// Makes a link into an application's own portal, good for a day unless `expiry` says otherwise.
#[utoipa::path(
    post,
    path = "/api/v1/auth/app-portal-access/{app}",
    operation_id = "app_portal_access",
    tag = "Authentication",
    params(AppPath),
    request_body = Option<PortalIn>,
    responses((status = 200, description = "The way in", body = PortalOut), Errors),
)]
pub async fn portal(api: State, caller: Caller, Path(app): Path<String>, body: Bytes) -> Result<Json<PortalOut>, Problem> {
    api.way_in(&caller, &app, &body).await
}

/// The same, as old releases of the official clients ask for it.
#[utoipa::path(
    post,
    path = "/api/v1/auth/dashboard-access/{app}",
    operation_id = "dashboard_access",
    tag = "Authentication",
    params(AppPath),
    request_body = Option<PortalIn>,
    responses((status = 200, description = "The way in", body = PortalOut), Errors),
)]
pub async fn dashboard(api: State, caller: Caller, Path(app): Path<String>, body: Bytes) -> Result<Json<PortalOut>, Problem> {
    api.way_in(&caller, &app, &body).await
}

/// Ends the token that this request is made with, one of an application. Tokens of other scopes are for servers, and do not log out.
#[utoipa::path(
    post,
    path = "/api/v1/auth/logout",
    operation_id = "logout",
    tag = "Authentication",
    responses((status = 204, description = "The token is good no longer"), Errors),
)]
pub async fn logout(api: State, caller: Caller) -> Result<StatusCode, Problem> {
    if !matches!(caller.scope, Scope::App(_)) {
        let detail = "a token for servers does not log out: the servers that use it would be locked out for good";
        return Err(Problem::new(StatusCode::FORBIDDEN, "permission_denied", detail));
    }
    api.seams.revocations.revoke(&caller.token, caller.expires_at).await.map_err(|fault| fail(&fault))?;
    Ok(StatusCode::NO_CONTENT)
}

impl Api {
    async fn way_in(&self, caller: &Grant, app: &str, body: &Bytes) -> Result<Json<PortalOut>, Problem> {
        require_admin(caller)?;
        let mut fields = Fields::new(if body.is_empty() { Body::new() } else { object(body)? }, Mode::Whole);
        let mut brought = None;
        fields
            .read_text("application", &mut brought, |text| text.parts().map(Some).ok_or_else(|| "must be an object".to_owned()));
        // The compatible API's flags for what a portal shows: there is nothing here they could switch.
        let mut flags: Vec<String> = Vec::new();
        fields.read("featureFlags", &mut flags, fields::strings);
        let mut lifetime = None;
        fields.read("expiry", &mut lifetime, |value| {
            fields::number(1, PORTAL_LIFETIME_MOST.as_secs())(value).map(|seconds| Some(Duration::from_secs(seconds)))
        });
        let mut is_read_only = false;
        fields.read("readOnly", &mut is_read_only, |value| {
            if fields::boolean(value)? { Err("there are no tokens that can only read".to_owned()) } else { Ok(false) }
        });
        fields.finish()?;
        let id = match (self.resolve(caller, app).await?, brought) {
            (Some(id), _) => id,
            (None, Some(brought)) => self.create_named(app, brought).await?,
            (None, None) => return Err(no_app()),
        };
        let token = self
            .seams
            .tokens
            .issue(&Scope::App(AppRef::Id(id)), lifetime.unwrap_or(PORTAL_LIFETIME))
            .map_err(|fault| fail(&fault))?;
        // After the hash: it is not sent to any server, and in no log.
        Ok(Json(PortalOut { url: format!("{}/#token={token}", self.seams.tokens.public_url()), token }))
    }

    /// Creates the application that a request brought along, under the name it asked for.
    async fn create_named(&self, named: &str, brought: Body) -> Result<AppId, Problem> {
        let Ok(AppRef::Uid(uid)) = named.parse() else { return Err(no_app()) };
        let mut app = self.blank_app();
        read(&mut app, Fields::new(brought, Mode::Whole))?;
        app.uid = Some(uid);
        match self.seams.directory.put_app(&app, Expect::New).await.map_err(|fault| fail(&fault))? {
            Written::Done(_) => Ok(app.id),
            _ => Err(Problem::conflict("an application with this uid already exists")),
        }
    }
}
