//! `hookyard bench`: how fast it is here.

use std::time::Duration;

use clap::Args;
use hookyard_node::Config;

use crate::bench::{self, Plan};
use crate::node;
use crate::output::{Format, show};

/// Long before what is missing counts as lost.
const RETRIED_AFTER: Duration = Duration::from_secs(2);

/// Start everything with a receiver that answers at once, publish events as fast as they are accepted, and say how fast they arrived.
///
/// Publishers, receiver and every role share one process: what is measured is this machine with this broker and store. Use ones that serve
/// nothing else: what waits there would be routed and delivered, too. Its application is deleted afterwards. Exit code 0 if every event arrived at every endpoint once.
#[derive(Args)]
pub struct Bench {
    /// Events to publish.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    events: u32,
    /// Endpoints each of them goes to.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    endpoints: u16,
    /// Bytes of each.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(50..=200_000))]
    bytes: u32,
    /// Requests that publish at once.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    publishers: u16,
    /// The broker; without it and the store everything is in this process and one file. The configured ones are never used.
    #[arg(long, requires = "redis")]
    amqp: Option<String>,
    /// The store.
    #[arg(long, requires = "amqp")]
    redis: Option<String>,
}

impl Bench {
    pub async fn run(self, config: Config, format: Option<Format>) -> anyhow::Result<()> {
        let plan =
            Plan { events: self.events, endpoints: self.endpoints, bytes: self.bytes, publishers: self.publishers }.judge()?;
        let mut config = Config { amqp_url: self.amqp, redis_url: self.redis, redis_journal_url: None, ..config };
        // As the receiver knows them, and soon again if one is ever to be retried.
        config.delivery.body_format = Config::default().delivery.body_format;
        config.delivery.retry_schedule = vec![RETRIED_AFTER; 2];
        // Nothing is left behind but what was written to a store that is given.
        let folder = tempfile::tempdir()?;
        folder.path().join("data").clone_into(&mut config.data_dir);
        let any = ([127, 0, 0, 1], 0).into();
        (config.listen, config.ops_listen) = (any, any);
        let started = node::start(config).await?;
        let measured = bench::play(&started.server, plan).await;
        started.running.drain().await;
        show(&measured?, &[], format);
        Ok(())
    }
}
