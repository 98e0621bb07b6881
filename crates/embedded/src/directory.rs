//! The directory on SQLite.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use hookyard_core::journal::{Page, PageRequest};
use hookyard_core::port::{
    Counters, Directory, EndpointRef, Expect, Looked, Marker, MarkerClaim, MarkerState, Remembered, Resolved, Validated, Written,
};
use hookyard_core::{AppId, AppRef, Application, Endpoint, EndpointId, EventId, Fault, FaultKind, MessageId, Timestamp, limits};
use hookyard_wire::stored::{StoredEndpoint, read_endpoint, write_endpoint, write_tombstone};
use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::fault::closed;
use crate::freshness;
use crate::pages::{beyond, bounds, cursor_bytes, limit_of, paged};
use crate::store::Store;

#[async_trait]
impl Directory for Store {
    async fn validate(&self, apps: &[Remembered], markers: &[MarkerClaim]) -> Result<Validated, Fault> {
        const OPERATION: &str = "validate a batch";
        let remembered: Arc<[Remembered]> = apps.into();
        let mut found = Vec::new();
        if !markers.is_empty() {
            let (markers, now): (Arc<[MarkerClaim]>, _) = (markers.into(), self.0.seams.clock.now());
            let claim = move |connection: &Connection| {
                let found = markers.iter().map(|claim| claim_marker(connection, claim, now)).collect::<rusqlite::Result<_>>()?;
                Ok((found, counters(connection)?))
            };
            let (claimed, counters) = self.change(OPERATION, claim).await?;
            if remembered.is_empty() {
                return Ok(Validated { counters, apps: Vec::new(), markers: claimed });
            }
            found = claimed;
        }
        let asked = Arc::clone(&remembered);
        let read = move |connection: &Connection| {
            let apps = asked.iter().map(|app| freshness::find(connection, app)).collect::<rusqlite::Result<Vec<_>>>()?;
            Ok((counters(connection)?, apps))
        };
        let (counters, apps) = self.look(OPERATION, read).await?;
        let apps = remembered.iter().zip(apps).map(|(remembered, found)| freshness::judge(remembered, found)).collect();
        Ok(Validated { counters, apps, markers: found })
    }

    async fn mark(&self, markers: &[MarkerClaim], state: MarkerState) -> Result<(), Fault> {
        if markers.is_empty() {
            return Ok(());
        }
        let (markers, now): (Arc<[MarkerClaim]>, _) = (markers.into(), self.0.seams.clock.now());
        let mark = move |connection: &Connection| markers.iter().try_for_each(|claim| move_marker(connection, claim, state, now));
        self.change("mark events", mark).await
    }

    async fn marker(&self, app: AppId, event: &EventId) -> Result<Option<Marker>, Fault> {
        let (event, now) = (event.clone(), self.0.seams.clock.now());
        self.look("read a marker", move |connection| find_marker(connection, app, &event, now)).await
    }

    fn standing(&self) -> Result<(), Fault> {
        const OPERATION: &str = "use what was read";
        if self.0.is_closed() {
            return Err(closed(OPERATION));
        }
        if self.0.emptied.load(Ordering::Relaxed) { Err(Fault::new(FaultKind::WrongDataset, OPERATION)) } else { Ok(()) }
    }

    async fn look_up(&self, endpoints: &[(AppId, EndpointId)]) -> Result<Vec<Looked>, Fault> {
        let asked = endpoints.to_vec();
        let read = move |connection: &Connection| {
            asked.iter().map(|(app, endpoint)| find_record(connection, *app, *endpoint)).collect::<rusqlite::Result<Vec<_>>>()
        };
        let found = self.look("look endpoints up", read).await?;
        Ok(endpoints.iter().zip(found).map(|((_, endpoint), found)| self.looked(*endpoint, found)).collect())
    }

    async fn resolve(&self, apps: &[AppRef]) -> Result<Resolved, Fault> {
        let asked = apps.to_vec();
        let read = move |connection: &Connection| {
            let apps = asked.iter().map(|app| resolve(connection, app)).collect::<rusqlite::Result<_>>()?;
            Ok(Resolved { apps, counters: counters(connection)? })
        };
        self.look("resolve applications", read).await
    }

    async fn app(&self, app: AppId) -> Result<Option<Application>, Fault> {
        const OPERATION: &str = "read an application";
        let read = move |connection: &Connection| {
            let query = "SELECT record FROM applications WHERE id = ?1";
            connection.prepare_cached(query)?.query_row([&app.as_bytes()[..]], |row| row.get::<_, Option<String>>(0)).optional()
        };
        let record = self.look(OPERATION, read).await?.flatten();
        record.map(|record| parse(OPERATION, &record)).transpose()
    }

    async fn apps(&self, page: PageRequest<AppId>) -> Result<Page<Application>, Fault> {
        const OPERATION: &str = "list applications";
        let (newer, from) = bounds(page.from.map(|cursor| cursor_bytes(cursor, |id| id.as_bytes())));
        let query = format!("SELECT record FROM applications WHERE record IS NOT NULL AND id {}", beyond(newer));
        let limit = page.limit;
        let read = move |connection: &Connection| {
            let mut query = connection.prepare_cached(&query)?;
            let records = query.query_map((from, limit_of(limit)), |row| row.get::<_, String>(0))?;
            records.collect::<rusqlite::Result<Vec<_>>>()
        };
        let records = self.look(OPERATION, read).await?;
        paged(records, newer, limit, |record| parse(OPERATION, &record))
    }

    async fn put_app(&self, app: &Application, expect: Expect) -> Result<Written, Fault> {
        const OPERATION: &str = "write an application";
        let app = app.clone();
        let put = move |connection: &Connection| put_app(connection, &app, expected(expect));
        self.change(OPERATION, put).await
    }

    async fn delete_app(&self, app: AppId, now: Timestamp) -> Result<bool, Fault> {
        let delete = move |connection: &Connection| delete_app(connection, app, now);
        self.change("delete an application", delete).await
    }

    async fn endpoint(&self, app: AppId, endpoint: &EndpointRef) -> Result<Option<Endpoint>, Fault> {
        const OPERATION: &str = "read an endpoint";
        let endpoint = endpoint.clone();
        let read = move |connection: &Connection| {
            let (column, value): (_, Vec<u8>) = match &endpoint {
                EndpointRef::Id(id) => ("id = ?2", id.as_bytes().to_vec()),
                EndpointRef::Uid(uid) => ("uid = CAST(?2 AS TEXT)", uid.as_str().as_bytes().to_vec()),
            };
            let query = format!("SELECT record FROM endpoints WHERE app = ?1 AND deleted_at IS NULL AND {column}");
            let mut query = connection.prepare_cached(&query)?;
            query.query_row((&app.as_bytes()[..], value), |row| row.get::<_, String>(0)).optional()
        };
        let record = self.look(OPERATION, read).await?;
        Ok(record.map(|record| self.endpoint_of(&record)).transpose()?.flatten())
    }

    async fn endpoints(&self, app: AppId, page: PageRequest<EndpointId>) -> Result<Page<Endpoint>, Fault> {
        const OPERATION: &str = "list endpoints";
        let (newer, from) = bounds(page.from.map(|cursor| cursor_bytes(cursor, |id| id.as_bytes())));
        let query = format!("SELECT record FROM endpoints WHERE app = ?3 AND deleted_at IS NULL AND id {}", beyond(newer));
        let limit = page.limit;
        let read = move |connection: &Connection| {
            let mut query = connection.prepare_cached(&query)?;
            let records = query.query_map((from, limit_of(limit), &app.as_bytes()[..]), |row| row.get::<_, String>(0))?;
            records.collect::<rusqlite::Result<Vec<_>>>()
        };
        let records = self.look(OPERATION, read).await?;
        let missing = || Fault::new(FaultKind::Corrupt, OPERATION);
        paged(records, newer, limit, |record| self.endpoint_of(&record)?.ok_or_else(missing))
    }

    async fn put_endpoint(&self, endpoint: &Endpoint, expect: Expect) -> Result<Written, Fault> {
        const OPERATION: &str = "write an endpoint";
        let revision = expected(expect) + 1;
        let stored = Endpoint { revision, ..endpoint.clone() };
        let refused = |error| Fault::caused(FaultKind::Refused, OPERATION, error);
        let record = write_endpoint(&stored, &self.0.seams.keys, &*self.0.seams.entropy).map_err(refused)?;
        let put = move |connection: &Connection| put_endpoint(connection, &stored, &record);
        self.change(OPERATION, put).await
    }

    async fn delete_endpoint(&self, app: AppId, endpoint: EndpointId, now: Timestamp) -> Result<bool, Fault> {
        const OPERATION: &str = "delete an endpoint";
        let tombstone = write_tombstone(endpoint, now).map_err(|error| Fault::caused(FaultKind::Refused, OPERATION, error))?;
        let delete = move |connection: &Connection| delete_endpoint(connection, app, endpoint, &tombstone, now);
        self.change(OPERATION, delete).await
    }
}

/// What a look-up finds of an endpoint: its application's record (`None` once deleted), and its own.
type FoundEndpoint = Option<(Option<String>, Option<String>)>;

impl Store {
    /// Reads, unless the file was emptied under us: what is not there then was not deleted.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        operation: &'static str,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let guarded = |_: &_, connection: &Connection| is_whole(connection)?.then(|| read(connection)).transpose();
        self.unless_emptied(operation, self.0.read(operation, guarded).await?)
    }

    /// Changes, unless the file was emptied under us.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        operation: &'static str,
        mut change: impl FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let guarded = move |connection: &Connection| is_whole(connection)?.then(|| change(connection)).transpose();
        self.unless_emptied(operation, self.0.write(operation, guarded).await?)
    }

    fn unless_emptied<T>(&self, operation: &'static str, found: Option<T>) -> Result<T, Fault> {
        self.0.emptied.store(found.is_none(), Ordering::Relaxed);
        found.ok_or_else(|| Fault::new(FaultKind::WrongDataset, operation))
    }

    fn endpoint_of(&self, record: &str) -> Result<Option<Endpoint>, Fault> {
        let read = read_endpoint(record.as_bytes(), &self.0.seams.keys);
        match read.map_err(|error| Fault::corrupt("read an endpoint", error))? {
            StoredEndpoint::Present(endpoint) => Ok(Some(*endpoint)),
            StoredEndpoint::Deleted(_) => Ok(None),
        }
    }

    fn looked(&self, id: EndpointId, found: FoundEndpoint) -> Looked {
        let Some((app, endpoint)) = found else { return Looked::Absent };
        let Some(app) = app else { return Looked::Deleted };
        let Some(endpoint) = endpoint else { return Looked::Absent };
        let read = self.endpoint_of(&endpoint).and_then(|endpoint| Ok((endpoint, parse("read an application", &app)?)));
        match read {
            Ok((None, _)) => Looked::Deleted,
            Ok((Some(endpoint), app)) => {
                Looked::Found { endpoint: Arc::new(endpoint), app_disabled: app.disabled, app_rate: app.throttle_rate }
            }
            // One that cannot be read stops its own deliveries alone.
            Err(fault) => {
                tracing::error!(endpoint = %id, error = fault.chain(), "an endpoint cannot be read");
                Looked::Absent
            }
        }
    }
}

fn parse(operation: &'static str, record: &str) -> Result<Application, Fault> {
    serde_json::from_str(record).map_err(|error| Fault::corrupt(operation, error))
}

pub fn expected(expect: Expect) -> u64 {
    match expect {
        Expect::New => 0,
        Expect::Revision(revision) => revision,
    }
}

/// Whether the row is there that every file has from its first moment on.
fn is_whole(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM counters WHERE name = 'names')")?.query_row([], |row| row.get(0))
}

fn counters(connection: &Connection) -> rusqlite::Result<Counters> {
    let query = "SELECT (SELECT value FROM counters WHERE name = 'names'), (SELECT value FROM counters WHERE name = 'catalog')";
    let read = |row: &Row<'_>| Ok(Counters { names: row.get(0)?, catalog: row.get(1)? });
    connection.prepare_cached(query)?.query_row([], read)
}

fn resolve(connection: &Connection, app: &AppRef) -> rusqlite::Result<Option<AppId>> {
    let (column, value) = match app {
        AppRef::Id(id) => ("id = ?1", id.as_bytes().to_vec()),
        AppRef::Uid(uid) => ("uid = CAST(?1 AS TEXT)", uid.as_str().as_bytes().to_vec()),
    };
    let query = format!("SELECT id FROM applications WHERE record IS NOT NULL AND {column}");
    let found: Option<Vec<u8>> = connection.prepare_cached(&query)?.query_row([value], |row| row.get(0)).optional()?;
    Ok(found.and_then(|id| AppId::from_slice(&id)))
}

fn find_record(connection: &Connection, app: AppId, endpoint: EndpointId) -> rusqlite::Result<FoundEndpoint> {
    let query =
        "SELECT a.record, e.record FROM applications a LEFT JOIN endpoints e ON e.app = a.id AND e.id = ?2 WHERE a.id = ?1";
    let mut query = connection.prepare_cached(query)?;
    query.query_row((&app.as_bytes()[..], &endpoint.as_bytes()[..]), |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

fn put_app(connection: &Connection, app: &Application, expected: u64) -> rusqlite::Result<Written> {
    let id = &app.id.as_bytes()[..];
    let query = "SELECT revision, uid, record IS NULL FROM applications WHERE id = ?1";
    let known = connection
        .prepare_cached(query)?
        .query_row([id], |row| Ok((row.get::<_, u64>(0)?, row.get::<_, Option<String>>(1)?, row.get::<_, bool>(2)?)));
    let (revision, old_uid, deleted) = known.optional()?.unwrap_or((0, None, false));
    if deleted {
        return Ok(Written::NoApp);
    }
    if revision != expected {
        return Ok(Written::Conflict);
    }
    let uid = app.uid.as_ref().map(ToString::to_string);
    if uid.is_some() && uid != old_uid {
        let taken = "SELECT EXISTS (SELECT 1 FROM applications WHERE uid = ?1)";
        if connection.prepare_cached(taken)?.query_row([&uid], |row| row.get(0))? {
            return Ok(Written::UidTaken);
        }
    }
    let record = Application { revision: revision + 1, ..app.clone() };
    let record = serde_json::to_string(&record).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    // The whole application changed: no list of endpoint changes describes that.
    let put = "INSERT INTO applications (id, uid, record, revision, version, floor) VALUES (?1, ?2, ?3, ?4, 1, 1)
               ON CONFLICT (id) DO UPDATE SET uid = ?2, record = ?3, revision = ?4, version = version + 1, floor = version + 1";
    connection.prepare_cached(put)?.execute((id, &uid, record, revision + 1))?;
    if uid != old_uid {
        move_names(connection)?;
    }
    Ok(Written::Done(revision + 1))
}

fn move_names(connection: &Connection) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE counters SET value = value + 1 WHERE name = 'names'")?.execute([]).map(drop)
}

fn delete_app(connection: &Connection, app: AppId, now: Timestamp) -> rusqlite::Result<bool> {
    let id = &app.as_bytes()[..];
    let bury = "UPDATE applications SET record = NULL, uid = NULL, deleted_at = ?2, version = version + 1, floor = version + 1
                WHERE id = ?1 AND record IS NOT NULL";
    if connection.prepare_cached(bury)?.execute((id, now.as_millis()))? == 0 {
        return Ok(false);
    }
    connection.prepare_cached("DELETE FROM endpoints WHERE app = ?1")?.execute([id])?;
    move_names(connection)?;
    Ok(true)
}

/// The application's next version, if it is there.
fn next_version(connection: &Connection, app: AppId) -> rusqlite::Result<Option<u64>> {
    let bump = "UPDATE applications SET version = version + 1 WHERE id = ?1 AND record IS NOT NULL RETURNING version";
    connection.prepare_cached(bump)?.query_row([&app.as_bytes()[..]], |row| row.get(0)).optional()
}

fn put_endpoint(connection: &Connection, endpoint: &Endpoint, record: &str) -> rusqlite::Result<Written> {
    let (app, id) = (&endpoint.app.as_bytes()[..], &endpoint.id.as_bytes()[..]);
    let there = "SELECT EXISTS (SELECT 1 FROM applications WHERE id = ?1 AND record IS NOT NULL)";
    if !connection.prepare_cached(there)?.query_row([app], |row| row.get::<_, bool>(0))? {
        return Ok(Written::NoApp);
    }
    let query = "SELECT revision, deleted_at IS NOT NULL FROM endpoints WHERE app = ?1 AND id = ?2";
    let known = connection.prepare_cached(query)?.query_row((app, id), |row| Ok((row.get::<_, u64>(0)?, row.get(1)?)));
    let (revision, deleted) = known.optional()?.unwrap_or((0, false));
    // Deleted for good: its id is not used again.
    if deleted || revision + 1 != endpoint.revision {
        return Ok(Written::Conflict);
    }
    let uid = endpoint.uid.as_ref().map(ToString::to_string);
    let taken = "SELECT EXISTS (SELECT 1 FROM endpoints WHERE app = ?1 AND uid = ?2 AND id <> ?3)";
    if uid.is_some() && connection.prepare_cached(taken)?.query_row((app, &uid, id), |row| row.get(0))? {
        return Ok(Written::UidTaken);
    }
    let Some(version) = next_version(connection, endpoint.app)? else { return Ok(Written::NoApp) };
    let put = "INSERT INTO endpoints (app, id, uid, record, revision, changed) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
               ON CONFLICT (app, id) DO UPDATE SET uid = ?3, record = ?4, revision = ?5, changed = ?6";
    connection.prepare_cached(put)?.execute((app, id, uid, record, endpoint.revision, version))?;
    Ok(Written::Done(endpoint.revision))
}

fn delete_endpoint(
    connection: &Connection,
    app: AppId,
    endpoint: EndpointId,
    tombstone: &str,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let (owner, id) = (&app.as_bytes()[..], &endpoint.as_bytes()[..]);
    let there = "SELECT EXISTS (SELECT 1 FROM endpoints WHERE app = ?1 AND id = ?2 AND deleted_at IS NULL)";
    if !connection.prepare_cached(there)?.query_row((owner, id), |row| row.get::<_, bool>(0))? {
        return Ok(false);
    }
    let Some(version) = next_version(connection, app)? else { return Ok(false) };
    let bury = "UPDATE endpoints SET uid = NULL, record = ?3, changed = ?4, deleted_at = ?5 WHERE app = ?1 AND id = ?2";
    connection.prepare_cached(bury)?.execute((owner, id, tombstone, version, now.as_millis()))?;
    Ok(true)
}

fn height(state: MarkerState) -> i64 {
    match state {
        MarkerState::Claimed => 1,
        MarkerState::Accepted => 2,
        MarkerState::Routed => 3,
    }
}

/// What was there before, if anything; otherwise the proposal is there now.
fn claim_marker(connection: &Connection, claim: &MarkerClaim, now: Timestamp) -> rusqlite::Result<Option<Marker>> {
    let found = find_marker(connection, claim.app, &claim.event_id, now)?;
    if found.is_none() {
        write_marker(connection, claim, claim.proposed.state, now)?;
    }
    Ok(found)
}

/// One that cannot be read is none: the price is a duplicate.
fn find_marker(connection: &Connection, app: AppId, event: &EventId, now: Timestamp) -> rusqlite::Result<Option<Marker>> {
    let query = "SELECT state, content, message FROM markers WHERE app = ?1 AND event = ?2 AND expires_at > ?3";
    let row = (&app.as_bytes()[..], event.as_str(), now.as_millis());
    let found = connection
        .prepare_cached(query)?
        .query_row(row, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, Vec<u8>>(2)?)));
    let Some((state, content, message)) = found.optional()? else { return Ok(None) };
    let state = match state {
        3 => MarkerState::Routed,
        2 => MarkerState::Accepted,
        _ => MarkerState::Claimed,
    };
    let (Some(message), Ok(content)) = (MessageId::from_slice(&message), content.try_into()) else { return Ok(None) };
    Ok(Some(Marker { message, content, state }))
}

fn write_marker(connection: &Connection, claim: &MarkerClaim, state: MarkerState, now: Timestamp) -> rusqlite::Result<()> {
    let put = "INSERT OR REPLACE INTO markers (app, event, state, content, message, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let (app, event, marker) = (&claim.app.as_bytes()[..], claim.event_id.as_str(), &claim.proposed);
    let expires_at = now.plus(limits::MARKER_TTL).as_millis();
    let row = (app, event, height(state), &marker.content[..], &marker.message.as_bytes()[..], expires_at);
    connection.prepare_cached(put)?.execute(row).map(drop)
}

/// Moves a marker on, never back.
fn move_marker(connection: &Connection, claim: &MarkerClaim, state: MarkerState, now: Timestamp) -> rusqlite::Result<()> {
    let query = "SELECT state FROM markers WHERE app = ?1 AND event = ?2 AND expires_at > ?3";
    let row = (&claim.app.as_bytes()[..], claim.event_id.as_str(), now.as_millis());
    let known: Option<i64> = connection.prepare_cached(query)?.query_row(row, |row| row.get(0)).optional()?;
    if known.is_some_and(|known| known >= height(state)) {
        return Ok(());
    }
    write_marker(connection, claim, state, now)
}
