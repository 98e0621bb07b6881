//! `hookyard topology`.

use anyhow::bail;
use clap::Subcommand;
use hookyard_node::{Config, Settings, tools};

use crate::output::{print, talk};

/// Exchanges, queues and bindings in the broker.
#[derive(Subcommand)]
pub enum Topology {
    /// Declare what is missing; changes nothing that is there.
    Declare,
    /// Say whether every queue is there with the arguments it must have; fails if not.
    Check,
    /// Print all of it in the form of RabbitMQ's `definitions.json`.
    Print,
}

impl Topology {
    /// What needs neither broker nor store.
    pub fn is_offline(&self) -> bool {
        matches!(self, Self::Print)
    }

    pub fn print(config: &Config) {
        print(&format!("{:#}", tools::definitions(config)));
    }

    pub async fn run(self, settings: &Settings) -> anyhow::Result<()> {
        match self {
            Self::Declare => {
                tools::declare_topology(settings).await?;
                talk("declared");
            }
            Self::Check => {
                let flaws = tools::check_topology(settings).await?;
                if !flaws.is_empty() {
                    bail!("{}", flaws.join("; "));
                }
                talk("everything is as it must be");
            }
            Self::Print => Self::print(&settings.config),
        }
        Ok(())
    }
}
