//! The suite of [`hookyard_core::port::Catalog`].

use std::collections::BTreeMap;
use std::sync::Arc;

use hookyard_core::catalog::{CatalogEntry, CatalogFilter, Validation};
use hookyard_core::journal::{Cursor, PageRequest};
use hookyard_core::port::{Catalog, Directory, Discovery, Expect, Written};
use hookyard_core::{JsonText, Timestamp};

use super::suite;

suite! { $ each_promise_of_catalog: catalog on CatalogBackend,
    an_entry_is_read_back_as_it_was_written,
    of_two_who_expect_the_same_revision_one_writes,
    entries_page_by_name_in_both_directions,
    what_is_not_asked_for_is_left_out_and_pages_are_full_all_the_same,
    what_administrators_change_moves_the_counter_and_what_is_discovered_does_not,
    types_are_discovered_once_and_up_to_a_bound,
}

/// A backend of the catalog.
pub trait CatalogBackend: Send + Sync {
    /// The catalog.
    fn catalog(&self) -> Arc<dyn Catalog>;

    /// The directory beside it, whose readings bring its counter along.
    fn directory(&self) -> Arc<dyn Directory>;
}

fn entry(name: &str) -> CatalogEntry {
    CatalogEntry::new(name.parse().expect("an event type"), Timestamp::from_millis(1_700_000_000_000))
}

fn text(json: &str) -> JsonText {
    serde_json::from_str(json).expect("JSON")
}

async fn put(catalog: &dyn Catalog, entry: CatalogEntry) -> CatalogEntry {
    assert_eq!(catalog.put_entry(&entry, Expect::New).await.expect("answered"), Written::Done(1));
    CatalogEntry { revision: 1, ..entry }
}

async fn an_entry_is_read_back_as_it_was_written(backend: &dyn CatalogBackend) {
    let catalog = backend.catalog();
    let full = CatalogEntry {
        description: "Zoë \"signs\" up".into(),
        group_name: Some("Users".into()),
        feature_flag: Some("beta".into()),
        sample: Some(text(r#"{"z": 12345678901234567890123, "a":[1.10,1e400, "\u00fc ü"]}"#)),
        schemas: Some(BTreeMap::from([("1".into(), text(r#"{ "type":"object", "maximum":1.0 }"#))])),
        validation: Validation::Reject,
        archived: true,
        deprecated: true,
        discovered: true,
        ..entry("user.created")
    };
    assert!(catalog.entry(&full.name).await.expect("answered").is_none());
    let full = put(&*catalog, full).await;
    let bare = put(&*catalog, entry("bare")).await;
    assert_eq!(catalog.entry(&full.name).await.expect("answered"), Some(full.clone()));
    assert_eq!(catalog.entry(&bare.name).await.expect("answered"), Some(bare));
    assert!(catalog.remove_entry(&full.name).await.expect("answered"));
    assert!(!catalog.remove_entry(&full.name).await.expect("answered"));
    assert!(catalog.entry(&full.name).await.expect("answered").is_none());
    put(&*catalog, CatalogEntry { revision: 0, ..full }).await;
}

async fn of_two_who_expect_the_same_revision_one_writes(backend: &dyn CatalogBackend) {
    let catalog = backend.catalog();
    let first = put(&*catalog, entry("a")).await;
    assert_eq!(catalog.put_entry(&first, Expect::New).await.expect("answered"), Written::Conflict);
    let changed = CatalogEntry { description: "one".into(), ..first.clone() };
    assert_eq!(catalog.put_entry(&changed, Expect::Revision(1)).await.expect("answered"), Written::Done(2));
    let late = CatalogEntry { description: "other".into(), ..first };
    assert_eq!(catalog.put_entry(&late, Expect::Revision(1)).await.expect("answered"), Written::Conflict);
    let found = catalog.entry(&changed.name).await.expect("answered").expect("there");
    assert_eq!((&*found.description, found.revision), ("one", 2));
}

fn names(entries: &[CatalogEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.name.as_str()).collect()
}

async fn entries_page_by_name_in_both_directions(backend: &dyn CatalogBackend) {
    let catalog = backend.catalog();
    for text in ["b", "d", "a", "e", "c"] {
        put(&*catalog, entry(text)).await;
    }
    let page = async |from, limit| {
        let page = catalog.entries(CatalogFilter::ALL, PageRequest { from, limit }).await.expect("answered");
        (names(&page.items).join(""), page.done)
    };
    assert_eq!(page(None, 5).await, ("edcba".into(), true));
    assert_eq!(page(None, 2).await, ("ed".into(), false));
    assert_eq!(page(Some(Cursor::After("d".to_owned())), 2).await, ("cb".into(), false));
    assert_eq!(page(Some(Cursor::After("b".to_owned())), 2).await, ("a".into(), true));
    assert_eq!(page(Some(Cursor::Before("a".to_owned())), 2).await, ("cb".into(), false));
    assert_eq!(page(Some(Cursor::Before("c".to_owned())), 2).await, ("ed".into(), true));
    assert_eq!(page(Some(Cursor::Before("0".to_owned())), 9).await, ("edcba".into(), true));
}

async fn what_is_not_asked_for_is_left_out_and_pages_are_full_all_the_same(backend: &dyn CatalogBackend) {
    let catalog = backend.catalog();
    for number in 10..40 {
        let (archived, discovered) = (number % 3 == 0, number % 3 == 1);
        put(&*catalog, CatalogEntry { archived, discovered, ..entry(&format!("t{number}")) }).await;
    }
    let count = async |filter, from, limit| {
        let page = catalog.entries(filter, PageRequest { from, limit }).await.expect("answered");
        (page.items.len(), page.done)
    };
    let saved = CatalogFilter { archived: false, discovered: false };
    assert_eq!(count(saved, None, 5).await, (5, false));
    assert_eq!(count(saved, None, 10).await, (10, true));
    assert_eq!(count(saved, Some(Cursor::Before("t10".to_owned())), 4).await, (4, false));
    assert_eq!(count(CatalogFilter { archived: true, ..saved }, None, 50).await, (20, true));
    assert_eq!(count(CatalogFilter { discovered: true, ..saved }, None, 50).await, (20, true));
    assert_eq!(count(CatalogFilter::ALL, None, 50).await, (30, true));
}

async fn what_administrators_change_moves_the_counter_and_what_is_discovered_does_not(backend: &dyn CatalogBackend) {
    let (catalog, directory) = (backend.catalog(), backend.directory());
    let counter = async || {
        let resolved = directory.resolve(&[]).await.expect("answered").counters;
        let validated = directory.validate(&[], &[]).await.expect("answered").counters;
        assert_eq!(resolved, validated);
        resolved.catalog
    };
    let mut before = counter().await;
    let mut moved = async || {
        let now = counter().await;
        std::mem::replace(&mut before, now) != now
    };
    let written = put(&*catalog, entry("a")).await;
    assert!(moved().await);
    assert_eq!(catalog.put_entry(&written, Expect::Revision(1)).await.expect("answered"), Written::Done(2));
    assert!(moved().await);
    assert_eq!(catalog.put_entry(&written, Expect::Revision(1)).await.expect("answered"), Written::Conflict);
    assert_eq!(catalog.discover(&entry("b"), 9).await.expect("answered"), Discovery::Added);
    assert!(!moved().await);
    assert!(catalog.remove_entry(&written.name).await.expect("answered"));
    assert!(moved().await);
}

async fn types_are_discovered_once_and_up_to_a_bound(backend: &dyn CatalogBackend) {
    let catalog = backend.catalog();
    let discover = async |name| catalog.discover(&entry(name), 2).await.expect("answered");
    assert_eq!(discover("a").await, Discovery::Added);
    assert_eq!(discover("a").await, Discovery::Known);
    let seen = catalog.entry(&entry("a").name).await.expect("answered").expect("there");
    assert_eq!(seen, CatalogEntry { discovered: true, revision: 1, ..entry("a") });
    assert_eq!(discover("b").await, Discovery::Added);
    assert_eq!(discover("c").await, Discovery::Full);
    // Saved or removed, it waits no longer.
    let saved = CatalogEntry { discovered: false, ..seen };
    assert_eq!(catalog.put_entry(&saved, Expect::Revision(1)).await.expect("answered"), Written::Done(2));
    assert_eq!(discover("a").await, Discovery::Known);
    assert_eq!(discover("c").await, Discovery::Added);
    assert_eq!(discover("d").await, Discovery::Full);
    assert!(catalog.remove_entry(&entry("b").name).await.expect("answered"));
    assert_eq!(discover("d").await, Discovery::Added);
    let page = PageRequest { from: None, limit: 9 };
    let found = catalog.entries(CatalogFilter { archived: true, discovered: false }, page).await.expect("answered");
    assert_eq!(names(&found.items), ["a"]);
}
