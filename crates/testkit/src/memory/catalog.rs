//! The event catalog in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use hookyard_core::catalog::{CatalogEntry, CatalogFilter};
use hookyard_core::journal::{Cursor, Page, PageRequest};
use hookyard_core::port::{Catalog, Expect, Written};
use hookyard_core::{EventType, Fault};

/// Event types.
#[derive(Default)]
pub struct MemoryCatalog(Mutex<BTreeMap<String, CatalogEntry>>);

impl MemoryCatalog {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, CatalogEntry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Catalog for MemoryCatalog {
    async fn entry(&self, name: &EventType) -> Result<Option<CatalogEntry>, Fault> {
        Ok(self.all().get(name.as_str()).cloned())
    }

    async fn entries(&self, filter: CatalogFilter, page: PageRequest<String>) -> Result<Page<CatalogEntry>, Fault> {
        let all = self.all();
        let passing: Vec<&CatalogEntry> = all.values().filter(|entry| filter.passes(entry)).collect();
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
        let mut all = self.all();
        let known = all.get(entry.name.as_str()).map_or(0, |known| known.revision);
        let expected = match expect {
            Expect::New => 0,
            Expect::Revision(revision) => revision,
        };
        if known != expected {
            return Ok(Written::Conflict);
        }
        all.insert(entry.name.to_string(), CatalogEntry { revision: known + 1, ..entry.clone() });
        Ok(Written::Done(known + 1))
    }

    async fn remove_entry(&self, name: &EventType) -> Result<bool, Fault> {
        Ok(self.all().remove(name.as_str()).is_some())
    }
}
