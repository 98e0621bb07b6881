//! What an operator does without a running process: topology and dataset.

use hookyard_core::seal::SealingKeys;
use hookyard_rabbit::{Anchor, Rabbit, Shards};
use hookyard_telemetry::Metrics;
use serde::Serialize;

use crate::backend::{rabbit_config, store};
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
}

/// Declares exchanges, queues and bindings.
pub async fn declare_topology(settings: &Settings) -> anyhow::Result<()> {
    let shards = Shards { fast: settings.config.amqp.shards, slow: settings.config.amqp.slow_shards };
    Ok(Rabbit::declare_topology(&rabbit_config(settings, settings.cluster()?, Roles::default()), shards).await?)
}

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
    Ok(DatasetReport { dataset: meta.map(|meta| meta.dataset), epoch, anchor, good, explanation })
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
