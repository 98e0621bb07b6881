//! Endpoints in the store.

use hookyard_core::journal::{Page, PageRequest};
use hookyard_core::port::{EndpointRef, Expect, Written};
use hookyard_core::{AppId, Endpoint, EndpointId, Fault, FaultKind, Timestamp, limits};
use hookyard_telemetry::label::StoreOp;
use hookyard_wire::stored::{StoredEndpoint, write_endpoint, write_tombstone};

use crate::apps::{removed, revision, written};
use crate::client::RedisStore;
use crate::directory::next;
use crate::keys;
use crate::lists;
use crate::meta::Sentinel;
use crate::subscriptions::endpoint_in;

/// Changes remembered per application: a router that was away for fewer reads only those.
pub(crate) const CHANGES_KEPT: usize = 2_000;

impl RedisStore {
    pub(crate) async fn find_endpoint(&self, app: AppId, endpoint: &EndpointRef) -> Result<Option<Endpoint>, Fault> {
        const OPERATION: &str = "read an endpoint";
        let id = match endpoint {
            EndpointRef::Id(id) => Some(*id),
            EndpointRef::Uid(uid) => {
                let mut pipeline = redis::pipe();
                pipeline.hget(keys::directory(app), format!("u:{uid}"));
                let (id,): (Option<String>,) = self.directory.query(StoreOp::Read, OPERATION, &pipeline).await?;
                id.as_deref().and_then(endpoint_in)
            }
        };
        let ids: Vec<EndpointId> = id.into_iter().collect();
        Ok(self.read_endpoints(OPERATION, app, &ids).await?.pop())
    }

    pub(crate) async fn list_endpoints(&self, app: AppId, page: PageRequest<EndpointId>) -> Result<Page<Endpoint>, Fault> {
        const OPERATION: &str = "list endpoints";
        let ids = lists::page_by_text(&self.directory, OPERATION, &keys::endpoints(app), page.map(|id| id.to_string())).await?;
        let parsed: Vec<EndpointId> = ids.items.iter().filter_map(|text| endpoint_in(text)).collect();
        Ok(Page::whole(self.read_endpoints(OPERATION, app, &parsed).await?, ids.done))
    }

    async fn read_endpoints(&self, operation: &'static str, app: AppId, ids: &[EndpointId]) -> Result<Vec<Endpoint>, Fault> {
        let mut pipeline = redis::pipe();
        Self::read_sentinel(&mut pipeline);
        // One field more than needed, so that no endpoint at all is still a valid command.
        let mut fields = vec!["v".to_owned()];
        fields.extend(ids.iter().map(|id| keys::endpoint_field(*id)));
        pipeline.cmd("HMGET").arg(keys::directory(app)).arg(fields);
        let answers: Vec<redis::Value> = self.directory.query(StoreOp::Read, operation, &pipeline).await?;
        let mut answers = answers.into_iter();
        let sentinel: Sentinel = next(&mut answers, operation)?;
        self.check_sentinel(operation, &sentinel)?;
        let records: Vec<Option<Vec<u8>>> = next(&mut answers, operation)?;
        let mut found = Vec::with_capacity(ids.len());
        for record in records.into_iter().skip(1).flatten() {
            if let StoredEndpoint::Present(endpoint) = self.read_endpoint(&record)? {
                found.push(*endpoint);
            }
        }
        Ok(found)
    }

    pub(crate) async fn write_endpoint(&self, endpoint: &Endpoint, expect: Expect) -> Result<Written, Fault> {
        const OPERATION: &str = "write an endpoint";
        let expected = revision(expect);
        let record = Endpoint { revision: expected + 1, ..endpoint.clone() };
        let refused = |error| Fault::caused(FaultKind::Refused, OPERATION, error);
        let record = write_endpoint(&record, &self.keys, &*self.entropy).map_err(refused)?;
        let app = endpoint.app;
        let mut call = self.directory.scripts.put_endpoint.prepare_invoke();
        call.key(keys::directory(app)).key(keys::endpoints(app)).key(keys::changes(app)).key(keys::META).key(keys::history(app));
        call.arg(self.dataset_id(OPERATION)?).arg(endpoint.id.to_string()).arg(record).arg(expected);
        call.arg(endpoint.uid.as_ref().map_or("", |uid| uid.as_str())).arg(self.nonce()).arg(CHANGES_KEPT);
        written(OPERATION, &self.change(OPERATION, &call).await?)
    }

    pub(crate) async fn remove_endpoint(&self, app: AppId, endpoint: EndpointId, now: Timestamp) -> Result<bool, Fault> {
        const OPERATION: &str = "delete an endpoint";
        let tombstone = write_tombstone(endpoint, now).map_err(|error| Fault::caused(FaultKind::Refused, OPERATION, error))?;
        let mut call = self.directory.scripts.delete_endpoint.prepare_invoke();
        call.key(keys::directory(app)).key(keys::endpoints(app)).key(keys::changes(app)).key(keys::META);
        call.key(keys::tombstones(app)).key(keys::history(app));
        call.arg(self.dataset_id(OPERATION)?).arg(endpoint.to_string()).arg(tombstone).arg(self.nonce()).arg(CHANGES_KEPT);
        let ttl_ms = u64::try_from(limits::TOMBSTONE_TTL.as_millis()).unwrap_or(u64::MAX);
        call.arg(now.as_millis()).arg(ttl_ms);
        removed(OPERATION, &self.change(OPERATION, &call).await?)
    }
}
