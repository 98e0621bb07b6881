//! `/api/v1/event-type`: the event catalog.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Query};
use bytes::Bytes;
use hookyard_core::catalog::{CatalogEntry, CatalogFilter, Validation};
use hookyard_core::grant::Grant;
use hookyard_core::port::{Expect, Written};
use hookyard_core::schema::Schema;
use hookyard_core::{EventType, JsonText, Timestamp};
use hookyard_wire::problem::Problem;
use hookyard_wire::reference::{Errors, EventTypePath, OrderedPage};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::{Api, Caller, State, WRITE_TRIES, fail, object};
use crate::apps::require_admin;
use crate::bodies::{EventTypeIn, EventTypePatch, EventTypeUpdate};
use crate::fields::{self, Fields, Mode};
use crate::page::{PageOut, PageQuery};

/// Longest description and group.
const TEXT_BYTES: usize = 8 * 1024;
/// Schemas and sample of one type together, as JSON: a catalog of thousands is read whole.
const DOCUMENTS_BYTES: usize = 256 * 1024;
/// Longest feature flag: the compatible API's grammar.
const FLAG_BYTES: usize = 256;

/// An event type as the API shows it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventTypeOut {
    #[schema(value_type = String)]
    name: EventType,
    description: String,
    archived: bool,
    deprecated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    feature_flag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, serde_json::Value>>)]
    schemas: Option<BTreeMap<String, JsonText>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    sample: Option<JsonText>,
    #[schema(value_type = String)]
    validation: Validation,
    discovered: bool,
    created_at: String,
    updated_at: String,
}

/// What to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Archived ones too.
    #[serde(default)]
    include_archived: bool,
    /// With schemas and samples.
    #[serde(default)]
    with_content: bool,
}

/// How to delete.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeleteQuery {
    /// Remove it instead of archiving it.
    #[serde(default)]
    expunge: bool,
}

/// Lists the event catalog.
#[utoipa::path(
    get,
    path = "/api/v1/event-type",
    operation_id = "list_event_types",
    tag = "Event type",
    params(OrderedPage, ListQuery),
    responses((status = 200, description = "A page of event types", body = PageOut<EventTypeOut>), Errors),
)]
pub async fn list(
    api: State,
    caller: Caller,
    Query(page): Query<PageQuery>,
    Query(query): Query<ListQuery>,
) -> Result<Json<PageOut<EventTypeOut>>, Problem> {
    require_reader(&caller)?;
    let listing = page.read_ordered(true, String::new())?;
    // What was only seen in traffic is the administrators' to look at until they save it.
    let filter = CatalogFilter { archived: query.include_archived, discovered: caller.is_admin() };
    let found = api.seams.catalog.entries(filter, listing.request).await.map_err(|fault| fail(&fault))?;
    let show = |entry| show(entry, query.with_content);
    Ok(Json(PageOut::ordered(found, listing.is_ascending, |entry| entry.name.clone(), show)))
}

/// Describes an event type.
#[utoipa::path(
    post,
    path = "/api/v1/event-type",
    operation_id = "create_event_type",
    tag = "Event type",
    request_body = EventTypeIn,
    responses((status = 201, description = "Created", body = EventTypeOut), Errors),
)]
pub async fn create(api: State, caller: Caller, body: Bytes) -> Result<(StatusCode, Json<EventTypeOut>), Problem> {
    require_admin(&caller)?;
    let now = api.seams.clock.now();
    let mut fields = Fields::new(object(&body)?, Mode::Whole);
    let mut name: Option<EventType> = None;
    fields.require("name", &mut name, |value| fields::parsed(value).map(Some));
    let Some(name) = name else { return Err(fields.finish().err().unwrap_or_else(no_event_type)) };
    let known = api.entry(&name).await?;
    // What was archived, or only seen in traffic, may be described anew.
    let (expect, created_at) = match &known {
        None => (Expect::New, now),
        Some(known) if known.archived || known.discovered => (Expect::Revision(known.revision), known.created_at),
        Some(_) => return Err(taken()),
    };
    let mut entry = CatalogEntry { created_at, ..CatalogEntry::new(name, now) };
    read(&mut entry, fields)?;
    match api.seams.catalog.put_entry(&entry, expect).await.map_err(|fault| fail(&fault))? {
        Written::Done(_) => Ok((StatusCode::CREATED, Json(show(entry, true)))),
        _ => Err(taken()),
    }
}

/// Shows an event type.
#[utoipa::path(
    get,
    path = "/api/v1/event-type/{name}",
    operation_id = "get_event_type",
    tag = "Event type",
    params(EventTypePath),
    responses((status = 200, description = "The event type", body = EventTypeOut), Errors),
)]
pub async fn get(api: State, caller: Caller, Path(name): Path<String>) -> Result<Json<EventTypeOut>, Problem> {
    require_reader(&caller)?;
    let entry = api.entry(&named(&name)?).await?.ok_or_else(no_event_type)?;
    if entry.discovered && !caller.is_admin() {
        return Err(no_event_type());
    }
    Ok(Json(show(entry, true)))
}

/// Replaces an event type, or describes a new one.
#[utoipa::path(
    put,
    path = "/api/v1/event-type/{name}",
    operation_id = "put_event_type",
    tag = "Event type",
    params(EventTypePath),
    request_body = EventTypeUpdate,
    responses((status = 200, description = "Replaced", body = EventTypeOut), (status = 201, description = "Created", body = EventTypeOut), Errors),
)]
pub async fn put(
    api: State,
    caller: Caller,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<(StatusCode, Json<EventTypeOut>), Problem> {
    require_admin(&caller)?;
    let name = named(&name)?;
    let was_there = api.entry(&name).await?.is_some();
    let changed = api.change_entry(&name, true, |entry| read(entry, Fields::new(object(&body)?, Mode::Whole))).await?;
    Ok((if was_there { StatusCode::OK } else { StatusCode::CREATED }, Json(show(changed, true))))
}

/// Changes what is given of an event type.
#[utoipa::path(
    patch,
    path = "/api/v1/event-type/{name}",
    operation_id = "patch_event_type",
    tag = "Event type",
    params(EventTypePath),
    request_body = EventTypePatch,
    responses((status = 200, description = "Changed", body = EventTypeOut), Errors),
)]
pub async fn patch(api: State, caller: Caller, Path(name): Path<String>, body: Bytes) -> Result<Json<EventTypeOut>, Problem> {
    require_admin(&caller)?;
    let name = named(&name)?;
    let changed = api.change_entry(&name, false, |entry| read(entry, Fields::new(object(&body)?, Mode::Partial))).await?;
    Ok(Json(show(changed, true)))
}

/// Archives an event type; with `expunge`, removes it.
#[utoipa::path(
    delete,
    path = "/api/v1/event-type/{name}",
    operation_id = "delete_event_type",
    tag = "Event type",
    params(EventTypePath, DeleteQuery),
    responses((status = 204, description = "Archived or removed"), Errors),
)]
pub async fn delete(
    api: State,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<DeleteQuery>,
) -> Result<StatusCode, Problem> {
    require_admin(&caller)?;
    let name = named(&name)?;
    if query.expunge {
        let was_there = api.seams.catalog.remove_entry(&name).await.map_err(|fault| fail(&fault))?;
        return if was_there { Ok(StatusCode::NO_CONTENT) } else { Err(no_event_type()) };
    }
    let archive = |entry: &mut CatalogEntry| {
        entry.archived = true;
        Ok(())
    };
    api.change_entry(&name, false, archive).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Api {
    pub(crate) async fn entry(&self, name: &EventType) -> Result<Option<CatalogEntry>, Problem> {
        self.seams.catalog.entry(name).await.map_err(|fault| fail(&fault))
    }

    /// Reads an entry, changes it, and writes it back, as often as others are faster; saved so, it is discovered no longer.
    pub(crate) async fn change_entry(
        &self,
        name: &EventType,
        may_create: bool,
        change: impl Fn(&mut CatalogEntry) -> Result<(), Problem>,
    ) -> Result<CatalogEntry, Problem> {
        for _ in 0..WRITE_TRIES {
            let now = self.seams.clock.now();
            let (mut entry, expect) = match self.entry(name).await? {
                Some(known) => (known.clone(), Expect::Revision(known.revision)),
                None if may_create => (CatalogEntry::new(name.clone(), now), Expect::New),
                None => return Err(no_event_type()),
            };
            change(&mut entry)?;
            (entry.updated_at, entry.discovered) = (now, false);
            let written = self.seams.catalog.put_entry(&entry, expect).await.map_err(|fault| fail(&fault))?;
            if let Written::Done(revision) = written {
                return Ok(CatalogEntry { revision, ..entry });
            }
        }
        Err(Problem::conflict("somebody else changed this at the same time; try again"))
    }
}

/// Reads a body into `entry`.
pub fn read(entry: &mut CatalogEntry, mut fields: Fields) -> Result<(), Problem> {
    fields.require("description", &mut entry.description, fields::text(TEXT_BYTES));
    fields.read("archived", &mut entry.archived, fields::boolean);
    fields.read("deprecated", &mut entry.deprecated, fields::boolean);
    fields.read("featureFlag", &mut entry.feature_flag, |value| fields::non_empty(FLAG_BYTES)(value).map(Some));
    fields.read_text("schemas", &mut entry.schemas, schemas);
    // Ours: clients of the compatible API do not know them and must not wipe them.
    fields.read_if_present("groupName", &mut entry.group_name, |value| fields::non_empty(TEXT_BYTES)(value).map(Some));
    if fields.has("sample") {
        fields.read_text("sample", &mut entry.sample, |text| bounded(text).map(Some));
    }
    fields.read_if_present("validation", &mut entry.validation, |value| {
        serde_json::from_value(value.clone()).map_err(|_| "must be off, warn or reject".to_owned())
    });
    fields.finish()?;
    if entry.validation == Validation::Off {
        // Clients of the compatible API may describe types as they like; nothing is judged by it.
        return Ok(());
    }
    let schema = entry.newest_schema().ok_or_else(|| Problem::invalid("schemas", "validation needs a schema"))?;
    let compiled = schema.value().and_then(|schema| Schema::compile(&schema));
    compiled.map(drop).map_err(|error| Problem::invalid("schemas", format!("the newest {error}")))
}

fn schemas(text: &JsonText) -> Result<Option<BTreeMap<String, JsonText>>, String> {
    bounded(text)?.parts().map(Some).ok_or_else(|| "must be an object of schemas by version".to_owned())
}

fn bounded(text: &JsonText) -> Result<JsonText, String> {
    if text.get().len() > DOCUMENTS_BYTES {
        return Err(format!("must not be more than {DOCUMENTS_BYTES} bytes"));
    }
    Ok(text.clone())
}

fn show(entry: CatalogEntry, with_content: bool) -> EventTypeOut {
    let at = |moment: Timestamp| moment.to_string();
    EventTypeOut {
        name: entry.name,
        description: entry.description,
        archived: entry.archived,
        deprecated: entry.deprecated,
        feature_flag: entry.feature_flag,
        schemas: entry.schemas.filter(|_| with_content),
        group_name: entry.group_name,
        sample: entry.sample.filter(|_| with_content),
        validation: entry.validation,
        discovered: entry.discovered,
        created_at: at(entry.created_at),
        updated_at: at(entry.updated_at),
    }
}

/// The catalog is everybody's to read who has an application or all of them.
pub fn require_reader(grant: &Grant) -> Result<(), Problem> {
    if grant.may_read_catalog() { Ok(()) } else { Err(Problem::forbidden()) }
}

fn named(name: &str) -> Result<EventType, Problem> {
    name.parse().map_err(|_| no_event_type())
}

fn no_event_type() -> Problem {
    Problem::not_found("there is no such event type")
}

fn taken() -> Problem {
    Problem::conflict("an event type with this name already exists")
}
