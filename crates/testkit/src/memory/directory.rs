//! The directory in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use hookyard_core::journal::{Page, PageRequest};
use hookyard_core::port::{
    Counters, Directory, EndpointRef, Expect, Freshness, Looked, Marker, MarkerClaim, MarkerState, Remembered, Resolved,
    Validated, Written,
};
use hookyard_core::{AppId, AppRef, Application, Endpoint, EndpointId, EventId, Fault, FaultKind, Timestamp, Uid};

use super::catalog::EventTypes;
use super::owned::Owned;
use super::page::page;

/// Applications, endpoints, markers, and the event catalog.
#[derive(Default)]
pub struct MemoryDirectory(Mutex<State>);

#[derive(Default)]
pub(super) struct State {
    /// Deleted applications stay, without their record.
    apps: BTreeMap<AppId, Owned>,
    uids: BTreeMap<Uid, AppId>,
    markers: HashMap<(AppId, EventId), Marker>,
    names: u64,
    pub(super) catalog: EventTypes,
    emptied: bool,
}

impl MemoryDirectory {
    /// Loses everything, as a store does that was emptied by accident: from then on nothing is answered.
    pub fn empty(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State { emptied: true, ..State::default() };
    }

    /// The state, unless it is an emptied one's.
    pub(super) fn state(&self, operation: &'static str) -> Result<MutexGuard<'_, State>, Fault> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.emptied { Err(Fault::new(FaultKind::WrongDataset, operation)) } else { Ok(state) }
    }
}

impl State {
    fn counters(&self) -> Counters {
        Counters { names: self.names, catalog: self.catalog.changes }
    }

    fn app(&self, app: AppId) -> Option<&Application> {
        self.apps.get(&app).and_then(|owned| owned.app.as_ref())
    }

    fn look_up(&self, app: AppId, endpoint: EndpointId) -> Looked {
        let Some(owned) = self.apps.get(&app) else { return Looked::Absent };
        let Some(record) = &owned.app else { return Looked::Deleted };
        match owned.endpoints.get(&endpoint) {
            None => Looked::Absent,
            Some(slot) => match &slot.endpoint {
                None => Looked::Deleted,
                Some(endpoint) => {
                    let (app_disabled, app_rate) = (record.disabled, record.throttle_rate);
                    Looked::Found { endpoint: endpoint.clone(), app_disabled, app_rate }
                }
            },
        }
    }

    /// Gives an application's uid to it and takes its old one away.
    fn rename(&mut self, app: AppId, uid: Option<&Uid>) {
        if self.app(app).and_then(|record| record.uid.as_ref()) == uid {
            return;
        }
        self.uids.retain(|_, owner| *owner != app);
        if let Some(uid) = uid {
            self.uids.insert(uid.clone(), app);
        }
        self.names += 1;
    }
}

#[async_trait]
impl Directory for MemoryDirectory {
    async fn validate(&self, apps: &[Remembered], markers: &[MarkerClaim]) -> Result<Validated, Fault> {
        let mut state = self.state("validate a batch")?;
        let freshness = |remembered: &Remembered| match state.apps.get(&remembered.app) {
            Some(owned) => owned.freshness(remembered.version.as_ref()),
            None => Freshness::Gone,
        };
        let apps = apps.iter().map(freshness).collect();
        let mut found = Vec::with_capacity(markers.len());
        for claim in markers {
            let key = (claim.app, claim.event_id.clone());
            found.push(state.markers.get(&key).copied());
            state.markers.entry(key).or_insert(claim.proposed);
        }
        Ok(Validated { counters: state.counters(), apps, markers: found })
    }

    async fn marker(&self, app: AppId, event: &EventId) -> Result<Option<Marker>, Fault> {
        Ok(self.state("read a marker")?.markers.get(&(app, event.clone())).copied())
    }

    async fn mark(&self, markers: &[MarkerClaim], state: MarkerState) -> Result<(), Fault> {
        let height = |state: MarkerState| state as u8;
        let mut known = self.state("mark events")?;
        for claim in markers {
            let moved = Marker { state, ..claim.proposed };
            let marker = known.markers.entry((claim.app, claim.event_id.clone())).or_insert(moved);
            if height(marker.state) < height(state) {
                *marker = moved;
            }
        }
        Ok(())
    }

    fn standing(&self) -> Result<(), Fault> {
        self.state("use what was read").map(drop)
    }

    async fn look_up(&self, endpoints: &[(AppId, EndpointId)]) -> Result<Vec<Looked>, Fault> {
        let state = self.state("look endpoints up")?;
        Ok(endpoints.iter().map(|(app, endpoint)| state.look_up(*app, *endpoint)).collect())
    }

    async fn resolve(&self, apps: &[AppRef]) -> Result<Resolved, Fault> {
        let state = self.state("resolve applications")?;
        let id = |app: &AppRef| match app {
            AppRef::Id(id) => state.app(*id).map(|app| app.id),
            AppRef::Uid(uid) => state.uids.get(uid).copied(),
        };
        Ok(Resolved { apps: apps.iter().map(id).collect(), counters: state.counters() })
    }

    async fn app(&self, app: AppId) -> Result<Option<Application>, Fault> {
        Ok(self.state("read an application")?.app(app).cloned())
    }

    async fn apps(&self, request: PageRequest<AppId>) -> Result<Page<Application>, Fault> {
        let state = self.state("list applications")?;
        let present = state.apps.iter().filter(|(_, owned)| owned.app.is_some()).map(|(id, _)| *id);
        let Page { items, done, .. } = page(present, request);
        Ok(Page::whole(items.into_iter().filter_map(|id| state.app(id).cloned()).collect(), done))
    }

    async fn put_app(&self, app: &Application, expect: Expect) -> Result<Written, Fault> {
        let mut state = self.state("write an application")?;
        let revision = match state.apps.get(&app.id) {
            None => 0,
            Some(Owned { app: None, .. }) => return Ok(Written::NoApp),
            Some(Owned { app: Some(known), .. }) => known.revision,
        };
        if !meets(expect, revision) {
            return Ok(Written::Conflict);
        }
        if app.uid.as_ref().and_then(|uid| state.uids.get(uid)).is_some_and(|owner| *owner != app.id) {
            return Ok(Written::UidTaken);
        }
        state.rename(app.id, app.uid.as_ref());
        let written = Application { revision: revision + 1, ..app.clone() };
        state.apps.entry(app.id).or_default().replace(Some(written));
        Ok(Written::Done(revision + 1))
    }

    async fn delete_app(&self, app: AppId, _now: Timestamp) -> Result<bool, Fault> {
        let mut state = self.state("delete an application")?;
        if state.app(app).is_none() {
            return Ok(false);
        }
        state.rename(app, None);
        state.apps.entry(app).or_default().replace(None);
        Ok(true)
    }

    async fn endpoint(&self, app: AppId, endpoint: &EndpointRef) -> Result<Option<Endpoint>, Fault> {
        let state = self.state("read an endpoint")?;
        let Some(owned) = state.apps.get(&app) else { return Ok(None) };
        let id = match endpoint {
            EndpointRef::Id(id) => Some(id),
            EndpointRef::Uid(uid) => owned.uids.get(uid),
        };
        Ok(id.and_then(|id| owned.present(*id)).map(|endpoint| Endpoint::clone(endpoint)))
    }

    async fn endpoints(&self, app: AppId, request: PageRequest<EndpointId>) -> Result<Page<Endpoint>, Fault> {
        let state = self.state("list endpoints")?;
        let Some(owned) = state.apps.get(&app) else { return Ok(Page::whole(Vec::new(), true)) };
        let present = owned.endpoints.iter().filter(|(_, slot)| slot.endpoint.is_some()).map(|(id, _)| *id);
        let Page { items, done, .. } = page(present, request);
        let items = items.into_iter().filter_map(|id| owned.present(id)).map(|endpoint| Endpoint::clone(endpoint)).collect();
        Ok(Page::whole(items, done))
    }

    async fn put_endpoint(&self, endpoint: &Endpoint, expect: Expect) -> Result<Written, Fault> {
        let mut state = self.state("write an endpoint")?;
        let Some(owned) = state.apps.get_mut(&endpoint.app).filter(|owned| owned.app.is_some()) else {
            return Ok(Written::NoApp);
        };
        let revision = match owned.endpoints.get(&endpoint.id) {
            None => 0,
            Some(slot) => match &slot.endpoint {
                // Deleted for good: its id is not used again.
                None => return Ok(Written::Conflict),
                Some(known) => known.revision,
            },
        };
        if !meets(expect, revision) {
            return Ok(Written::Conflict);
        }
        if endpoint.uid.as_ref().and_then(|uid| owned.uids.get(uid)).is_some_and(|owner| *owner != endpoint.id) {
            return Ok(Written::UidTaken);
        }
        owned.change(endpoint.id, Some(Endpoint { revision: revision + 1, ..endpoint.clone() }));
        Ok(Written::Done(revision + 1))
    }

    async fn delete_endpoint(&self, app: AppId, endpoint: EndpointId, _now: Timestamp) -> Result<bool, Fault> {
        let mut state = self.state("delete an endpoint")?;
        let Some(owned) = state.apps.get_mut(&app).filter(|owned| owned.present(endpoint).is_some()) else { return Ok(false) };
        owned.change(endpoint, None);
        Ok(true)
    }
}

/// Whether what a writer expects to replace is what is there; 0 stands for nothing.
pub(super) fn meets(expect: Expect, revision: u64) -> bool {
    match expect {
        Expect::New => revision == 0,
        Expect::Revision(expected) => revision != 0 && revision == expected,
    }
}
