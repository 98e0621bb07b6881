//! `hookyard demo`: a script that proves itself.

use clap::Args;
use hookyard_node::Config;

use crate::command::run::until_told;
use crate::demo;
use crate::node;
use crate::output::{print, talk};

/// Start everything with receivers that answer well, badly or not at all, publish events, and check what comes of them.
///
/// A broker and store that are given should serve nothing else: what waits there would be routed and delivered, too. Exit code 0 if
/// everything came as it must.
#[derive(Args)]
pub struct Demo {
    /// Keep running afterwards, with what was published, in the data folder.
    #[arg(long)]
    keep: bool,
    /// The broker; without it and the store everything is in this process and one file. The configured ones are never used.
    #[arg(long, requires = "redis")]
    amqp: Option<String>,
    /// The store.
    #[arg(long, requires = "amqp")]
    redis: Option<String>,
}

impl Demo {
    pub async fn run(self, config: Config) -> anyhow::Result<()> {
        let mut config = Config { amqp_url: self.amqp, redis_url: self.redis, redis_journal_url: None, ..config };
        // Nothing is left behind unless asked for.
        let folder = tempfile::tempdir()?;
        if !self.keep {
            folder.path().join("data").clone_into(&mut config.data_dir);
            let any = ([127, 0, 0, 1], 0).into();
            (config.listen, config.ops_listen) = (any, any);
        }
        let started = node::start(config).await?;
        let played = demo::play(&started.server).await;
        if self.keep {
            if let Err(error) = &played {
                talk(&format!("error: {error:#}"));
            }
            print(&started.directions(demo::APP));
            return until_told(started.running).await;
        }
        started.running.drain().await;
        played
    }
}
