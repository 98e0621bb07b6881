//! The adapters of this configuration, built, and the ports they offer.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hookyard_core::port::{
    Activity, Answers, Catalog, DeadLetterQueue, Deliveries, Directory, Events, Gates, Journal, Log, Rejections, Revocations,
    Tasks,
};
use hookyard_core::{Fault, FaultKind, QueueDepth};
use hookyard_embedded::Store;
use hookyard_rabbit::{Consumes, Rabbit, RabbitConfig, Shards};
use hookyard_redis::{RedisConfig, RedisJournal, RedisStore};
use hookyard_telemetry::Metrics;
use tokio_util::sync::CancellationToken;

use crate::built_in_apps;
use crate::roles::Roles;
use crate::seams::Seams;
use crate::settings::{BackendSettings, ClusterSettings, Settings};
use crate::spill::SpillingJournal;

/// How often the file is swept.
const SWEEP: Duration = Duration::from_secs(60);

/// Every port of the flow, whatever is behind it.
#[derive(Clone)]
pub struct Ports {
    pub events: Arc<dyn Events>,
    pub deliveries: Arc<dyn Deliveries>,
    pub directory: Arc<dyn Directory>,
    pub catalog: Arc<dyn Catalog>,
    pub journal: Arc<dyn Journal>,
    pub log: Arc<dyn Log>,
    pub tasks: Arc<dyn Tasks>,
    pub revocations: Arc<dyn Revocations>,
    pub answers: Arc<dyn Answers>,
    pub activity: Arc<dyn Activity>,
    pub gates: Arc<dyn Gates>,
    pub rejections: Arc<dyn Rejections>,
    pub dead_letters: Arc<dyn DeadLetterQueue>,
}

/// What everything is kept in.
#[derive(Clone)]
pub enum Backend {
    Cluster(Arc<Cluster>),
    Embedded(Embedded),
}

/// Broker and store, ready to be used; neither need be reachable yet.
pub struct Cluster {
    pub rabbit: Arc<Rabbit>,
    pub rabbit_config: RabbitConfig,
    pub store: RedisStore,
    pub journal: Arc<SpillingJournal>,
    pub log: RedisJournal,
    /// What writes the journal, until a root task takes it.
    writer: Mutex<Option<BoxFuture<'static, ()>>>,
    /// Set by the guard of the dataset.
    pub established: Arc<AtomicBool>,
}

/// One file, open.
#[derive(Clone)]
pub struct Embedded {
    pub store: Store,
    retention: Duration,
}

impl Backend {
    pub fn build(settings: &Settings, roles: Roles, metrics: &Metrics, seams: &Seams) -> anyhow::Result<Self> {
        match &settings.backend {
            BackendSettings::Cluster(cluster) => {
                Ok(Self::Cluster(Arc::new(Cluster::build(settings, cluster, roles, metrics, seams)?)))
            }
            BackendSettings::Embedded(folder) => {
                ensure!(
                    roles == Roles::ALL,
                    "without HOOKYARD_AMQP_URL and HOOKYARD_REDIS_URL one process plays every role: leave out --role"
                );
                Ok(Self::Embedded(Embedded::open(settings, folder, seams)?))
            }
        }
    }

    pub fn ports(&self) -> Ports {
        match self {
            Self::Cluster(cluster) => Ports {
                events: Arc::clone(&cluster.rabbit) as _,
                deliveries: Arc::clone(&cluster.rabbit) as _,
                directory: Arc::new(cluster.store.clone()),
                catalog: Arc::new(cluster.store.clone()),
                journal: Arc::clone(&cluster.journal) as _,
                log: Arc::new(cluster.log.clone()),
                tasks: Arc::new(cluster.store.clone()),
                revocations: Arc::new(cluster.store.clone()),
                answers: Arc::new(cluster.store.clone()),
                activity: Arc::new(cluster.log.clone()),
                gates: Arc::new(cluster.store.clone()),
                rejections: Arc::clone(&cluster.rabbit) as _,
                dead_letters: Arc::clone(&cluster.rabbit) as _,
            },
            Self::Embedded(embedded) => {
                let store = Arc::new(embedded.store.clone());
                Ports {
                    events: Arc::clone(&store) as _,
                    deliveries: Arc::clone(&store) as _,
                    directory: Arc::clone(&store) as _,
                    catalog: Arc::clone(&store) as _,
                    journal: Arc::clone(&store) as _,
                    log: Arc::clone(&store) as _,
                    tasks: Arc::clone(&store) as _,
                    revocations: Arc::clone(&store) as _,
                    answers: Arc::clone(&store) as _,
                    activity: Arc::clone(&store) as _,
                    gates: Arc::clone(&store) as _,
                    rejections: Arc::clone(&store) as _,
                    dead_letters: store,
                }
            }
        }
    }

    /// What waits in the queues.
    pub async fn depths(&self) -> Result<Vec<QueueDepth>, Fault> {
        match self {
            Self::Cluster(cluster) => cluster.rabbit.depths().await,
            Self::Embedded(embedded) => embedded.store.depths().await,
        }
    }

    /// The first part of a stop.
    pub fn stop_claiming(&self) {
        match self {
            Self::Cluster(cluster) => cluster.rabbit.stop_claiming(),
            Self::Embedded(embedded) => embedded.store.stop_claiming(),
        }
    }

    /// Writes the journal until `stop`.
    ///
    /// # Errors
    /// When what writes it died.
    pub async fn write_journal(self, stop: CancellationToken) -> Result<(), Fault> {
        let cluster = match &self {
            Self::Cluster(cluster) => cluster,
            Self::Embedded(embedded) => {
                return tokio::select! {
                    () = stop.cancelled() => Ok(()),
                    died = embedded.store.writer_died() => Err(died),
                };
            }
        };
        let Some(mut writer) = cluster.writer.lock().unwrap_or_else(PoisonError::into_inner).take() else { return Ok(()) };
        tokio::select! {
            () = stop.cancelled() => {
                // What is still handed to it by attempts that took longer than the stop waits is written as long as the process is there.
                #[expect(clippy::disallowed_methods, reason = "ends with the process")]
                tokio::spawn(writer);
                Ok(())
            }
            () = &mut writer => Err(Fault::new(FaultKind::Refused, "write the journal")),
        }
    }

    /// Ends everything: what is claimed and not settled is claimable again.
    pub async fn stop(&self) {
        match self {
            Self::Cluster(cluster) => cluster.rabbit.stop().await,
            Self::Embedded(embedded) => embedded.store.close().await,
        }
    }
}

impl Embedded {
    fn open(settings: &Settings, folder: &Path, seams: &Seams) -> anyhow::Result<Self> {
        let seams = hookyard_embedded::Seams {
            admission: settings.admission,
            concurrency: settings.config.delivery.concurrency,
            keys: settings.keys.clone(),
            clock: Arc::clone(&seams.clock),
            entropy: Arc::clone(&seams.entropy),
            tripwire: Arc::clone(&seams.tripwire),
        };
        Ok(Self { store: Store::open(folder, seams)?, retention: settings.config.journal.retention })
    }

    /// Makes what must exist before the first request.
    pub async fn establish(&self, seams: &Seams) -> Result<(), Fault> {
        built_in_apps::ensure(&self.store, &*seams.clock, &*seams.entropy).await
    }

    /// Keeps the file in order until `stop`.
    pub async fn keep_house(self, stop: CancellationToken) -> Result<(), Fault> {
        loop {
            if let Err(fault) = self.store.sweep(self.retention).await {
                tracing::warn!(error = fault.chain(), "the file was not swept");
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(SWEEP) => {}
            }
        }
    }
}

impl Cluster {
    fn build(
        settings: &Settings,
        cluster: &ClusterSettings,
        roles: Roles,
        metrics: &Metrics,
        seams: &Seams,
    ) -> anyhow::Result<Self> {
        let rabbit_config = rabbit_config(settings, cluster, roles);
        let store = store(settings, cluster, metrics, seams).context("the store's URL cannot be read")?;
        let shards = Shards { fast: settings.config.amqp.shards, slow: settings.config.amqp.slow_shards };
        let (clock, entropy) = (Arc::clone(&seams.clock), Arc::clone(&seams.entropy));
        let rabbit = Rabbit::start(rabbit_config.clone(), shards, metrics.clone(), clock, entropy, Arc::clone(&seams.tripwire));
        let (log, writer) = RedisJournal::new(store.clone());
        let journal = SpillingJournal::new(log.clone(), Arc::clone(&rabbit) as _);
        let writer = Mutex::new(Some(writer.boxed()));
        Ok(Self { rabbit, rabbit_config, store, journal, log, writer, established: Arc::default() })
    }
}

/// The store alone, for the command line.
pub fn store(settings: &Settings, cluster: &ClusterSettings, metrics: &Metrics, seams: &Seams) -> Result<RedisStore, Fault> {
    let config = RedisConfig {
        url: cluster.redis_url.clone(),
        journal_url: settings.config.redis_journal_url.clone(),
        retention: settings.config.journal.retention,
    };
    let (clock, entropy) = (Arc::clone(&seams.clock), Arc::clone(&seams.entropy));
    RedisStore::open(&config, settings.keys.clone(), metrics.clone(), clock, entropy)
}

/// The broker's details for these roles.
pub fn rabbit_config(settings: &Settings, cluster: &ClusterSettings, roles: Roles) -> RabbitConfig {
    RabbitConfig {
        url: cluster.amqp_url.clone(),
        prefix: settings.config.amqp.prefix.clone(),
        declare: settings.config.amqp.declare,
        consumes: Consumes { events: roles.router, deliveries: roles.dispatcher, spill: roles.router || roles.dispatcher },
        admission: settings.admission,
        concurrency: settings.config.delivery.concurrency,
        name: format!("hookyard {}", std::process::id()),
    }
}
