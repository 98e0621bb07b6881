//! The event catalog in memory: beside the directory, whose readings bring its counter along.

use std::collections::BTreeMap;

use async_trait::async_trait;
use hookyard_core::catalog::{CatalogEntry, CatalogFilter};
use hookyard_core::journal::{Cursor, Page, PageRequest};
use hookyard_core::port::{Catalog, Discovery, Expect, Written};
use hookyard_core::{EventType, Fault};

use super::directory::{MemoryDirectory, meets};

/// Event types, and how often administrators changed them.
#[derive(Default)]
pub(super) struct EventTypes {
    all: BTreeMap<String, CatalogEntry>,
    pub(super) changes: u64,
}

#[async_trait]
impl Catalog for MemoryDirectory {
    async fn entry(&self, name: &EventType) -> Result<Option<CatalogEntry>, Fault> {
        Ok(self.state("read an event type")?.catalog.all.get(name.as_str()).cloned())
    }

    async fn entries(&self, filter: CatalogFilter, page: PageRequest<String>) -> Result<Page<CatalogEntry>, Fault> {
        let state = self.state("list event types")?;
        let passing: Vec<&CatalogEntry> = state.catalog.all.values().filter(|entry| filter.passes(entry)).collect();
        let name = |entry: &CatalogEntry| entry.name.as_str().to_owned();
        let mut items: Vec<CatalogEntry> = match &page.from {
            None => passing.into_iter().rev().cloned().collect(),
            Some(Cursor::After(from)) => passing.into_iter().rev().filter(|e| name(e) < *from).cloned().collect(),
            Some(Cursor::Before(from)) => passing.into_iter().filter(|e| name(e) > *from).cloned().collect(),
        };
        let done = items.len() <= page.limit;
        items.truncate(page.limit);
        if matches!(page.from, Some(Cursor::Before(_))) {
            items.reverse();
        }
        Ok(Page::whole(items, done))
    }

    async fn put_entry(&self, entry: &CatalogEntry, expect: Expect) -> Result<Written, Fault> {
        let catalog = &mut self.state("write an event type")?.catalog;
        let known = catalog.all.get(entry.name.as_str()).map_or(0, |known| known.revision);
        if !meets(expect, known) {
            return Ok(Written::Conflict);
        }
        catalog.all.insert(entry.name.to_string(), CatalogEntry { revision: known + 1, ..entry.clone() });
        catalog.changes += 1;
        Ok(Written::Done(known + 1))
    }

    async fn remove_entry(&self, name: &EventType) -> Result<bool, Fault> {
        let catalog = &mut self.state("remove an event type")?.catalog;
        let was_there = catalog.all.remove(name.as_str()).is_some();
        catalog.changes += u64::from(was_there);
        Ok(was_there)
    }

    async fn discover(&self, entry: &CatalogEntry, most: usize) -> Result<Discovery, Fault> {
        let catalog = &mut self.state("discover an event type")?.catalog;
        if catalog.all.contains_key(entry.name.as_str()) {
            return Ok(Discovery::Known);
        }
        if catalog.all.values().filter(|entry| entry.discovered).count() >= most {
            return Ok(Discovery::Full);
        }
        catalog.all.insert(entry.name.to_string(), CatalogEntry { revision: 1, discovered: true, ..entry.clone() });
        Ok(Discovery::Added)
    }
}
