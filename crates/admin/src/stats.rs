//! `/api/v1/app/{app}/endpoint/{endpoint}/stats`: how its deliveries stand.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query};
use hookyard_core::journal::Standing;
use hookyard_wire::problem::Problem;
use serde::{Deserialize, Serialize};

use crate::api::{Caller, State, fail};
use crate::page::moment;

/// How far back unless asked otherwise.
const RANGE: Duration = Duration::from_secs(24 * 3600);

/// How many deliveries stand how.
#[derive(Serialize)]
pub struct StandingsOut {
    success: u64,
    pending: u64,
    fail: u64,
    sending: u64,
    canceled: u64,
}

/// Of messages accepted when; whole hours, both ends included.
#[derive(Deserialize)]
pub struct RangeQuery {
    since: Option<String>,
    until: Option<String>,
}

pub async fn of_endpoint(
    api: State,
    caller: Caller,
    Path((app, endpoint)): Path<(String, String)>,
    Query(query): Query<RangeQuery>,
) -> Result<Json<StandingsOut>, Problem> {
    let app = api.app(&caller, &app).await?;
    let endpoint = api.endpoint(app, &endpoint).await?.id;
    let until = moment("until", query.until.as_deref())?.unwrap_or_else(|| api.seams.clock.now());
    let since = moment("since", query.since.as_deref())?.unwrap_or_else(|| until.minus(RANGE));
    if since > until {
        return Err(Problem::invalid_query("since", "must not be after until"));
    }
    let counts = api.seams.log.standings(app, endpoint, since, until).await.map_err(|fault| fail(&fault))?;
    let count = |standing| counts.get(&standing).copied().unwrap_or(0);
    Ok(Json(StandingsOut {
        success: count(Standing::Success),
        pending: count(Standing::Pending),
        fail: count(Standing::Fail),
        sending: count(Standing::Sending),
        canceled: count(Standing::Canceled),
    }))
}
