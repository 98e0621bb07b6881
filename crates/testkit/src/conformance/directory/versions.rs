//! What a router remembers, and what it is told of the changes since.

use std::collections::BTreeMap;
use std::sync::Arc;

use hookyard_core::directory::Version;
use hookyard_core::port::{Directory, Expect, Freshness, Remembered, Written};
use hookyard_core::{AppId, Application, Endpoint, EndpointId, Subscription};

use super::{DirectoryBackend, make, put_app, put_endpoint, replace_app, replace_endpoint};

pub fn remembered(app: AppId, version: Option<Version>) -> Remembered {
    Remembered { app, version }
}

/// A router's memory of one application: it knows only what it is told.
#[derive(Debug)]
struct Follower {
    app: AppId,
    version: Option<Version>,
    disabled: bool,
    subscriptions: BTreeMap<EndpointId, Subscription>,
}

impl Follower {
    fn of(app: AppId) -> Self {
        Self { app, version: None, disabled: false, subscriptions: BTreeMap::new() }
    }

    /// Asks what changed, remembers it, and says in which way it was told.
    async fn follow(&mut self, directory: &dyn Directory) -> &'static str {
        let mut validated = directory.validate(&[remembered(self.app, self.version.clone())], &[]).await.expect("answered");
        assert_eq!(validated.apps.len(), 1);
        self.learn(validated.apps.remove(0))
    }

    fn learn(&mut self, freshness: Freshness) -> &'static str {
        match freshness {
            Freshness::Current => "current",
            Freshness::Changed { version, disabled, put, removed } => {
                (self.version, self.disabled) = (Some(version), disabled);
                self.subscriptions.extend(put.into_iter().map(|subscription| (subscription.endpoint, subscription)));
                self.subscriptions.retain(|id, _| !removed.contains(id));
                "changed"
            }
            Freshness::Replaced { version, disabled, all } => {
                (self.version, self.disabled) = (Some(version), disabled);
                self.subscriptions = all.into_iter().map(|subscription| (subscription.endpoint, subscription)).collect();
                "replaced"
            }
            Freshness::Gone => "gone",
            Freshness::Untrusted => "untrusted",
        }
    }

    fn knows<'a>(&self, endpoints: impl IntoIterator<Item = &'a Endpoint>) {
        let expected: BTreeMap<EndpointId, Subscription> =
            endpoints.into_iter().map(|endpoint| (endpoint.id, endpoint.subscription())).collect();
        assert!(self.subscriptions == expected, "{:?}\nis not\n{expected:?}", self.subscriptions);
    }
}

pub async fn a_change_is_seen_by_the_next_validate(backend: &dyn DirectoryBackend) {
    let (directory, make) = (backend.directory(), make());
    let app = put_app(&*directory, make.app()).await;
    let mut follower = Follower::of(app.id);
    assert_eq!(follower.follow(&*directory).await, "replaced");
    follower.knows([]);
    let types = ["user.*", "a"].map(|pattern| pattern.parse().expect("a pattern")).into();
    let channels = vec!["client_1".parse().expect("a channel")];
    let mut endpoint = put_endpoint(&*directory, Endpoint { event_types: types, channels, ..make.endpoint(app.id) }).await;
    for number in 0..20 {
        assert_ne!(follower.follow(&*directory).await, "current");
        follower.knows([&endpoint]);
        assert_eq!(follower.follow(&*directory).await, "current");
        endpoint.disabled = number % 2 == 0;
        endpoint.event_types = vec![format!("type.{number}").parse().expect("a pattern")];
        endpoint = replace_endpoint(&*directory, endpoint).await;
    }
    assert!(directory.delete_endpoint(app.id, endpoint.id, make.clock.now()).await.expect("answered"));
    assert_ne!(follower.follow(&*directory).await, "current");
    follower.knows([]);
}

pub async fn only_what_changed_is_read_again(backend: &dyn DirectoryBackend) {
    let (directory, make) = (backend.directory(), make());
    let (app, other) = (put_app(&*directory, make.app()).await, put_app(&*directory, make.app()).await);
    let mut endpoints = Vec::new();
    for _ in 0..20 {
        endpoints.push(put_endpoint(&*directory, make.endpoint(app.id)).await);
    }
    let mut followers = [Follower::of(app.id), Follower::of(other.id)];
    for follower in &mut followers {
        follower.follow(&*directory).await;
    }
    endpoints[3].disabled = true;
    let changed = replace_endpoint(&*directory, endpoints[3].clone()).await;
    // Changed twice is told once, and what came and went is only gone.
    let changed = replace_endpoint(&*directory, Endpoint { disabled: false, ..changed }).await;
    let passing = put_endpoint(&*directory, make.endpoint(app.id)).await;
    for id in [endpoints[5].id, passing.id] {
        assert!(directory.delete_endpoint(app.id, id, make.clock.now()).await.expect("answered"));
    }
    let asked = followers.each_ref().map(|follower| remembered(follower.app, follower.version.clone()));
    let validated = directory.validate(&asked, &[]).await.expect("answered");
    let [Freshness::Changed { disabled: false, put, removed, .. }, Freshness::Current] = &validated.apps[..] else {
        panic!("{:?}", validated.apps)
    };
    assert_eq!(put[..], [changed.subscription()]);
    let known: Vec<EndpointId> = removed.iter().copied().filter(|id| *id != passing.id).collect();
    assert_eq!(known, [endpoints[5].id]);
    // An answer that was not remembered is given again; asked both ways at once, each is answered for itself.
    let asked = [asked[1].clone(), remembered(app.id, None), asked[0].clone(), asked[1].clone()];
    let again = directory.validate(&asked, &[]).await.expect("answered");
    let ways: Vec<&str> = again.apps.into_iter().map(|freshness| Follower::of(app.id).learn(freshness)).collect();
    assert_eq!(ways, ["current", "replaced", "changed", "current"]);
}

pub async fn a_write_that_was_refused_changes_nothing(backend: &dyn DirectoryBackend) {
    let (directory, make) = (backend.directory(), make());
    let uid = Some("a".parse().expect("a uid"));
    let app = put_app(&*directory, Application { uid: uid.clone(), ..make.app() }).await;
    let endpoint = put_endpoint(&*directory, Endpoint { uid: uid.clone(), ..make.endpoint(app.id) }).await;
    let mut follower = Follower::of(app.id);
    follower.follow(&*directory).await;
    let taken = Endpoint { uid, ..make.endpoint(app.id) };
    assert_eq!(directory.put_endpoint(&endpoint, Expect::New).await.expect("answered"), Written::Conflict);
    assert_eq!(directory.put_endpoint(&taken, Expect::New).await.expect("answered"), Written::UidTaken);
    assert_eq!(directory.put_app(&app, Expect::Revision(9)).await.expect("answered"), Written::Conflict);
    let now = make.clock.now();
    assert!(!directory.delete_endpoint(app.id, taken.id, now).await.expect("answered"));
    assert_eq!(follower.follow(&*directory).await, "current");
    follower.knows([&endpoint]);
}

pub async fn an_application_switched_off_is_told(backend: &dyn DirectoryBackend) {
    let (directory, make) = (backend.directory(), make());
    let app = put_app(&*directory, make.app()).await;
    let endpoint = put_endpoint(&*directory, make.endpoint(app.id)).await;
    let mut follower = Follower::of(app.id);
    follower.follow(&*directory).await;
    assert!(!follower.disabled);
    let app = replace_app(&*directory, Application { disabled: true, ..app }).await;
    assert_ne!(follower.follow(&*directory).await, "current");
    assert!(follower.disabled);
    // A change of an endpoint does not switch it on again.
    let endpoint = replace_endpoint(&*directory, endpoint).await;
    assert_ne!(follower.follow(&*directory).await, "current");
    assert!(follower.disabled);
    replace_app(&*directory, Application { disabled: false, ..app }).await;
    assert_ne!(follower.follow(&*directory).await, "current");
    assert!(!follower.disabled);
    follower.knows([&endpoint]);
}

pub async fn an_unknown_or_deleted_application_is_gone(backend: &dyn DirectoryBackend) {
    let (directory, make) = (backend.directory(), make());
    let app = put_app(&*directory, make.app()).await;
    let mut follower = Follower::of(app.id);
    follower.follow(&*directory).await;
    assert!(directory.delete_app(app.id, make.clock.now()).await.expect("answered"));
    assert_eq!(follower.follow(&*directory).await, "gone");
    assert_eq!(Follower::of(app.id).follow(&*directory).await, "gone");
    assert_eq!(Follower::of(make.app().id).follow(&*directory).await, "gone");
}

pub async fn what_a_store_does_not_know_any_more_is_read_anew(backend: &dyn DirectoryBackend) {
    let (directory, make) = (backend.directory(), make());
    let app = put_app(&*directory, make.app()).await;
    let endpoint = put_endpoint(&*directory, make.endpoint(app.id)).await;
    let mut follower = Follower::of(app.id);
    follower.follow(&*directory).await;
    let known = follower.version.clone().expect("a version");
    // What a router remembers of a history that the store has lost since: of more changes, as many, or fewer.
    let nonce: Arc<str> = format!("lost{}", known.nonce).into();
    let lost = [3, 2, 1, 0].map(|fewer| Version { counter: known.counter + 2 - fewer, nonce: Arc::clone(&nonce) });
    for version in lost {
        let counter = version.counter;
        follower.version = Some(version);
        follower.subscriptions.clear();
        assert_eq!(follower.follow(&*directory).await, "replaced", "{counter}");
        follower.knows([&endpoint]);
        assert_eq!(follower.version, Some(known.clone()));
    }
    assert_eq!(follower.follow(&*directory).await, "current");
}

pub async fn whoever_follows_the_changes_ends_where_the_store_is(backend: &dyn DirectoryBackend) {
    let (directory, make) = (backend.directory(), make());
    let mut app = put_app(&*directory, make.app()).await;
    let mut stored: BTreeMap<EndpointId, Endpoint> = BTreeMap::new();
    // One asks after every change, the other now and then.
    let (mut eager, mut lazy) = (Follower::of(app.id), Follower::of(app.id));
    for _ in 0..400 {
        let some = stored.values().nth(usize::try_from(make.entropy.below(stored.len().max(1) as u64)).unwrap_or(0)).cloned();
        match (make.entropy.below(12), some) {
            (0, _) => app = replace_app(&*directory, Application { disabled: !app.disabled, ..app }).await,
            (1..=3, Some(endpoint)) => {
                assert!(directory.delete_endpoint(app.id, endpoint.id, make.clock.now()).await.expect("answered"));
                stored.remove(&endpoint.id);
            }
            (4..=8, Some(endpoint)) => {
                let changed = Endpoint { disabled: !endpoint.disabled, ..endpoint };
                stored.insert(changed.id, replace_endpoint(&*directory, changed).await);
            }
            _ => {
                let endpoint = put_endpoint(&*directory, make.endpoint(app.id)).await;
                stored.insert(endpoint.id, endpoint);
            }
        }
        assert_ne!(eager.follow(&*directory).await, "current");
        eager.knows(stored.values());
        assert_eq!(eager.disabled, app.disabled);
        if make.entropy.below(20) == 0 {
            lazy.follow(&*directory).await;
            lazy.knows(stored.values());
            assert_eq!(lazy.disabled, app.disabled);
        }
    }
}

pub async fn a_router_that_was_away_for_long_catches_up(backend: &dyn DirectoryBackend) {
    let (directory, make) = (backend.directory(), make());
    let app = put_app(&*directory, make.app()).await;
    let mut endpoints = Vec::new();
    for _ in 0..10 {
        endpoints.push(put_endpoint(&*directory, make.endpoint(app.id)).await);
    }
    let mut away = Follower::of(app.id);
    away.follow(&*directory).await;
    assert!(directory.delete_endpoint(app.id, endpoints.remove(0).id, make.clock.now()).await.expect("answered"));
    endpoints[0] = replace_endpoint(&*directory, Endpoint { disabled: true, ..endpoints[0].clone() }).await;
    // More endpoints than any store keeps a list of changes for.
    for _ in 0..2_500 {
        endpoints.push(put_endpoint(&*directory, make.endpoint(app.id)).await);
    }
    away.follow(&*directory).await;
    away.knows(&endpoints);
    assert_eq!(away.follow(&*directory).await, "current");
}
