//! `hookyard topology`.

use clap::Subcommand;
use hookyard_node::settings::Settings;
use hookyard_node::tools;

use crate::output::talk;

/// Exchanges, queues and bindings in the broker.
#[derive(Subcommand)]
pub enum Topology {
    /// Declare what is missing; changes nothing that is there.
    Declare,
}

impl Topology {
    pub async fn run(self, settings: &Settings) -> anyhow::Result<()> {
        match self {
            Self::Declare => {
                tools::declare_topology(settings).await?;
                talk("declared");
                Ok(())
            }
        }
    }
}
