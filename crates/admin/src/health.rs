//! How an endpoint does: what share of its last attempts failed, what share got no answer, and what its breaker does about that.

use std::time::Duration;

use axum::Json;
use axum::extract::Path;
use hookyard_core::admission::News;
use hookyard_core::journal::{AttemptFilter, AttemptsOf, PageRequest};
use hookyard_core::{AttemptResult, BreakerState, Gate, GateId, Timestamp};
use hookyard_wire::problem::Problem;
use hookyard_wire::reference::{EndpointPath, Errors};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::{Caller, State, fail};

/// Attempts that shares are of, at most: what a person would look through.
const LAST: usize = 100;
/// What was due longer ago does not count.
const WITHIN: Duration = Duration::from_secs(3600);

/// How an endpoint does.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthOut {
    /// Attempts the percentages are of: the last ones that were due within an hour, at most 100.
    attempts: usize,
    /// The share of them that failed, in hundredths. A receiver that fails is tried as its schedule says.
    failure_percent: usize,
    /// The share of them that got no answer at all, in hundredths. One that is silent is left alone.
    silence_percent: usize,
    /// `closed`, `open`, or `half_open` while a probe finds out.
    breaker: &'static str,
    /// Why it is not closed: `silence`. Absent while it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// Since when it is not closed. Absent while it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// When the endpoint is tried next, if not now: the end of the breaker's pause, or the moment until which its receiver asked to be
    /// left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<String>,
}

impl HealthOut {
    fn of<'a>(results: impl Iterator<Item = &'a AttemptResult>, gate: &Gate, now: Timestamp) -> Self {
        let news: Vec<News> = results.map(News::of).filter(|news| *news != News::Nothing).collect();
        let percent = |wanted: fn(&News) -> bool| {
            let (count, all) = (news.iter().filter(|news| wanted(news)).count(), news.len().max(1));
            (count * 100 + all / 2) / all
        };
        let breaker = gate.breaker(now);
        Self {
            attempts: news.len(),
            failure_percent: percent(|news| *news != News::Success),
            silence_percent: percent(|news| *news == News::Silence),
            breaker: breaker.as_str(),
            reason: (breaker != BreakerState::Closed).then_some("silence"),
            since: gate.open_since(now).map(|since| since.to_string()),
            next_attempt_at: gate.shut_until(now).map(|until| until.to_string()),
        }
    }
}

/// Says how an endpoint does.
#[utoipa::path(
    get,
    path = "/api/v1/app/{app}/endpoint/{endpoint}/health",
    operation_id = "get_endpoint_health",
    tag = "Endpoint",
    params(EndpointPath),
    responses((status = 200, description = "How the endpoint does", body = HealthOut), Errors),
)]
pub async fn of_endpoint(
    api: State,
    caller: Caller,
    Path((app, endpoint)): Path<(String, String)>,
) -> Result<Json<HealthOut>, Problem> {
    let app = api.app(&caller, &app).await?;
    let endpoint = api.endpoint(app, &endpoint).await?.id;
    let now = api.seams.clock.now();
    let filter = AttemptFilter { after: Some(now.minus(WITHIN)), ..AttemptFilter::default() };
    let page = PageRequest { from: None, limit: LAST };
    let last = api.seams.log.attempts(app, AttemptsOf::Endpoint(endpoint), &filter, page).await.map_err(|fault| fail(&fault))?;
    let gates = api.seams.gates.gates(&[GateId::from(endpoint)]).await.map_err(|fault| fail(&fault))?;
    let gate = gates.first().copied().unwrap_or_default();
    Ok(Json(HealthOut::of(last.items.iter().map(|attempt| &attempt.result), &gate, now)))
}

#[cfg(test)]
mod tests {
    use hookyard_core::AttemptClass;
    use hookyard_core::admission::{BreakerRule, OPEN_FOR, Step};

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn result(status: Option<u16>, class: AttemptClass) -> AttemptResult {
        AttemptResult { status, ..AttemptResult::without_response(class, NOW, Duration::from_millis(5)) }
    }

    #[test]
    fn failures_are_told_from_silence_and_what_was_not_sent_counts_as_neither() {
        let results = [
            result(Some(200), AttemptClass::Success),
            result(Some(500), AttemptClass::Http5xx),
            result(None, AttemptClass::Timeout),
            result(None, AttemptClass::Connect),
            result(None, AttemptClass::Blocked),
        ];
        let health = HealthOut::of(results.iter(), &Gate::default(), NOW);
        assert_eq!((health.attempts, health.failure_percent, health.silence_percent), (4, 75, 50));
        assert_eq!((health.breaker, health.reason, health.since, health.next_attempt_at), ("closed", None, None, None));
    }

    #[test]
    fn an_open_breaker_says_why_since_when_and_until_when() {
        let (news, rule) = (News::Silence, BreakerRule::default());
        let silent = Step::Observe { news, is_probe: false, slow: false, hold_until: None, rule };
        let gate = (0..20)
            .fold(Gate::default(), |gate, second| gate.steps(&[silent], NOW.minus(Duration::from_secs(19 - second))).after);
        let health = HealthOut::of(std::iter::empty(), &gate, NOW);
        assert_eq!((health.breaker, health.reason), ("open", Some("silence")));
        assert_eq!((health.since, health.next_attempt_at), (Some(NOW.to_string()), Some(NOW.plus(OPEN_FOR[0]).to_string())));
    }
}
