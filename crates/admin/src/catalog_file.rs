//! `/api/v1/event-type/export` and `/import`: the catalog as one file, JSON or YAML.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::Query;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use hookyard_core::catalog::{CatalogEntry, CatalogFilter, Validation};
use hookyard_core::journal::{Cursor, PageRequest};
use hookyard_core::{EventType, JsonText};
use hookyard_wire::problem::{Invalid, Problem};
use hookyard_wire::reference::Errors;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::api::{Api, Caller, State, fail};
use crate::apps::require_admin;
use crate::bodies::EventTypeIn;
use crate::event_types::{read, require_reader};
use crate::fields::{Body, Fields};

/// Read at once.
const CHUNK: usize = 250;
/// Most event types in one file: a catalog is for people.
const ENTRIES_MOST: usize = 5_000;

/// A file of event types. Fields are those of the API; what is left out has its default.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CatalogFile {
    #[schema(value_type = Vec<EventTypeIn>)]
    event_types: Vec<Body>,
}

/// How to export.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    /// `json` or `yaml`.
    #[param(pattern = "^(json|yaml)$")]
    format: Option<String>,
}

/// How to import.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "snake_case")]
pub struct ImportQuery {
    /// Only say what would be done.
    #[serde(default)]
    dry_run: bool,
}

/// What an import did, or would do.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Imported {
    #[schema(value_type = Vec<String>)]
    created: Vec<EventType>,
    #[schema(value_type = Vec<String>)]
    updated: Vec<EventType>,
    unchanged: usize,
    dry_run: bool,
}

/// Exports the catalog as one file.
#[utoipa::path(
    get,
    path = "/api/v1/event-type/export",
    operation_id = "export_event_types",
    tag = "Event type",
    params(ExportQuery),
    responses((status = 200, description = "The catalog", content((CatalogFile = "application/json"), (CatalogFile = "application/yaml"))), Errors),
)]
pub async fn export(api: State, caller: Caller, Query(query): Query<ExportQuery>) -> Result<Response, Problem> {
    require_reader(&caller)?;
    let is_yaml = match query.format.as_deref() {
        None | Some("json") => false,
        Some("yaml") => true,
        Some(_) => return Err(Problem::invalid_query("format", "must be json or yaml")),
    };
    let filter = CatalogFilter { archived: true, discovered: false };
    let (mut event_types, mut from) = (Vec::new(), Some(Cursor::Before(String::new())));
    loop {
        let page = PageRequest { from, limit: CHUNK };
        let page = api.seams.catalog.entries(filter, page).await.map_err(|fault| fail(&fault))?;
        // Towards later names, and shown from the first on.
        from = page.items.first().map(|last| Cursor::Before(last.name.to_string()));
        event_types.extend(page.items.iter().rev().map(in_file));
        if page.done {
            break;
        }
    }
    let file = CatalogFile { event_types };
    if !is_yaml {
        return Ok(Json(file).into_response());
    }
    let text = as_yaml(&file).map_err(|error| {
        Problem::invalid_query("format", format!("a sample or schema cannot be written as YAML, take json: {error}"))
    })?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/yaml"))], text).into_response())
}

/// Creates and changes event types as the file says; types it does not name stay as they are. Nothing is changed when anything in it
/// is wrong.
#[utoipa::path(
    post,
    path = "/api/v1/event-type/import",
    operation_id = "import_event_types",
    tag = "Event type",
    params(ImportQuery),
    request_body(content((CatalogFile = "application/json"), (CatalogFile = "application/yaml"))),
    responses((status = 200, description = "What was done, or would be", body = Imported), Errors),
)]
pub async fn import(
    api: State,
    caller: Caller,
    Query(query): Query<ImportQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Imported>, Problem> {
    require_admin(&caller)?;
    let is_yaml =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|kind| kind.contains("yaml"));
    let file = parse(&body, is_yaml)?;
    if file.event_types.len() > ENTRIES_MOST {
        return Err(Problem::invalid("eventTypes", format!("at most {ENTRIES_MOST} event types")));
    }
    let (mut wanted, mut invalid) = (BTreeMap::new(), Vec::new());
    for (index, fields) in file.event_types.into_iter().enumerate() {
        match api.described(fields).await {
            Ok((known, entry)) => {
                wanted.insert(entry.name.to_string(), (known, entry));
            }
            Err(Problem::Invalid(mistakes)) => invalid.extend(mistakes.into_iter().map(|mistake| at(index, mistake))),
            Err(problem) => return Err(problem),
        }
    }
    if !invalid.is_empty() {
        return Err(Problem::Invalid(invalid));
    }
    let mut imported = Imported { created: Vec::new(), updated: Vec::new(), unchanged: 0, dry_run: query.dry_run };
    for (known, entry) in wanted.into_values() {
        let is_new = known.as_ref().is_none_or(|known| known.discovered);
        if known.as_ref().is_some_and(|known| in_file(known) == in_file(&entry) && !known.discovered) {
            imported.unchanged += 1;
            continue;
        }
        let name = entry.name.clone();
        if !query.dry_run {
            let replace = |current: &mut CatalogEntry| {
                let (created_at, revision) = (current.created_at, current.revision);
                *current = CatalogEntry { created_at, revision, ..entry.clone() };
                Ok(())
            };
            api.change_entry(&name, true, replace).await?;
        }
        if is_new { imported.created.push(name) } else { imported.updated.push(name) }
    }
    Ok(Json(imported))
}

impl Api {
    /// The entry that a part of a file describes, and what is known of it now.
    async fn described(&self, fields: Body) -> Result<(Option<CatalogEntry>, CatalogEntry), Problem> {
        let mut fields = Fields::of_ours(fields);
        let mut name: Option<EventType> = None;
        fields.require("name", &mut name, |value| crate::fields::parsed(value).map(Some));
        let Some(name) = name else {
            return Err(fields.finish().err().unwrap_or_else(|| Problem::invalid("name", "field required")));
        };
        let known = self.entry(&name).await?;
        let mut entry = CatalogEntry::new(name, self.seams.clock.now());
        read(&mut entry, fields)?;
        Ok((known, entry))
    }
}

/// What of an entry is in a file: what an administrator wrote, and no defaults.
fn in_file(entry: &CatalogEntry) -> Body {
    let mut fields = Body::new();
    let mut put = |name: &str, text: Option<JsonText>| {
        if let Some(text) = text {
            fields.insert(name.to_owned(), text);
        }
    };
    put("name", Some(JsonText::from(json!(entry.name))));
    put("description", Some(JsonText::from(json!(entry.description))));
    put("groupName", entry.group_name.as_ref().map(|name| JsonText::from(json!(name))));
    put("featureFlag", entry.feature_flag.as_ref().map(|flag| JsonText::from(json!(flag))));
    put("sample", entry.sample.clone());
    put("schemas", entry.schemas.as_ref().map(JsonText::of_parts));
    put("validation", Some(JsonText::from(json!(entry.validation))).filter(|_| entry.validation != Validation::Off));
    put("archived", entry.archived.then(|| JsonText::from(json!(true))));
    put("deprecated", entry.deprecated.then(|| JsonText::from(json!(true))));
    fields
}

/// YAML holds values, where JSON keeps the text of samples and schemas.
fn as_yaml(file: &CatalogFile) -> Result<String, String> {
    let values: Value =
        serde_json::to_string(file).and_then(|text| serde_json::from_str(&text)).map_err(|error| error.to_string())?;
    serde_yaml_ng::to_string(&values).map_err(|error| error.to_string())
}

fn parse(body: &Bytes, is_yaml: bool) -> Result<CatalogFile, Problem> {
    let wrong = |code, error: String| Problem::new(StatusCode::BAD_REQUEST, code, format!("the body is not a catalog: {error}"));
    if !is_yaml {
        return serde_json::from_slice(body).map_err(|error| wrong("invalid_json", error.to_string()));
    }
    let values: Value = serde_yaml_ng::from_slice(body).map_err(|error| wrong("invalid_yaml", error.to_string()))?;
    serde_json::from_str(&values.to_string()).map_err(|error| wrong("invalid_yaml", error.to_string()))
}

/// A mistake in one of a file's entries.
fn at(index: usize, mistake: Invalid) -> Invalid {
    let place = ["body", "eventTypes"].map(str::to_owned).into_iter().chain([index.to_string()]);
    Invalid { loc: place.chain(mistake.loc.into_iter().skip(1)).collect(), ..mistake }
}
