//! The conformance suites of the directory and the journal, on a real Redis.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use hookyard_core::Clock;
use hookyard_core::port::{Activity, Answers, Catalog, Directory, Gates, Journal, Log, Revocations, Tasks};
use hookyard_core::seal::SealingKeys;
use hookyard_e2e::services::PrivateRedis;
use hookyard_e2e::world::redis_at;
use hookyard_node::seams::{SystemClock, SystemEntropy};
use hookyard_redis::{RedisConfig, RedisJournal, RedisStore};
use hookyard_telemetry::Metrics;
use hookyard_testkit::conformance::activity::ActivityBackend;
use hookyard_testkit::conformance::answers::AnswersBackend;
use hookyard_testkit::conformance::catalog::CatalogBackend;
use hookyard_testkit::conformance::directory::DirectoryBackend;
use hookyard_testkit::conformance::gates::GatesBackend;
use hookyard_testkit::conformance::journal::JournalBackend;
use hookyard_testkit::conformance::revocations::RevocationsBackend;
use hookyard_testkit::conformance::tasks::TasksBackend;
use tempfile::TempDir;

/// A store that begins empty for each promise.
struct Store {
    adapter: RedisStore,
    url: String,
    _server: (PrivateRedis, TempDir),
}

impl Store {
    async fn fresh() -> Self {
        Self::begin().await.expect("a store")
    }

    async fn begin() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().to_owned();
        let server = tokio::task::spawn_blocking(move || PrivateRedis::start(&path)).await??;
        let url = server.url();
        let config = RedisConfig { url: url.clone(), journal_url: None, retention: Duration::from_secs(7 * 24 * 3600) };
        let keys = SealingKeys::parse("dGVzdC10ZXN0LXRlc3QtdGVzdC10ZXN0LXRlc3QtMzI=")?;
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy::default()));
        let store = RedisStore::open(&config, keys, Metrics::unregistered(), clock, entropy)?;
        store.adopt(Some(store.create_meta("conformance").await?));
        Ok(Self { adapter: store, url, _server: (server, folder) })
    }
}

async fn flush(url: &str) -> Result<()> {
    let mut connection = redis_at(url).await?;
    redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await?;
    Ok(())
}

#[async_trait]
impl DirectoryBackend for Store {
    fn directory(&self) -> Arc<dyn Directory> {
        Arc::new(self.adapter.clone())
    }

    async fn empty(&self) {
        flush(&self.url).await.expect("emptied");
    }
}

impl TasksBackend for Store {
    fn tasks(&self) -> Arc<dyn Tasks> {
        Arc::new(self.adapter.clone())
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }
}

impl RevocationsBackend for Store {
    fn revocations(&self) -> Arc<dyn Revocations> {
        Arc::new(self.adapter.clone())
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }
}

#[async_trait]
impl AnswersBackend for Store {
    fn answers(&self) -> Arc<dyn Answers> {
        Arc::new(self.adapter.clone())
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

impl CatalogBackend for Store {
    fn directory(&self) -> Arc<dyn Directory> {
        Arc::new(self.adapter.clone())
    }

    fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::new(self.adapter.clone())
    }
}

impl GatesBackend for Store {
    fn gates(&self) -> Arc<dyn Gates> {
        Arc::new(self.adapter.clone())
    }
}

struct Book {
    journal: RedisJournal,
    _store: Store,
}

impl Book {
    async fn fresh() -> Self {
        let store = Store::fresh().await;
        Self { journal: RedisJournal::start(store.adapter.clone()), _store: store }
    }
}

impl JournalBackend for Book {
    fn journal(&self) -> Arc<dyn Journal> {
        Arc::new(self.journal.clone())
    }

    fn log(&self) -> Arc<dyn Log> {
        Arc::new(self.journal.clone())
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }
}

impl ActivityBackend for Book {
    fn activity(&self) -> Arc<dyn Activity> {
        Arc::new(self.journal.clone())
    }

    fn journal(&self) -> Arc<dyn Journal> {
        JournalBackend::journal(self)
    }

    fn clock(&self) -> Arc<dyn Clock> {
        JournalBackend::clock(self)
    }
}

mod directory {
    hookyard_testkit::each_promise_of_directory!(super::Store::fresh().await);
}

mod catalog {
    hookyard_testkit::each_promise_of_catalog!(super::Store::fresh().await);
}

mod gates {
    hookyard_testkit::each_promise_of_gates!(super::Store::fresh().await);
}

mod tasks {
    hookyard_testkit::each_promise_of_tasks!(super::Store::fresh().await);
}

mod revocations {
    hookyard_testkit::each_promise_of_revocations!(super::Store::fresh().await);
}

mod answers {
    hookyard_testkit::each_promise_of_answers!(super::Store::fresh().await);
}

mod activity {
    hookyard_testkit::each_promise_of_activity!(super::Book::fresh().await);
}

mod journal {
    hookyard_testkit::each_promise_of_journal!(super::Book::fresh().await);
}
