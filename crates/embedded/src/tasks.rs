//! The tasks' port on SQLite.

use std::time::Duration;

use async_trait::async_trait;
use hookyard_core::port::Tasks;
use hookyard_core::task::{Task, TaskState};
use hookyard_core::{Fault, FaultKind, TaskId, Timestamp, limits};
use rusqlite::{Connection, OptionalExtension as _};

use crate::pages::unreadable;
use crate::store::Store;

#[async_trait]
impl Tasks for Store {
    async fn put(&self, task: &Task, lease: Option<Duration>) -> Result<(), Fault> {
        const OPERATION: &str = "write a task";
        let record = serde_json::to_string(task).map_err(|error| Fault::caused(FaultKind::Refused, OPERATION, error))?;
        let (id, now) = (task.id, self.0.seams.clock.now());
        let lease_until = (task.state == TaskState::Running).then(|| now.plus(lease.unwrap_or_default()).as_millis());
        let kept = i64::try_from(limits::TASK_KEPT.as_millis()).unwrap_or(i64::MAX);
        let put = move |connection: &Connection| {
            let put = "INSERT OR REPLACE INTO tasks (id, record, lease_until, written_at) VALUES (?1, ?2, ?3, ?4)";
            connection.prepare_cached(put)?.execute((&id.as_bytes()[..], &record, lease_until, now.as_millis()))?;
            let forget = "DELETE FROM tasks WHERE lease_until IS NULL AND written_at < ?1";
            connection.prepare_cached(forget)?.execute([now.as_millis() - kept]).map(drop)
        };
        self.change(OPERATION, put).await
    }

    async fn task(&self, id: TaskId) -> Result<Option<Task>, Fault> {
        let read = move |connection: &Connection| {
            let query = "SELECT record FROM tasks WHERE id = ?1";
            let record = connection.prepare_cached(query)?.query_row([&id.as_bytes()[..]], |row| row.get::<_, String>(0));
            record.optional()?.map(|record| serde_json::from_str(&record).map_err(unreadable)).transpose()
        };
        self.look("read a task", read).await
    }

    async fn unfinished(&self) -> Result<Vec<Task>, Fault> {
        let read = move |connection: &Connection| {
            let query = "SELECT record FROM tasks WHERE lease_until IS NOT NULL LIMIT ?1";
            let mut query = connection.prepare_cached(query)?;
            let records = query.query_map([limits::TASKS_SHOWN], |row| row.get::<_, String>(0))?;
            records.map(|record| serde_json::from_str(&record?).map_err(unreadable)).collect()
        };
        self.look("list tasks", read).await
    }

    async fn recent(&self) -> Result<Vec<Task>, Fault> {
        let read = move |connection: &Connection| {
            let mut query = connection.prepare_cached("SELECT record FROM tasks ORDER BY id DESC LIMIT ?1")?;
            let records = query.query_map([limits::TASKS_LISTED], |row| row.get::<_, String>(0))?;
            records.map(|record| serde_json::from_str(&record?).map_err(unreadable)).collect()
        };
        self.look("list tasks", read).await
    }

    async fn lease(&self, now: Timestamp, lease: Duration) -> Result<Option<Task>, Fault> {
        let until = now.plus(lease).as_millis();
        let take = move |connection: &Connection| {
            let take = "UPDATE tasks SET lease_until = ?2 WHERE id =
                        (SELECT id FROM tasks WHERE lease_until <= ?1 ORDER BY lease_until LIMIT 1) RETURNING record";
            let row = (now.as_millis(), until);
            let record = connection.prepare_cached(take)?.query_row(row, |row| row.get::<_, String>(0)).optional()?;
            record.map(|record| serde_json::from_str(&record).map_err(unreadable)).transpose()
        };
        self.change("lease a task", take).await
    }
}
