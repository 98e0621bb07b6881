//! Uids belong to one, and whoever resolved them learns when that changes.

use hookyard_core::port::{Directory, EndpointRef, Expect, Written};
use hookyard_core::{AppId, AppRef, Application, Endpoint, Uid};

use super::{DirectoryBackend, make, put_app, put_endpoint, replace_app, replace_endpoint};

fn uid(text: &str) -> Uid {
    text.parse().expect("a uid")
}

fn named(text: &str) -> AppRef {
    AppRef::Uid(text.parse().expect("a uid"))
}

async fn resolve(directory: &dyn Directory, names: &[AppRef]) -> Vec<Option<AppId>> {
    directory.resolve(names).await.expect("answered").apps
}

pub async fn a_uid_belongs_to_one(backend: &dyn DirectoryBackend) {
    let (directory, make) = (backend.directory(), make());
    let one = put_app(&*directory, Application { uid: Some(uid("a")), ..make.app() }).await;
    let other = Application { uid: Some(uid("a")), ..make.app() };
    assert_eq!(directory.put_app(&other, Expect::New).await.expect("answered"), Written::UidTaken);
    assert!(directory.app(other.id).await.expect("answered").is_none(), "and nothing is written");
    let other = put_app(&*directory, Application { uid: Some(uid("b")), ..other }).await;
    let greedy = Application { uid: Some(uid("a")), ..other.clone() };
    assert_eq!(directory.put_app(&greedy, Expect::Revision(1)).await.expect("answered"), Written::UidTaken);
    assert_eq!(resolve(&*directory, &[named("a"), named("b")]).await, [Some(one.id), Some(other.id)]);

    let first = put_endpoint(&*directory, Endpoint { uid: Some(uid("e")), ..make.endpoint(one.id) }).await;
    let second = Endpoint { uid: Some(uid("e")), ..make.endpoint(one.id) };
    assert_eq!(directory.put_endpoint(&second, Expect::New).await.expect("answered"), Written::UidTaken);
    let second = put_endpoint(&*directory, Endpoint { uid: None, ..second }).await;
    let greedy = Endpoint { uid: Some(uid("e")), ..second };
    assert_eq!(directory.put_endpoint(&greedy, Expect::Revision(1)).await.expect("answered"), Written::UidTaken);
    // Applications do not share the uids of their endpoints.
    let elsewhere = put_endpoint(&*directory, Endpoint { uid: Some(uid("e")), ..make.endpoint(other.id) }).await;
    for (app, endpoint) in [(one.id, first), (other.id, elsewhere)] {
        let by_uid = EndpointRef::Uid("e".parse().expect("a uid"));
        let found = directory.endpoint(app, &by_uid).await.expect("answered").expect("there");
        assert_eq!(found.id, endpoint.id);
        replace_endpoint(&*directory, found).await;
    }
    replace_app(&*directory, one).await;
}

pub async fn a_uid_can_be_given_up_and_taken(backend: &dyn DirectoryBackend) {
    let (directory, make) = (backend.directory(), make());
    let now = make.clock.now();
    let app = put_app(&*directory, Application { uid: Some(uid("a")), ..make.app() }).await;
    let app = replace_app(&*directory, Application { uid: Some(uid("b")), ..app }).await;
    assert_eq!(resolve(&*directory, &[named("a"), named("b")]).await, [None, Some(app.id)]);
    let next = put_app(&*directory, Application { uid: Some(uid("a")), ..make.app() }).await;
    assert!(directory.delete_app(app.id, now).await.expect("answered"));
    let last = put_app(&*directory, Application { uid: Some(uid("b")), ..make.app() }).await;
    assert_eq!(resolve(&*directory, &[named("a"), named("b")]).await, [Some(next.id), Some(last.id)]);
    replace_app(&*directory, Application { uid: None, ..next }).await;
    assert_eq!(resolve(&*directory, &[named("a")]).await, [None]);

    let by_uid = |text: &str| EndpointRef::Uid(text.parse().expect("a uid"));
    let first = put_endpoint(&*directory, Endpoint { uid: Some(uid("e")), ..make.endpoint(last.id) }).await;
    let first = replace_endpoint(&*directory, Endpoint { uid: Some(uid("f")), ..first }).await;
    assert!(directory.endpoint(last.id, &by_uid("e")).await.expect("answered").is_none());
    let second = put_endpoint(&*directory, Endpoint { uid: Some(uid("e")), ..make.endpoint(last.id) }).await;
    assert!(directory.delete_endpoint(last.id, first.id, now).await.expect("answered"));
    let third = put_endpoint(&*directory, Endpoint { uid: Some(uid("f")), ..make.endpoint(last.id) }).await;
    for (text, endpoint) in [("e", second), ("f", third)] {
        let found = directory.endpoint(last.id, &by_uid(text)).await.expect("answered");
        assert_eq!(found.map(|found| found.id), Some(endpoint.id));
    }
}

pub async fn names_resolve_in_the_order_asked(backend: &dyn DirectoryBackend) {
    let (directory, make) = (backend.directory(), make());
    assert!(resolve(&*directory, &[]).await.is_empty());
    let a = put_app(&*directory, Application { uid: Some(uid("a")), ..make.app() }).await.id;
    let b = put_app(&*directory, make.app()).await.id;
    let unknown = make.app().id;
    let asked = [named("x"), AppRef::Id(b), named("a"), AppRef::Id(unknown), AppRef::Id(a), named("a")];
    assert_eq!(resolve(&*directory, &asked).await, [None, Some(b), Some(a), None, Some(a), Some(a)]);
    assert!(directory.delete_app(b, make.clock.now()).await.expect("answered"));
    assert_eq!(resolve(&*directory, &asked[..2]).await, [None, None]);
}

pub async fn names_move_when_one_does_and_only_then(backend: &dyn DirectoryBackend) {
    let (directory, make) = (backend.directory(), make());
    let count = async || {
        let (resolved, validated) = (directory.resolve(&[]).await, directory.validate(&[], &[]).await);
        let (resolved, validated) = (resolved.expect("answered").counters.names, validated.expect("answered").counters.names);
        assert_eq!(resolved, validated, "a batch learns the same");
        resolved
    };
    let mut before = count().await;
    let mut moved = async |what: &str, wanted: bool| {
        let now = count().await;
        assert_eq!(now != before, wanted, "{what}");
        before = now;
    };
    let app = put_app(&*directory, Application { uid: Some(uid("a")), ..make.app() }).await;
    moved("a new name", true).await;
    let endpoint = put_endpoint(&*directory, Endpoint { uid: Some(uid("a")), ..make.endpoint(app.id) }).await;
    replace_endpoint(&*directory, Endpoint { uid: Some(uid("b")), ..endpoint }).await;
    moved("endpoints have names of their own", false).await;
    let app = replace_app(&*directory, Application { name: "x".into(), ..app }).await;
    moved("the same name", false).await;
    let taken = Application { uid: Some(uid("a")), ..make.app() };
    assert_eq!(directory.put_app(&taken, Expect::New).await.expect("answered"), Written::UidTaken);
    moved("a name that was refused", false).await;
    let app = replace_app(&*directory, Application { uid: Some(uid("b")), ..app }).await;
    moved("another name", true).await;
    let app = replace_app(&*directory, Application { uid: None, ..app }).await;
    moved("no name any more", true).await;
    let app = replace_app(&*directory, Application { uid: Some(uid("a")), ..app }).await;
    moved("a name again", true).await;
    assert!(directory.delete_app(app.id, make.clock.now()).await.expect("answered"));
    moved("a name that died with its application", true).await;
}
