//! What an operator does without a running process: topology and dataset.

use hookyard_core::seal::SealingKeys;
use hookyard_core::{AppId, Timestamp};
use hookyard_rabbit::topology::Argument;
use hookyard_rabbit::{Anchor, QueueStanding, Rabbit, Shards, Topology};
use hookyard_telemetry::Metrics;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::backend::{rabbit_config, store};
use crate::config::Config;
use crate::dataset;
use crate::roles::Roles;
use crate::seams::Seams;
use crate::settings::Settings;

/// How store and broker stand to each other.
#[derive(Clone, Debug, Serialize)]
pub struct DatasetReport {
    /// The dataset the store holds.
    pub dataset: Option<String>,
    /// Its epoch.
    pub epoch: Option<u64>,
    /// `same`, `other` or `none`: the broker's anchor.
    pub anchor: &'static str,
    /// Whether the installation works like this.
    pub good: bool,
    /// What it means and what to do.
    pub explanation: &'static str,
    /// Applications of which the store was found to know less than before, the latest first.
    pub regressions: Vec<Regression>,
}

/// The store knew less of an application than it did before.
#[derive(Clone, Debug, Serialize)]
pub struct Regression {
    /// The application.
    pub application: AppId,
    /// When a router noticed, and read it anew.
    pub at: Timestamp,
}

/// Declares exchanges, queues and bindings.
pub async fn declare_topology(settings: &Settings) -> anyhow::Result<()> {
    let shards = shards(&settings.config);
    Ok(Rabbit::declare_topology(&rabbit_config(settings, settings.cluster()?, Roles::default()), shards).await?)
}

/// What is missing or other than it must be.
pub async fn check_topology(settings: &Settings) -> anyhow::Result<Vec<String>> {
    let shards = shards(&settings.config);
    let inspection = Rabbit::inspect(&rabbit_config(settings, settings.cluster()?, Roles::default()), shards).await?;
    let flaw = |(name, standing): (String, QueueStanding)| match standing {
        QueueStanding::Same => None,
        QueueStanding::Absent => Some(format!("{name} is missing")),
        QueueStanding::Different(why) | QueueStanding::Forbidden(why) => Some(format!("{name}: {why}")),
    };
    Ok(inspection.queues.into_iter().filter_map(flaw).collect())
}

/// Everything there must be in the broker, in the form of RabbitMQ's definitions, for virtual host `/`.
pub fn definitions(config: &Config) -> Value {
    let topology = Topology::new(&config.amqp.prefix, shards(config));
    let argument = |argument: &Argument| match argument {
        Argument::Int(number) => json!(number),
        Argument::Text(text) => json!(text),
    };
    let exchanges: Vec<Value> = topology.exchanges.iter().map(|exchange| {
        let arguments: Map<String, Value> = exchange.alternate.iter().map(|name| ("alternate-exchange".to_owned(), json!(name))).collect();
        json!({"name": exchange.name, "vhost": "/", "type": exchange.kind.as_str(), "durable": true, "auto_delete": false, "internal": false, "arguments": arguments})
    }).collect();
    let queues: Vec<Value> = topology
        .queues
        .iter()
        .map(|queue| {
            let mut arguments: Map<String, Value> =
                queue.arguments.iter().map(|(key, value)| ((*key).to_owned(), argument(value))).collect();
            arguments.insert("x-queue-type".to_owned(), json!("quorum"));
            json!({"name": queue.name, "vhost": "/", "durable": true, "auto_delete": false, "arguments": arguments})
        })
        .collect();
    let bindings: Vec<Value> = topology.bindings.iter().map(|binding| {
        json!({"source": binding.exchange, "vhost": "/", "destination": binding.queue, "destination_type": "queue", "routing_key": binding.key, "arguments": {}})
    }).collect();
    json!({"vhosts": [{"name": "/"}], "exchanges": exchanges, "queues": queues, "bindings": bindings})
}

fn shards(config: &Config) -> Shards {
    Shards { fast: config.amqp.shards, slow: config.amqp.slow_shards }
}

/// Of a store that belongs to the broker, and was restored from a copy or failed over to a replica that was behind.
const WENT_BACK: &str = "store and broker belong together. For the applications listed the store went back in time: what was changed after \
     its copy is lost, and events are routed by what it holds since. Create again what is missing; then `hookyard endpoint replay-missing \
     --app … --since …`, with the moment of the copy, sends what they missed";

/// Looks at the dataset and its anchor.
pub async fn show_dataset(settings: &Settings) -> anyhow::Result<DatasetReport> {
    let cluster = settings.cluster()?;
    let store = store(settings, cluster, &Metrics::unregistered(), &Seams::default())?;
    let broker = rabbit_config(settings, cluster, Roles::default());
    let (meta, anchor) = dataset::look(&store, &broker).await?;
    let (good, explanation) = match (&meta, anchor) {
        (None, Anchor::None) => (true, "nothing was started yet: the first start creates the dataset"),
        (None, _) => (
            false,
            "the store is empty, and this broker belongs to a dataset: the store was emptied or exchanged. Restore it from its \
             backup; or, to begin anew with an empty directory, run `hookyard dataset accept`",
        ),
        (Some(_), Anchor::Same) => (true, "store and broker belong together"),
        (Some(_), Anchor::None) => (true, "the broker is new: the next start anchors this dataset in it"),
        (Some(_), Anchor::Other) => (
            false,
            "the store holds another dataset than this broker belongs to: check both URLs. If the store is the right one, run \
             `hookyard dataset accept`",
        ),
    };
    let anchor = match anchor {
        Anchor::None => "none",
        Anchor::Same => "same",
        Anchor::Other => "other",
    };
    let epoch = meta.as_ref().map(|meta| meta.epoch);
    let regressions: Vec<_> = match meta {
        Some(_) => store.regressions().await?.into_iter().map(|(application, at)| Regression { application, at }).collect(),
        None => Vec::new(),
    };
    let explanation = if anchor == "same" && !regressions.is_empty() { WENT_BACK } else { explanation };
    Ok(DatasetReport { dataset: meta.map(|meta| meta.dataset), epoch, anchor, good, explanation, regressions })
}

/// Accepts what the store holds now; running roles follow within seconds.
pub async fn accept_dataset(settings: &Settings) -> anyhow::Result<DatasetReport> {
    let (seams, cluster) = (Seams::default(), settings.cluster()?);
    let store = store(settings, cluster, &Metrics::unregistered(), &seams)?;
    let broker = rabbit_config(settings, cluster, Roles::default());
    dataset::accept(&store, &broker, &*seams.entropy).await?;
    show_dataset(settings).await
}

/// A new sealing key, as text for the configuration.
pub fn new_secret_key() -> String {
    SealingKeys::generate(&*Seams::default().entropy)
}
