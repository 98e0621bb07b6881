//! How messages and endpoints met: `/msg/{message}/endpoint` and `/endpoint/{endpoint}/msg`.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, RawQuery};
use hookyard_core::journal::{AttemptFilter, AttemptsOf, Cursor, DeliveryState, Page, PageRequest, Standing};
use hookyard_core::port::EndpointRef;
use hookyard_core::{AppId, AttemptId, EndpointId, MessageId, Outcome, Timestamp};
use hookyard_wire::problem::Problem;
use hookyard_wire::reference::{EndpointPath, Errors, EventTypesQuery, MessagePath};
use hookyard_wire::shown::MessageOut;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::{Api, Caller, State, fail};
use crate::endpoint_body::EndpointOut;
use crate::page::{PageOut, PageQuery, moment};
use crate::query::{channel, event_types};

/// How a delivery stands, as the API shows it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct StandingOut {
    status: u8,
    status_text: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt: Option<String>,
}

impl StandingOut {
    fn of(state: Option<DeliveryState>) -> Self {
        let standing = standing_of(state);
        let next_attempt = match state.map(|state| state.outcome) {
            Some(Outcome::Retry { at }) => Some(at.to_string()),
            _ => None,
        };
        // The compatible API knows four standings: what was discarded has not arrived either.
        let shown = if standing == Standing::Canceled { Standing::Fail } else { standing };
        Self { status: number(standing), status_text: shown.as_str(), next_attempt }
    }
}

/// How a delivery stands of which nothing need have been written yet.
fn standing_of(state: Option<DeliveryState>) -> Standing {
    state.map_or(Standing::Sending, |state| state.standing())
}

/// The compatible API's number for it.
const fn number(standing: Standing) -> u8 {
    match standing {
        Standing::Success => 0,
        Standing::Pending => 1,
        Standing::Fail | Standing::Canceled => 2,
        Standing::Sending => 3,
    }
}

/// An endpoint and how one message stands there.
#[derive(Serialize, ToSchema)]
pub struct DestinationOut {
    #[serde(flatten)]
    endpoint: EndpointOut,
    #[serde(flatten)]
    standing: StandingOut,
}

/// The grain of moments in ids.
const A_MOMENT: Duration = Duration::from_millis(1);

/// A message and how it stands at one endpoint.
#[derive(Serialize, ToSchema)]
pub struct AttemptedOut {
    #[serde(flatten)]
    message: MessageOut,
    #[serde(flatten)]
    standing: StandingOut,
}

/// The filters; `event_types` may come several times and is read from the raw query.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FilterQuery {
    /// Only of events on this channel.
    #[param(pattern = "^[A-Za-z0-9._-]{1,128}$")]
    channel: Option<String>,
    /// 0 success, 1 pending, 2 fail, 3 sending.
    #[param(minimum = 0, maximum = 3)]
    status: Option<u8>,
    /// Accepted before this moment.
    #[param(format = DateTime)]
    before: Option<String>,
    /// Accepted after this moment.
    #[param(format = DateTime)]
    after: Option<String>,
    /// Whether payloads and responses are wanted.
    with_content: Option<bool>,
    /// Newer clients send it; there are no other standings to be told apart.
    #[serde(rename = "expanded_statuses")]
    _expanded_statuses: Option<bool>,
}

/// The endpoints a message went to, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/app/{app}/msg/{message}/endpoint",
    operation_id = "list_destinations",
    tag = "Message attempt",
    params(MessagePath, PageQuery),
    responses((status = 200, description = "A page of endpoints", body = PageOut<DestinationOut>), Errors),
)]
pub async fn of_message(
    api: State,
    caller: Caller,
    Path((app, message)): Path<(String, String)>,
    Query(page): Query<PageQuery>,
) -> Result<Json<PageOut<DestinationOut>>, Problem> {
    let app = api.app(&caller, &app).await?;
    let record = api.message(app, api.message_id(app, &message).await?).await?;
    let mut states = api.states(app, record.message.id).await?;
    // Resent to an endpoint it was never routed to: that is a destination too.
    let routed = record.routed_to.iter().flat_map(|ids| ids.iter().copied());
    let all: BTreeSet<EndpointId> = routed.chain(states.keys().copied()).collect();
    let PageRequest { from, limit } = page.read::<EndpointId>()?;
    let mut ids: Vec<EndpointId> = match from {
        None => all.into_iter().rev().collect(),
        Some(Cursor::After(id)) => all.into_iter().rev().filter(|other| *other < id).collect(),
        Some(Cursor::Before(id)) => all.into_iter().filter(|other| *other > id).collect(),
    };
    let (done, back) = (ids.len() <= limit, matches!(from, Some(Cursor::Before(_))));
    ids.truncate(limit);
    let reached = ids.last().map(|id| *id.as_bytes()).filter(|_| !done);
    if back {
        ids.reverse();
    }
    let breakers = api.breakers(ids.iter().copied()).await;
    let mut items = Vec::with_capacity(ids.len());
    for id in ids {
        let endpoint = api.seams.directory.endpoint(app, &EndpointRef::Id(id)).await.map_err(|fault| fail(&fault))?;
        // A deleted endpoint cannot be shown any more; its attempts are still in the log.
        items.extend(endpoint.map(|endpoint| (id, breakers.show(endpoint), StandingOut::of(states.remove(&id)))));
    }
    let show = |(_, endpoint, standing)| DestinationOut { endpoint, standing };
    Ok(Json(PageOut::filtered(Page { items, done, reached }, |(id, ..)| *id, EndpointId::from_bytes, back, show)))
}

/// The messages an endpoint was tried with, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/app/{app}/endpoint/{endpoint}/msg",
    operation_id = "list_attempted_messages",
    tag = "Message attempt",
    params(EndpointPath, PageQuery, FilterQuery, EventTypesQuery),
    responses((status = 200, description = "A page of messages", body = PageOut<AttemptedOut>), Errors),
)]
pub async fn of_endpoint(
    api: State,
    caller: Caller,
    Path((app, endpoint)): Path<(String, String)>,
    Query(page): Query<PageQuery>,
    Query(query): Query<FilterQuery>,
    RawQuery(raw): RawQuery,
) -> Result<Json<PageOut<AttemptedOut>>, Problem> {
    let app = api.app(&caller, &app).await?;
    let endpoint = api.endpoint(app, &endpoint).await?.id;
    if query.status.is_some_and(|status| status > 3) {
        return Err(Problem::invalid_query("status", "must be 0 (success), 1 (pending), 2 (fail) or 3 (sending)"));
    }
    let request = page.read::<MessageId>()?;
    let back = matches!(request.from, Some(Cursor::Before(_)));
    let mut filter = AttemptFilter {
        channel: channel(query.channel.as_deref())?,
        event_types: event_types(raw.as_deref())?,
        before: moment("before", query.before.as_deref())?,
        after: moment("after", query.after.as_deref())?,
        ..AttemptFilter::default()
    };
    if request.from.is_some() {
        (filter.before, filter.after) = (None, None);
    }
    // A message is there once it was tried once: its first attempt stands at the message's own moment, so the list of attempts is in
    // the order of messages.
    filter.first_only = true;
    let first = |message: MessageId| AttemptId::derive(message.time(), message, endpoint, 0, 1);
    let request = PageRequest { from: request.from.map(|cursor| cursor.map(first)), limit: request.limit };
    let of = AttemptsOf::Endpoint(endpoint);
    let found = api.seams.log.attempts(app, of, &filter, request).await.map_err(|fault| fail(&fault))?;
    let mut items = Vec::with_capacity(found.items.len());
    let farthest = if back { found.items.first() } else { found.items.last() };
    // The list of attempts says how far it was looked at by an attempt: no message lies between its moment and the next.
    let beside = |moment: Timestamp| if back { moment.minus(A_MOMENT) } else { moment.plus(A_MOMENT) };
    let reached = match found.reached {
        Some(attempt) => Some(MessageId::at(beside(AttemptId::from_bytes(attempt).time()))),
        None => farthest.map(|record| record.delivery.message),
    };
    for record in &found.items {
        let id = record.delivery.message;
        let state = api.states(app, id).await?.remove(&endpoint);
        if query.status.is_some_and(|status| status != number(standing_of(state))) {
            continue;
        }
        if let Some(record) = api.seams.log.message(app, id).await.map_err(|fault| fail(&fault))? {
            items.push((id, MessageOut::new(&record.message, query.with_content.unwrap_or(true)), StandingOut::of(state)));
        }
    }
    let page = Page { items, done: found.done, reached: reached.map(|id| *id.as_bytes()).filter(|_| !found.done) };
    let show = |(_, message, standing)| AttemptedOut { message, standing };
    Ok(Json(PageOut::filtered(page, |(id, ..)| *id, MessageId::from_bytes, back, show)))
}

impl Api {
    /// How a message's deliveries stand.
    pub(crate) async fn states(&self, app: AppId, message: MessageId) -> Result<HashMap<EndpointId, DeliveryState>, Problem> {
        let states = self.seams.log.states(app, message).await.map_err(|fault| fail(&fault))?;
        Ok(states.into_iter().collect())
    }
}
