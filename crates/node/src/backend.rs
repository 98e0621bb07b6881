//! The adapters of this configuration, built.

use std::sync::Arc;

use anyhow::Context as _;
use hookyard_core::Fault;
use hookyard_rabbit::{Consumes, Rabbit, RabbitConfig, Shards};
use hookyard_redis::{RedisConfig, RedisJournal, RedisStore};
use hookyard_telemetry::Metrics;

use crate::config::Settings;
use crate::roles::Roles;
use crate::seams::Seams;
use crate::spill::SpillingJournal;

/// Broker and store, ready to be used; neither need be reachable yet.
pub struct Cluster {
    pub rabbit: Arc<Rabbit>,
    pub rabbit_config: RabbitConfig,
    pub store: RedisStore,
    pub journal: Arc<SpillingJournal>,
}

impl Cluster {
    pub fn build(settings: &Settings, roles: Roles, metrics: &Metrics, seams: &Seams) -> anyhow::Result<Self> {
        let rabbit_config = rabbit_config(settings, roles);
        let store = store(settings, metrics, seams).context("the store's URL cannot be read")?;
        let shards = Shards { fast: settings.config.amqp.shards, slow: settings.config.amqp.slow_shards };
        let (clock, entropy) = (Arc::clone(&seams.clock), Arc::clone(&seams.entropy));
        let rabbit = Rabbit::start(rabbit_config.clone(), shards, metrics.clone(), clock, entropy, Arc::clone(&seams.tripwire));
        let journal = SpillingJournal::new(RedisJournal::start(store.clone()), Arc::clone(&rabbit) as _);
        Ok(Self { rabbit, rabbit_config, store, journal })
    }
}

/// The store alone, for the command line.
pub fn store(settings: &Settings, metrics: &Metrics, seams: &Seams) -> Result<RedisStore, Fault> {
    let config = RedisConfig {
        url: settings.redis_url.clone(),
        journal_url: settings.config.redis_journal_url.clone(),
        retention: settings.config.journal.retention,
    };
    let (clock, entropy) = (Arc::clone(&seams.clock), Arc::clone(&seams.entropy));
    RedisStore::open(&config, settings.keys.clone(), metrics.clone(), clock, entropy)
}

/// The broker's details for these roles.
pub fn rabbit_config(settings: &Settings, roles: Roles) -> RabbitConfig {
    RabbitConfig {
        url: settings.amqp_url.clone(),
        prefix: settings.config.amqp.prefix.clone(),
        declare: settings.config.amqp.declare,
        consumes: Consumes { events: roles.router, deliveries: roles.dispatcher, spill: roles.router || roles.dispatcher },
        admission: settings.admission,
        concurrency: settings.config.delivery.concurrency,
        name: format!("hookyard {}", std::process::id()),
    }
}
