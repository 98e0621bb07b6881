//! What one application owns, and how it stands against what a router remembers.

use std::collections::BTreeMap;
use std::sync::Arc;

use hookyard_core::directory::Version;
use hookyard_core::port::Freshness;
use hookyard_core::{Application, Endpoint, EndpointId, Uid};

/// An application with its endpoints, or its tombstone.
#[derive(Clone, Debug, Default)]
pub struct Owned {
    /// The application; `None` once it was deleted.
    pub app: Option<Application>,
    pub endpoints: BTreeMap<EndpointId, Slot>,
    pub uids: BTreeMap<Uid, EndpointId>,
    version: u64,
    /// Only what changed after this version can be told endpoint by endpoint.
    floor: u64,
}

/// An endpoint, or its tombstone.
#[derive(Clone, Debug)]
pub struct Slot {
    pub endpoint: Option<Arc<Endpoint>>,
    /// The application's version when it last changed.
    changed: u64,
}

impl Owned {
    /// The application itself changed, or is gone: no list of endpoints describes that.
    pub fn replace(&mut self, app: Option<Application>) {
        self.version += 1;
        self.floor = self.version;
        if app.is_none() {
            self.endpoints.clear();
            self.uids.clear();
        }
        self.app = app;
    }

    /// An endpoint was written or, without one, deleted. Its uid goes with it.
    pub fn change(&mut self, id: EndpointId, endpoint: Option<Endpoint>) {
        self.version += 1;
        self.uids.retain(|_, owner| *owner != id);
        if let Some(uid) = endpoint.as_ref().and_then(|endpoint| endpoint.uid.clone()) {
            self.uids.insert(uid, id);
        }
        self.endpoints.insert(id, Slot { endpoint: endpoint.map(Arc::new), changed: self.version });
    }

    /// The endpoint, if it is there.
    pub fn present(&self, id: EndpointId) -> Option<&Arc<Endpoint>> {
        self.endpoints.get(&id).and_then(|slot| slot.endpoint.as_ref())
    }

    /// How what somebody remembers stands against this.
    pub fn freshness(&self, remembered: Option<&Version>) -> Freshness {
        let Some(app) = &self.app else { return Freshness::Gone };
        let (version, disabled) = (self.version(), app.disabled);
        let since = match remembered {
            Some(known) if *known == version => return Freshness::Current,
            Some(known) if known.nonce == version.nonce && (self.floor..version.counter).contains(&known.counter) => {
                known.counter
            }
            _ => {
                let present = self.endpoints.values().filter_map(|slot| slot.endpoint.as_ref());
                return Freshness::Replaced { version, disabled, all: present.map(|endpoint| endpoint.subscription()).collect() };
            }
        };
        let (mut put, mut removed) = (Vec::new(), Vec::new());
        for (id, slot) in self.endpoints.iter().filter(|(_, slot)| slot.changed > since) {
            match &slot.endpoint {
                Some(endpoint) => put.push(endpoint.subscription()),
                None => removed.push(*id),
            }
        }
        Freshness::Changed { version, disabled, put, removed }
    }

    /// Memory does not fail over: a counter is never used twice, and one nonce does for all.
    fn version(&self) -> Version {
        Version { counter: self.version, nonce: Arc::from("memory") }
    }
}
