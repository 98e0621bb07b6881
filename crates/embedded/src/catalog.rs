//! The event catalog's port on SQLite.

use async_trait::async_trait;
use hookyard_core::catalog::{CatalogEntry, CatalogFilter};
use hookyard_core::journal::{Cursor, Page, PageRequest};
use hookyard_core::port::{Catalog, Discovery, Expect, Written};
use hookyard_core::{EventType, Fault, FaultKind};
use rusqlite::{Connection, OptionalExtension as _};

use crate::directory::expected;
use crate::pages::unreadable;
use crate::store::Store;

#[async_trait]
impl Catalog for Store {
    async fn entry(&self, name: &EventType) -> Result<Option<CatalogEntry>, Fault> {
        let name = name.to_string();
        let read = move |connection: &Connection| {
            let query = "SELECT record FROM event_types WHERE name = ?1";
            let record = connection.prepare_cached(query)?.query_row([name], |row| row.get::<_, String>(0)).optional()?;
            record.map(|record| parse(&record)).transpose()
        };
        self.look("read an event type", read).await
    }

    async fn entries(&self, filter: CatalogFilter, page: PageRequest<String>) -> Result<Page<CatalogEntry>, Fault> {
        let (limit, from) = (page.limit, page.from);
        let read = move |connection: &Connection| {
            // The whole catalog is some thousand entries at most: what is left out costs little.
            let (newer, condition, bound) = match from {
                None => (false, "?1 = '' ORDER BY name DESC", String::new()),
                Some(Cursor::After(name)) => (false, "name < ?1 ORDER BY name DESC", name),
                Some(Cursor::Before(name)) => (true, "name > ?1 ORDER BY name", name),
            };
            let mut query = connection.prepare_cached(&format!("SELECT record FROM event_types WHERE {condition}"))?;
            let mut rows = query.query([bound])?;
            let (mut items, mut done) = (Vec::new(), true);
            while let Some(row) = rows.next()? {
                let entry = parse(&row.get::<_, String>(0)?)?;
                if filter.passes(&entry) {
                    if items.len() == limit {
                        done = false;
                        break;
                    }
                    items.push(entry);
                }
            }
            if newer {
                items.reverse();
            }
            Ok(Page::whole(items, done))
        };
        self.look("list event types", read).await
    }

    async fn put_entry(&self, entry: &CatalogEntry, expect: Expect) -> Result<Written, Fault> {
        const OPERATION: &str = "write an event type";
        let revision = expected(expect) + 1;
        let (name, discovered) = (entry.name.to_string(), entry.discovered);
        let record = CatalogEntry { revision, ..entry.clone() };
        let record = serde_json::to_string(&record).map_err(|error| Fault::caused(FaultKind::Refused, OPERATION, error))?;
        let put = move |connection: &Connection| {
            let query = "SELECT revision FROM event_types WHERE name = ?1";
            let known: Option<u64> = connection.prepare_cached(query)?.query_row([&name], |row| row.get(0)).optional()?;
            if known.unwrap_or(0) + 1 != revision {
                return Ok(Written::Conflict);
            }
            let put = "INSERT OR REPLACE INTO event_types (name, record, revision, discovered) VALUES (?1, ?2, ?3, ?4)";
            connection.prepare_cached(put)?.execute((&name, &record, revision, discovered))?;
            move_catalog(connection)?;
            Ok(Written::Done(revision))
        };
        self.change(OPERATION, put).await
    }

    async fn remove_entry(&self, name: &EventType) -> Result<bool, Fault> {
        let name = name.to_string();
        let remove = move |connection: &Connection| {
            let removed = connection.prepare_cached("DELETE FROM event_types WHERE name = ?1")?.execute([&name])?;
            move_catalog(connection)?;
            Ok(removed > 0)
        };
        self.change("remove an event type", remove).await
    }

    async fn discover(&self, entry: &CatalogEntry, most: usize) -> Result<Discovery, Fault> {
        const OPERATION: &str = "discover an event type";
        let name = entry.name.to_string();
        let record = CatalogEntry { revision: 1, discovered: true, ..entry.clone() };
        let record = serde_json::to_string(&record).map_err(|error| Fault::caused(FaultKind::Refused, OPERATION, error))?;
        let discover = move |connection: &Connection| {
            let known = "SELECT EXISTS (SELECT 1 FROM event_types WHERE name = ?1)";
            if connection.prepare_cached(known)?.query_row([&name], |row| row.get(0))? {
                return Ok(Discovery::Known);
            }
            let waiting = "SELECT count(*) FROM event_types WHERE discovered";
            if connection.prepare_cached(waiting)?.query_row([], |row| row.get::<_, usize>(0))? >= most {
                return Ok(Discovery::Full);
            }
            let add = "INSERT INTO event_types (name, record, revision, discovered) VALUES (?1, ?2, 1, 1)";
            connection.prepare_cached(add)?.execute((&name, &record))?;
            Ok(Discovery::Added)
        };
        self.change(OPERATION, discover).await
    }
}

fn parse(record: &str) -> rusqlite::Result<CatalogEntry> {
    serde_json::from_str(record).map_err(unreadable)
}

fn move_catalog(connection: &Connection) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE counters SET value = value + 1 WHERE name = 'catalog'")?.execute([]).map(drop)
}
