//! The routing snapshot: what changed in an application since a version, or everything.

use std::sync::Arc;

use hookyard_core::directory::Version;
use hookyard_core::port::{Freshness, Remembered};
use hookyard_core::{AppId, Application, EndpointId, Fault, FaultKind, Subscription};
use hookyard_telemetry::label::StoreOp;
use hookyard_wire::stored::{StoredSubscription, read_subscription};

use crate::client::RedisStore;
use crate::keys;

/// Endpoints read per step of a scan. At their largest (some 45 KiB of URL, headers and metadata) a step is 12 MB, which a server
/// sends well within the time it has to answer.
const SCAN_COUNT: usize = 250;

/// What the store says of the time since a version: the counter before which not every change is told, the places in the history of that
/// version and of the one just read, the oldest one there, and the endpoints that changed.
type Since = (Option<u64>, Option<u64>, Option<u64>, Vec<(String, u64)>, Vec<String>);

/// What the store has of an application.
pub(crate) enum Found {
    Version(String),
    /// Its tombstone.
    Deleted,
    Nothing,
}

impl RedisStore {
    /// How `remembered` stands against the version just read. What cannot be read stops its own application alone.
    pub(crate) async fn freshness(&self, remembered: &Remembered, found: Found, epoch: u64) -> Result<Freshness, Fault> {
        match self.compare(remembered, found, epoch).await {
            Err(fault) if fault.kind == FaultKind::Corrupt => {
                tracing::error!(app = %remembered.app, error = fault.chain(), "an application cannot be read; its events wait");
                Ok(Freshness::Untrusted)
            }
            freshness => freshness,
        }
    }

    async fn compare(&self, remembered: &Remembered, found: Found, epoch: u64) -> Result<Freshness, Fault> {
        let app = remembered.app;
        let known = remembered.version.as_ref().filter(|known| epoch_of(known) == epoch);
        let found = match found {
            Found::Version(found) => found,
            Found::Deleted => return Ok(Freshness::Gone),
            Found::Nothing => {
                // Whatever was deleted has left a tombstone.
                if known.is_some() {
                    self.regressed(app, "it is not there any more, and its events are rejected").await;
                }
                return Ok(Freshness::Gone);
            }
        };
        let version = version_in(&found, epoch)?;
        match known {
            Some(known) if *known == version => Ok(Freshness::Current),
            Some(known) => self.changed(app, known, version).await,
            None => self.replaced(app, epoch).await,
        }
    }

    /// The store does not know what it knew before: it was restored from a copy, or failed over to a replica that was behind.
    async fn regressed(&self, app: AppId, what: &'static str) {
        tracing::error!(%app, "the directory went back in time for an application: {what}");
        self.metrics.directory_regressions_total.inc();
        self.tell_of_regression(app).await;
    }

    async fn changed(&self, app: AppId, known: &Version, version: Version) -> Result<Freshness, Fault> {
        const OPERATION: &str = "read changed subscriptions";
        let mut pipeline = redis::pipe();
        pipeline.hget(keys::directory(app), "floor");
        let history = keys::history(app);
        pipeline.zscore(&history, text_of(known)).zscore(&history, text_of(&version)).zrange_withscores(&history, 0, 0);
        // To the end, not to the version just read: what changed again meanwhile has moved beyond it.
        pipeline.zrangebyscore(keys::changes(app), format!("({}", known.counter), "+inf");
        let (floor, place, newest, oldest, ids): Since = self.directory.query(StoreOp::Validate, OPERATION, &pipeline).await?;
        if place.is_none() {
            // Older than the history, or of another one; without the version that was found the history says nothing: an older program
            // wrote that.
            let should_be = |(_, oldest): &(String, u64)| newest.is_some() && *oldest <= known.counter;
            let is_lost = version.counter <= known.counter || oldest.first().is_some_and(should_be);
            let replaced = self.replaced(app, epoch_of(&version)).await?;
            if is_lost {
                self.regressed(app, "it was read anew, and is routed for as it is now").await;
            }
            return Ok(replaced);
        }
        if floor.unwrap_or(0) > known.counter {
            return self.replaced(app, epoch_of(&version)).await;
        }
        let mut pipeline = redis::pipe();
        let mut fields = vec!["app".to_owned()];
        fields.extend(ids.iter().map(|id| format!("e:{id}")));
        pipeline.hmget(keys::directory(app), fields);
        let (mut records,): (Vec<Option<Vec<u8>>>,) = self.directory.query(StoreOp::Validate, OPERATION, &pipeline).await?;
        let endpoints = records.split_off(1);
        let Some(disabled) = disabled(&records)? else { return Ok(Freshness::Gone) };
        let (mut put, mut removed) = (Vec::new(), Vec::new());
        for record in endpoints.into_iter().flatten() {
            match read(&record)? {
                StoredSubscription::Present(subscription) => put.push(subscription),
                StoredSubscription::Deleted(id) => removed.push(id),
            }
        }
        Ok(Freshness::Changed { version, disabled, put, removed })
    }

    /// Everything anew. The version is read before the scan: what changes meanwhile is found as a change next time.
    async fn replaced(&self, app: AppId, epoch: u64) -> Result<Freshness, Fault> {
        const OPERATION: &str = "read subscriptions";
        let mut pipeline = redis::pipe();
        pipeline.hmget(keys::directory(app), &["v", "app"]);
        let (head,): (Vec<Option<Vec<u8>>>,) = self.directory.query(StoreOp::Validate, OPERATION, &pipeline).await?;
        let (Some(Some(version)), Some(disabled)) = (head.first(), disabled(&head[1..])?) else { return Ok(Freshness::Gone) };
        let version = version_in(&String::from_utf8_lossy(version), epoch)?;
        let (mut cursor, mut all): (u64, Vec<Subscription>) = (0, Vec::new());
        loop {
            let mut pipeline = redis::pipe();
            let scan = pipeline.cmd("HSCAN").arg(keys::directory(app)).arg(cursor);
            scan.arg("MATCH").arg("e:*").arg("COUNT").arg(SCAN_COUNT);
            let ((next, fields),): ((u64, Vec<Vec<u8>>),) = self.directory.query(StoreOp::Validate, OPERATION, &pipeline).await?;
            for pair in fields.chunks_exact(2) {
                if let StoredSubscription::Present(subscription) = read(&pair[1])? {
                    all.push(subscription);
                }
            }
            if next == 0 {
                return Ok(Freshness::Replaced { version, disabled, all });
            }
            cursor = next;
        }
    }
}

/// A version is of its epoch: after an operator accepted a dataset, nothing remembered is equal to anything found.
fn version_in(text: &str, epoch: u64) -> Result<Version, Fault> {
    let version = Version::parse(text).ok_or_else(|| Fault::new(FaultKind::Corrupt, "read an application's version"))?;
    Ok(Version { counter: version.counter, nonce: Arc::from(format!("{}@{epoch}", version.nonce)) })
}

fn epoch_of(version: &Version) -> u64 {
    version.nonce.rsplit_once('@').and_then(|(_, epoch)| epoch.parse().ok()).unwrap_or(0)
}

/// As it is stored.
fn text_of(version: &Version) -> String {
    let nonce = version.nonce.rsplit_once('@').map_or(&*version.nonce, |(nonce, _)| nonce);
    format!("{}.{nonce}", version.counter)
}

/// Whether the application is switched off; `None` if it is not there.
fn disabled(records: &[Option<Vec<u8>>]) -> Result<Option<bool>, Fault> {
    let Some(Some(record)) = records.first() else { return Ok(None) };
    let app: Application = serde_json::from_slice(record).map_err(|error| Fault::corrupt("read an application", error))?;
    Ok(Some(app.disabled))
}

fn read(record: &[u8]) -> Result<StoredSubscription, Fault> {
    read_subscription(record).map_err(|error| Fault::corrupt("read a subscription", error))
}

/// The id in a field of the directory.
pub(crate) fn endpoint_in(text: &str) -> Option<EndpointId> {
    text.parse().ok()
}
