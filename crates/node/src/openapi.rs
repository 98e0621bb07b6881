//! The description of the whole API (OpenAPI 3.1), made of what the code says of its operations.

use std::sync::OnceLock;

use hookyard_wire::reference::{HttpErrorOut, HttpValidationError, ValidationErrorItem, errors};
use serde_json::{Value, json};
use utoipa::Modify;
use utoipa::OpenApi as _;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{OpenApi, RefOr};

/// The name of the one way to say who is calling.
const TOKEN: &str = "token";

/// What is said of the API as a whole; the operations come from the crates that serve them.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Hookyard",
        description = "Hookyard sends what happened in a company's services to that company's customers, signed, and never loses an \
            event.\n\nCompatible with Svix's published server API; fields and operations beyond it are in the same style. Every request \
            carries a token: `admin` does everything, `publish` publishes, `app:<id>` uses one application. Lists page with `limit` and \
            `iterator`. Every answer has `hookyard-request-id`, and `hookyard-ignored` where fields of a body were ignored.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/", description = "Where this description comes from")),
    paths(health, health_head, ping, ping_head),
    components(schemas(HttpErrorOut, HttpValidationError, ValidationErrorItem)),
    tags(
        (name = "Application", description = "Tenants: each owns endpoints and messages."),
        (name = "Endpoint", description = "Customers' URLs, and how to call them."),
        (name = "Event type", description = "The event catalog."),
        (name = "Message", description = "Events: published, shown, forgotten."),
        (name = "Message attempt", description = "What was tried, and what the receivers did."),
        (name = "Dead letter", description = "What will not be tried again on its own."),
        (name = "Statistics", description = "Counts, for charts."),
        (name = "Task", description = "Work that outlives a request."),
        (name = "Authentication", description = "Portals and the end of tokens."),
        (name = "System", description = "The installation itself, for administrators."),
        (name = "Health", description = "Whether the process answers, and whether it is ready."),
    ),
    modifiers(&Token),
)]
struct Description;

/// Every operation wants a token, unless it says otherwise.
struct Token;

impl Modify for Token {
    fn modify(&self, description: &mut OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        description.components.get_or_insert_default().add_security_scheme(TOKEN, scheme);
        let components = description.components.get_or_insert_default();
        components.responses.extend(errors().map(|(name, response)| (name.to_owned(), RefOr::T(response))));
        description.security = Some(vec![SecurityRequirement::new(TOKEN, Vec::<String>::new())]);
    }
}

macro_rules! health {
    ($($(#[$says:meta])* $name:ident: $method:ident $path:literal $(or $unready:literal)?;)*) => {$(
        $(#[$says])*
        #[utoipa::path($method, path = $path, operation_id = stringify!($name), tag = "Health", security(()), responses(
            (status = 204, description = "It does"),
            (status = 405, description = "Another method", body = HttpErrorOut),
            $((status = $unready, description = "It is not ready; `Retry-After` says when to ask again", body = HttpErrorOut),)?
        ))]
        #[expect(dead_code, reason = "a description")]
        fn $name() {}
    )*};
}

health! {
    /// Says whether the process can do its work: as `/readyz` of the operators' listener.
    health: get "/api/v1/health" or 503;
    /// Says whether the process can do its work: as `/readyz` of the operators' listener.
    health_head: head "/api/v1/health" or 503;
    /// Says whether the process answers.
    ping: get "/api/v1/health/ping";
    /// Says whether the process answers.
    ping_head: head "/api/v1/health/ping";
}

/// The description as JSON.
pub fn document() -> &'static str {
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let mut description = Description::openapi();
        description.merge(hookyard_ingest::operations().into_openapi());
        description.merge(hookyard_admin::operations().into_openapi());
        // What is derived from types always serialises.
        let mut description = serde_json::to_value(&description).unwrap_or_default();
        point_to_items(&mut description);
        format!("{description:#}\n")
    })
}

/// A page's items are what its name says: they are pointed to, where the generator writes them out once more.
fn point_to_items(description: &mut Value) {
    let schemas = description["components"]["schemas"].as_object_mut().into_iter().flatten();
    for (name, schema) in schemas {
        if let Some(items) = name.strip_prefix("PageOut_") {
            schema["properties"]["data"]["items"] = json!({ "$ref": format!("#/components/schemas/{items}") });
        }
    }
}
