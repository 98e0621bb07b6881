//! `/api/v1/app`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Query};
use bytes::Bytes;
use hookyard_core::grant::Grant;
use hookyard_core::id::ID_BYTES;
use hookyard_core::port::{Expect, Written};
use hookyard_core::{AppId, AppRef, Application, Timestamp, Uid};
use hookyard_operations::OPERATIONS_UID;
use hookyard_wire::problem::Problem;
use hookyard_wire::reference::{AppPath, Errors, OrderedPage};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::{Api, Caller, State, WRITE_TRIES, fail, no_app, object};
use crate::bodies::{AppIn, AppPatch};
use crate::fields::{self, Fields, Mode};
use crate::page::{PageOut, PageQuery};

/// Longest name: what fits a list on a screen, and then some.
const NAME_BYTES: usize = 1024;

/// An application as the API shows it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppOut {
    #[schema(value_type = String)]
    id: AppId,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    name: String,
    disabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    throttle_rate: Option<u16>,
    /// The same, as releases of the official clients before 2.0 call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_limit: Option<u16>,
    metadata: BTreeMap<String, String>,
    created_at: String,
    updated_at: String,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CreateQuery {
    /// Answer with the application that has this uid, if there is one.
    #[serde(default)]
    get_if_exists: bool,
}

/// Lists applications.
#[utoipa::path(
    get,
    path = "/api/v1/app",
    operation_id = "list_applications",
    tag = "Application",
    params(OrderedPage),
    responses((status = 200, description = "A page of applications", body = PageOut<AppOut>), Errors),
)]
pub async fn list(api: State, caller: Caller, Query(query): Query<PageQuery>) -> Result<Json<PageOut<AppOut>>, Problem> {
    require_admin(&caller)?;
    let listing = query.read_ordered(true, AppId::from_bytes([0; ID_BYTES]))?;
    let page = api.seams.directory.apps(listing.request).await.map_err(|fault| fail(&fault))?;
    Ok(Json(PageOut::ordered(page, listing.is_ascending, |app| app.id, show)))
}

/// Creates an application.
#[utoipa::path(
    post,
    path = "/api/v1/app",
    operation_id = "create_application",
    tag = "Application",
    params(CreateQuery),
    request_body = AppIn,
    responses((status = 201, description = "Created", body = AppOut), (status = 200, description = "It was there, and `get_if_exists` was set", body = AppOut), Errors),
)]
pub async fn create(
    api: State,
    caller: Caller,
    Query(query): Query<CreateQuery>,
    body: Bytes,
) -> Result<(StatusCode, Json<AppOut>), Problem> {
    require_admin(&caller)?;
    let mut app = api.blank_app();
    read(&mut app, Fields::new(object(&body)?, Mode::Whole))?;
    if query.get_if_exists
        && let Some(uid) = &app.uid
        && let Some(id) = api.resolve(&caller, uid.as_str()).await?
    {
        return Ok((StatusCode::OK, Json(show(api.existing_app(id).await?))));
    }
    match api.seams.directory.put_app(&app, Expect::New).await.map_err(|fault| fail(&fault))? {
        Written::Done(_) => Ok((StatusCode::CREATED, Json(show(app)))),
        Written::UidTaken | Written::Conflict => Err(Problem::conflict("an application with this uid already exists")),
        Written::NoApp => Err(no_app()),
    }
}

/// Shows an application.
#[utoipa::path(
    get,
    path = "/api/v1/app/{app}",
    operation_id = "get_application",
    tag = "Application",
    params(AppPath),
    responses((status = 200, description = "The application", body = AppOut), Errors),
)]
pub async fn get(api: State, caller: Caller, Path(app): Path<String>) -> Result<Json<AppOut>, Problem> {
    let id = api.app(&caller, &app).await?;
    Ok(Json(show(api.existing_app(id).await?)))
}

/// Replaces an application, or creates one under its uid.
#[utoipa::path(
    put,
    path = "/api/v1/app/{app}",
    operation_id = "put_application",
    tag = "Application",
    params(AppPath),
    request_body = AppIn,
    responses((status = 200, description = "Replaced", body = AppOut), (status = 201, description = "Created under the uid in the path", body = AppOut), Errors),
)]
pub async fn put(
    api: State,
    caller: Caller,
    Path(app): Path<String>,
    body: Bytes,
) -> Result<(StatusCode, Json<AppOut>), Problem> {
    require_admin(&caller)?;
    let named = app.parse::<AppRef>().ok().and_then(AppRef::into_uid);
    if let Some(id) = api.resolve(&caller, &app).await? {
        return Ok((StatusCode::OK, api.change_app(id, &body, Mode::Whole, named).await?));
    }
    // A PUT to a uid nobody has creates the application under it.
    let Some(uid) = named else { return Err(no_app()) };
    let mut new = api.blank_app();
    read(&mut new, Fields::new(object(&body)?, Mode::Whole))?;
    new.uid = new.uid.or(Some(uid));
    match api.seams.directory.put_app(&new, Expect::New).await.map_err(|fault| fail(&fault))? {
        Written::Done(_) => Ok((StatusCode::CREATED, Json(show(new)))),
        _ => Err(Problem::conflict("an application with this uid already exists")),
    }
}

/// Changes what is given of an application.
#[utoipa::path(
    patch,
    path = "/api/v1/app/{app}",
    operation_id = "patch_application",
    tag = "Application",
    params(AppPath),
    request_body = AppPatch,
    responses((status = 200, description = "Changed", body = AppOut), Errors),
)]
pub async fn patch(api: State, caller: Caller, Path(app): Path<String>, body: Bytes) -> Result<Json<AppOut>, Problem> {
    require_admin(&caller)?;
    let id = api.app(&caller, &app).await?;
    api.change_app(id, &body, Mode::Partial, None).await
}

/// Deletes an application with everything it owns.
#[utoipa::path(
    delete,
    path = "/api/v1/app/{app}",
    operation_id = "delete_application",
    tag = "Application",
    params(AppPath),
    responses((status = 204, description = "Deleted"), Errors),
)]
pub async fn delete(api: State, caller: Caller, Path(app): Path<String>) -> Result<StatusCode, Problem> {
    require_admin(&caller)?;
    let id = api.app(&caller, &app).await?;
    if api.existing_app(id).await?.uid.as_ref().is_some_and(always_exists) {
        return Err(Problem::conflict("this application always exists; disable it instead"));
    }
    let now = api.seams.clock.now();
    let was_there = api.seams.directory.delete_app(id, now).await.map_err(|fault| fail(&fault))?;
    if !was_there {
        return Err(no_app());
    }
    api.forget_dead_letters(id).await;
    Ok(StatusCode::NO_CONTENT)
}

impl Api {
    pub(crate) fn blank_app(&self) -> Application {
        let now = self.seams.clock.now();
        blank(AppId::new(now, &*self.seams.entropy), now)
    }

    async fn existing_app(&self, id: AppId) -> Result<Application, Problem> {
        self.seams.directory.app(id).await.map_err(|fault| fail(&fault))?.ok_or_else(no_app)
    }

    /// Changes an application; one that was `named` by its uid keeps it unless the body brings another.
    async fn change_app(&self, id: AppId, body: &Bytes, mode: Mode, named: Option<Uid>) -> Result<Json<AppOut>, Problem> {
        for _ in 0..WRITE_TRIES {
            let mut app = self.existing_app(id).await?;
            let (revision, uid) = (app.revision, app.uid.clone());
            read(&mut app, Fields::new(object(body)?, mode))?;
            app.uid = app.uid.or_else(|| named.clone());
            if uid.as_ref().is_some_and(always_exists) && app.uid != uid {
                return Err(Problem::invalid("uid", "an application that always exists keeps its uid"));
            }
            app.updated_at = self.seams.clock.now();
            match self.seams.directory.put_app(&app, Expect::Revision(revision)).await.map_err(|fault| fail(&fault))? {
                Written::Done(_) => return Ok(Json(show(app))),
                Written::Conflict => {}
                Written::UidTaken => return Err(Problem::conflict("an application with this uid already exists")),
                Written::NoApp => return Err(no_app()),
            }
        }
        Err(Problem::conflict("somebody else changed this at the same time; try again"))
    }
}

/// Whether this is an application of ours, which events are sent to without anybody having created it.
fn always_exists(uid: &Uid) -> bool {
    [AppRef::DEFAULT_UID, OPERATIONS_UID].contains(&uid.as_str())
}

/// Reads a body into `app`.
pub fn read(app: &mut Application, mut fields: Fields) -> Result<(), Problem> {
    fields.require("name", &mut app.name, fields::non_empty(NAME_BYTES));
    fields.read("uid", &mut app.uid, |value| fields::parsed(value).map(Some));
    fields.read_either("throttleRate", "rateLimit", &mut app.throttle_rate, rate);
    fields.read("metadata", &mut app.metadata, fields::metadata);
    fields.read_if_present("disabled", &mut app.disabled, fields::boolean);
    fields.finish()
}

/// Deliveries per second.
pub fn rate(value: &serde_json::Value) -> Result<Option<u16>, String> {
    let rate = fields::number(1, u64::from(u16::MAX))(value)?;
    Ok(u16::try_from(rate).ok())
}

fn show(app: Application) -> AppOut {
    AppOut {
        id: app.id,
        uid: app.uid.map(|uid| uid.to_string()),
        name: app.name,
        disabled: app.disabled,
        throttle_rate: app.throttle_rate,
        rate_limit: app.throttle_rate,
        metadata: app.metadata,
        created_at: app.created_at.to_string(),
        updated_at: app.updated_at.to_string(),
    }
}

pub fn require_admin(grant: &Grant) -> Result<(), Problem> {
    if grant.is_admin() { Ok(()) } else { Err(Problem::forbidden()) }
}

/// An application of which nothing is said yet.
fn blank(id: AppId, now: Timestamp) -> Application {
    Application {
        id,
        uid: None,
        name: String::new(),
        disabled: false,
        throttle_rate: None,
        metadata: BTreeMap::new(),
        created_at: now,
        updated_at: now,
        revision: 0,
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Any application.
    pub fn blank() -> Application {
        super::blank(AppId::from_bytes([1; ID_BYTES]), Timestamp::default())
    }
}
