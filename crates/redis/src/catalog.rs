//! The event catalog's port on Redis.

use async_trait::async_trait;
use hookyard_core::catalog::{CatalogEntry, CatalogFilter};
use hookyard_core::journal::{Cursor, Page, PageRequest};
use hookyard_core::port::{Catalog, Discovery, Expect, Written};
use hookyard_core::{EventType, Fault, FaultKind};
use hookyard_telemetry::label::StoreOp;

use crate::apps::{removed, revision, written};
use crate::client::RedisStore;
use crate::directory::next;
use crate::keys;
use crate::lists;
use crate::meta::Sentinel;

#[async_trait]
impl Catalog for RedisStore {
    async fn entry(&self, name: &EventType) -> Result<Option<CatalogEntry>, Fault> {
        Ok(self.read_entries("read an event type", std::slice::from_ref(&name.to_string())).await?.pop())
    }

    async fn entries(&self, filter: CatalogFilter, page: PageRequest<String>) -> Result<Page<CatalogEntry>, Fault> {
        const OPERATION: &str = "list event types";
        let newer = matches!(page.from, Some(Cursor::Before(_)));
        let (limit, mut request) = (page.limit, page);
        let mut items: Vec<CatalogEntry> = Vec::new();
        // The whole catalog is some thousand entries at most: what is left out costs little.
        loop {
            let names = lists::page_by_text(&self.directory, OPERATION, keys::CATALOG_NAMES, request.clone()).await?;
            let Some(edge) = (if newer { names.items.first() } else { names.items.last() }) else { break };
            request.from = Some(if newer { Cursor::Before(edge.clone()) } else { Cursor::After(edge.clone()) });
            let found = self.read_entries(OPERATION, &names.items).await?.into_iter().filter(|entry| filter.passes(entry));
            if newer {
                items.splice(0..0, found);
            } else {
                items.extend(found);
            }
            if names.done || items.len() > limit {
                break;
            }
        }
        let done = items.len() <= limit;
        let surplus = items.len().saturating_sub(limit);
        if newer {
            items.drain(..surplus);
        } else {
            items.truncate(limit);
        }
        Ok(Page::whole(items, done))
    }

    async fn put_entry(&self, entry: &CatalogEntry, expect: Expect) -> Result<Written, Fault> {
        const OPERATION: &str = "write an event type";
        let expected = revision(expect);
        let record = CatalogEntry { revision: expected + 1, ..entry.clone() };
        let record = serde_json::to_string(&record).map_err(|error| Fault::caused(FaultKind::Refused, OPERATION, error))?;
        let mut call = self.directory.scripts.put_event_type.prepare_invoke();
        call.key(keys::CATALOG).key(keys::CATALOG_NAMES).key(keys::META).key(keys::CATALOG_DISCOVERED);
        call.arg(self.dataset_id(OPERATION)?).arg(entry.name.as_str()).arg(record).arg(expected);
        call.arg(u8::from(entry.discovered)).arg(self.leap());
        written(OPERATION, &self.change(OPERATION, &call).await?)
    }

    async fn remove_entry(&self, name: &EventType) -> Result<bool, Fault> {
        const OPERATION: &str = "remove an event type";
        let mut call = self.directory.scripts.delete_event_type.prepare_invoke();
        call.key(keys::CATALOG).key(keys::CATALOG_NAMES).key(keys::META).key(keys::CATALOG_DISCOVERED);
        call.arg(self.dataset_id(OPERATION)?).arg(name.as_str()).arg(self.leap());
        removed(OPERATION, &self.change(OPERATION, &call).await?)
    }

    async fn discover(&self, entry: &CatalogEntry, most: usize) -> Result<Discovery, Fault> {
        const OPERATION: &str = "discover an event type";
        let record = CatalogEntry { revision: 1, discovered: true, ..entry.clone() };
        let record = serde_json::to_string(&record).map_err(|error| Fault::caused(FaultKind::Refused, OPERATION, error))?;
        let mut call = self.directory.scripts.discover_event_type.prepare_invoke();
        call.key(keys::CATALOG).key(keys::CATALOG_NAMES).key(keys::META).key(keys::CATALOG_DISCOVERED);
        call.arg(self.dataset_id(OPERATION)?).arg(entry.name.as_str()).arg(record).arg(most);
        match self.change(OPERATION, &call).await?.as_str() {
            "dataset" => Err(Fault::new(FaultKind::WrongDataset, OPERATION)),
            "known" => Ok(Discovery::Known),
            "full" => Ok(Discovery::Full),
            _ => Ok(Discovery::Added),
        }
    }
}

impl RedisStore {
    /// The entries of these names that are there, in their order.
    async fn read_entries(&self, operation: &'static str, names: &[String]) -> Result<Vec<CatalogEntry>, Fault> {
        let mut pipeline = redis::pipe();
        Self::read_sentinel(&mut pipeline);
        for name in names {
            pipeline.hget(keys::CATALOG, name);
        }
        let answers: Vec<redis::Value> = self.directory.query(StoreOp::Read, operation, &pipeline).await?;
        let mut answers = answers.into_iter();
        let sentinel: Sentinel = next(&mut answers, operation)?;
        self.check_sentinel(operation, &sentinel)?;
        let mut found = Vec::with_capacity(names.len());
        for _ in names {
            if let Some(record) = next::<Option<Vec<u8>>>(&mut answers, operation)? {
                found.push(serde_json::from_slice(&record).map_err(|error| Fault::corrupt(operation, error))?);
            }
        }
        Ok(found)
    }
}
