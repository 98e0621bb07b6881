//! The conformance suites of every port, on SQLite.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use hookyard_core::event::Admission;
use hookyard_core::port::{
    Activity, Answers, Catalog, Deliveries, Directory, Events, Expect, Gates, Journal, Log, MarkerState, Rejections, Revocations,
    Tasks,
};
use hookyard_core::seal::SealingKeys;
use hookyard_core::step::NoTripwire;
use hookyard_core::{Clock, Delivery, Entropy, Lane, Outcome, RefusalReason, Timestamp, limits};
use hookyard_embedded::{OpenError, Seams, Store};
use hookyard_testkit::builders::Builders;
use hookyard_testkit::conformance::activity::ActivityBackend;
use hookyard_testkit::conformance::answers::AnswersBackend;
use hookyard_testkit::conformance::catalog::CatalogBackend;
use hookyard_testkit::conformance::directory::DirectoryBackend;
use hookyard_testkit::conformance::gates::GatesBackend;
use hookyard_testkit::conformance::journal::JournalBackend;
use hookyard_testkit::conformance::revocations::RevocationsBackend;
use hookyard_testkit::conformance::tasks::TasksBackend;
use hookyard_testkit::conformance::{DeadLetter, QueueBackend, Rejected};
use hookyard_wire::queue::{DeliveryWriter, read_message_part, read_progress, write_progress};
use rusqlite::Connection;
use tempfile::TempDir;

/// The system's time: what the suites wait for, they wait for really.
struct RealClock;
#[async_trait]
impl Clock for RealClock {
    #[expect(clippy::disallowed_methods, reason = "a test in real time")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        Timestamp::from_millis(i64::try_from(since.as_millis()).expect("in range"))
    }

    fn monotonic(&self) -> Duration {
        static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
        BEGUN.elapsed()
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// Different bytes each time; nothing here is secret.
#[derive(Default)]
struct Counting(Mutex<u64>);
impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let mut count = self.0.lock().expect("unpoisoned");
        for chunk in bytes.chunks_mut(8) {
            *count += 1;
            let next = count.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
            chunk.copy_from_slice(&next[..chunk.len()]);
        }
    }
}

/// A folder, and the store of this moment in it.
struct Embedded {
    folder: TempDir,
    store: Mutex<Store>,
}

fn open(folder: &Path) -> Store {
    Store::open(folder, seams()).expect("opened")
}

fn seams() -> Seams {
    Seams {
        concurrency: 512,
        admission: Admission { max_bytes: limits::EVENT_BYTES, require_id: false },
        keys: SealingKeys::parse("dGVzdC10ZXN0LXRlc3QtdGVzdC10ZXN0LXRlc3QtMzI=").expect("a key"),
        clock: Arc::new(RealClock),
        entropy: Arc::new(Counting::default()),
        tripwire: Arc::new(NoTripwire),
    }
}

impl Embedded {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Mutex::new(open(folder.path()));
        Self { folder, store }
    }

    fn store(&self) -> Store {
        self.store.lock().expect("unpoisoned").clone()
    }

    /// As an operator would with `sqlite3`.
    fn by_hand(&self) -> Connection {
        let connection = Connection::open(self.folder.path().join("hookyard.db")).expect("opened");
        connection.busy_timeout(Duration::from_secs(5)).expect("set");
        connection
    }
}

#[async_trait]
impl QueueBackend for Embedded {
    fn events(&self) -> Arc<dyn Events> {
        Arc::new(self.store())
    }

    fn deliveries(&self) -> Arc<dyn Deliveries> {
        Arc::new(self.store())
    }

    fn rejections(&self) -> Arc<dyn Rejections> {
        Arc::new(self.store())
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(RealClock)
    }

    async fn pass(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }

    async fn restart(&self) {
        self.store().close().await;
        *self.store.lock().expect("unpoisoned") = open(self.folder.path());
    }

    async fn publish_unreadable(&self, body: Bytes) {
        self.by_hand().execute("INSERT INTO events (body) VALUES (?1)", [&body[..]]).expect("inserted");
    }

    async fn dead(&self) -> Vec<DeadLetter> {
        let connection = self.by_hand();
        let query = "SELECT m.body, d.progress FROM deliveries d JOIN messages m ON m.id = d.message WHERE d.state = 'dead'";
        let mut query = connection.prepare(query).expect("prepared");
        let rows = query.query_map([], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?))).expect("found");
        let letter = |(body, progress): (Vec<u8>, Vec<u8>)| {
            let message = Arc::new(read_message_part(Bytes::from(body)).expect("a message"));
            let (delivery, reason) = read_progress(message, &progress).expect("a delivery");
            DeadLetter { delivery, reason: reason.expect("a reason") }
        };
        let dead = rows.map(|row| letter(row.expect("read"))).collect();
        connection.execute("DELETE FROM deliveries WHERE state = 'dead'", []).expect("taken out");
        dead
    }

    async fn rejected(&self) -> Vec<Rejected> {
        let connection = self.by_hand();
        let mut query = connection.prepare("DELETE FROM rejected RETURNING reason, body").expect("prepared");
        let rows = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))).expect("found");
        let rejected = |(named, body): (String, Vec<u8>)| {
            let reason = RefusalReason::ALL.into_iter().find(|reason| reason.as_str() == named).expect("a reason we know");
            Rejected { reason, body: Bytes::from(body) }
        };
        rows.map(|row| rejected(row.expect("read"))).collect()
    }
}

#[async_trait]
impl DirectoryBackend for Embedded {
    fn directory(&self) -> Arc<dyn Directory> {
        Arc::new(self.store())
    }

    async fn empty(&self) {
        let empty = "DELETE FROM applications; DELETE FROM endpoints; DELETE FROM markers; DELETE FROM counters";
        self.by_hand().execute_batch(empty).expect("emptied");
    }
}

impl JournalBackend for Embedded {
    fn journal(&self) -> Arc<dyn Journal> {
        Arc::new(self.store())
    }

    fn log(&self) -> Arc<dyn Log> {
        Arc::new(self.store())
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(RealClock)
    }
}

impl ActivityBackend for Embedded {
    fn activity(&self) -> Arc<dyn Activity> {
        Arc::new(self.store())
    }

    fn journal(&self) -> Arc<dyn Journal> {
        Arc::new(self.store())
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(RealClock)
    }
}

impl GatesBackend for Embedded {
    fn gates(&self) -> Arc<dyn Gates> {
        Arc::new(self.store())
    }
}

impl TasksBackend for Embedded {
    fn tasks(&self) -> Arc<dyn Tasks> {
        Arc::new(self.store())
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(RealClock)
    }
}

impl RevocationsBackend for Embedded {
    fn revocations(&self) -> Arc<dyn Revocations> {
        Arc::new(self.store())
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(RealClock)
    }
}

#[async_trait]
impl AnswersBackend for Embedded {
    fn answers(&self) -> Arc<dyn Answers> {
        Arc::new(self.store())
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

impl CatalogBackend for Embedded {
    fn directory(&self) -> Arc<dyn Directory> {
        Arc::new(self.store())
    }

    fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::new(self.store())
    }
}

mod events {
    hookyard_testkit::each_promise_of_events!(super::Embedded::new());
}

mod deliveries {
    hookyard_testkit::each_promise_of_deliveries!(super::Embedded::new());
}

mod directory {
    hookyard_testkit::each_promise_of_directory!(super::Embedded::new());
}

mod catalog {
    hookyard_testkit::each_promise_of_catalog!(super::Embedded::new());
}

mod gates {
    hookyard_testkit::each_promise_of_gates!(super::Embedded::new());
}

mod tasks {
    hookyard_testkit::each_promise_of_tasks!(super::Embedded::new());
}

mod revocations {
    hookyard_testkit::each_promise_of_revocations!(super::Embedded::new());
}

mod answers {
    hookyard_testkit::each_promise_of_answers!(super::Embedded::new());
}

mod activity {
    hookyard_testkit::each_promise_of_activity!(super::Embedded::new());
}

mod journal {
    hookyard_testkit::each_promise_of_journal!(super::Embedded::new());
}

/// By the check it was sealed with, and, in a file of a program before there was one, by what is sealed in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_sealed_with_another_key_is_refused() {
    let embedded = Embedded::new();
    let make = Builders::new(Arc::new(RealClock), 1);
    let app = make.app();
    embedded.store().put_app(&app, Expect::New).await.expect("stored");
    embedded.store().put_endpoint(&make.endpoint(app.id), Expect::New).await.expect("stored");
    embedded.store().close().await;
    let other = || SealingKeys::parse("b3RoZXItb3RoZXItb3RoZXItb3RoZXItb3RoZXItMzI=").expect("a key");
    for is_checked in [true, false] {
        if !is_checked {
            embedded.by_hand().execute("DELETE FROM seal", []).expect("deleted");
        }
        let refused = Store::open(embedded.folder.path(), Seams { keys: other(), ..seams() }).err().expect("refused");
        assert!(matches!(refused, OpenError::Sealed { .. }), "{refused}");
        open(embedded.folder.path()).close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_files_are_its_owners_alone() {
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("data");
    let names = ["hookyard.db", "hookyard.db-wal", "hookyard.db-shm"];
    for _ in 0..2 {
        let store = open(&folder);
        store.mark(&[], MarkerState::Routed).await.expect("written");
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(names.map(|name| mode(&folder.join(name))), [0o600; 3]);
        store.close().await;
        // As a program before left it.
        std::fs::set_permissions(folder.join(names[0]), std::fs::Permissions::from_mode(0o644)).expect("set");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_one_process_s_and_not_a_newer_programs() {
    let embedded = Embedded::new();
    let again = |folder: &Path| Store::open(folder, seams()).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(again(embedded.folder.path()).contains("another process"));
    embedded.store().close().await;
    embedded.by_hand().pragma_update(None, "user_version", 99).expect("set");
    assert!(again(embedded.folder.path()).contains("newer version"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_finished_long_ago_is_swept_and_nothing_else() {
    let embedded = Embedded::new();
    let connection = embedded.by_hand();
    let message = "INSERT INTO messages (id, app, body, finished_at) VALUES (?1, x'00', x'00', ?2)";
    let now = RealClock.now().as_millis();
    for (id, finished) in [(1_u8, Some(now - 10_000)), (2, Some(now - 1_000)), (3, None)] {
        connection.execute(message, ([id], finished)).expect("inserted");
    }
    embedded.store().sweep(Duration::from_secs(5)).await.expect("swept");
    let mut left = connection.prepare("SELECT id FROM messages ORDER BY id").expect("prepared");
    let left: Vec<Vec<u8>> = left.query_map([], |row| row.get(0)).expect("found").map(|id| id.expect("read")).collect();
    assert_eq!(left, [[2], [3]]);
}

/// Queues a delivery to `count` endpoints by hand; the last ones are due first.
fn queue(connection: &Connection, make: &Builders, count: u32) {
    let message = Arc::new(make.message(make.app().id));
    let progress = write_progress(&Delivery::routed(Arc::clone(&message), make.endpoint_id(), false), None);
    let body = DeliveryWriter::new(&message).message().clone();
    let id = message.id.as_bytes().to_vec();
    let app = message.app.as_bytes().to_vec();
    connection.execute("INSERT INTO messages (id, app, body) VALUES (?1, ?2, ?3)", (&id, app, &body[..])).expect("inserted");
    let fill = "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?3)
                INSERT INTO deliveries (message, endpoint, lane, due_at, progress) SELECT ?1, randomblob(20), 0, ?3 - i, ?2 FROM n";
    connection.execute(fill, (&id, progress, count)).expect("filled");
}

/// The quickest of some claims that are settled at once.
async fn claim_time(store: &Store) -> Duration {
    let mut quickest = Duration::MAX;
    for _ in 0..10 {
        let begun = Instant::now();
        let claims = Deliveries::claim(store, Lane::Fast, 256).await.expect("claimed");
        quickest = quickest.min(begun.elapsed());
        assert_eq!(claims.len(), 256);
        for claim in claims {
            store.settle(claim, Outcome::Delivered).await.expect("settled");
        }
    }
    quickest
}

/// Resident memory of this process, in KiB, where the system tells.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_queued_deliveries_cost_neither_time_nor_memory() {
    let (embedded, make) = (Embedded::new(), Builders::new(Arc::new(RealClock), 1));
    let store = embedded.store();
    queue(&embedded.by_hand(), &make, 5_000);
    let (few, before) = (claim_time(&store).await, resident_kib());
    queue(&embedded.by_hand(), &make, 1_000_000);
    let (many, after) = (claim_time(&store).await, resident_kib());
    assert!(many < few * 5, "a claim took {few:?} among thousands and {many:?} among a million");
    if let (Some(before), Some(after)) = (before, after) {
        assert!(after < before + 32 * 1024, "{before} KiB became {after} KiB");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_held_than_can_be_worked_on() {
    let (embedded, make) = (Embedded::new(), Builders::new(Arc::new(RealClock), 1));
    let store = embedded.store();
    queue(&embedded.by_hand(), &make, 2_000);
    let mut held = Vec::new();
    while let Ok(claimed) = tokio::time::timeout(Duration::from_millis(300), Deliveries::claim(&store, Lane::Fast, 256)).await {
        held.extend(claimed.expect("claimed"));
    }
    assert_eq!(held.len(), 480, "a quarter more than 384 requests, which are the fast lane's of 512");
    let one = held.pop().expect("a claim");
    store.settle(one, Outcome::Delivered).await.expect("settled");
    assert_eq!(Deliveries::claim(&store, Lane::Fast, 256).await.expect("claimed").len(), 1, "room for one more");
}
