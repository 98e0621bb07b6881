//! Applications and endpoints are what was written of them, until they are deleted.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use hookyard_core::port::{EndpointRef, Expect, Looked, Written};
use hookyard_core::signature::Secret;
use hookyard_core::{ApiKey, AppId, Application, BodyFormat, Clock as _, Endpoint, EndpointId, EndpointSecret};

use super::{DirectoryBackend, make, put_app, put_endpoint, replace_app, replace_endpoint};
use crate::builders::{Builders, StepClock};
use crate::conformance::lists::{List, newest};

pub async fn an_application_is_read_back_as_it_was_written(backend: &dyn DirectoryBackend) {
    let (directory, make) = (backend.directory(), make());
    let bare = make.app();
    assert!(directory.app(bare.id).await.expect("answered").is_none());
    let bare = put_app(&*directory, bare).await;
    let full = Application {
        uid: Some("customer_1".parse().expect("a uid")),
        name: "Grüße \"quoted\" \u{1f44b}".into(),
        disabled: true,
        throttle_rate: Some(u16::MAX),
        metadata: BTreeMap::from([("k".into(), "v".into()), ("ü".into(), "{}".into())]),
        ..make.app()
    };
    let full = put_app(&*directory, full).await;
    assert_eq!(directory.app(bare.id).await.expect("answered"), Some(bare.clone()));
    assert_eq!(directory.app(full.id).await.expect("answered"), Some(full.clone()));
    let later = full.updated_at.plus(Duration::from_secs(1));
    let changed = Application { name: "new".into(), throttle_rate: None, uid: None, updated_at: later, ..full };
    let changed = replace_app(&*directory, changed).await;
    assert_eq!(directory.app(changed.id).await.expect("answered"), Some(changed));
    assert_eq!(directory.app(bare.id).await.expect("answered"), Some(bare));
}

/// An endpoint with something in every field.
fn full(make: &Builders, app: AppId) -> Endpoint {
    let now = make.clock.now();
    let old = EndpointSecret { secret: Secret::generate_ed25519(&*make.entropy), expires_at: Some(now) };
    let base = make.endpoint(app);
    Endpoint {
        uid: Some("endpoint_1".parse().expect("a uid")),
        url: "https://user:pa%20ss@example.com:8443/ä?token=1&b#f".into(),
        description: "line\nline".into(),
        event_types: ["user.*", "ALERT_CREATED", "*"].map(|pattern| pattern.parse().expect("a pattern")).into(),
        channels: ["b", "a"].map(|channel| channel.parse().expect("a channel")).into(),
        disabled: true,
        headers: BTreeMap::from([("x-key".into(), "a b".into())]),
        api_key: Some(ApiKey { header: "authorization".into(), value: "Bearer x".into() }),
        secrets: base.secrets.iter().cloned().chain([old]).collect(),
        body_format: Some(BodyFormat::CloudEvents),
        retry_schedule: Some(vec![Duration::from_secs(1), Duration::from_secs(86_400)]),
        timeout: Some(Duration::from_millis(2_500)),
        max_age: Some(Duration::from_secs(3_600)),
        throttle_rate: Some(7),
        max_in_flight: Some(3),
        metadata: BTreeMap::from([("k".into(), String::new())]),
        ..base
    }
}

pub async fn an_endpoint_is_read_back_as_it_was_written(backend: &dyn DirectoryBackend) {
    let (directory, make) = (backend.directory(), make());
    let (app, other) = (put_app(&*directory, make.app()).await, put_app(&*directory, make.app()).await);
    let (full, bare) = (full(&make, app.id), Endpoint { retry_schedule: Some(vec![]), ..make.endpoint(app.id) });
    let by_uid = EndpointRef::Uid("endpoint_1".parse().expect("a uid"));
    assert!(directory.endpoint(app.id, &EndpointRef::Id(full.id)).await.expect("answered").is_none());
    assert!(directory.endpoint(app.id, &by_uid).await.expect("answered").is_none());
    let (full, bare) = (put_endpoint(&*directory, full).await, put_endpoint(&*directory, bare).await);
    for endpoint in [&full, &bare] {
        let found = directory.endpoint(app.id, &EndpointRef::Id(endpoint.id)).await.expect("answered");
        assert!(found.as_ref() == Some(endpoint), "{} came back otherwise", endpoint.name);
    }
    assert!(directory.endpoint(app.id, &by_uid).await.expect("answered") == Some(full.clone()));
    for named in [EndpointRef::Id(full.id), by_uid] {
        assert!(directory.endpoint(other.id, &named).await.expect("answered").is_none(), "another application's");
        assert!(directory.endpoint(make.app().id, &named).await.expect("answered").is_none(), "no application's");
    }
    let changed = Endpoint { api_key: None, url: "http://example.com".into(), secrets: vec![], ..full };
    let changed = replace_endpoint(&*directory, changed).await;
    assert!(directory.endpoint(app.id, &EndpointRef::Id(changed.id)).await.expect("answered") == Some(changed));
}

pub async fn revision_conflicts_are_told(backend: &dyn DirectoryBackend) {
    let (directory, make) = (backend.directory(), make());
    let app = make.app();
    assert_eq!(directory.put_app(&app, Expect::Revision(1)).await.expect("answered"), Written::Conflict, "nothing was there");
    let app = put_app(&*directory, app).await;
    let app = replace_app(&*directory, app).await;
    let endpoint = make.endpoint(app.id);
    let written = directory.put_endpoint(&endpoint, Expect::Revision(1)).await.expect("answered");
    assert_eq!(written, Written::Conflict, "nothing was there");
    let endpoint = put_endpoint(&*directory, endpoint).await;
    let endpoint = replace_endpoint(&*directory, endpoint).await;
    let (other_app, other) = (Application { name: "x".into(), ..app.clone() }, Endpoint { name: "x".into(), ..endpoint.clone() });
    for expect in [Expect::New, Expect::Revision(1), Expect::Revision(3)] {
        assert_eq!(directory.put_app(&other_app, expect).await.expect("answered"), Written::Conflict);
        assert_eq!(directory.put_endpoint(&other, expect).await.expect("answered"), Written::Conflict);
    }
    let named = EndpointRef::Id(endpoint.id);
    assert_eq!(directory.app(app.id).await.expect("answered"), Some(app.clone()), "and nothing is changed");
    assert!(directory.endpoint(app.id, &named).await.expect("answered") == Some(endpoint), "and nothing is changed");
    let stray = make.endpoint(make.app().id);
    assert_eq!(directory.put_endpoint(&stray, Expect::New).await.expect("answered"), Written::NoApp);
}

pub async fn of_writers_who_expect_the_same_revision_one_wins(backend: &dyn DirectoryBackend) {
    let (directory, make) = (backend.directory(), make());
    let app = put_app(&*directory, make.app()).await;
    let endpoint = put_endpoint(&*directory, make.endpoint(app.id)).await;
    let named = EndpointRef::Id(endpoint.id);
    for revision in 1..=5 {
        let versions: Vec<Endpoint> = (0..10).map(|n| Endpoint { name: format!("{revision} {n}"), ..endpoint.clone() }).collect();
        let writes = versions.iter().map(|version| directory.put_endpoint(version, Expect::Revision(revision)));
        let written: Vec<Written> = join_all(writes).await.into_iter().map(|written| written.expect("answered")).collect();
        let winners: Vec<usize> = (0..10).filter(|n| written[*n] == Written::Done(revision + 1)).collect();
        assert_eq!(winners.len(), 1, "{written:?}");
        assert_eq!(written.iter().filter(|written| **written == Written::Conflict).count(), 9);
        let found = directory.endpoint(app.id, &named).await.expect("answered").expect("there");
        assert_eq!((found.name, found.revision), (versions[winners[0]].name.clone(), revision + 1));
    }
}

/// How a look-up stands, by a name that a failure can show.
fn standing(looked: &Looked) -> &'static str {
    match looked {
        Looked::Found { app_disabled: false, .. } => "found",
        Looked::Found { app_disabled: true, .. } => "found, and switched off with its application",
        Looked::Deleted => "deleted",
        Looked::Absent => "absent",
    }
}

async fn look_up(backend: &dyn DirectoryBackend, asked: &[(AppId, EndpointId)]) -> Vec<&'static str> {
    let looked = backend.directory().look_up(asked).await.expect("answered");
    looked.iter().map(standing).collect()
}

pub async fn a_deleted_endpoint_leaves_a_tombstone_and_an_unknown_one_is_absent(backend: &dyn DirectoryBackend) {
    let (directory, make) = (backend.directory(), make());
    let now = make.clock.now();
    let app = put_app(&*directory, make.app()).await;
    let endpoint = put_endpoint(&*directory, make.endpoint(app.id)).await;
    let (kept, unknown) = (put_endpoint(&*directory, make.endpoint(app.id)).await.id, make.endpoint_id());
    assert!(!directory.delete_endpoint(app.id, unknown, now).await.expect("answered"), "it was not there");
    assert!(!directory.delete_endpoint(make.app().id, endpoint.id, now).await.expect("answered"), "it was not there");
    assert!(directory.delete_endpoint(app.id, endpoint.id, now).await.expect("answered"));
    assert!(!directory.delete_endpoint(app.id, endpoint.id, now).await.expect("answered"), "it was not there any more");
    let asked = [(app.id, endpoint.id), (app.id, unknown), (make.app().id, unknown), (app.id, kept)];
    assert_eq!(look_up(backend, &asked).await, ["deleted", "absent", "absent", "found"]);
    assert!(directory.endpoint(app.id, &EndpointRef::Id(endpoint.id)).await.expect("answered").is_none());
    let listed = directory.endpoints(app.id, newest(5)).await.expect("answered").items;
    assert_eq!(listed.iter().map(|endpoint| endpoint.id).collect::<Vec<_>>(), [kept]);
}

pub async fn a_deleted_application_takes_everything_with_it(backend: &dyn DirectoryBackend) {
    let (directory, make) = (backend.directory(), make());
    let now = make.clock.now();
    let (app, other) = (put_app(&*directory, make.app()).await, put_app(&*directory, make.app()).await);
    let endpoint = put_endpoint(&*directory, full(&make, app.id)).await;
    let others = put_endpoint(&*directory, full(&make, other.id)).await;
    assert!(!directory.delete_app(make.app().id, now).await.expect("answered"), "it was not there");
    assert!(directory.delete_app(app.id, now).await.expect("answered"));
    assert!(!directory.delete_app(app.id, now).await.expect("answered"), "it was not there any more");
    assert!(directory.app(app.id).await.expect("answered").is_none());
    for named in [EndpointRef::Id(endpoint.id), EndpointRef::Uid("endpoint_1".parse().expect("a uid"))] {
        assert!(directory.endpoint(app.id, &named).await.expect("answered").is_none());
        assert!(
            directory.endpoint(other.id, &named).await.expect("answered").is_some() == (named != EndpointRef::Id(endpoint.id))
        );
    }
    assert!(directory.endpoints(app.id, newest(5)).await.expect("answered").items.is_empty());
    let listed = directory.apps(newest(5)).await.expect("answered").items;
    assert_eq!(listed.iter().map(|app| app.id).collect::<Vec<_>>(), [other.id]);
    assert_eq!(look_up(backend, &[(app.id, endpoint.id), (other.id, others.id)]).await, ["deleted", "found"]);
}

pub async fn what_was_deleted_is_not_written_again(backend: &dyn DirectoryBackend) {
    let (directory, make) = (backend.directory(), make());
    let now = make.clock.now();
    let app = put_app(&*directory, make.app()).await;
    let endpoint = put_endpoint(&*directory, make.endpoint(app.id)).await;
    assert!(directory.delete_endpoint(app.id, endpoint.id, now).await.expect("answered"));
    for expect in [Expect::New, Expect::Revision(1), Expect::Revision(2)] {
        let written = directory.put_endpoint(&endpoint, expect).await.expect("answered");
        assert_eq!(written, Written::Conflict, "an id that was deleted stays deleted");
    }
    assert!(directory.delete_app(app.id, now).await.expect("answered"));
    for expect in [Expect::New, Expect::Revision(1)] {
        assert_eq!(directory.put_app(&app, expect).await.expect("answered"), Written::NoApp);
        assert_eq!(directory.put_endpoint(&make.endpoint(app.id), expect).await.expect("answered"), Written::NoApp);
    }
    assert_eq!(look_up(backend, &[(app.id, endpoint.id)]).await, ["deleted"]);
}

pub async fn endpoints_are_found_in_the_order_asked_as_they_are_now(backend: &dyn DirectoryBackend) {
    let (directory, make) = (backend.directory(), make());
    assert!(directory.look_up(&[]).await.expect("answered").is_empty());
    let (on, off) = (make.app(), Application { disabled: true, ..make.app() });
    let (on, off) = (put_app(&*directory, on).await, put_app(&*directory, off).await);
    let a = put_endpoint(&*directory, full(&make, on.id)).await;
    let b = put_endpoint(&*directory, make.endpoint(off.id)).await;
    let c = put_endpoint(&*directory, make.endpoint(on.id)).await;
    let asked = [(off.id, b.id), (on.id, c.id), (on.id, b.id), (on.id, a.id), (on.id, c.id)];
    let switched_off = "found, and switched off with its application";
    assert_eq!(look_up(backend, &asked).await, [switched_off, "found", "absent", "found", "found"]);
    let a = replace_endpoint(&*directory, Endpoint { disabled: false, url: "http://example.com".into(), ..a }).await;
    replace_app(&*directory, Application { disabled: false, throttle_rate: Some(9), ..off }).await;
    let looked = directory.look_up(&[(on.id, a.id)]).await.expect("answered").remove(0);
    let Looked::Found { endpoint, app_disabled: false, app_rate: None } = looked else { panic!("{}", standing(&looked)) };
    assert!(*endpoint == a, "whole, and as it is now");
    assert_eq!(look_up(backend, &asked[..1]).await, ["found"]);
    let looked = directory.look_up(&asked[..1]).await.expect("answered").remove(0);
    assert!(matches!(looked, Looked::Found { app_rate: Some(9), .. }));
}

pub async fn applications_page_in_both_directions_without_gaps(backend: &dyn DirectoryBackend) {
    let directory = backend.directory();
    let clock = StepClock::default();
    let make = Builders::new(std::sync::Arc::new(clock.clone()), 1);
    let read = async |page| directory.apps(page).await.expect("answered");
    let list = List { read, id: |app: &Application| app.id };
    list.holds(&[]).await;
    let mut ids = Vec::new();
    for number in 0..23 {
        ids.push(put_app(&*directory, make.app()).await.id);
        if number % 3 == 0 {
            clock.step(Duration::from_secs(1));
        }
    }
    let gone = ids.remove(11);
    assert!(directory.delete_app(gone, clock.now()).await.expect("answered"));
    ids.sort_unstable();
    list.holds(&ids).await;
}

pub async fn endpoints_page_in_both_directions_without_gaps(backend: &dyn DirectoryBackend) {
    let directory = backend.directory();
    let make = make();
    let (app, other) = (put_app(&*directory, make.app()).await, put_app(&*directory, make.app()).await);
    let read = async |page| directory.endpoints(app.id, page).await.expect("answered");
    let list = List { read, id: |endpoint: &Endpoint| endpoint.id };
    list.holds(&[]).await;
    let mut ids = Vec::new();
    for _ in 0..23 {
        put_endpoint(&*directory, make.endpoint(other.id)).await;
        let stored = put_endpoint(&*directory, make.endpoint(app.id)).await;
        ids.push(replace_endpoint(&*directory, stored).await.id);
    }
    let gone = ids.remove(11);
    assert!(directory.delete_endpoint(app.id, gone, make.clock.now()).await.expect("answered"));
    ids.sort_unstable();
    list.holds(&ids).await;
}
