//! `/api/v1/app/{app}/endpoint`.

use std::collections::{BTreeMap, HashMap};

use axum::Json;
use axum::extract::{Path, Query};
use bytes::Bytes;
use hookyard_core::admission::Step;
use hookyard_core::id::ID_BYTES;
use hookyard_core::port::{EndpointRef, Expect, Written};
use hookyard_core::signature::Secret;
use hookyard_core::{AppId, BreakerState, Endpoint, EndpointId, EndpointSecret, GateId, Timestamp};
use hookyard_operations::Notice;
use hookyard_wire::problem::Problem;
use hookyard_wire::reference::{AppPath, EndpointPath, Errors, OrderedPage};
use http::StatusCode;

use crate::api::{Api, Caller, State, WRITE_TRIES, endpoint_ref, fail, no_app, no_endpoint, object};
use crate::bodies::{EndpointIn, EndpointPatch, EndpointUpdate};
use crate::endpoint_body::{self, EndpointOut, show};
use crate::fields::{Fields, Mode, name_unknown_type};
use crate::page::{PageOut, PageQuery};

/// Lists the endpoints of an application.
#[utoipa::path(
    get,
    path = "/api/v1/app/{app}/endpoint",
    operation_id = "list_endpoints",
    tag = "Endpoint",
    params(AppPath, OrderedPage),
    responses((status = 200, description = "A page of endpoints", body = PageOut<EndpointOut>), Errors),
)]
pub async fn list(
    api: State,
    caller: Caller,
    Path(app): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageOut<EndpointOut>>, Problem> {
    let app = api.app(&caller, &app).await?;
    let listing = query.read_ordered(false, EndpointId::from_bytes([0; ID_BYTES]))?;
    let page = api.seams.directory.endpoints(app, listing.request).await.map_err(|fault| fail(&fault))?;
    let breakers = api.breakers(page.items.iter().map(|endpoint| endpoint.id)).await;
    Ok(Json(PageOut::ordered(page, listing.is_ascending, |endpoint| endpoint.id, |endpoint| breakers.show(endpoint))))
}

/// Creates an endpoint.
#[utoipa::path(
    post,
    path = "/api/v1/app/{app}/endpoint",
    operation_id = "create_endpoint",
    tag = "Endpoint",
    params(AppPath),
    request_body = EndpointIn,
    responses((status = 201, description = "Created", body = EndpointOut), Errors),
)]
pub async fn create(
    api: State,
    caller: Caller,
    Path(app): Path<String>,
    body: Bytes,
) -> Result<(StatusCode, Json<EndpointOut>), Problem> {
    let app = api.app(&caller, &app).await?;
    api.create_endpoint(app, &body, None).await
}

/// Shows an endpoint.
#[utoipa::path(
    get,
    path = "/api/v1/app/{app}/endpoint/{endpoint}",
    operation_id = "get_endpoint",
    tag = "Endpoint",
    params(EndpointPath),
    responses((status = 200, description = "The endpoint", body = EndpointOut), Errors),
)]
pub async fn get(
    api: State,
    caller: Caller,
    Path((app, endpoint)): Path<(String, String)>,
) -> Result<Json<EndpointOut>, Problem> {
    let app = api.app(&caller, &app).await?;
    let endpoint = api.endpoint(app, &endpoint).await?;
    let breakers = api.breakers(std::iter::once(endpoint.id)).await;
    Ok(Json(breakers.show(endpoint)))
}

/// Replaces an endpoint, or creates one under its uid. Fields beyond those of the compatible API keep their value when they are left out.
#[utoipa::path(
    put,
    path = "/api/v1/app/{app}/endpoint/{endpoint}",
    operation_id = "put_endpoint",
    tag = "Endpoint",
    params(EndpointPath),
    request_body = EndpointUpdate,
    responses((status = 200, description = "Replaced", body = EndpointOut), (status = 201, description = "Created under the uid in the path", body = EndpointOut), Errors),
)]
pub async fn put(
    api: State,
    caller: Caller,
    Path((app, endpoint)): Path<(String, String)>,
    body: Bytes,
) -> Result<(StatusCode, Json<EndpointOut>), Problem> {
    let app = api.app(&caller, &app).await?;
    let named = endpoint_ref(&endpoint)?;
    let found = api.seams.directory.endpoint(app, &named).await.map_err(|fault| fail(&fault))?;
    match (found, named) {
        (Some(found), named) => {
            let changed = api.change_endpoint(app, found.id, |endpoint| {
                let mut fields = Fields::new(object(&body)?, Mode::Whole);
                // The secret of an existing endpoint changes by rotation only.
                let mut ignored: Option<()> = None;
                fields.read("secret", &mut ignored, |_| Ok(None));
                endpoint_body::read(endpoint, fields, &api.seams.allow)?;
                // Named by its uid, it keeps that unless the body brings another.
                if let (None, EndpointRef::Uid(uid)) = (&endpoint.uid, &named) {
                    endpoint.uid = Some(uid.clone());
                }
                Ok(())
            });
            let changed = changed.await?;
            let breakers = api.breakers(std::iter::once(changed.id)).await;
            Ok((StatusCode::OK, Json(breakers.show(changed))))
        }
        (None, EndpointRef::Uid(uid)) => api.create_endpoint(app, &body, Some(uid)).await,
        (None, EndpointRef::Id(_)) => Err(no_endpoint()),
    }
}

/// Changes what is given of an endpoint.
#[utoipa::path(
    patch,
    path = "/api/v1/app/{app}/endpoint/{endpoint}",
    operation_id = "patch_endpoint",
    tag = "Endpoint",
    params(EndpointPath),
    request_body = EndpointPatch,
    responses((status = 200, description = "Changed", body = EndpointOut), Errors),
)]
pub async fn patch(
    api: State,
    caller: Caller,
    Path((app, endpoint)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<EndpointOut>, Problem> {
    let app = api.app(&caller, &app).await?;
    let id = api.endpoint(app, &endpoint).await?.id;
    let changed = api.change_endpoint(app, id, |endpoint| {
        endpoint_body::read(endpoint, Fields::new(object(&body)?, Mode::Partial), &api.seams.allow)
    });
    let changed = changed.await?;
    let breakers = api.breakers(std::iter::once(changed.id)).await;
    Ok(Json(breakers.show(changed)))
}

/// Deletes an endpoint. What is on its way to it is discarded.
#[utoipa::path(
    delete,
    path = "/api/v1/app/{app}/endpoint/{endpoint}",
    operation_id = "delete_endpoint",
    tag = "Endpoint",
    params(EndpointPath),
    responses((status = 204, description = "Deleted"), Errors),
)]
pub async fn delete(api: State, caller: Caller, Path((app, endpoint)): Path<(String, String)>) -> Result<StatusCode, Problem> {
    let app = api.app(&caller, &app).await?;
    let endpoint = api.endpoint(app, &endpoint).await?;
    let (id, now) = (endpoint.id, api.seams.clock.now());
    let was_there = api.seams.directory.delete_endpoint(app, id, now).await.map_err(|fault| fail(&fault))?;
    if !was_there {
        return Err(no_endpoint());
    }
    api.reset_gate(id).await;
    api.seams.operations.mention(Notice::WebhookDeleted(&endpoint)).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Types of an endpoint that are looked up in the catalog: as many as a person types.
const TYPES_LOOKED_UP: usize = 50;

/// How breakers stand.
pub struct Breakers {
    states: HashMap<GateId, BreakerState>,
    now: Timestamp,
}

impl Breakers {
    /// Shows an endpoint with its own.
    pub fn show(&self, endpoint: Endpoint) -> EndpointOut {
        let breaker = self.states.get(&endpoint.id.into()).copied().unwrap_or(BreakerState::Closed);
        show(endpoint, breaker, self.now)
    }
}

impl Api {
    /// The breakers of these endpoints at this moment; while nobody can say, all are closed.
    pub(crate) async fn breakers(&self, endpoints: impl Iterator<Item = EndpointId>) -> Breakers {
        let (ids, now) = (endpoints.map(GateId::from).collect::<Vec<_>>(), self.seams.clock.now());
        let gates = self.seams.gates.gates(&ids).await.unwrap_or_else(|fault| {
            tracing::debug!(error = fault.chain(), "nobody can say how breakers stand");
            Vec::new()
        });
        Breakers { states: ids.into_iter().zip(gates).map(|(id, gate)| (id, gate.breaker(now))).collect(), now }
    }

    /// Names in the answer the event types of an endpoint that the catalog does not know, if the catalog can be read.
    async fn name_unknown_types(&self, endpoint: &Endpoint) {
        for wanted in endpoint.event_types.iter().take(TYPES_LOOKED_UP) {
            // A prefix stands for types that may come.
            let Ok(name) = wanted.to_string().parse() else { continue };
            if matches!(self.seams.catalog.entry(&name).await, Ok(None)) {
                name_unknown_type(name.to_string());
            }
        }
    }

    /// Makes forgotten how an endpoint did that is another one now. If that fails, it is found out as it was before.
    async fn reset_gate(&self, endpoint: EndpointId) {
        if let Err(fault) = self.seams.gates.steps(endpoint.into(), &[Step::Reset], self.seams.clock.now()).await {
            tracing::warn!(%endpoint, error = fault.chain(), "the breaker of an endpoint could not be reset");
        }
    }

    async fn create_endpoint(
        &self,
        app: AppId,
        body: &Bytes,
        uid: Option<hookyard_core::Uid>,
    ) -> Result<(StatusCode, Json<EndpointOut>), Problem> {
        let endpoint = self.read_new_endpoint(app, Fields::new(object(body)?, Mode::Whole), uid)?;
        match self.seams.directory.put_endpoint(&endpoint, Expect::New).await.map_err(|fault| fail(&fault))? {
            Written::Done(revision) => {
                self.name_unknown_types(&endpoint).await;
                self.seams.operations.mention(Notice::WebhookCreated(&endpoint)).await;
                let now = endpoint.created_at;
                Ok((StatusCode::CREATED, Json(show(Endpoint { revision, ..endpoint }, BreakerState::Closed, now))))
            }
            Written::UidTaken | Written::Conflict => Err(uid_taken()),
            Written::NoApp => Err(no_app()),
        }
    }

    /// The endpoint that a body describes, not saved.
    pub(crate) fn read_new_endpoint(
        &self,
        app: AppId,
        mut fields: Fields,
        uid: Option<hookyard_core::Uid>,
    ) -> Result<Endpoint, Problem> {
        let (now, entropy) = (self.seams.clock.now(), &*self.seams.entropy);
        let generate = |ed25519| if ed25519 { Secret::generate_ed25519(entropy) } else { Secret::generate(entropy) };
        let secret = endpoint_body::read_secret(&mut fields, generate);
        let mut endpoint = blank(EndpointId::new(now, entropy), app, secret, now);
        endpoint_body::read(&mut endpoint, fields, &self.seams.allow)?;
        endpoint.uid = endpoint.uid.or(uid);
        Ok(endpoint)
    }

    /// Reads an endpoint, changes it, and writes it back, as often as others are faster.
    pub(crate) async fn change_endpoint(
        &self,
        app: AppId,
        id: EndpointId,
        change: impl Fn(&mut Endpoint) -> Result<(), Problem>,
    ) -> Result<Endpoint, Problem> {
        for _ in 0..WRITE_TRIES {
            let found = self.seams.directory.endpoint(app, &EndpointRef::Id(id)).await.map_err(|fault| fail(&fault))?;
            let before = found.ok_or_else(no_endpoint)?;
            let (mut endpoint, revision) = (before.clone(), before.revision);
            change(&mut endpoint)?;
            endpoint.updated_at = self.seams.clock.now();
            match self.seams.directory.put_endpoint(&endpoint, Expect::Revision(revision)).await.map_err(|fault| fail(&fault))? {
                Written::Done(revision) => {
                    if before.event_types != endpoint.event_types {
                        self.name_unknown_types(&endpoint).await;
                    }
                    if is_another(&before, &endpoint) {
                        self.reset_gate(id).await;
                    }
                    self.seams.operations.mention(Notice::WebhookUpdated(&endpoint)).await;
                    return Ok(Endpoint { revision, ..endpoint });
                }
                Written::Conflict => {}
                Written::UidTaken => return Err(uid_taken()),
                Written::NoApp => return Err(no_app()),
            }
        }
        Err(Problem::conflict("somebody else changed this at the same time; try again"))
    }
}

/// Whether what is known of how an endpoint did says nothing any more: it is elsewhere, its pace changed, or it is back.
fn is_another(before: &Endpoint, after: &Endpoint) -> bool {
    before.url != after.url
        || before.throttle_rate != after.throttle_rate
        || before.breaker_percent != after.breaker_percent
        || (before.disabled && !after.disabled)
}

fn uid_taken() -> Problem {
    Problem::conflict("an endpoint with this uid already exists")
}

/// An endpoint of which nothing is said yet.
fn blank(id: EndpointId, app: AppId, secret: EndpointSecret, now: Timestamp) -> Endpoint {
    Endpoint {
        id,
        app,
        uid: None,
        url: String::new(),
        name: String::new(),
        description: String::new(),
        event_types: Vec::new(),
        channels: Vec::new(),
        disabled: false,
        headers: BTreeMap::new(),
        api_key: None,
        secrets: vec![secret],
        body_format: None,
        retry_schedule: None,
        timeout: None,
        max_age: None,
        throttle_rate: None,
        max_in_flight: None,
        breaker_percent: None,
        metadata: BTreeMap::new(),
        created_at: now,
        updated_at: now,
        revision: 0,
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Any endpoint.
    pub fn blank() -> Endpoint {
        let secret = EndpointSecret { secret: Secret::hmac(vec![7; 24]).expect("a secret"), expires_at: None };
        super::blank(EndpointId::from_bytes([1; ID_BYTES]), AppId::from_bytes([2; ID_BYTES]), secret, Timestamp::default())
    }
}
