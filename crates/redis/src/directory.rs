//! The directory's port on Redis: the router's batch read, the dispatcher's look-up, and the administrators' changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use hookyard_core::journal::{Page, PageRequest};
use hookyard_core::port::{
    Directory, EndpointRef, Expect, Looked, Marker, MarkerClaim, MarkerState, Remembered, Resolved, Validated, Written,
};
use hookyard_core::{AppId, AppRef, Application, Endpoint, EndpointId, EventId, Fault, MessageId, Timestamp, limits};
use hookyard_telemetry::label::StoreOp;
use hookyard_wire::stored::{StoredEndpoint, read_endpoint};

use crate::client::RedisStore;
use crate::keys;
use crate::meta::Sentinel;
use crate::subscriptions::Found;

#[async_trait]
impl Directory for RedisStore {
    async fn validate(&self, apps: &[Remembered], markers: &[MarkerClaim]) -> Result<Validated, Fault> {
        const OPERATION: &str = "validate a batch";
        let mut pipeline = redis::pipe();
        Self::read_sentinel(&mut pipeline);
        for app in apps {
            pipeline.hmget(keys::directory(app.app), &["v", "d"]);
        }
        let split_servers = !markers.is_empty() && !self.shares_server();
        if !split_servers {
            add_marker_claims(&mut pipeline, markers);
        }
        let answers: Vec<redis::Value> = self.directory.query(StoreOp::Validate, OPERATION, &pipeline).await?;
        let mut answers = answers.into_iter();
        let sentinel: Sentinel = next(&mut answers, OPERATION)?;
        let (epoch, counters) = self.check_sentinel(OPERATION, &sentinel)?;
        let mut validated = Validated { counters, ..Validated::default() };
        for app in apps {
            let (version, deleted): (Option<String>, Option<String>) = next(&mut answers, OPERATION)?;
            let found = match (version, deleted) {
                (_, Some(_)) => Found::Deleted,
                (Some(version), None) => Found::Version(version),
                (None, None) => Found::Nothing,
            };
            validated.apps.push(self.freshness(app, found, epoch).await?);
        }
        if split_servers {
            let mut pipeline = redis::pipe();
            add_marker_claims(&mut pipeline, markers);
            let found: Vec<redis::Value> = self.journal.query(StoreOp::Validate, OPERATION, &pipeline).await?;
            answers = found.into_iter();
        }
        for _ in markers {
            let found: Option<Vec<u8>> = next(&mut answers, OPERATION)?;
            validated.markers.push(found.as_deref().and_then(read_marker));
        }
        Ok(validated)
    }

    async fn mark(&self, markers: &[MarkerClaim], state: MarkerState) -> Result<(), Fault> {
        if markers.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        for claim in markers {
            let key = keys::marker(claim.app, &claim.event_id);
            let bytes = write_marker(&Marker { state, ..claim.proposed });
            if state == MarkerState::Routed {
                // The highest state: nothing to compare.
                pipeline.set_ex(key, &bytes[..], limits::MARKER_TTL.as_secs()).ignore();
            } else {
                let mut invocation = self.journal.scripts.mark.prepare_invoke();
                invocation.key(key).arg(&bytes[..]).arg(limits::MARKER_TTL.as_secs());
                pipeline.invoke_script(&invocation).ignore();
            }
        }
        self.journal.query(StoreOp::Mark, "mark events", &pipeline).await
    }

    async fn marker(&self, app: AppId, event: &EventId) -> Result<Option<Marker>, Fault> {
        const OPERATION: &str = "read a marker";
        let mut pipeline = redis::pipe();
        pipeline.get(keys::marker(app, event));
        let (found,): (Option<Vec<u8>>,) = self.journal.query(StoreOp::Validate, OPERATION, &pipeline).await?;
        Ok(found.as_deref().and_then(read_marker))
    }

    fn standing(&self) -> Result<(), Fault> {
        self.dataset_id("use what was read").map(drop)
    }

    async fn look_up(&self, endpoints: &[(AppId, EndpointId)]) -> Result<Vec<Looked>, Fault> {
        const OPERATION: &str = "look endpoints up";
        let mut by_app: BTreeMap<AppId, Vec<usize>> = BTreeMap::new();
        for (index, (app, _)) in endpoints.iter().enumerate() {
            by_app.entry(*app).or_default().push(index);
        }
        let mut pipeline = redis::pipe();
        Self::read_sentinel(&mut pipeline);
        for (app, indexes) in &by_app {
            let mut fields = vec!["app".to_owned(), "d".to_owned()];
            fields.extend(indexes.iter().map(|index| keys::endpoint_field(endpoints[*index].1)));
            pipeline.hmget(keys::directory(*app), fields);
        }
        let answers: Vec<redis::Value> = self.directory.query(StoreOp::LookUp, OPERATION, &pipeline).await?;
        let mut answers = answers.into_iter();
        let sentinel: Sentinel = next(&mut answers, OPERATION)?;
        self.check_sentinel(OPERATION, &sentinel)?;
        let mut found = vec![Looked::Absent; endpoints.len()];
        for indexes in by_app.values() {
            let records: Vec<Option<Vec<u8>>> = next(&mut answers, OPERATION)?;
            let (head, records) = records.split_at(2);
            let app_deleted = head[1].is_some();
            let (app_disabled, app_rate) = match &head[0] {
                Some(app) => read_app(app).map(|app| (app.disabled, app.throttle_rate))?,
                None => (false, None),
            };
            for (index, record) in indexes.iter().zip(records) {
                found[*index] = match record {
                    _ if app_deleted => Looked::Deleted,
                    None => Looked::Absent,
                    Some(record) => match self.read_endpoint(record) {
                        Ok(StoredEndpoint::Deleted(_)) => Looked::Deleted,
                        Ok(StoredEndpoint::Present(endpoint)) => {
                            Looked::Found { endpoint: Arc::from(endpoint), app_disabled, app_rate }
                        }
                        // One that cannot be read stops its own deliveries alone.
                        Err(fault) => {
                            tracing::error!(endpoint = %endpoints[*index].1, error = fault.chain(), "an endpoint cannot be read");
                            Looked::Absent
                        }
                    },
                };
            }
        }
        Ok(found)
    }

    async fn resolve(&self, apps: &[AppRef]) -> Result<Resolved, Fault> {
        const OPERATION: &str = "resolve applications";
        let mut pipeline = redis::pipe();
        Self::read_sentinel(&mut pipeline);
        for app in apps {
            match app {
                AppRef::Id(id) => pipeline.hexists(keys::directory(*id), "app"),
                AppRef::Uid(uid) => pipeline.hget(keys::UIDS, uid.as_str()),
            };
        }
        let answers: Vec<redis::Value> = self.directory.query(StoreOp::Read, OPERATION, &pipeline).await?;
        let mut answers = answers.into_iter();
        let sentinel: Sentinel = next(&mut answers, OPERATION)?;
        let (_, counters) = self.check_sentinel(OPERATION, &sentinel)?;
        let mut resolved = Resolved { apps: Vec::with_capacity(apps.len()), counters };
        for app in apps {
            resolved.apps.push(match app {
                AppRef::Id(id) => next::<bool>(&mut answers, OPERATION)?.then_some(*id),
                AppRef::Uid(_) => next::<Option<String>>(&mut answers, OPERATION)?.and_then(|text| text.parse().ok()),
            });
        }
        Ok(resolved)
    }

    async fn app(&self, app: AppId) -> Result<Option<Application>, Fault> {
        self.read_app(app).await
    }

    async fn apps(&self, page: PageRequest<AppId>) -> Result<Page<Application>, Fault> {
        self.list_apps(page).await
    }

    async fn put_app(&self, app: &Application, expect: Expect) -> Result<Written, Fault> {
        self.write_app(app, expect).await
    }

    async fn delete_app(&self, app: AppId, now: Timestamp) -> Result<bool, Fault> {
        self.remove_app(app, now).await
    }

    async fn endpoint(&self, app: AppId, endpoint: &EndpointRef) -> Result<Option<Endpoint>, Fault> {
        self.find_endpoint(app, endpoint).await
    }

    async fn endpoints(&self, app: AppId, page: PageRequest<EndpointId>) -> Result<Page<Endpoint>, Fault> {
        self.list_endpoints(app, page).await
    }

    async fn put_endpoint(&self, endpoint: &Endpoint, expect: Expect) -> Result<Written, Fault> {
        self.write_endpoint(endpoint, expect).await
    }

    async fn delete_endpoint(&self, app: AppId, endpoint: EndpointId, now: Timestamp) -> Result<bool, Fault> {
        self.remove_endpoint(app, endpoint, now).await
    }
}

impl RedisStore {
    /// Whether directory and journal are one server, so that one pipeline can ask both.
    fn shares_server(&self) -> bool {
        self.directory.is_same(&self.journal)
    }

    pub(crate) fn read_endpoint(&self, record: &[u8]) -> Result<StoredEndpoint, Fault> {
        read_endpoint(record, &self.keys).map_err(|error| Fault::corrupt("read an endpoint", error))
    }
}

pub(crate) fn read_app(record: &[u8]) -> Result<Application, Fault> {
    serde_json::from_slice(record).map_err(|error| Fault::corrupt("read an application", error))
}

/// The next answer of a pipeline.
pub(crate) fn next<T: redis::FromRedisValue>(
    answers: &mut impl Iterator<Item = redis::Value>,
    operation: &'static str,
) -> Result<T, Fault> {
    let value = answers.next().unwrap_or(redis::Value::Nil);
    T::from_redis_value(value).map_err(|error| Fault::corrupt(operation, error))
}

fn add_marker_claims(pipeline: &mut redis::Pipeline, markers: &[MarkerClaim]) {
    for claim in markers {
        let command = pipeline.cmd("SET").arg(keys::marker(claim.app, &claim.event_id));
        command.arg(&write_marker(&claim.proposed)[..]).arg("NX").arg("GET").arg("EX").arg(limits::MARKER_TTL.as_secs());
    }
}

const MARKER_BYTES: usize = 37;

fn write_marker(marker: &Marker) -> [u8; MARKER_BYTES] {
    let mut bytes = [0; MARKER_BYTES];
    bytes[0] = match marker.state {
        MarkerState::Claimed => 1,
        MarkerState::Accepted => 2,
        MarkerState::Routed => 3,
    };
    bytes[1..17].copy_from_slice(&marker.content);
    bytes[17..].copy_from_slice(marker.message.as_bytes());
    bytes
}

/// A marker that cannot be read is none: markers may be lost, at the price of a duplicate.
fn read_marker(bytes: &[u8]) -> Option<Marker> {
    let bytes: &[u8; MARKER_BYTES] = bytes.try_into().ok()?;
    let state = match bytes[0] {
        1 => MarkerState::Claimed,
        2 => MarkerState::Accepted,
        3 => MarkerState::Routed,
        _ => return None,
    };
    Some(Marker { message: MessageId::from_slice(&bytes[17..])?, content: bytes[1..17].try_into().ok()?, state })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_round_trip_and_garbage_is_none() {
        for state in [MarkerState::Claimed, MarkerState::Accepted, MarkerState::Routed] {
            let marker = Marker { message: MessageId::from_bytes([7; 20]), content: [9; 16], state };
            assert_eq!(read_marker(&write_marker(&marker)), Some(marker));
        }
        assert_eq!(read_marker(b"short"), None);
        assert_eq!(read_marker(&[0; MARKER_BYTES]), None);
    }
}
