//! What the API's reference says of every operation alike: errors, and the names in paths.

// Read by nobody: their fields are what the reference shows.
#![expect(dead_code, reason = "descriptions, not values")]

use std::collections::BTreeMap;

use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoParams, IntoResponses, ToSchema};

/// An error.
#[derive(ToSchema)]
#[schema(example = json!({"code": "not_found", "detail": "there is no such endpoint"}))]
pub struct HttpErrorOut {
    /// Stable, for programs.
    code: String,
    /// For people.
    detail: String,
}

/// Everything that is wrong with a request.
#[derive(ToSchema)]
#[schema(example = json!({"detail": [{"loc": ["body", "url"], "msg": "field required", "type": "value_error.missing"}]}))]
pub struct HttpValidationError {
    detail: Vec<ValidationErrorItem>,
}

/// One thing that is wrong.
#[derive(ToSchema)]
pub struct ValidationErrorItem {
    /// Where: in the body, the query or the path, and the names on the way.
    loc: Vec<String>,
    /// What, for people.
    msg: String,
    /// What, for programs.
    r#type: String,
}

/// The errors that any operation may answer with.
pub struct Errors;

/// Statuses, the names of their descriptions, and what they mean; 422 has a shape of its own.
const ERRORS: [(&str, &str, &str); 9] = [
    ("400", "Unreadable", "The request cannot be read"),
    ("401", "Unauthenticated", "No token, or none that is good"),
    ("403", "Forbidden", "The token's scope does not allow this"),
    ("404", "NotFound", "It is not there"),
    ("409", "Conflict", "It is there already, or somebody else changed it at the same time"),
    ("413", "TooLarge", "More bytes than are allowed"),
    ("422", "Invalid", "Something in the request is wrong; every mistake is named"),
    ("429", "RateLimited", "Too many requests with this token; `Retry-After` says when to try again"),
    ("503", "Unavailable", "Temporarily unavailable; `Retry-After` says when to try again"),
];

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let pointed = |(status, name, _): (&str, &str, _)| (status.to_owned(), RefOr::Ref(Ref::from_response_name(name)));
        ERRORS.into_iter().map(pointed).collect()
    }
}

/// The descriptions that [`Errors`] points to, by name.
pub fn errors() -> impl Iterator<Item = (&'static str, Response)> {
    ERRORS.into_iter().map(|(status, name, description)| {
        let schema = if status == "422" { "HttpValidationError" } else { "HttpErrorOut" };
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).build();
        (name, ResponseBuilder::new().description(description).content("application/json", content).build())
    })
}

/// An application in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct AppPath {
    /// Id or uid of an application.
    #[param(example = "default", pattern = "^[A-Za-z0-9._-]{1,256}$")]
    app: String,
}

/// An endpoint in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct EndpointPath {
    /// Id or uid of an application.
    #[param(example = "default", pattern = "^[A-Za-z0-9._-]{1,256}$")]
    app: String,
    /// Id or uid of an endpoint.
    #[param(example = "ep_2ZfnJ7QUnSeP2Zs1R8wS0zC5E8N", pattern = "^[A-Za-z0-9._-]{1,256}$")]
    endpoint: String,
}

/// A message in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct MessagePath {
    /// Id or uid of an application.
    #[param(example = "default", pattern = "^[A-Za-z0-9._-]{1,256}$")]
    app: String,
    /// Id of a message.
    #[param(example = "msg_2ZfnJ7QUnSeP2Zs1R8wS0zC5E8N")]
    message: String,
}

/// A message and an endpoint in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct DeliveryPath {
    /// Id or uid of an application.
    #[param(example = "default", pattern = "^[A-Za-z0-9._-]{1,256}$")]
    app: String,
    /// Id of a message.
    #[param(example = "msg_2ZfnJ7QUnSeP2Zs1R8wS0zC5E8N")]
    message: String,
    /// Id or uid of an endpoint.
    #[param(example = "ep_2ZfnJ7QUnSeP2Zs1R8wS0zC5E8N", pattern = "^[A-Za-z0-9._-]{1,256}$")]
    endpoint: String,
}

/// An attempt in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct AttemptPath {
    /// Id or uid of an application.
    #[param(example = "default", pattern = "^[A-Za-z0-9._-]{1,256}$")]
    app: String,
    /// Id of a message.
    #[param(example = "msg_2ZfnJ7QUnSeP2Zs1R8wS0zC5E8N")]
    message: String,
    /// Id of an attempt.
    #[param(example = "atmpt_2ZfnJ7QUnSeP2Zs1R8wS0zC5E8N")]
    attempt: String,
}

/// An event type in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct EventTypePath {
    /// Name of an event type.
    #[param(example = "user.created", pattern = "^[A-Za-z0-9._-]{1,256}$")]
    name: String,
}

/// A task in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct TaskPath {
    /// Id of a task.
    #[param(example = "task_2ZfnJ7QUnSeP2Zs1R8wS0zC5E8N")]
    task: String,
}

/// Event types as a filter.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventTypesQuery {
    /// Only these event types: several times, or with commas between them.
    #[param(required = false)]
    event_types: Vec<String>,
}

/// A page of a list that can be read either way.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OrderedPage {
    /// Items on the page; 50 unless given.
    #[param(minimum = 1, maximum = 250)]
    limit: Option<u16>,
    /// Where to go on: `iterator` or `prevIterator` of an earlier page.
    iterator: Option<String>,
    /// The order of the list.
    #[param(inline)]
    order: Option<Order>,
}

/// The order of a list.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum Order {
    Ascending,
    Descending,
}
