//! The file: opening it, reading from it, and handing steps to its writer.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use hookyard_core::event::Admission;
use hookyard_core::port::Heard;
use hookyard_core::seal::{SealError, SealingKeys};
use hookyard_core::step::Tripwire;
use hookyard_core::{Clock, Entropy, Fault, FaultKind, Gate, GateId, limits};
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Notify, Semaphore, broadcast, oneshot};

use crate::activity::BEHIND_MOST;
use crate::fault::{closed, fault};
use crate::gates::kept;
use crate::journal::forget;
use crate::lease::Leases;
use crate::opening::{judge_seal, keep_private, make_folder, seal};
use crate::queue_clock::QueueClock;
use crate::writer::{Death, Writer};

/// The database in the data folder.
pub const FILE: &str = "hookyard.db";
/// Held as long as a process uses the folder.
const LOCK: &str = "hookyard.lock";
/// What made the schema, in order: a file's `user_version` says how many of them it has seen.
const MIGRATIONS: [&str; 6] = [
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
    include_str!("schema/5.sql"),
    include_str!("schema/6.sql"),
];
/// Of a file that has seen all of them; one with a higher version is a newer program's.
const SCHEMA_VERSION: usize = MIGRATIONS.len();
/// Readers and the writer never wait for one another in WAL mode; a checkpoint may, for a moment.
const BUSY: Duration = Duration::from_secs(5);
/// Events a router holds at once: two batches on their way, and the next.
const EVENTS_HELD: usize = 768;
/// How long a claim sleeps at most before it looks again: what nobody announces.
pub const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Room that must be there before claiming goes on after a write failed: a large group of records and settlements.
const PROBE_BYTES: i64 = 1024 * 1024;
/// Messages deleted in one transaction: the writer is held for some milliseconds.
const SWEEP_STEP: usize = 200;
/// Counts are kept this much longer than what they count: a delivery may be retried for days before it ends.
const STANDINGS_MARGIN: Duration = Duration::from_secs(3 * 24 * 3600);
/// Pages the writer keeps in memory, in KiB: the indexes' upper levels and the ends that grow.
const WRITER_CACHE_KIB: i64 = 16 * 1024;
/// The same per reader; what they miss, the operating system has.
const READER_CACHE_KIB: i64 = 2 * 1024;
/// Readers at once. They take turns on a few cores anyway, and each keeps its thread, its statements and its pages: with as many as
/// there were publishers, most of the time went into opening them, and the memory into their threads.
const READERS: usize = 4;

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("another process is using the data folder {0}")]
    InUse(PathBuf),
    /// The file is of a newer program.
    #[error("the data folder {folder} was written by a newer version (schema {found}, this program knows {SCHEMA_VERSION})")]
    Newer {
        /// The folder.
        folder: PathBuf,
        /// Its schema.
        found: usize,
    },
    /// The file was sealed with another key.
    #[error(
        "the data folder {folder} was sealed with another key than the one that is there: restore the `secret.key`, or the \
         HOOKYARD_SECRET_KEY, that belongs to it"
    )]
    Sealed {
        /// The folder.
        folder: PathBuf,
        /// What does not open.
        source: SealError,
    },
    /// The folder cannot be made or written.
    #[error("cannot use the data folder {folder}")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file cannot be opened.
    #[error("cannot open the database in {folder}")]
    Database {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

/// The thread that writes panicked.
#[derive(Debug, thiserror::Error)]
#[error("the writer panicked: {0}")]
struct WriterPanicked(String);

/// What the adapter needs beside the folder.
pub struct Seams {
    /// How events are admitted.
    pub admission: Admission,
    /// Requests the dispatcher may have in flight: how many deliveries are held at once follows from it.
    pub concurrency: u16,
    /// What secrets are sealed with.
    pub keys: SealingKeys,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Told of every step.
    pub tripwire: Arc<dyn Tripwire>,
}

/// The adapter: every durable port on one file. Clones are the same file.
#[derive(Clone)]
pub struct Store(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub seams: Seams,
    /// By which deliveries are due.
    pub queue_clock: Arc<QueueClock>,
    pub activity: broadcast::Sender<Heard>,
    pub gates: Mutex<HashMap<GateId, Gate>>,
    pub events: Leases,
    /// Deliveries of the fast lane, and of the slow one.
    pub fast: Leases,
    pub slow: Leases,
    path: PathBuf,
    writer: Mutex<Option<Writer>>,
    /// Who may read now.
    reading: Semaphore,
    /// Readers that rest.
    readers: Mutex<Vec<Connection>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    death: Death,
    draining: AtomicBool,
    closed: AtomicBool,
    /// The last write that mattered failed.
    unwritable: AtomicBool,
    /// The file was found without what every file has.
    pub emptied: AtomicBool,
    /// Something may have become claimable.
    pub news: Notify,
    lock: File,
}

impl Store {
    /// Opens the file in `folder`, or makes it.
    ///
    /// # Errors
    /// When the folder is in use, of a newer program, sealed with another key, or cannot be written.
    pub fn open(folder: &Path, seams: Seams) -> Result<Self, OpenError> {
        let unusable = |source| OpenError::Folder { folder: folder.to_owned(), source };
        make_folder(folder).map_err(unusable)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join(LOCK)).map_err(unusable)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => OpenError::InUse(folder.to_owned()),
            TryLockError::Error(source) => unusable(source),
        })?;
        let broken = |source| OpenError::Database { folder: folder.to_owned(), source };
        let path = folder.join(FILE);
        keep_private(&path).map_err(unusable)?;
        let mut connection = connect(&path, OpenFlags::default(), WRITER_CACHE_KIB).map_err(broken)?;
        let other_key = |source| OpenError::Sealed { folder: folder.to_owned(), source };
        judge_seal(&connection, &seams.keys).map_err(broken)?.map_err(other_key)?;
        let found = migrate(&mut connection).map_err(broken)?;
        if found > SCHEMA_VERSION {
            return Err(OpenError::Newer { folder: folder.to_owned(), found });
        }
        seal(&connection, &seams.keys, &*seams.entropy).map_err(broken)?.map_err(other_key)?;
        let (events, deliveries) = (last_id(&connection, "events"), last_id(&connection, "deliveries"));
        let gates = kept(&connection, seams.clock.now()).map_err(broken)?;
        let queue_clock = Arc::new(QueueClock::of(&connection, Arc::clone(&seams.clock)).map_err(broken)?);
        let (writer, thread, death) = Writer::start(connection).map_err(unusable)?;
        // A quarter more than can be in flight, so that the next claim is at hand when a request ends.
        let deliveries_held = (usize::from(seams.concurrency) * 5 / 4).max(2);
        let (before, slow_held) = (deliveries.map_err(broken)?, (deliveries_held / 4).max(1));
        Ok(Self(Arc::new(Inner {
            queue_clock,
            activity: broadcast::Sender::new(BEHIND_MOST),
            gates: Mutex::new(gates),
            seams,
            events: Leases::new(events.map_err(broken)?, EVENTS_HELD),
            fast: Leases::new(before, deliveries_held - slow_held),
            slow: Leases::new(before, slow_held),
            path,
            writer: Mutex::new(Some(writer)),
            reading: Semaphore::new(READERS),
            readers: Mutex::default(),
            thread: Mutex::new(Some(thread)),
            death,
            draining: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            unwritable: AtomicBool::new(false),
            emptied: AtomicBool::new(false),
            news: Notify::new(),
            lock,
        })))
    }

    /// Whether the last write that mattered was possible: on a full disk nothing is accepted, claimed or settled.
    pub fn is_writable(&self) -> bool {
        !self.0.unwritable.load(Ordering::SeqCst)
    }

    /// The first part of a stop: nothing more is claimed, and what is dropped unsettled counts as no failure.
    pub fn stop_claiming(&self) {
        self.0.draining.store(true, Ordering::SeqCst);
        self.0.news.notify_waiters();
    }

    /// Deletes what nobody needs any more, in small steps: messages that finished longer ago than `retention`, markers and tombstones
    /// past their time.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn sweep(&self, retention: Duration) -> Result<(), Fault> {
        let now = self.0.seams.clock.now();
        let before = |age: Duration| now.as_millis().saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        let (finished, tombstones) = (before(retention), before(limits::TOMBSTONE_TTL));
        self.0.write("forget what was expunged", forget).await?;
        let hour = before(retention + STANDINGS_MARGIN).div_euclid(3600 * 1000);
        let fade = move |connection: &Connection| {
            connection.execute("DELETE FROM standings WHERE hour < ?1", [hour])?;
            connection.execute("DELETE FROM volumes WHERE hour < ?1", [hour])?;
            connection.execute("DELETE FROM counts WHERE minute < ?1", [hour * 60])
        };
        self.0.write("sweep", fade).await?;
        loop {
            let swept = self.0.write("sweep", move |connection| sweep(connection, finished, tombstones, now.as_millis()));
            if swept.await? < SWEEP_STEP {
                return Ok(());
            }
        }
    }

    /// Waits until what writes the file panics: then nothing is written any more.
    pub async fn writer_died(&self) -> Fault {
        let text = self.0.death.of_panic().await;
        Fault::caused(FaultKind::Refused, "write the file", WriterPanicked(text))
    }

    /// Finishes what is being written and lets go of the file. Every claim of this store is void from now on.
    pub async fn close(&self) {
        self.0.closed.store(true, Ordering::SeqCst);
        self.0.news.notify_waiters();
        let inner = Arc::clone(&self.0);
        let closing = tokio::task::spawn_blocking(move || {
            // Whoever closes last moves what is in the log beside the file into the file, and only the writer can.
            inner.readers.lock().unwrap_or_else(PoisonError::into_inner).clear();
            drop(inner.writer.lock().unwrap_or_else(PoisonError::into_inner).take());
            let thread = inner.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            if thread.is_some_and(|thread| thread.join().is_err()) {
                tracing::error!("the writer of the database panicked");
            }
            // Dropping the file would do, but somebody may hold a port of the past.
            if let Err(error) = inner.lock.unlock() {
                tracing::warn!(%error, "the data folder's lock was not released");
            }
        });
        if closing.await.is_err() {
            tracing::error!("closing the database was cut short");
        }
    }
}

impl Inner {
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst) || self.is_closed()
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// After a write failed, nothing is claimed until one is possible again: what is claimed could be neither recorded nor settled,
    /// and a delivery would be sent again and again.
    pub async fn until_writable(self: &Arc<Self>) {
        while self.unwritable.load(Ordering::SeqCst) && !self.is_draining() {
            tokio::time::sleep(LOOK_AGAIN).await;
            let fill = |connection: &Connection| connection.execute("INSERT INTO room VALUES (zeroblob(?1))", [PROBE_BYTES]);
            let empty = |connection: &Connection| connection.execute("DELETE FROM room", []);
            if self.write("look for room", fill).await.is_ok() && self.write("look for room", empty).await.is_ok() {
                tracing::info!("the file can be written again");
                self.unwritable.store(false, Ordering::SeqCst);
            }
        }
    }

    /// Does a step; returns when it is on disk.
    pub async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        operation: &'static str,
        work: impl FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let (sender, receiver) = oneshot::channel();
        self.submit(operation, work, move |result| {
            if sender.send(result).is_err() {
                tracing::trace!("nobody waits for this write any more");
            }
        })?;
        receiver.await.map_err(|_| closed(operation))?
    }

    /// Enqueues a step.
    pub fn submit<T: Send + 'static>(
        self: &Arc<Self>,
        operation: &'static str,
        mut work: impl FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
        done: impl FnOnce(Result<T, Fault>) + Send + 'static,
    ) -> Result<(), Fault> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = writer.as_ref().ok_or_else(|| closed(operation))?;
        let slot = Arc::new(Mutex::new(None));
        let (filled, this) = (Arc::clone(&slot), Arc::clone(self));
        let submitted = writer.submit(
            move |connection| {
                let value = work(connection)?;
                *filled.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
                Ok(())
            },
            move |result| {
                let value = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
                done(match (result, value) {
                    (Ok(()), Some(value)) => Ok(value),
                    (Ok(()), None) => Err(closed(operation)),
                    (Err(error), _) => Err(this.failed(fault(operation, error))),
                });
            },
        );
        if submitted { Ok(()) } else { Err(closed(operation)) }
    }

    fn failed(&self, fault: Fault) -> Fault {
        if fault.kind == FaultKind::Unavailable && !self.unwritable.swap(true, Ordering::SeqCst) {
            tracing::error!(error = fault.chain(), "the file cannot be written; nothing is claimed until it can");
        }
        fault
    }

    /// Reads on a connection of its own, beside the writer.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        operation: &'static str,
        read: impl FnOnce(&Arc<Self>, &Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        // The semaphore is never closed.
        let _turn = self.reading.acquire().await.map_err(|_| closed(operation))?;
        let this = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || {
            if this.is_closed() {
                return Err(closed(operation));
            }
            let idle = this.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = if let Some(connection) = idle {
                connection
            } else {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                connect(&this.path, flags, READER_CACHE_KIB).map_err(|error| fault(operation, error))?
            };
            let result = read(&this, &connection).map_err(|error| fault(operation, error));
            let mut idle = this.readers.lock().unwrap_or_else(PoisonError::into_inner);
            if !this.is_closed() {
                idle.push(connection);
            }
            drop(idle);
            result
        });
        reading.await.map_err(|error| Fault::unavailable(operation, error))?
    }
}

/// Deletes one step's worth; how many messages were among it.
fn sweep(connection: &Connection, finished: i64, tombstones: i64, now: i64) -> rusqlite::Result<usize> {
    let query = "SELECT id FROM messages WHERE finished_at <= ?1
                 AND NOT EXISTS (SELECT 1 FROM deliveries WHERE message = messages.id) LIMIT ?2";
    let step = i64::try_from(SWEEP_STEP).unwrap_or(i64::MAX);
    let mut query = connection.prepare_cached(query)?;
    let ids = query.query_map((finished, step), |row| row.get(0))?.collect::<rusqlite::Result<Vec<Vec<u8>>>>()?;
    for id in &ids {
        for table in [
            "DELETE FROM attempts WHERE message = ?1",
            "DELETE FROM states WHERE message = ?1",
            "DELETE FROM data_kept WHERE message = ?1",
            "DELETE FROM messages WHERE id = ?1",
        ] {
            connection.prepare_cached(table)?.execute([id])?;
        }
    }
    connection.execute("DELETE FROM markers WHERE expires_at <= ?1", [now])?;
    // A router that was away for all that time asks for everything anew.
    let raise = "UPDATE applications SET floor = max(floor, (SELECT max(changed) FROM endpoints
                 WHERE app = applications.id AND deleted_at <= ?1))
                 WHERE id IN (SELECT app FROM endpoints WHERE deleted_at <= ?1)";
    connection.execute(raise, [tombstones])?;
    connection.execute("DELETE FROM endpoints WHERE deleted_at <= ?1", [tombstones])?;
    connection.execute("DELETE FROM applications WHERE deleted_at <= ?1", [tombstones])?;
    Ok(ids.len())
}

fn connect(path: &Path, flags: OpenFlags, cache_kib: i64) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    Ok(connection)
}

/// Brings the schema up to date; the version that was found.
pub fn migrate(connection: &mut Connection) -> rusqlite::Result<usize> {
    let found: usize = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > SCHEMA_VERSION {
        return Ok(found);
    }
    connection.pragma_update(None, "journal_mode", "wal")?;
    // Every commit is on disk before anybody hears of it.
    connection.pragma_update(None, "synchronous", "full")?;
    let transaction = connection.transaction()?;
    for migration in &MIGRATIONS[found..] {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()?;
    Ok(found)
}

/// The highest id there ever was in a queue: what is not above it was there before this process.
fn last_id(connection: &Connection, table: &str) -> rusqlite::Result<i64> {
    let query = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = ?1), 0)";
    connection.query_row(query, [table], |row| row.get(0))
}
