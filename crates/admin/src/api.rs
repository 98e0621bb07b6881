//! What every operation shares: the seams, the caller's rights, and reading the path and the body.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use axum::routing::{delete, get, post};
use bytes::Bytes;
use hookyard_core::address::AllowList;
use hookyard_core::grant::{Grant, Scope};
use hookyard_core::port::{
    Activity, Catalog, Deliveries, Directory, EndpointRef, Journal, Log, Rejections, Revocations, Sender, Tasks,
};
use hookyard_core::{AppId, AppRef, Clock, Endpoint, Entropy, Fault, FaultKind, Policy};
use hookyard_telemetry::Metrics;
use hookyard_wire::problem::Problem;
use hookyard_wire::request::SignatureHeaders;
use http::StatusCode;
use serde_json::{Map, Value};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::auth::{self, Tokens};
use crate::fields::name_ignored;
use crate::system::{self, System};
use crate::{
    activity, apps, attempts, catalog_file, dead_letters, destinations, endpoints, event_types, headers, messages, runs, secrets,
    stats, tasks, trial,
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
    /// Attempts as they happen.
    pub activity: Arc<dyn Activity>,
    /// What was set aside.
    pub rejections: Arc<dyn Rejections>,
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

/// Every route; the caller's [`Grant`] must be in the request's extensions.
pub fn routes(api: Arc<Api>) -> Router {
    let endpoint = "/api/v1/app/{app}/endpoint/{endpoint}";
    Router::new()
        .route("/api/v1/app", get(apps::list).post(apps::create))
        .route("/api/v1/app/{app}", get(apps::get).put(apps::put).patch(apps::patch).delete(apps::delete))
        .route("/api/v1/app/{app}/endpoint", get(endpoints::list).post(endpoints::create))
        .route(endpoint, get(endpoints::get).put(endpoints::put).patch(endpoints::patch).delete(endpoints::delete))
        .route(&format!("{endpoint}/headers"), get(headers::get).put(headers::put).patch(headers::patch))
        .route(&format!("{endpoint}/secret"), get(secrets::get))
        .route(&format!("{endpoint}/secret/rotate"), post(secrets::rotate))
        .route("/api/v1/app/{app}/msg", get(messages::list))
        .route("/api/v1/app/{app}/msg/{message}", get(messages::get))
        .route("/api/v1/app/{app}/attempt/msg/{message}", get(attempts::of_message))
        .route("/api/v1/app/{app}/attempt/endpoint/{endpoint}", get(attempts::to_endpoint))
        .route("/api/v1/app/{app}/dead-letter", get(dead_letters::list))
        .route("/api/v1/app/{app}/dead-letter/replay", post(dead_letters::replay))
        .route("/api/v1/app/{app}/dead-letter/discard", post(dead_letters::discard))
        .route("/api/v1/event-type/export", get(catalog_file::export))
        .route("/api/v1/event-type/import", post(catalog_file::import).layer(DefaultBodyLimit::max(CATALOG_BYTES)))
        .route("/api/v1/event-type", get(event_types::list).post(event_types::create))
        .route(
            "/api/v1/event-type/{name}",
            get(event_types::get).put(event_types::put).patch(event_types::patch).delete(event_types::delete),
        )
        .route(&format!("{endpoint}/msg"), get(destinations::of_endpoint))
        .route(&format!("{endpoint}/stats"), get(stats::of_endpoint))
        .route(&format!("{endpoint}/stats/hourly"), get(stats::of_endpoint_by_hour))
        .route("/api/v1/stats", get(stats::of_app))
        .route(&format!("{endpoint}/recover"), post(tasks::recover))
        .route(&format!("{endpoint}/replay-missing"), post(tasks::replay_missing))
        .route(&format!("{endpoint}/send-example"), post(trial::send_example))
        .route(&format!("{endpoint}/test"), post(trial::saved))
        .route("/api/v1/app/{app}/endpoint/test", post(trial::unsaved))
        .route("/api/v1/app/{app}/attempt", get(attempts::of_app))
        .route("/api/v1/app/{app}/msg/{message}/attempt/{attempt}", get(attempts::get))
        .route("/api/v1/app/{app}/msg/{message}/attempt/{attempt}/content", delete(attempts::expunge))
        .route("/api/v1/app/{app}/msg/{message}/content", delete(messages::expunge))
        .route("/api/v1/app/{app}/msg/{message}/endpoint", get(destinations::of_message))
        .route("/api/v1/app/{app}/msg/{message}/endpoint/{endpoint}/resend", post(runs::resend))
        .route("/api/v1/auth/app-portal-access/{app}", post(auth::portal))
        .route("/api/v1/auth/logout", post(auth::logout))
        .route("/api/v1/task/{task}", get(tasks::get))
        .route("/api/v1/activity", get(activity::stream))
        .route("/api/v1/system", get(system::get))
        .route("/api/v1/rejected", get(system::rejected))
        .route("/api/v1/rejected/retry", post(system::retry))
        .route("/api/v1/rejected/discard", post(system::discard))
        .layer(from_fn(name_ignored))
        .with_state(api)
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
pub(crate) fn object(body: &Bytes) -> Result<Map<String, Value>, Problem> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Problem::invalid("", "the body must be a JSON object")),
        Err(error) => {
            let detail = format!("the body is not JSON: error at line {} column {}", error.line(), error.column());
            Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_json", detail))
        }
    }
}
