//! `hookyard run`.

use anyhow::{Context as _, anyhow};
use clap::Args;
use hookyard_node::config::BackendSettings;
use hookyard_node::seams::SystemEntropy;
use hookyard_node::{Config, Role, Roles, Running, Seams, local};
use tokio::signal::unix::{SignalKind, signal};

use crate::output::talk;

/// Open files asked for: connections kept to some thousands of receivers. The system may allow fewer.
const FILES_WANTED: u64 = 65_536;

/// Run one or more roles until told to stop.
#[derive(Args)]
pub struct Run {
    /// Which: all, ingest, admin, router, dispatcher. May be given several times.
    #[arg(long = "role")]
    roles: Vec<Role>,
}

impl Run {
    pub async fn run(self, mut config: Config) -> anyhow::Result<()> {
        hookyard_telemetry::logs::begin(&config.log);
        local::create(&mut config, &SystemEntropy::default())?;
        raise_file_limit();
        let settings = config.judge().context("the configuration is wrong")?;
        let running = hookyard_node::start(&settings, Roles::of(&self.roles), Seams::default()).await?;
        if let Some(api) = running.api {
            talk(&format!("API on http://{api}, operations on http://{}", running.ops));
        } else {
            talk(&format!("operations on http://{}", running.ops));
        }
        if let BackendSettings::Embedded(folder) = &settings.backend {
            talk(&format!("everything is kept in {}; a token: hookyard token create --scope admin", folder.display()));
        }
        until_told(running).await
    }
}

/// Every receiver that is talked to holds a descriptor, and the usual limit of 1,024 is for programs that talk to few.
fn raise_file_limit() {
    if let Err(error) = rlimit::increase_nofile_limit(FILES_WANTED) {
        talk(&format!("the limit of open files stays as it is: {error}"));
    }
}

/// Runs until a signal: the first drains, a second ends at once.
pub async fn until_told(mut running: Running) -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        fault = running.failed() => {
            running.close().await;
            return Err(anyhow!(fault.chain()));
        }
    }
    talk("stopping: finishing what is in flight; a second signal ends at once");
    tokio::select! {
        () = running.drain() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
