//! Filters in a query. One that the operation does not know is a mistake: ignoring it would show more than was asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use hookyard_core::{Channel, EventType};
use hookyard_wire::problem::{Invalid, Problem};
use http::Method;
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::{OpenApi, RefOr};

/// What the queries of reading operations may hold, by path.
#[derive(Clone)]
pub struct Known(Arc<BTreeMap<String, BTreeSet<String>>>);

impl Known {
    /// As the description of the operations says.
    pub fn of(description: &OpenApi) -> Self {
        let reading = description.paths.paths.iter().filter_map(|(path, item)| Some((path, item.get.as_ref()?)));
        let known = reading.map(|(path, operation)| {
            let names = operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
                RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => Some(parameter.name.clone()),
                _ => None,
            });
            (path.clone(), names.collect())
        });
        Self(Arc::new(known.collect()))
    }
}

/// Refuses a reading request whose query holds what its operation does not know.
pub async fn refuse_unknown(
    State(known): State<Known>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let known = path.and_then(|path| known.0.get(path.as_str())).filter(|_| request.method() == Method::GET);
    let Some(known) = known else { return Ok(next.run(request).await) };
    let pairs = url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes());
    let unknown: BTreeSet<String> =
        pairs.map(|(name, _)| name.into_owned()).filter(|name| !known.contains(singular(name))).collect();
    if unknown.is_empty() {
        return Ok(next.run(request).await);
    }
    let mistake = |name: String| {
        let (loc, msg) = (vec!["query".to_owned(), name], "there is no such parameter".to_owned());
        Invalid { loc, msg, r#type: "value_error".to_owned() }
    };
    Err(Problem::Invalid(unknown.into_iter().map(mistake).collect()))
}

/// The name of a parameter that may come several times: some clients write `event_types[]`, others `event_types[0]`.
fn singular(name: &str) -> &str {
    match name.strip_suffix(']').and_then(|name| name.split_once('[')) {
        Some((before, index)) if before == EVENT_TYPES && index.bytes().all(|byte| byte.is_ascii_digit()) => before,
        _ => name,
    }
}

const EVENT_TYPES: &str = "event_types";

/// One channel.
pub fn channel(text: Option<&str>) -> Result<Option<Channel>, Problem> {
    let bad = |error: hookyard_core::name::BadName| Problem::invalid_query("channel", error.to_string());
    text.map(|text| text.parse().map_err(bad)).transpose()
}

/// Event types: `event_types` may come several times, and hold several with commas between them.
pub fn event_types(raw: Option<&str>) -> Result<Vec<EventType>, Problem> {
    let pairs = url::form_urlencoded::parse(raw.unwrap_or_default().as_bytes()).filter(|(name, _)| singular(name) == EVENT_TYPES);
    let names: Vec<String> = pairs.flat_map(|(_, value)| value.split(',').map(str::to_owned).collect::<Vec<_>>()).collect();
    let bad = |error: hookyard_core::name::BadName| Problem::invalid_query("event_types", error.to_string());
    names.iter().map(|name| name.parse().map_err(bad)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_types_come_singly_or_with_commas() {
        let read = |raw| event_types(Some(raw)).map(|types| types.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(read("event_types=a&limit=3&event_types=b.c,d"), Ok(["a", "b.c", "d"].map(str::to_owned).to_vec()));
        assert_eq!(
            read("event_types[]=a&event_types%5B1%5D=b.c&event_types[07]=d"),
            Ok(["a", "b.c", "d"].map(str::to_owned).to_vec())
        );
        assert_eq!(read("limit=3"), Ok(vec![]));
        assert!(read("event_types=a+b").is_err());
        assert!(channel(Some("a b")).is_err() && channel(None) == Ok(None));
    }
}
