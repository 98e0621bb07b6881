//! The suite of [`hookyard_core::port::Tasks`].

use std::sync::Arc;
use std::time::Duration;

use hookyard_core::port::Tasks;
use hookyard_core::task::{Task, TaskState, Work};
use hookyard_core::{AppId, Clock, DeadLetterId, DeadReason, EndpointId, TaskId, Timestamp};

use super::suite;

suite! { $ each_promise_of_tasks: tasks on TasksBackend,
    a_task_is_read_back_as_it_was_written,
    a_task_is_leased_to_one_until_its_lease_ends,
    what_got_on_goes_on_from_there,
    a_finished_task_is_leased_to_nobody_and_still_read,
    unfinished_ones_are_listed_leased_or_not,
    all_are_listed_the_newest_first,
}

const LEASE: Duration = Duration::from_secs(30);

/// A backend of tasks.
pub trait TasksBackend: Send + Sync {
    /// The tasks.
    fn tasks(&self) -> Arc<dyn Tasks>;

    /// Its time.
    fn clock(&self) -> Arc<dyn Clock>;
}

fn replay(reached: Option<DeadLetterId>) -> Work {
    Work::DeadLetters {
        discard: true,
        endpoint: Some(EndpointId::from_bytes([3; 20])),
        event_type: Some("user.created".parse().expect("an event type")),
        reason: Some(hookyard_core::task::ReasonName(DeadReason::Gone)),
        after: Some(Timestamp::from_millis(1)),
        before: None,
        since: None,
        until: Some(Timestamp::from_millis(2)),
        reached,
    }
}

fn task(number: u8, now: Timestamp) -> Task {
    let (id, app) = (TaskId::from_bytes([number; 20]), AppId::from_bytes([2; 20]));
    Task { id, app, work: replay(None), state: TaskState::Running, begun: 0, created_at: now, updated_at: now }
}

async fn all_are_listed_the_newest_first(backend: &dyn TasksBackend) {
    let (tasks, now) = (backend.tasks(), backend.clock().now());
    assert_eq!(tasks.recent().await.expect("answered"), []);
    let [old, middle, new] = [1, 2, 3].map(|number| task(number, now));
    let middle = Task { state: TaskState::Finished, ..middle };
    for task in [&middle, &new, &old] {
        tasks.put(task, None).await.expect("written");
    }
    assert_eq!(tasks.recent().await.expect("answered"), [new, middle, old]);
}

async fn a_task_is_read_back_as_it_was_written(backend: &dyn TasksBackend) {
    let (tasks, now) = (backend.tasks(), backend.clock().now());
    let task = task(1, now);
    assert_eq!(tasks.task(task.id).await.expect("answered"), None);
    tasks.put(&task, None).await.expect("written");
    assert_eq!(tasks.task(task.id).await.expect("answered"), Some(task));
}

async fn a_task_is_leased_to_one_until_its_lease_ends(backend: &dyn TasksBackend) {
    let (tasks, now) = (backend.tasks(), backend.clock().now());
    assert_eq!(tasks.lease(now, LEASE).await.expect("answered"), None);
    for number in [1, 2] {
        tasks.put(&task(number, now), None).await.expect("written");
    }
    // A little later than any of the two: a backend's own clock may be ahead of ours by the time it took.
    let now = backend.clock().now().plus(Duration::from_millis(50));
    let mut leased = Vec::new();
    while let Some(task) = tasks.lease(now, LEASE).await.expect("answered") {
        leased.push(task.id);
    }
    leased.sort_unstable();
    assert_eq!(leased, [1, 2].map(|number| TaskId::from_bytes([number; 20])));
    assert_eq!(tasks.lease(now.plus(LEASE / 2), LEASE).await.expect("answered"), None);
    assert!(tasks.lease(now.plus(LEASE), LEASE).await.expect("answered").is_some(), "whoever had it is gone");
}

async fn what_got_on_goes_on_from_there(backend: &dyn TasksBackend) {
    let (tasks, now) = (backend.tasks(), backend.clock().now());
    tasks.put(&task(1, now), None).await.expect("written");
    let now = backend.clock().now().plus(Duration::from_millis(50));
    let leased = tasks.lease(now, LEASE).await.expect("answered").expect("a task");
    let further = Task { work: replay(Some(DeadLetterId::from_bytes([9; 20]))), begun: 250, ..leased };
    tasks.put(&further, Some(LEASE)).await.expect("written");
    assert_eq!(tasks.lease(now, LEASE).await.expect("answered"), None, "its lease goes on");
    let later = backend.clock().now().plus(LEASE * 2);
    assert_eq!(tasks.lease(later, LEASE).await.expect("answered"), Some(further));
}

async fn a_finished_task_is_leased_to_nobody_and_still_read(backend: &dyn TasksBackend) {
    let (tasks, now) = (backend.tasks(), backend.clock().now());
    let finished = Task { state: TaskState::Finished, begun: 7, ..task(1, now) };
    tasks.put(&task(1, now), None).await.expect("written");
    tasks.put(&finished, None).await.expect("written");
    assert_eq!(tasks.lease(now.plus(LEASE * 10), LEASE).await.expect("answered"), None);
    assert_eq!(tasks.task(finished.id).await.expect("answered"), Some(finished));
}

async fn unfinished_ones_are_listed_leased_or_not(backend: &dyn TasksBackend) {
    let (tasks, now) = (backend.tasks(), backend.clock().now());
    assert_eq!(tasks.unfinished().await.expect("answered"), []);
    for number in [1, 2, 3] {
        tasks.put(&task(number, now), (number == 1).then_some(LEASE)).await.expect("written");
    }
    let failed = Task { state: TaskState::Failed, ..task(3, now) };
    tasks.put(&failed, None).await.expect("written");
    let mut listed = tasks.unfinished().await.expect("answered");
    listed.sort_unstable_by_key(|task| task.id);
    assert_eq!(listed, [task(1, now), task(2, now)]);
}
