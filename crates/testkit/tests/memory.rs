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
use hookyard_testkit::conformance::{DeadLetter, QueueBackend, Rejected};
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

impl Registry {
    fn new() -> Self {
        Self::default()
    }
}

struct Book {
    clock: StepClock,
    journal: Arc<MemoryJournal>,
}

impl Book {
    fn new() -> Self {
        let clock = StepClock::at(BEGINNING);
        let journal = Arc::new(MemoryJournal::new(Arc::new(clock.clone()), Duration::from_secs(7 * 24 * 3600)));
        Self { clock, journal }
    }
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

impl Rail {
    fn new() -> Self {
        Self(Arc::default())
    }
}

impl GatesBackend for Rail {
    fn gates(&self) -> Arc<dyn Gates> {
        Arc::clone(&self.0) as _
    }
}

struct Desk(StepClock, Arc<MemoryTasks>);

impl Desk {
    fn new() -> Self {
        let clock = StepClock::default();
        Self(clock.clone(), Arc::new(MemoryTasks::new(Arc::new(clock))))
    }
}

impl TasksBackend for Desk {
    fn tasks(&self) -> Arc<dyn Tasks> {
        Arc::clone(&self.1) as _
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.0.clone())
    }
}

struct List(StepClock, Arc<MemoryRevocations>);

impl List {
    fn new() -> Self {
        Self(StepClock::default(), Arc::default())
    }
}

impl RevocationsBackend for List {
    fn revocations(&self) -> Arc<dyn Revocations> {
        Arc::clone(&self.1) as _
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.0.clone())
    }
}

struct Memory(StepClock, Arc<MemoryAnswers>);

impl Memory {
    fn new() -> Self {
        let clock = StepClock::default();
        Self(clock.clone(), Arc::new(MemoryAnswers::new(Arc::new(clock))))
    }
}

#[async_trait]
impl AnswersBackend for Memory {
    fn answers(&self) -> Arc<dyn Answers> {
        Arc::clone(&self.1) as _
    }

    async fn pass(&self, time: Duration) {
        self.0.step(time);
    }
}

struct Shelf(Arc<MemoryDirectory>);

impl Shelf {
    fn new() -> Self {
        Self(Arc::default())
    }
}

impl CatalogBackend for Shelf {
    fn directory(&self) -> Arc<dyn Directory> {
        Arc::clone(&self.0) as _
    }

    fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::clone(&self.0) as _
    }
}

mod events {
    hookyard_testkit::each_promise_of_events!(super::InMemory::new());
}

mod deliveries {
    hookyard_testkit::each_promise_of_deliveries!(super::InMemory::new());
}

mod directory {
    hookyard_testkit::each_promise_of_directory!(super::Registry::new());
}

mod catalog {
    hookyard_testkit::each_promise_of_catalog!(super::Shelf::new());
}

mod gates {
    hookyard_testkit::each_promise_of_gates!(super::Rail::new());
}

mod tasks {
    hookyard_testkit::each_promise_of_tasks!(super::Desk::new());
}

mod revocations {
    hookyard_testkit::each_promise_of_revocations!(super::List::new());
}

mod answers {
    hookyard_testkit::each_promise_of_answers!(super::Memory::new());
}

mod activity {
    hookyard_testkit::each_promise_of_activity!(super::Book::new());
}

mod journal {
    hookyard_testkit::each_promise_of_journal!(super::Book::new());
}
