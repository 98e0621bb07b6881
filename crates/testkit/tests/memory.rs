//! The suites on the in-memory ports: what every other backend is held to, they keep too.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hookyard_core::port::{
    Activity, Answers, Catalog, Deliveries, Directory, Events, Gates, Journal, Log, Rejections, Revocations, Tasks,
};
use hookyard_core::{Clock, Refusal, RefusalReason, Timestamp};
use hookyard_testkit::StepClock;
use hookyard_testkit::conformance::activity::ActivityBackend;
use hookyard_testkit::conformance::answers::AnswersBackend;
use hookyard_testkit::conformance::catalog::CatalogBackend;
use hookyard_testkit::conformance::directory::DirectoryBackend;
use hookyard_testkit::conformance::gates::GatesBackend;
use hookyard_testkit::conformance::journal::JournalBackend;
use hookyard_testkit::conformance::revocations::RevocationsBackend;
use hookyard_testkit::conformance::tasks::TasksBackend;
use hookyard_testkit::conformance::{
    DeadLetter, QueueBackend, Rejected, activity, answers, catalog, deliveries, directory, events, gates, journal, revocations,
    tasks,
};
use hookyard_testkit::memory::{
    MemoryAnswers, MemoryBroker, MemoryDirectory, MemoryGates, MemoryJournal, MemoryRevocations, MemoryTasks,
};

const BEGINNING: Timestamp = Timestamp::from_millis(1_700_000_000_000);

struct InMemory {
    clock: StepClock,
    broker: Arc<MemoryBroker>,
}

impl InMemory {
    fn new() -> Self {
        let clock = StepClock::at(BEGINNING);
        Self { broker: Arc::new(MemoryBroker::new(Arc::new(clock.clone()))), clock }
    }
}

#[async_trait]
impl QueueBackend for InMemory {
    fn events(&self) -> Arc<dyn Events> {
        Arc::clone(&self.broker) as _
    }

    fn deliveries(&self) -> Arc<dyn Deliveries> {
        Arc::clone(&self.broker) as _
    }

    fn rejections(&self) -> Arc<dyn Rejections> {
        Arc::clone(&self.broker) as _
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.clock.clone())
    }

    async fn pass(&self, by: Duration) {
        self.clock.step(by);
    }

    async fn restart(&self) {
        self.broker.restart();
    }

    async fn publish_unreadable(&self, body: Bytes) {
        self.broker.submit_refused(Refusal::new(RefusalReason::Unreadable, "no form"), body);
    }

    async fn dead(&self) -> Vec<DeadLetter> {
        self.broker.take_dead()
    }

    async fn rejected(&self) -> Vec<Rejected> {
        self.broker.take_rejected()
    }
}

#[derive(Default)]
struct Registry(Arc<MemoryDirectory>);

#[async_trait]
impl DirectoryBackend for Registry {
    fn directory(&self) -> Arc<dyn Directory> {
        Arc::clone(&self.0) as _
    }

    async fn empty(&self) {
        self.0.empty();
    }
}

struct Book {
    clock: StepClock,
    journal: Arc<MemoryJournal>,
}

impl JournalBackend for Book {
    fn journal(&self) -> Arc<dyn Journal> {
        Arc::clone(&self.journal) as _
    }

    fn log(&self) -> Arc<dyn Log> {
        Arc::clone(&self.journal) as _
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.clock.clone())
    }
}

impl ActivityBackend for Book {
    fn activity(&self) -> Arc<dyn Activity> {
        Arc::clone(&self.journal) as _
    }

    fn journal(&self) -> Arc<dyn Journal> {
        JournalBackend::journal(self)
    }

    fn clock(&self) -> Arc<dyn Clock> {
        JournalBackend::clock(self)
    }
}

struct Rail(Arc<MemoryGates>);

impl GatesBackend for Rail {
    fn gates(&self) -> Arc<dyn Gates> {
        Arc::clone(&self.0) as _
    }
}

#[tokio::test]
async fn the_gates_keep_their_promises() {
    gates::run_all(async || Box::new(Rail(Arc::default())) as Box<dyn GatesBackend>).await;
}

struct Desk(StepClock, Arc<MemoryTasks>);

impl TasksBackend for Desk {
    fn tasks(&self) -> Arc<dyn Tasks> {
        Arc::clone(&self.1) as _
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.0.clone())
    }
}

#[tokio::test]
async fn tasks_keep_their_promises() {
    let fresh = async || {
        let clock = StepClock::default();
        let tasks = Arc::new(MemoryTasks::new(Arc::new(clock.clone())));
        Box::new(Desk(clock, tasks)) as Box<dyn TasksBackend>
    };
    tasks::run_all(fresh).await;
}

struct List(StepClock, Arc<MemoryRevocations>);

impl RevocationsBackend for List {
    fn revocations(&self) -> Arc<dyn Revocations> {
        Arc::clone(&self.1) as _
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.0.clone())
    }
}

#[tokio::test]
async fn revocations_keep_their_promises() {
    let fresh = async || Box::new(List(StepClock::default(), Arc::default())) as Box<dyn RevocationsBackend>;
    revocations::run_all(fresh).await;
}

struct Memory(StepClock, Arc<MemoryAnswers>);

#[async_trait]
impl AnswersBackend for Memory {
    fn answers(&self) -> Arc<dyn Answers> {
        Arc::clone(&self.1) as _
    }

    async fn pass(&self, time: Duration) {
        self.0.step(time);
    }
}

#[tokio::test]
async fn answers_keep_their_promises() {
    let fresh = async || {
        let clock = StepClock::default();
        let answers = Arc::new(MemoryAnswers::new(Arc::new(clock.clone())));
        Box::new(Memory(clock, answers)) as Box<dyn AnswersBackend>
    };
    answers::run_all(fresh).await;
}

struct Shelf(Arc<MemoryDirectory>);

impl CatalogBackend for Shelf {
    fn directory(&self) -> Arc<dyn Directory> {
        Arc::clone(&self.0) as _
    }

    fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::clone(&self.0) as _
    }
}

#[tokio::test]
async fn the_catalog_keeps_its_promises() {
    catalog::run_all(async || Box::new(Shelf(Arc::default())) as Box<dyn CatalogBackend>).await;
}

#[tokio::test]
async fn events_keep_their_promises() {
    events::run_all(async || Box::new(InMemory::new()) as Box<dyn QueueBackend>).await;
}

#[tokio::test]
async fn deliveries_keep_their_promises() {
    deliveries::run_all(async || Box::new(InMemory::new()) as Box<dyn QueueBackend>).await;
}

#[tokio::test]
async fn the_directory_keeps_its_promises() {
    directory::run_all(async || Box::new(Registry::default()) as Box<dyn DirectoryBackend>).await;
}

#[tokio::test]
async fn the_activity_keeps_its_promises() {
    let book = async || {
        let clock = StepClock::at(BEGINNING);
        let journal = Arc::new(MemoryJournal::new(Arc::new(clock.clone()), Duration::from_secs(7 * 24 * 3600)));
        Box::new(Book { clock, journal }) as Box<dyn ActivityBackend>
    };
    activity::run_all(book).await;
}

#[tokio::test]
async fn the_journal_keeps_its_promises() {
    let book = async || {
        let clock = StepClock::at(BEGINNING);
        let journal = Arc::new(MemoryJournal::new(Arc::new(clock.clone()), Duration::from_secs(7 * 24 * 3600)));
        Box::new(Book { clock, journal }) as Box<dyn JournalBackend>
    };
    journal::run_all(book).await;
}
