//! Counts: how the deliveries to an endpoint stand, and what happened in an application over time.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query};
use hookyard_core::journal::Standing;
use hookyard_core::stats::{Count, LATENCY_BOUNDS_MS, Tally, minute_of};
use hookyard_core::{AppId, AttemptClass, EventType, Timestamp};
use hookyard_wire::problem::Problem;
use hookyard_wire::reference::{EndpointPath, Errors};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::{Caller, State, fail};
use crate::page::moment;

/// How far back unless asked otherwise.
const RANGE: Duration = Duration::from_secs(24 * 3600);
/// Lengths a bucket may have, in seconds: a minute is the grain of the counts.
const BUCKETS_S: [i64; 7] = [60, 300, 900, 3_600, 21_600, 43_200, 86_400];
/// Buckets in an answer unless asked for a length, and at most: what a chart shows, and what an answer holds.
const BUCKETS: i64 = 300;
const BUCKETS_MOST: i64 = 2_000;
/// The grain of an endpoint's counts.
const HOUR_S: i64 = 3_600;

/// How many deliveries stand how.
#[derive(Default, Serialize, ToSchema)]
pub struct StandingsOut {
    success: u64,
    pending: u64,
    fail: u64,
    sending: u64,
    canceled: u64,
}

/// Of messages accepted when; whole hours, both ends included.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RangeQuery {
    /// From this moment on; a day ago unless given.
    #[param(format = DateTime)]
    since: Option<String>,
    /// Until this moment; now unless given.
    #[param(format = DateTime)]
    until: Option<String>,
}

/// What to count.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StatsQuery {
    /// Id or uid of an application.
    #[param(required = true)]
    app: Option<String>,
    /// From this moment on; a day ago unless given.
    #[param(format = DateTime)]
    since: Option<String>,
    /// Until this moment; now unless given.
    #[param(format = DateTime)]
    until: Option<String>,
    /// Seconds in a bucket; as short as a chart allows unless given.
    #[param(pattern = "^(60|300|900|3600|21600|43200|86400)$")]
    bucket: Option<String>,
}

/// What happened over time.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatsOut {
    since: String,
    until: String,
    /// Length of a bucket in seconds.
    bucket: i64,
    /// Every bucket, oldest first, also those in which nothing happened.
    data: Vec<BucketOut>,
    total: TallyOut,
    /// How long attempts took, over the whole range.
    latency: Vec<LatencyOut>,
}

#[derive(Serialize, ToSchema)]
struct BucketOut {
    start: String,
    #[serde(flatten)]
    tally: TallyOut,
}

/// Counts of some while.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TallyOut {
    events: u64,
    dead_letters: u64,
    /// By outcome; one that did not occur is left out.
    attempts: BTreeMap<&'static str, u64>,
    p50_ms: Option<u64>,
    p95_ms: Option<u64>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LatencyOut {
    /// The longest that counts here; nothing for what took longer than all.
    up_to_ms: Option<u64>,
    count: u64,
}

/// Of which application, when; whole hours, both ends included.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct VolumesQuery {
    /// Id or uid of an application.
    #[param(required = true)]
    app: Option<String>,
    /// From this moment on; a day ago unless given.
    #[param(format = DateTime)]
    since: Option<String>,
    /// Until this moment; now unless given.
    #[param(format = DateTime)]
    until: Option<String>,
}

/// Events by type.
#[derive(Serialize, ToSchema)]
pub struct VolumesOut {
    data: Vec<VolumeOut>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct VolumeOut {
    event_type: String,
    events: u64,
}

/// An endpoint's deliveries over time.
#[derive(Serialize, ToSchema)]
pub struct HoursOut {
    data: Vec<HourOut>,
}

#[derive(Serialize, ToSchema)]
struct HourOut {
    start: String,
    #[serde(flatten)]
    standings: StandingsOut,
}

/// Counts how the deliveries to an endpoint stand, by the hour in which their messages were accepted.
#[utoipa::path(
    get,
    path = "/api/v1/app/{app}/endpoint/{endpoint}/stats",
    operation_id = "get_endpoint_stats",
    tag = "Statistics",
    params(EndpointPath, RangeQuery),
    responses((status = 200, description = "Deliveries by how they stand", body = StandingsOut), Errors),
)]
pub async fn of_endpoint(
    api: State,
    caller: Caller,
    Path((app, endpoint)): Path<(String, String)>,
    Query(query): Query<RangeQuery>,
) -> Result<Json<StandingsOut>, Problem> {
    let app = api.app(&caller, &app).await?;
    let endpoint = api.endpoint(app, &endpoint).await?.id;
    let (since, until) = range(query.since.as_deref(), query.until.as_deref(), api.seams.clock.now())?;
    let counts = api.seams.log.standings(app, endpoint, since, until).await.map_err(|fault| fail(&fault))?;
    let mut out = StandingsOut::default();
    for ((_, standing), count) in counts {
        out.add(standing, count);
    }
    Ok(Json(out))
}

/// The same hour by hour.
#[utoipa::path(
    get,
    path = "/api/v1/app/{app}/endpoint/{endpoint}/stats/hourly",
    operation_id = "get_endpoint_stats_by_hour",
    tag = "Statistics",
    params(EndpointPath, RangeQuery),
    responses((status = 200, description = "Deliveries by hour", body = HoursOut), Errors),
)]
pub async fn of_endpoint_by_hour(
    api: State,
    caller: Caller,
    Path((app, endpoint)): Path<(String, String)>,
    Query(query): Query<RangeQuery>,
) -> Result<Json<HoursOut>, Problem> {
    let app = api.app(&caller, &app).await?;
    let endpoint = api.endpoint(app, &endpoint).await?.id;
    let (since, until) = range(query.since.as_deref(), query.until.as_deref(), api.seams.clock.now())?;
    let hours = since.as_seconds().div_euclid(HOUR_S)..=until.as_seconds().div_euclid(HOUR_S);
    if hours.end() - hours.start() >= BUCKETS_MOST {
        return Err(Problem::invalid_query("since", format!("at most {BUCKETS_MOST} hours")));
    }
    let mut by_hour: BTreeMap<i64, StandingsOut> = hours.map(|hour| (hour, StandingsOut::default())).collect();
    for ((hour, standing), count) in api.seams.log.standings(app, endpoint, since, until).await.map_err(|fault| fail(&fault))? {
        by_hour.entry(hour).or_default().add(standing, count);
    }
    let show = |(hour, standings)| HourOut { start: shown(hour * HOUR_S), standings };
    Ok(Json(HoursOut { data: by_hour.into_iter().map(show).collect() }))
}

/// Counts what happened in an application over time, for charts.
#[utoipa::path(
    get,
    path = "/api/v1/stats",
    operation_id = "get_stats",
    tag = "Statistics",
    params(StatsQuery),
    responses((status = 200, description = "What happened over time", body = StatsOut), Errors),
)]
pub async fn of_app(api: State, caller: Caller, Query(query): Query<StatsQuery>) -> Result<Json<StatsOut>, Problem> {
    let app = app_of(&api, &caller, query.app.as_deref()).await?;
    let (since, until) = range(query.since.as_deref(), query.until.as_deref(), api.seams.clock.now())?;
    let bucket = bucket(query.bucket.as_deref(), since, until)?;
    let counts = api.seams.log.counts(app, since, until).await.map_err(|fault| fail(&fault))?;
    Ok(Json(StatsOut::new(&counts, since, until, bucket)))
}

/// Counts the events of an application by their type, in whole hours.
#[utoipa::path(
    get,
    path = "/api/v1/stats/event-type",
    operation_id = "get_event_type_stats",
    tag = "Statistics",
    params(VolumesQuery),
    responses((status = 200, description = "Events by type, most first", body = VolumesOut), Errors),
)]
pub async fn of_event_types(api: State, caller: Caller, Query(query): Query<VolumesQuery>) -> Result<Json<VolumesOut>, Problem> {
    let app = app_of(&api, &caller, query.app.as_deref()).await?;
    let (since, until) = range(query.since.as_deref(), query.until.as_deref(), api.seams.clock.now())?;
    let mut by_type: BTreeMap<EventType, u64> = BTreeMap::new();
    for ((_, event_type), events) in api.seams.log.volumes(app, since, until).await.map_err(|fault| fail(&fault))? {
        *by_type.entry(event_type).or_default() += events;
    }
    let mut data: Vec<VolumeOut> =
        by_type.into_iter().map(|(event_type, events)| VolumeOut { event_type: event_type.to_string(), events }).collect();
    data.sort_by_key(|volume| std::cmp::Reverse(volume.events));
    Ok(Json(VolumesOut { data }))
}

impl StandingsOut {
    fn add(&mut self, standing: Standing, count: u64) {
        let place = match standing {
            Standing::Success => &mut self.success,
            Standing::Pending => &mut self.pending,
            Standing::Fail => &mut self.fail,
            Standing::Sending => &mut self.sending,
            Standing::Canceled => &mut self.canceled,
        };
        *place += count;
    }
}

impl StatsOut {
    fn new(counts: &[Count], since: Timestamp, until: Timestamp, bucket: i64) -> Self {
        let of = |seconds: i64| seconds.div_euclid(bucket);
        let buckets = of(minute_of(since) * 60)..=of(minute_of(until) * 60);
        let (mut tallies, mut total): (BTreeMap<i64, Tally>, Tally) =
            (buckets.map(|b| (b, Tally::default())).collect(), Tally::default());
        for Count { minute, counted, times } in counts {
            tallies.entry(of(minute * 60)).or_default().add(*counted, *times);
            total.add(*counted, *times);
        }
        let bounds = LATENCY_BOUNDS_MS.iter().copied().map(Some).chain([None]);
        Self {
            since: since.to_string(),
            until: until.to_string(),
            bucket,
            data: tallies.iter().map(|(b, tally)| BucketOut { start: shown(b * bucket), tally: TallyOut::of(tally) }).collect(),
            latency: bounds.zip(total.latencies).map(|(up_to_ms, count)| LatencyOut { up_to_ms, count }).collect(),
            total: TallyOut::of(&total),
        }
    }
}

impl TallyOut {
    fn of(tally: &Tally) -> Self {
        let shown = |(class, count): (&AttemptClass, &u64)| (class.as_str(), *count);
        Self {
            events: tally.events,
            dead_letters: tally.dead_letters,
            attempts: tally.attempts.iter().map(shown).collect(),
            p50_ms: tally.percentile(50),
            p95_ms: tally.percentile(95),
        }
    }
}

/// The application asked about, which must be named.
async fn app_of(api: &State, caller: &Caller, named: Option<&str>) -> Result<AppId, Problem> {
    let named = named.ok_or_else(|| Problem::invalid_query("app", "field required"))?;
    api.app(caller, named).await
}

/// The moments asked about: a day until now unless said otherwise.
fn range(since: Option<&str>, until: Option<&str>, now: Timestamp) -> Result<(Timestamp, Timestamp), Problem> {
    let until = moment("until", until)?.unwrap_or(now);
    let since = moment("since", since)?.unwrap_or_else(|| until.minus(RANGE));
    if since > until {
        return Err(Problem::invalid_query("since", "must not be after until"));
    }
    Ok((since, until))
}

/// The length of a bucket in seconds: the shortest that makes a chart, unless asked for.
fn bucket(text: Option<&str>, since: Timestamp, until: Timestamp) -> Result<i64, Problem> {
    let seconds = until.as_seconds().saturating_sub(since.as_seconds());
    let Some(text) = text else {
        let fits = |length: &i64| seconds / length < BUCKETS;
        let longest = BUCKETS_S[BUCKETS_S.len() - 1];
        let found = BUCKETS_S.into_iter().find(fits).or((seconds / longest < BUCKETS_MOST).then_some(longest));
        return found.ok_or_else(|| Problem::invalid_query("since", "is too long ago"));
    };
    let known = text.parse().ok().filter(|length| BUCKETS_S.contains(length));
    let length = known.ok_or_else(|| {
        let lengths: Vec<String> = BUCKETS_S.iter().map(ToString::to_string).collect();
        Problem::invalid_query("bucket", format!("must be a number of seconds: {}", lengths.join(", ")))
    })?;
    if seconds / length >= BUCKETS_MOST {
        return Err(Problem::invalid_query("bucket", format!("too short: at most {BUCKETS_MOST} buckets")));
    }
    Ok(length)
}

fn shown(seconds: i64) -> String {
    Timestamp::from_millis(seconds.saturating_mul(1_000)).to_string()
}

#[cfg(test)]
mod tests {
    use hookyard_core::stats::Counted;

    use super::*;

    #[test]
    fn every_bucket_is_there_and_the_counts_add_up() {
        let (since, until) = (Timestamp::from_millis(0), Timestamp::from_millis(3_599_999));
        let attempt = |minute, times| Count { minute, counted: Counted::Attempt(AttemptClass::Success, 3), times };
        let counts = [Count { minute: 0, counted: Counted::Event, times: 2 }, attempt(4, 1), attempt(5, 3)];
        let stats = StatsOut::new(&counts, since, until, 300);
        assert_eq!(stats.data.len(), 12);
        assert_eq!((stats.data[0].tally.events, stats.data[0].tally.attempts["success"]), (2, 1));
        assert_eq!(stats.data[1].tally.attempts["success"], 3);
        assert_eq!((stats.total.attempts["success"], stats.latency[3].count), (4, 4));
        assert_eq!((stats.data[2].tally.p50_ms, stats.latency.len()), (None, 14));
    }

    #[test]
    fn a_bucket_is_as_short_as_a_chart_allows() {
        let at = Timestamp::from_millis;
        let chosen = |hours: i64| bucket(None, at(0), at(hours * 3_600_000)).ok();
        assert_eq!((chosen(1), chosen(24), chosen(24 * 7)), (Some(60), Some(300), Some(3_600)));
        assert!(bucket(Some("61"), at(0), at(1)).is_err() && bucket(Some("60"), at(0), at(10_000_000_000)).is_err());
    }
}
