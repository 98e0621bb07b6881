//! `/api/v1/system` and `/api/v1/rejected`: the installation itself, and what it set aside.

use async_trait::async_trait;
use axum::Json;
use axum::extract::Query;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hookyard_core::fleet::QueueKind;
use hookyard_core::{BreakerState, EndpointId, Fault, Gate, GateId, Member, QueueDepth, Rejection, RejectionId};
use hookyard_wire::problem::Problem;
use hookyard_wire::reference::Errors;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::{Api, Caller, State, fail, object};
use crate::apps::require_admin;
use crate::bodies::IdsIn;
use crate::fields::{Fields, list as list_of};
use crate::page::{PageOut, PageQuery};

/// Bytes of a body that are shown.
const SHOWN_BYTES: usize = 16 * 1024;
/// Endpoints named of breakers that are not closed.
const BREAKERS_SHOWN: usize = 100;
/// Named in one request.
const IDS_MOST: usize = 250;

/// What the API asks of the installation around it.
#[async_trait]
pub trait System: Send + Sync {
    /// Whether broker and store are others' or one file.
    fn mode(&self) -> Mode;

    /// This program's version.
    fn version(&self) -> &'static str;

    /// The processes heard of lately.
    async fn members(&self) -> Result<Vec<Member>, Fault>;

    /// What waits in each queue.
    async fn queues(&self) -> Result<Vec<QueueDepth>, Fault>;

    /// What this process was configured with; no secret is in it.
    fn configuration(&self) -> Vec<SettingOut>;
}

/// A key of the configuration as the API shows it.
#[derive(Clone, Serialize, ToSchema)]
pub struct SettingOut {
    /// Its path.
    pub key: String,
    /// Its value, masked where it is secret; empty for none.
    pub value: String,
    /// Where that came from: `default`, a variable, a flag, or a file.
    pub origin: String,
}

/// A configuration as the API shows it.
#[derive(Serialize, ToSchema)]
pub struct ConfigurationOut {
    data: Vec<SettingOut>,
}

/// How an installation keeps things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// RabbitMQ and Redis.
    Cluster,
    /// One SQLite file.
    Embedded,
}

/// The installation as the API shows it.
#[derive(Serialize, ToSchema)]
pub struct SystemOut {
    version: &'static str,
    mode: Mode,
    /// Nothing while the store does not answer.
    members: Option<Vec<MemberOut>>,
    /// Nothing while the broker does not answer.
    queues: Option<Vec<QueueOut>>,
    /// Breakers that are not closed; nothing while the store does not answer.
    breakers: Option<BreakersOut>,
}

/// Breakers that are not closed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BreakersOut {
    open: usize,
    half_open: usize,
    /// The endpoints they belong to, up to 100 of them.
    #[schema(value_type = Vec<String>)]
    endpoints: Vec<EndpointId>,
}

/// One process as the API shows it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MemberOut {
    id: String,
    roles: Vec<String>,
    version: String,
    host: String,
    started_at: String,
    seen_at: String,
    /// Of a dispatcher: the longest that a delivery waited beyond its due time of those it took up in the last seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    longest_wait_ms: Option<u64>,
}

impl From<Member> for MemberOut {
    fn from(member: Member) -> Self {
        let Member { id, roles, version, host, started_at, seen_at, longest_wait_ms } = member;
        Self { id, roles, version, host, started_at: started_at.to_string(), seen_at: seen_at.to_string(), longest_wait_ms }
    }
}

/// What waits in a queue, as the API shows it.
#[derive(Serialize, ToSchema)]
struct QueueOut {
    name: String,
    messages: u64,
    /// Who consumes it, where that means anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    consumers: Option<u32>,
}

impl From<QueueDepth> for QueueOut {
    fn from(QueueDepth { name, messages, consumers, .. }: QueueDepth) -> Self {
        Self { name, messages, consumers }
    }
}

/// Something set aside, as the API shows it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RejectionOut {
    #[schema(value_type = String)]
    id: RejectionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    reason: String,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    exchange: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    routing_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[schema(value_type = Vec<Vec<String>>)]
    headers: Vec<(String, String)>,
    /// How long the body is; at most 16 KiB of it are shown.
    bytes: usize,
    /// The body as text, if it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// The body in base64, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// How many were there.
#[derive(Serialize, ToSchema)]
pub struct CountOut {
    count: usize,
}

/// Shows the processes of the installation and what waits in its queues.
#[utoipa::path(
    get,
    path = "/api/v1/system",
    operation_id = "get_system",
    tag = "System",
    responses((status = 200, description = "The installation", body = SystemOut), Errors),
)]
pub async fn get(api: State, caller: Caller) -> Result<Json<SystemOut>, Problem> {
    require_admin(&caller)?;
    let system = &api.seams.system;
    let (members, queues, breakers) = futures_util::join!(system.members(), system.queues(), api.open_breakers());
    Ok(Json(SystemOut {
        version: system.version(),
        mode: system.mode(),
        members: members.inspect_err(tell).ok().map(|members| members.into_iter().map(MemberOut::from).collect()),
        queues: queues.inspect_err(tell).ok().map(|queues| queues.into_iter().filter(is_shown).map(QueueOut::from).collect()),
        breakers: breakers.inspect_err(tell).ok(),
    }))
}

/// Shows what the process that answers was configured with.
#[utoipa::path(
    get,
    path = "/api/v1/system/configuration",
    operation_id = "get_configuration",
    tag = "System",
    responses((status = 200, description = "Every key, secrets masked", body = ConfigurationOut), Errors),
)]
pub async fn configuration(api: State, caller: Caller) -> Result<Json<ConfigurationOut>, Problem> {
    require_admin(&caller)?;
    Ok(Json(ConfigurationOut { data: api.seams.system.configuration() }))
}

impl Api {
    async fn open_breakers(&self) -> Result<BreakersOut, Fault> {
        let now = self.seams.clock.now();
        let gates = self.seams.gates.changed(None, now).await?.gates;
        let of = |state| move |(_, gate): &&(GateId, Gate)| gate.breaker(now) == state;
        let ids = gates.iter().filter(|(_, gate)| gate.breaker(now) != BreakerState::Closed).map(|(id, _)| *id);
        Ok(BreakersOut {
            open: gates.iter().filter(of(BreakerState::Open)).count(),
            half_open: gates.iter().filter(of(BreakerState::HalfOpen)).count(),
            endpoints: ids.take(BREAKERS_SHOWN).map(|id| EndpointId::from_bytes(*id.as_bytes())).collect(),
        })
    }
}

/// Of the delay tiers only those in which something waits.
fn is_shown(queue: &QueueDepth) -> bool {
    queue.kind != QueueKind::Delay || queue.messages > 0
}

fn tell(fault: &Fault) {
    tracing::warn!(error = fault.chain(), "a part of the installation does not answer");
}

/// What was set aside, in the order in which it was.
#[utoipa::path(
    get,
    path = "/api/v1/rejected",
    operation_id = "list_rejected",
    tag = "System",
    params(PageQuery),
    responses((status = 200, description = "A page of what was set aside", body = PageOut<RejectionOut>), Errors),
)]
pub async fn rejected(
    api: State,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageOut<RejectionOut>>, Problem> {
    require_admin(&caller)?;
    let found = api.seams.rejections.rejections(query.read()?).await.map_err(|fault| fail(&fault))?;
    Ok(Json(PageOut::new(found, |rejection| rejection.id, show).only_onward()))
}

/// Lets what was set aside go its way again, as if published now.
#[utoipa::path(
    post,
    path = "/api/v1/rejected/retry",
    operation_id = "retry_rejected",
    tag = "System",
    request_body = IdsIn,
    responses((status = 200, description = "How many", body = CountOut), Errors),
)]
pub async fn retry(api: State, caller: Caller, body: Bytes) -> Result<Json<CountOut>, Problem> {
    require_admin(&caller)?;
    let count = api.seams.rejections.retry(&ids(&body)?).await.map_err(|fault| fail(&fault))?;
    Ok(Json(CountOut { count }))
}

/// Lets go of what was set aside, for good.
#[utoipa::path(
    post,
    path = "/api/v1/rejected/discard",
    operation_id = "discard_rejected",
    tag = "System",
    request_body = IdsIn,
    responses((status = 200, description = "How many", body = CountOut), Errors),
)]
pub async fn discard(api: State, caller: Caller, body: Bytes) -> Result<Json<CountOut>, Problem> {
    require_admin(&caller)?;
    let count = api.seams.rejections.discard(&ids(&body)?).await.map_err(|fault| fail(&fault))?;
    Ok(Json(CountOut { count }))
}

fn ids(body: &Bytes) -> Result<Vec<RejectionId>, Problem> {
    let mut fields = Fields::of_ours(object(body)?);
    let mut ids = Vec::new();
    fields.require("ids", &mut ids, list_of(IDS_MOST));
    fields.finish()?;
    Ok(ids)
}

fn show(rejection: Rejection) -> RejectionOut {
    let bytes = rejection.body.len();
    let shown = &rejection.body[..bytes.min(SHOWN_BYTES)];
    // What is cut off may end in the middle of a character.
    let text = match std::str::from_utf8(shown) {
        Ok(text) => Some(text),
        Err(error) if bytes > shown.len() && shown.len() - error.valid_up_to() < 4 => {
            std::str::from_utf8(&shown[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    RejectionOut {
        id: rejection.id,
        timestamp: rejection.at.map(|at| at.to_string()),
        reason: rejection.reason,
        detail: rejection.detail,
        exchange: rejection.exchange,
        routing_key: rejection.routing_key,
        content_type: rejection.content_type,
        headers: rejection.headers,
        bytes,
        body: text.map(str::to_owned),
        body_base64: text.is_none().then(|| BASE64.encode(shown)),
    }
}
