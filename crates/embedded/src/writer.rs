//! The one thread that writes: a group of whatever waits is one transaction.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use hookyard_core::fault::panic_text;
use rusqlite::{Connection, Result, TransactionBehavior};
use tokio::sync::watch;

/// Jobs in one transaction: at some 20 µs each, a group stays well below the time of a few syncs of a disk.
const GROUP: usize = 512;

/// One step of a port. It may be run again, after a rollback, and must do the same then.
type Work = Box<dyn FnMut(&Connection) -> Result<()> + Send>;
/// Told once, after the transaction's end.
type Done = Box<dyn FnOnce(Result<()>) + Send>;

struct Job {
    work: Work,
    done: Done,
}

/// How the writing thread ended, if it panicked.
pub struct Death(watch::Receiver<Option<String>>);

/// Hands steps to the writing thread, which takes them in order.
#[derive(Clone)]
pub struct Writer(Sender<Job>);

impl Writer {
    /// Begins writing through `connection` until every writer is dropped.
    pub fn start(connection: Connection) -> std::io::Result<(Self, JoinHandle<()>, Death)> {
        let (sender, receiver) = channel();
        let (dies, death) = watch::channel(None);
        let work = move || {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(connection, &receiver))) {
                dies.send_replace(Some(panic_text(&*panic).to_owned()));
            }
        };
        let thread = std::thread::Builder::new().name("sqlite-writer".to_owned()).spawn(work)?;
        Ok((Self(sender), thread, Death(death)))
    }

    /// Enqueues a step. `done` is called on the writing thread when it is on disk, or was not possible.
    pub fn submit(
        &self,
        work: impl FnMut(&Connection) -> Result<()> + Send + 'static,
        done: impl FnOnce(Result<()>) + Send + 'static,
    ) -> bool {
        self.0.send(Job { work: Box::new(work), done: Box::new(done) }).is_ok()
    }
}

impl Death {
    /// Waits until the writing thread panics, and says with which text. If it ends as it should, this waits for ever.
    pub async fn of_panic(&self) -> String {
        match self.0.clone().wait_for(Option::is_some).await.map(|text| text.clone()) {
            Ok(Some(text)) => text,
            _ => std::future::pending().await,
        }
    }
}

fn run(mut connection: Connection, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let mut group = vec![first];
        group.extend(jobs.try_iter().take(GROUP - 1));
        write(&mut connection, group);
    }
}

fn write(connection: &mut Connection, mut group: Vec<Job>) {
    match transact(connection, &mut group) {
        Ok(()) => group.into_iter().for_each(|job| (job.done)(Ok(()))),
        // One of them failed, and the others are not to suffer for it.
        Err(_) if group.len() > 1 => group.into_iter().for_each(|job| write(connection, vec![job])),
        Err(error) => {
            if let Some(job) = group.pop() {
                (job.done)(Err(error));
            }
        }
    }
}

fn transact(connection: &mut Connection, group: &mut [Job]) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for job in group {
        (job.work)(&transaction)?;
    }
    transaction.commit()
}
