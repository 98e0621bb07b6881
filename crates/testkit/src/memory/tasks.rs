//! Tasks in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hookyard_core::port::Tasks;
use hookyard_core::task::{Task, TaskState};
use hookyard_core::{Clock, Fault, TaskId, Timestamp, limits};

/// Tasks, each with the end of its lease while it is unfinished. They are kept for ever.
pub struct MemoryTasks {
    clock: Arc<dyn Clock>,
    tasks: Mutex<BTreeMap<TaskId, (Task, Option<Timestamp>)>>,
}

impl MemoryTasks {
    /// No tasks.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, tasks: Mutex::default() }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<TaskId, (Task, Option<Timestamp>)>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Tasks for MemoryTasks {
    async fn put(&self, task: &Task, lease: Option<Duration>) -> Result<(), Fault> {
        let until = (task.state == TaskState::Running).then(|| self.clock.now().plus(lease.unwrap_or_default()));
        self.all().insert(task.id, (task.clone(), until));
        Ok(())
    }

    async fn task(&self, id: TaskId) -> Result<Option<Task>, Fault> {
        Ok(self.all().get(&id).map(|(task, _)| task.clone()))
    }

    async fn unfinished(&self) -> Result<Vec<Task>, Fault> {
        let all = self.all();
        let unfinished = all.values().filter(|(task, _)| task.state == TaskState::Running);
        Ok(unfinished.take(limits::TASKS_SHOWN).map(|(task, _)| task.clone()).collect())
    }

    async fn recent(&self) -> Result<Vec<Task>, Fault> {
        Ok(self.all().values().rev().take(limits::TASKS_LISTED).map(|(task, _)| task.clone()).collect())
    }

    async fn lease(&self, now: Timestamp, lease: Duration) -> Result<Option<Task>, Fault> {
        let mut all = self.all();
        let free = all.values_mut().filter(|(_, until)| until.is_some_and(|until| until <= now));
        let Some((task, until)) = free.min_by_key(|(_, until)| *until) else { return Ok(None) };
        *until = Some(now.plus(lease));
        Ok(Some(task.clone()))
    }
}
