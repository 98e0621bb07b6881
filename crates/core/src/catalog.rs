//! The event catalog: what is known of each event type.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::event::Event;
use crate::json_text::JsonText;
use crate::name::EventType;
use crate::schema;

/// What happens to an event whose data does not fit its type's schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Validation {
    /// Nobody looks.
    #[default]
    Off,
    /// It is delivered, and counted.
    Warn,
    /// It is refused.
    Reject,
}

/// One event type as the catalog describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalogEntry {
    /// Its name.
    pub name: EventType,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// What it is listed under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_name: Option<String>,
    /// The caller's own switch for who may see it; kept and shown, not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature_flag: Option<String>,
    /// A payload as an example, byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<JsonText>,
    /// JSON Schemas by version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schemas: Option<BTreeMap<String, JsonText>>,
    /// What happens to data that does not fit the newest schema.
    #[serde(default)]
    pub validation: Validation,
    /// Currently unavailable: not to be published or subscribed to any more.
    #[serde(default)]
    pub archived: bool,
    /// Still there, and better not used.
    #[serde(default)]
    pub deprecated: bool,
    /// Seen in traffic, and not yet saved by an administrator.
    #[serde(default)]
    pub discovered: bool,
    /// When it was first described or seen.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts its changes; 0 means not yet stored.
    #[serde(default)]
    pub revision: u64,
}

impl CatalogEntry {
    /// An event type of which only the name is known.
    pub fn new(name: EventType, now: Timestamp) -> Self {
        Self {
            name,
            description: String::new(),
            group_name: None,
            feature_flag: None,
            sample: None,
            schemas: None,
            validation: Validation::Off,
            archived: false,
            deprecated: false,
            discovered: false,
            created_at: now,
            updated_at: now,
            revision: 0,
        }
    }

    /// An event type as it was first seen in traffic: with the shape of its data, and nothing of the data itself.
    pub fn seen(event: &Event, now: Timestamp) -> Self {
        let shape = schema::shape(&event.data).map(|shape| BTreeMap::from([("1".to_owned(), JsonText::from(shape))]));
        Self { schemas: shape, discovered: true, ..Self::new(event.event_type.clone(), now) }
    }

    /// The newest of its schemas: versions are compared as numbers where they are numbers, else as text.
    pub fn newest_schema(&self) -> Option<&JsonText> {
        let place = |(version, _): &(&String, &JsonText)| (version.parse::<u64>().unwrap_or(0), (*version).clone());
        self.schemas.as_ref()?.iter().max_by_key(place).map(|(_, schema)| schema)
    }
}

/// Which entries to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatalogFilter {
    /// Archived ones too.
    pub archived: bool,
    /// Discovered ones too.
    pub discovered: bool,
}

impl CatalogFilter {
    /// Everything.
    pub const ALL: Self = Self { archived: true, discovered: true };

    /// Whether `entry` passes.
    pub fn passes(self, entry: &CatalogEntry) -> bool {
        (self.archived || !entry.archived) && (self.discovered || !entry.discovered)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_newest_schema_is_the_one_of_the_highest_version() {
        let schemas = |versions: &[&str]| {
            let schemas =
                versions.iter().map(|version| ((*version).to_owned(), JsonText::from(json!({ "title": version })))).collect();
            CatalogEntry { schemas: Some(schemas), ..CatalogEntry::new("a".parse().expect("valid"), Timestamp::default()) }
        };
        let newest =
            |versions: &[&str]| schemas(versions).newest_schema().map(|schema| schema.value().expect("JSON")["title"].clone());
        assert_eq!(newest(&["1", "9", "10"]), Some(json!("10")));
        assert_eq!(newest(&["alpha", "beta"]), Some(json!("beta")));
        assert_eq!(newest(&["v2", "1"]), Some(json!("1")));
        assert_eq!(newest(&[]), None);
    }
}
