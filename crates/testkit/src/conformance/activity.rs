//! The suite of [`hookyard_core::port::Activity`].

use std::sync::Arc;

use hookyard_core::journal::{AttemptRecord, Entry};
use hookyard_core::port::{Activity, Heard, Journal, Watch};
use hookyard_core::{AppId, Clock, Outcome};

use super::{suite, within};
use crate::builders::Builders;

suite! { $ each_promise_of_activity: activity on ActivityBackend,
    whoever_watches_hears_every_attempt_in_order,
    nothing_is_heard_of_what_was_before,
}

/// A backend of the activity.
pub trait ActivityBackend: Send + Sync {
    /// What is watched.
    fn activity(&self) -> Arc<dyn Activity>;

    /// What is written.
    fn journal(&self) -> Arc<dyn Journal>;

    /// Its time.
    fn clock(&self) -> Arc<dyn Clock>;
}

fn attempts(backend: &dyn ActivityBackend, seed: u64, count: usize) -> Vec<AttemptRecord> {
    let make = Builders::new(backend.clock(), seed);
    (0..count).map(|_| make.attempt(&make.delivery(AppId::from_bytes([7; 20])), 200, Outcome::Delivered)).collect()
}

async fn write(backend: &dyn ActivityBackend, attempts: &[AttemptRecord]) {
    let entries = attempts.iter().cloned().map(Entry::Attempt).collect();
    backend.journal().record(entries).await.expect("recorded");
}

async fn hear(watch: &mut dyn Watch, count: usize) -> Vec<Arc<AttemptRecord>> {
    let mut heard = Vec::new();
    while heard.len() < count {
        match within("hear", watch.heard()).await {
            Some(Heard::Attempt(attempt)) => heard.push(attempt),
            other => panic!("heard {other:?}"),
        }
    }
    heard
}

fn is_same(heard: &[Arc<AttemptRecord>], written: &[AttemptRecord]) -> bool {
    heard.len() == written.len() && heard.iter().zip(written).all(|(heard, written)| heard.id == written.id)
}

async fn whoever_watches_hears_every_attempt_in_order(backend: &dyn ActivityBackend) {
    let activity = backend.activity();
    // What nobody hears may make a backend quiet for a moment.
    write(backend, &attempts(backend, 1, 1)).await;
    let (mut one, mut other) = (activity.watch().await.expect("watched"), activity.watch().await.expect("watched"));
    let mut first = None;
    for seed in 2..100 {
        let written = attempts(backend, seed, 1);
        write(backend, &written).await;
        tokio::select! {
            heard = one.heard() => {
                first = Some((heard, written));
                break;
            }
            () = tokio::time::sleep(std::time::Duration::from_millis(100)) => {}
        }
    }
    let Some((Some(Heard::Attempt(heard)), written)) = first else { panic!("nothing is heard: {first:?}") };
    assert_eq!(heard.id, written[0].id);
    assert_eq!(hear(&mut *other, 1).await[0].id, heard.id);
    let written = attempts(backend, 1_000, 300);
    for group in written.chunks(50) {
        write(backend, group).await;
    }
    assert!(is_same(&hear(&mut *one, 300).await, &written));
    assert!(is_same(&hear(&mut *other, 300).await, &written));
}

async fn nothing_is_heard_of_what_was_before(backend: &dyn ActivityBackend) {
    let mut early = backend.activity().watch().await.expect("watched");
    let before = attempts(backend, 1, 3);
    write(backend, &before).await;
    hear(&mut *early, 3).await;
    let mut late = backend.activity().watch().await.expect("watched");
    let after = attempts(backend, 2, 2);
    write(backend, &after).await;
    assert!(is_same(&hear(&mut *late, 2).await, &after));
    assert!(is_same(&hear(&mut *early, 2).await, &after));
}
