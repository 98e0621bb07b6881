//! The routing snapshot: what changed in an application since a version, or everything.

use std::sync::Arc;

use hookyard_core::directory::Version;
use hookyard_core::port::{Freshness, Remembered};
use hookyard_core::{AppId, Application, Fault};
use hookyard_wire::stored::{StoredSubscription, read_subscription};
use rusqlite::{Connection, OptionalExtension as _};

/// A subscription as stored, and all that is needed to judge what somebody remembers.
pub struct Found {
    version: u64,
    floor: u64,
    app: Option<String>,
    endpoints: Vec<String>,
    whole: bool,
}

/// One file never fails over: a counter is not used twice, and one nonce does for all.
fn version(counter: u64) -> Version {
    Version { counter, nonce: Arc::from("embedded") }
}

/// Reads what changed since `remembered`, or everything.
pub fn find(connection: &Connection, remembered: &Remembered) -> rusqlite::Result<Option<Found>> {
    let head = "SELECT version, floor, record FROM applications WHERE id = ?1";
    let head = connection.prepare_cached(head)?.query_row([id(remembered.app)], |row| {
        Ok(Found { version: row.get(0)?, floor: row.get(1)?, app: row.get(2)?, endpoints: Vec::new(), whole: false })
    });
    let Some(mut found) = head.optional()? else { return Ok(None) };
    let ours = version(found.version).nonce;
    let known = remembered.version.as_ref().filter(|version| version.nonce == ours).map(|version| version.counter);
    if known == Some(found.version) || found.app.is_none() {
        return Ok(Some(found));
    }
    let since = known.filter(|known| *known >= found.floor && *known < found.version);
    found.whole = since.is_none();
    let changed = match since {
        Some(_) => "SELECT record FROM endpoints WHERE app = ?1 AND changed > ?2",
        None => "SELECT record FROM endpoints WHERE app = ?1 AND changed > ?2 AND deleted_at IS NULL",
    };
    let mut query = connection.prepare_cached(changed)?;
    let records = query.query_map((id(remembered.app), since.unwrap_or(0)), |row| row.get(0))?;
    found.endpoints = records.collect::<rusqlite::Result<_>>()?;
    Ok(Some(found))
}

/// How `remembered` stands against what was found.
pub fn judge(remembered: &Remembered, found: Option<Found>) -> Freshness {
    let Some(found) = found else { return Freshness::Gone };
    let Some(app) = &found.app else { return Freshness::Gone };
    match &remembered.version {
        Some(known) if *known == version(found.version) => return Freshness::Current,
        Some(known) if known.counter >= found.version || known.nonce != version(found.version).nonce => {
            tracing::error!(app = %remembered.app, "the directory went back in time; the application is read anew");
        }
        _ => {}
    }
    changes(app, &found).unwrap_or_else(|fault| {
        tracing::error!(app = %remembered.app, error = fault.chain(), "an application cannot be read; its events wait");
        Freshness::Untrusted
    })
}

fn changes(app: &str, found: &Found) -> Result<Freshness, Fault> {
    let corrupt = |error: serde_json::Error| Fault::corrupt("read an application", error);
    let disabled = serde_json::from_str::<Application>(app).map_err(corrupt)?.disabled;
    let (mut put, mut removed) = (Vec::new(), Vec::new());
    for record in &found.endpoints {
        let corrupt = |error| Fault::corrupt("read a subscription", error);
        match read_subscription(record.as_bytes()).map_err(corrupt)? {
            StoredSubscription::Present(subscription) => put.push(subscription),
            StoredSubscription::Deleted(endpoint) => removed.push(endpoint),
        }
    }
    let version = version(found.version);
    Ok(if found.whole {
        Freshness::Replaced { version, disabled, all: put }
    } else {
        Freshness::Changed { version, disabled, put, removed }
    })
}

fn id(app: AppId) -> Vec<u8> {
    app.as_bytes().to_vec()
}
