//! Applications in the store.

use hookyard_core::journal::{Page, PageRequest};
use hookyard_core::port::{Expect, Written};
use hookyard_core::{AppId, Application, Fault, FaultKind, Timestamp, limits};
use hookyard_telemetry::label::StoreOp;
use redis::ScriptInvocation;

use crate::client::RedisStore;
use crate::directory::{next, read_app};
use crate::endpoints::CHANGES_KEPT;
use crate::keys;
use crate::lists;
use crate::meta::Sentinel;

impl RedisStore {
    pub(crate) async fn read_app(&self, app: AppId) -> Result<Option<Application>, Fault> {
        Ok(self.read_apps("read an application", &[app]).await?.pop())
    }

    pub(crate) async fn list_apps(&self, page: PageRequest<AppId>) -> Result<Page<Application>, Fault> {
        const OPERATION: &str = "list applications";
        let ids = lists::page_by_text(&self.directory, OPERATION, keys::APPS, page.map(|id| id.to_string())).await?;
        let parsed: Vec<AppId> = ids.items.iter().filter_map(|text| text.parse().ok()).collect();
        Ok(Page::whole(self.read_apps(OPERATION, &parsed).await?, ids.done))
    }

    async fn read_apps(&self, operation: &'static str, apps: &[AppId]) -> Result<Vec<Application>, Fault> {
        let mut pipeline = redis::pipe();
        Self::read_sentinel(&mut pipeline);
        for app in apps {
            pipeline.hget(keys::directory(*app), "app");
        }
        let answers: Vec<redis::Value> = self.directory.query(StoreOp::Read, operation, &pipeline).await?;
        let mut answers = answers.into_iter();
        let sentinel: Sentinel = next(&mut answers, operation)?;
        self.check_sentinel(operation, &sentinel)?;
        let mut found = Vec::with_capacity(apps.len());
        for _ in apps {
            if let Some(record) = next::<Option<Vec<u8>>>(&mut answers, operation)? {
                found.push(read_app(&record)?);
            }
        }
        Ok(found)
    }

    pub(crate) async fn write_app(&self, app: &Application, expect: Expect) -> Result<Written, Fault> {
        const OPERATION: &str = "write an application";
        let expected = revision(expect);
        let record = Application { revision: expected + 1, ..app.clone() };
        let record = serde_json::to_string(&record).map_err(|error| Fault::caused(FaultKind::Refused, OPERATION, error))?;
        let mut call = self.directory.scripts.put_app.prepare_invoke();
        call.key(keys::directory(app.id)).key(keys::APPS).key(keys::UIDS).key(keys::META).key(keys::history(app.id));
        call.arg(self.dataset_id(OPERATION)?).arg(app.id.to_string()).arg(record).arg(expected);
        call.arg(app.uid.as_ref().map_or("", |uid| uid.as_str())).arg(self.nonce()).arg(CHANGES_KEPT).arg(self.leap());
        written(OPERATION, &self.change(OPERATION, &call).await?)
    }

    pub(crate) async fn remove_app(&self, app: AppId, now: Timestamp) -> Result<bool, Fault> {
        const OPERATION: &str = "delete an application";
        let mut call = self.directory.scripts.delete_app.prepare_invoke();
        call.key(keys::directory(app)).key(keys::APPS).key(keys::UIDS).key(keys::META);
        call.key(keys::endpoints(app)).key(keys::changes(app)).key(keys::tombstones(app)).key(keys::history(app));
        call.arg(self.dataset_id(OPERATION)?).arg(app.to_string()).arg(now.as_millis()).arg(self.nonce());
        call.arg(limits::TOMBSTONE_TTL.as_secs()).arg(self.leap());
        removed(OPERATION, &self.change(OPERATION, &call).await?)
    }

    /// Runs one script that changes the directory.
    pub(crate) async fn change(&self, operation: &'static str, call: &ScriptInvocation<'_>) -> Result<String, Fault> {
        let mut pipeline = redis::pipe();
        pipeline.invoke_script(call);
        let (answer,): (String,) = self.directory.query(StoreOp::Write, operation, &pipeline).await?;
        Ok(answer)
    }
}

pub(crate) fn revision(expect: Expect) -> u64 {
    match expect {
        Expect::New => 0,
        Expect::Revision(revision) => revision,
    }
}

/// What a script that writes answered.
pub(crate) fn written(operation: &'static str, answer: &str) -> Result<Written, Fault> {
    match answer {
        "dataset" => Err(Fault::new(FaultKind::WrongDataset, operation)),
        "conflict" => Ok(Written::Conflict),
        "uid" => Ok(Written::UidTaken),
        "noapp" => Ok(Written::NoApp),
        revision => revision.parse().map(Written::Done).map_err(|error| Fault::caused(FaultKind::Refused, operation, error)),
    }
}

/// What a script that deletes answered.
pub(crate) fn removed(operation: &'static str, answer: &str) -> Result<bool, Fault> {
    match answer {
        "dataset" => Err(Fault::new(FaultKind::WrongDataset, operation)),
        "absent" => Ok(false),
        _ => Ok(true),
    }
}
