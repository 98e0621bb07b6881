//! What every operation shares: the seams, the caller's rights, and reading the path and the body.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use bytes::Bytes;
use hookyard_core::address::AllowList;
use hookyard_core::grant::{Grant, Scope};
use hookyard_core::port::{
    Activity, Catalog, DeadLetterQueue, Deliveries, Directory, EndpointRef, Gates, Journal, Log, Rejections, Revocations, Sender,
    Tasks,
};
use hookyard_core::{AppId, AppRef, Clock, Endpoint, Entropy, Fault, FaultKind, JsonText, Policy};
use hookyard_operations::Operations;
use hookyard_telemetry::Metrics;
use hookyard_wire::problem::Problem;
use hookyard_wire::request::SignatureHeaders;
use http::StatusCode;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;

use crate::auth::{self, Tokens};
use crate::fields::{Body, name_ignored};
use crate::query::{Known, refuse_unknown};
use crate::system::{self, System};
use crate::{
    activity, apps, attempts, catalog_file, dead_letters, destinations, endpoints, event_types, headers, health, messages, runs,
    secrets, stats, sweep, tasks, trial,
};

/// What the API works with.
#[derive(Clone)]
pub struct Seams {
    /// Applications and endpoints.
    pub directory: Arc<dyn Directory>,
    /// Event types.
    pub catalog: Arc<dyn Catalog>,
    /// Where further runs are begun.
    pub deliveries: Arc<dyn Deliveries>,
    /// Where they are written down.
    pub journal: Arc<dyn Journal>,
    /// Messages, attempts and dead letters.
    pub log: Arc<dyn Log>,
    /// Work that outlives a request.
    pub tasks: Arc<dyn Tasks>,
    /// The gates of endpoints.
    pub gates: Arc<dyn Gates>,
    /// Where what happens here is told.
    pub operations: Arc<Operations>,
    /// Attempts as they happen.
    pub activity: Arc<dyn Activity>,
    /// What was set aside.
    pub rejections: Arc<dyn Rejections>,
    /// Dead letters as their queue keeps them.
    pub dead_letters: Arc<dyn DeadLetterQueue>,
    /// How long the journal knows of what has ended.
    pub retention: Duration,
    /// The installation around it.
    pub system: Arc<dyn System>,
    /// Tokens that are good no longer.
    pub revocations: Arc<dyn Revocations>,
    /// New ones.
    pub tokens: Arc<dyn Tokens>,
    /// The door outward, for tests.
    pub sender: Arc<dyn Sender>,
    /// How deliveries are attempted unless their endpoint says otherwise.
    pub policy: Policy,
    /// Metrics.
    pub metrics: Metrics,
    /// What requests look like.
    pub style: Style,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for ids and secrets.
    pub entropy: Arc<dyn Entropy>,
    /// What outbound safety lets through, to refuse an endpoint early.
    pub allow: Arc<AllowList>,
}

/// What a deployment chose for its requests.
#[derive(Clone, Debug)]
pub struct Style {
    /// Names of the signature headers.
    pub signature_headers: SignatureHeaders,
    /// Value of `user-agent`.
    pub user_agent: String,
}

/// The API.
pub struct Api {
    pub(crate) seams: Seams,
    /// A task was begun here.
    pub(crate) new_task: Notify,
    /// Ends the streams.
    pub(crate) stop: CancellationToken,
}

pub(crate) type State = axum::extract::State<Arc<Api>>;
pub(crate) type Caller = axum::Extension<Grant>;

/// Largest catalog in one file: thousands of event types with their schemas.
const CATALOG_BYTES: usize = 16 * 1024 * 1024;

/// Tries to write what others change at the same time before the caller is told.
pub(crate) const WRITE_TRIES: usize = 8;

/// Every operation with its description; the caller's [`Grant`] must be in the request's extensions.
pub fn operations() -> OpenApiRouter<Arc<Api>> {
    let import = routes!(catalog_file::import).layer(DefaultBodyLimit::max(CATALOG_BYTES));
    OpenApiRouter::new()
        .routes(routes!(apps::list, apps::create))
        .routes(routes!(apps::get, apps::put, apps::patch, apps::delete))
        .routes(routes!(endpoints::list, endpoints::create))
        .routes(routes!(endpoints::get, endpoints::put, endpoints::patch, endpoints::delete))
        .routes(routes!(headers::get, headers::put, headers::patch))
        .routes(routes!(secrets::get))
        .routes(routes!(secrets::rotate))
        .routes(routes!(messages::list))
        .routes(routes!(messages::get))
        .routes(routes!(attempts::of_message))
        .routes(routes!(attempts::to_endpoint))
        .routes(routes!(attempts::of_message_once))
        .routes(routes!(attempts::of_delivery))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::replay))
        .routes(routes!(dead_letters::discard))
        .routes(routes!(sweep::sweep))
        .routes(routes!(catalog_file::export))
        .routes(import)
        .routes(routes!(event_types::list, event_types::create))
        .routes(routes!(event_types::get, event_types::put, event_types::patch, event_types::delete))
        .routes(routes!(destinations::of_endpoint))
        .routes(routes!(stats::of_endpoint))
        .routes(routes!(health::of_endpoint))
        .routes(routes!(stats::of_endpoint_by_hour))
        .routes(routes!(stats::of_app))
        .routes(routes!(stats::of_event_types))
        .routes(routes!(tasks::recover))
        .routes(routes!(tasks::replay_missing))
        .routes(routes!(trial::send_example))
        .routes(routes!(trial::saved))
        .routes(routes!(trial::unsaved))
        .routes(routes!(attempts::of_app))
        .routes(routes!(attempts::get))
        .routes(routes!(attempts::expunge))
        .routes(routes!(messages::expunge))
        .routes(routes!(destinations::of_message))
        .routes(routes!(runs::resend))
        .routes(routes!(auth::portal))
        .routes(routes!(auth::dashboard))
        .routes(routes!(auth::logout))
        .routes(routes!(tasks::get))
        .routes(routes!(tasks::list))
        .routes(routes!(tasks::list_background))
        .routes(routes!(tasks::get_background))
        .routes(routes!(activity::stream))
        .routes(routes!(system::get))
        .routes(routes!(system::configuration))
        .routes(routes!(system::rejected))
        .routes(routes!(system::retry))
        .routes(routes!(system::discard))
}

/// Every operation, served by `api`.
pub fn routes(api: Arc<Api>) -> Router {
    let (routes, description) = operations().split_for_parts();
    let known = from_fn_with_state(Known::of(&description), refuse_unknown);
    routes.layer(known).layer(from_fn(name_ignored)).with_state(api)
}

impl Api {
    /// The API, with nothing served yet. Its streams end with `stop`.
    pub fn new(seams: Seams, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self { seams, new_task: Notify::new(), stop })
    }

    /// The application a path names, if the caller may use it.
    pub(crate) async fn app(&self, grant: &Grant, named: &str) -> Result<AppId, Problem> {
        self.resolve(grant, named).await?.ok_or_else(no_app)
    }

    /// Whether an application is the caller's to use.
    pub(crate) async fn owns(&self, grant: &Grant, app: AppId) -> Result<bool, Problem> {
        match &grant.scope {
            Scope::Admin => Ok(true),
            Scope::Publish => Ok(false),
            Scope::App(own) => Ok(self.resolve(grant, &own.to_string()).await? == Some(app)),
        }
    }

    /// The same, where it need not exist yet.
    pub(crate) async fn resolve(&self, grant: &Grant, named: &str) -> Result<Option<AppId>, Problem> {
        let named: AppRef = named.parse().map_err(|_| no_app())?;
        let resolved = self.seams.directory.resolve(std::slice::from_ref(&named)).await.map_err(|fault| fail(&fault))?;
        let id = resolved.apps.first().copied().flatten();
        if grant.may_use(&named, id) { Ok(id) } else { Err(Problem::forbidden()) }
    }

    /// The endpoint a path names.
    pub(crate) async fn endpoint(&self, app: AppId, named: &str) -> Result<Endpoint, Problem> {
        let named = endpoint_ref(named)?;
        let found = self.seams.directory.endpoint(app, &named).await.map_err(|fault| fail(&fault))?;
        found.ok_or_else(no_endpoint)
    }
}

pub(crate) fn endpoint_ref(named: &str) -> Result<EndpointRef, Problem> {
    match named.parse() {
        Ok(id) => Ok(EndpointRef::Id(id)),
        Err(_) => named.parse().map(EndpointRef::Uid).map_err(|_| no_endpoint()),
    }
}

pub(crate) fn no_app() -> Problem {
    Problem::not_found("there is no such application")
}

pub(crate) fn no_endpoint() -> Problem {
    Problem::not_found("there is no such endpoint")
}

/// A fault, told to the log in full and to the caller in general.
pub(crate) fn fail(fault: &Fault) -> Problem {
    match fault.kind {
        FaultKind::Unavailable | FaultKind::WrongDataset => tracing::warn!(error = fault.chain(), "cannot answer"),
        _ => tracing::error!(error = fault.chain(), "cannot answer"),
    }
    Problem::from(fault)
}

/// A body that must be a JSON object.
pub(crate) fn object(body: &Bytes) -> Result<Body, Problem> {
    match serde_json::from_slice::<JsonText>(body) {
        Ok(text) => text.parts().ok_or_else(|| Problem::invalid("", "the body must be a JSON object")),
        Err(error) => {
            let detail = format!("the body is not JSON: error at line {} column {}", error.line(), error.column());
            Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_json", detail))
        }
    }
}
