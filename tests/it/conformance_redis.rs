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
use hookyard_testkit::conformance::{activity, answers, catalog, directory, gates, journal, revocations, tasks};
use tempfile::TempDir;

/// A store that begins empty for each promise.
struct Store {
    adapter: RedisStore,
    url: String,
    _server: Arc<(PrivateRedis, TempDir)>,
}

impl Store {
    async fn fresh(server: &Arc<(PrivateRedis, TempDir)>) -> Result<Self> {
        let url = server.0.url();
        flush(&url).await?;
        let config = RedisConfig { url: url.clone(), journal_url: None, retention: Duration::from_secs(7 * 24 * 3600) };
        let keys = SealingKeys::parse("dGVzdC10ZXN0LXRlc3QtdGVzdC10ZXN0LXRlc3QtMzI=")?;
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy::default()));
        let store = RedisStore::open(&config, keys, Metrics::unregistered(), clock, entropy)?;
        store.adopt(Some(store.create_meta("conformance").await?));
        Ok(Self { adapter: store, url, _server: Arc::clone(server) })
    }
}

async fn flush(url: &str) -> Result<()> {
    let mut connection = redis_at(url).await?;
    redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await?;
    Ok(())
}

async fn server() -> Result<Arc<(PrivateRedis, TempDir)>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_owned();
    let redis = tokio::task::spawn_blocking(move || PrivateRedis::start(&path)).await??;
    Ok(Arc::new((redis, folder)))
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

#[tokio::test(flavor = "multi_thread")]
async fn tasks_keep_their_promises_on_redis() -> Result<()> {
    let server = server().await?;
    tasks::run_all(async || Box::new(Store::fresh(&server).await.expect("a store")) as Box<dyn TasksBackend>).await;
    Ok(())
}

impl RevocationsBackend for Store {
    fn revocations(&self) -> Arc<dyn Revocations> {
        Arc::new(self.adapter.clone())
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revocations_keep_their_promises_on_redis() -> Result<()> {
    let server = server().await?;
    let fresh = async || Box::new(Store::fresh(&server).await.expect("a store")) as Box<dyn RevocationsBackend>;
    revocations::run_all(fresh).await;
    Ok(())
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

#[tokio::test(flavor = "multi_thread")]
async fn answers_keep_their_promises_on_redis() -> Result<()> {
    let server = server().await?;
    answers::run_all(async || Box::new(Store::fresh(&server).await.expect("a store")) as Box<dyn AnswersBackend>).await;
    Ok(())
}

impl CatalogBackend for Store {
    fn directory(&self) -> Arc<dyn Directory> {
        Arc::new(self.adapter.clone())
    }

    fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::new(self.adapter.clone())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_keeps_its_promises_on_redis() -> Result<()> {
    let server = server().await?;
    catalog::run_all(async || Box::new(Store::fresh(&server).await.expect("a store")) as Box<dyn CatalogBackend>).await;
    Ok(())
}

impl GatesBackend for Store {
    fn gates(&self) -> Arc<dyn Gates> {
        Arc::new(self.adapter.clone())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gates_keep_their_promises_on_redis() -> Result<()> {
    let server = server().await?;
    gates::run_all(async || Box::new(Store::fresh(&server).await.expect("a store")) as Box<dyn GatesBackend>).await;
    Ok(())
}

struct Book {
    journal: RedisJournal,
    _store: Store,
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

#[tokio::test(flavor = "multi_thread")]
async fn the_activity_keeps_its_promises_on_redis() -> Result<()> {
    let server = server().await?;
    let book = async || {
        let store = Store::fresh(&server).await.expect("a store");
        Box::new(Book { journal: RedisJournal::start(store.adapter.clone()), _store: store }) as Box<dyn ActivityBackend>
    };
    activity::run_all(book).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_keeps_its_promises_on_redis() -> Result<()> {
    let server = server().await?;
    directory::run_all(async || Box::new(Store::fresh(&server).await.expect("a store")) as Box<dyn DirectoryBackend>).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_keeps_its_promises_on_redis() -> Result<()> {
    let server = server().await?;
    let book = async || {
        let store = Store::fresh(&server).await.expect("a store");
        Box::new(Book { journal: RedisJournal::start(store.adapter.clone()), _store: store }) as Box<dyn JournalBackend>
    };
    journal::run_all(book).await;
    Ok(())
}
