//! What the catalog demands of events: the few entries that demand anything, ready to judge.

use std::collections::HashMap;

use crate::catalog::{CatalogEntry, CatalogFilter, Validation};
use crate::event::{Event, Refusal, RefusalReason};
use crate::fault::Fault;
use crate::journal::{Cursor, PageRequest};
use crate::name::EventType;
use crate::port::Catalog;
use crate::schema::Schema;

/// Entries read at once.
const CHUNK: usize = 250;

/// The rules of the whole catalog at one moment.
#[derive(Debug, Default)]
pub struct Rules {
    by_type: HashMap<EventType, Rule>,
    /// The catalog's counter before they were read; `None` before the first reading.
    as_of: Option<u64>,
    /// Types whose schema cannot be used, and why: nothing is demanded of their events.
    unusable: Vec<(EventType, String)>,
}

#[derive(Debug)]
struct Rule {
    archived: bool,
    schema: Option<(Validation, Schema)>,
}

/// Something about an event that is not as the catalog has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    /// What, and where.
    pub refusal: Refusal,
    /// Whether the catalog wants such events refused; over AMQP, events of archived types are not.
    pub is_fatal: bool,
}

impl Rules {
    /// Reads the catalog, whose counter was `as_of` before. A change meanwhile moves the counter: then they are read again.
    pub async fn read(catalog: &dyn Catalog, as_of: u64) -> Result<Self, Fault> {
        let (mut by_type, mut from, mut unusable) = (HashMap::new(), None, Vec::new());
        let filter = CatalogFilter { archived: true, discovered: false };
        loop {
            let page = catalog.entries(filter, PageRequest { from, limit: CHUNK }).await?;
            from = page.items.last().map(|last| Cursor::After(last.name.to_string()));
            by_type.extend(page.items.iter().filter_map(|entry| Some((entry.name.clone(), Rule::of(entry, &mut unusable)?))));
            if page.done {
                return Ok(Self { by_type, as_of: Some(as_of), unusable });
            }
        }
    }

    /// Whether they are what the catalog says while its counter is `catalog`.
    pub fn hold(&self, catalog: u64) -> bool {
        self.as_of == Some(catalog)
    }

    /// Types whose schema cannot be used, and why.
    pub fn unusable(&self) -> &[(EventType, String)] {
        &self.unusable
    }

    /// What the catalog has against an event.
    pub fn objections(&self, event: &Event) -> Vec<Objection> {
        let Some(rule) = self.by_type.get(&event.event_type) else { return Vec::new() };
        let mut objections = Vec::new();
        if rule.archived {
            let refusal = Refusal::new(RefusalReason::ArchivedType, "this event type is currently unavailable");
            objections.push(Objection { refusal, is_fatal: false });
        }
        if let Some((validation, schema)) = &rule.schema
            && let Err(misfit) = schema.check(&event.data)
        {
            let refusal = Refusal::new(RefusalReason::SchemaViolation, misfit);
            objections.push(Objection { refusal, is_fatal: *validation == Validation::Reject });
        }
        objections
    }
}

impl Rule {
    /// `None` for an entry that demands nothing.
    fn of(entry: &CatalogEntry, unusable: &mut Vec<(EventType, String)>) -> Option<Self> {
        let schema = entry.newest_schema().filter(|_| entry.validation != Validation::Off);
        let schema = schema.and_then(|document| match document.value().and_then(|document| Schema::compile(&document)) {
            Ok(schema) => Some((entry.validation, schema)),
            // Checked when it is saved, but for what was saved by an older program.
            Err(error) => {
                unusable.push((entry.name.clone(), error));
                None
            }
        });
        (entry.archived || schema.is_some()).then_some(Self { archived: entry.archived, schema })
    }
}
