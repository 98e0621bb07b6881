//! The tasks' port on Redis.

use std::time::Duration;

use async_trait::async_trait;
use hookyard_core::port::Tasks;
use hookyard_core::task::{Task, TaskState};
use hookyard_core::{Fault, FaultKind, TaskId, Timestamp, limits};
use hookyard_telemetry::label::StoreOp;

use crate::apps::removed;
use crate::client::RedisStore;
use crate::directory::next;
use crate::keys;
use crate::meta::Sentinel;

#[async_trait]
impl Tasks for RedisStore {
    async fn put(&self, task: &Task, lease: Option<Duration>) -> Result<(), Fault> {
        const OPERATION: &str = "write a task";
        let record = serde_json::to_string(task).map_err(|error| Fault::caused(FaultKind::Refused, OPERATION, error))?;
        let now = self.clock.now();
        let lease_until = match task.state {
            TaskState::Running => now.plus(lease.unwrap_or_default()).as_millis().to_string(),
            TaskState::Finished | TaskState::Failed => String::new(),
        };
        let mut call = self.directory.scripts.put_task.prepare_invoke();
        call.key(keys::TASKS).key(keys::TASKS_UNFINISHED).key(keys::META).key(keys::TASKS_FINISHED);
        call.arg(self.dataset_id(OPERATION)?).arg(task.id.to_string()).arg(record).arg(lease_until);
        let kept = i64::try_from(limits::TASK_KEPT.as_millis()).unwrap_or(i64::MAX);
        call.arg(now.as_millis()).arg(now.as_millis() - kept);
        removed(OPERATION, &self.change(OPERATION, &call).await?).map(drop)
    }

    async fn task(&self, id: TaskId) -> Result<Option<Task>, Fault> {
        const OPERATION: &str = "read a task";
        let mut pipeline = redis::pipe();
        Self::read_sentinel(&mut pipeline);
        pipeline.hget(keys::TASKS, id.to_string());
        let answers: Vec<redis::Value> = self.directory.query(StoreOp::Read, OPERATION, &pipeline).await?;
        let mut answers = answers.into_iter();
        let sentinel: Sentinel = next(&mut answers, OPERATION)?;
        self.check_sentinel(OPERATION, &sentinel)?;
        let record: Option<Vec<u8>> = next(&mut answers, OPERATION)?;
        record.map(|record| serde_json::from_slice(&record).map_err(|error| Fault::corrupt(OPERATION, error))).transpose()
    }

    async fn unfinished(&self) -> Result<Vec<Task>, Fault> {
        const OPERATION: &str = "list tasks";
        let most = isize::try_from(limits::TASKS_SHOWN).unwrap_or(isize::MAX);
        let mut pipeline = redis::pipe();
        pipeline.zrange(keys::TASKS_UNFINISHED, 0, most - 1);
        let (ids,): (Vec<String>,) = self.directory.query(StoreOp::Read, OPERATION, &pipeline).await?;
        self.read_tasks(OPERATION, ids).await
    }

    async fn recent(&self) -> Result<Vec<Task>, Fault> {
        const OPERATION: &str = "list tasks";
        let most = isize::try_from(limits::TASKS_LISTED).unwrap_or(isize::MAX);
        let mut pipeline = redis::pipe();
        pipeline.zrange(keys::TASKS_UNFINISHED, 0, most - 1).zrevrange(keys::TASKS_FINISHED, 0, most - 1);
        let (mut ids, finished): (Vec<String>, Vec<String>) = self.directory.query(StoreOp::Read, OPERATION, &pipeline).await?;
        ids.extend(finished);
        let mut tasks = self.read_tasks(OPERATION, ids).await?;
        tasks.sort_unstable_by_key(|task| std::cmp::Reverse(task.id));
        // One may have ended between the two readings.
        tasks.dedup_by_key(|task| task.id);
        tasks.truncate(limits::TASKS_LISTED);
        Ok(tasks)
    }

    async fn lease(&self, now: Timestamp, lease: Duration) -> Result<Option<Task>, Fault> {
        const OPERATION: &str = "lease a task";
        let mut call = self.directory.scripts.lease_task.prepare_invoke();
        call.key(keys::TASKS).key(keys::TASKS_UNFINISHED).key(keys::META);
        call.arg(self.dataset_id(OPERATION)?).arg(now.as_millis()).arg(now.plus(lease).as_millis());
        let mut pipeline = redis::pipe();
        pipeline.invoke_script(&call);
        let (answer,): (Vec<String>,) = self.directory.query(StoreOp::Write, OPERATION, &pipeline).await?;
        match (answer.first().map(String::as_str), answer.get(1)) {
            (Some("dataset"), _) => Err(Fault::new(FaultKind::WrongDataset, OPERATION)),
            (_, Some(record)) => serde_json::from_str(record).map(Some).map_err(|error| Fault::corrupt(OPERATION, error)),
            _ => Ok(None),
        }
    }
}

impl RedisStore {
    async fn read_tasks(&self, operation: &'static str, ids: Vec<String>) -> Result<Vec<Task>, Fault> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        pipeline.hmget(keys::TASKS, ids);
        let (records,): (Vec<Option<String>>,) = self.directory.query(StoreOp::Read, operation, &pipeline).await?;
        let read = |record: String| serde_json::from_str(&record).map_err(|error| Fault::corrupt(operation, error));
        records.into_iter().flatten().map(read).collect()
    }
}
