//! `hookyard run`.

use std::net::SocketAddr;

use anyhow::{Context as _, anyhow};
use clap::Args;
use hookyard_node::seams::SystemEntropy;
use hookyard_node::settings::BackendSettings;
use hookyard_node::{Config, Role, Roles, Running, Seams, local};
use reqwest::Method;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::node;
use crate::output::{print, talk};
use crate::{receiver, traces};

/// Open files asked for: connections kept to some thousands of receivers. The system may allow fewer.
const FILES_WANTED: u64 = 65_536;

/// Run one or more roles until told to stop.
#[derive(Args)]
pub struct Run {
    /// Which: all, ingest, admin, router, dispatcher. May be given several times.
    #[arg(long = "role")]
    roles: Vec<Role>,
    /// Try it out: allow receivers on this machine, make an application `try` with a built-in receiver, and print a token and a
    /// line that publishes an event to it.
    #[arg(long = "try", conflicts_with = "roles")]
    trial: bool,
}

impl Run {
    pub async fn run(self, mut config: Config) -> anyhow::Result<()> {
        if self.trial {
            raise_file_limit();
            return trial(config).await;
        }
        hookyard_telemetry::logs::begin(&config.log);
        local::create(&mut config, &SystemEntropy::default())?;
        raise_file_limit();
        let settings = config.judge().context("the configuration is wrong")?;
        let traces = traces::begin()?;
        let seams = Seams { traces: traces.clone(), ..Seams::default() };
        let running = hookyard_node::start(&settings, Roles::of(&self.roles), seams).await?;
        if let Some(api) = running.api {
            talk(&format!("API on http://{api}, operations on http://{}", running.ops));
        } else {
            talk(&format!("operations on http://{}", running.ops));
        }
        if let BackendSettings::Embedded(folder) = &settings.backend {
            talk(&format!("everything is kept in {}; a token: hookyard token create --scope admin", folder.display()));
        }
        let ended = until_told(running).await;
        traces.flush();
        ended
    }
}

/// Everything, with a receiver to publish to.
async fn trial(config: Config) -> anyhow::Result<()> {
    const APP: &str = "try";
    const SECRET: &str = "whsec_aG9va3lhcmQtZGVtb25zdHJhdGlvbi1rZXk=";
    let started = node::start(config).await?;
    let (address, mut inbox) = receiver::start(SocketAddr::from(([127, 0, 0, 1], 0)), Some(SECRET)).await?;
    started.server.call(Method::PUT, &format!("/app/{APP}"), Some(&json!({"name": "Trying it out"}))).await?;
    let endpoint = json!({"url": format!("http://{address}/"), "name": "built-in receiver", "secret": SECRET, "disabled": false});
    started.server.call(Method::PUT, &format!("/app/{APP}/endpoint/built-in"), Some(&endpoint)).await?;
    print(&started.directions(APP));
    #[expect(clippy::disallowed_methods, reason = "ends with the program")]
    tokio::spawn(async move {
        while let Some(received) = inbox.recv().await {
            print(&received.line());
        }
    });
    until_told(started.running).await
}

/// Every receiver that is talked to holds a descriptor, and the usual limit of 1,024 is for programs that talk to few.
fn raise_file_limit() {
    if let Err(error) = rlimit::increase_nofile_limit(FILES_WANTED) {
        talk(&format!("the limit of open files stays as it is: {error}"));
    }
}

/// Runs until a signal: the first drains, a second ends at once.
pub async fn until_told(running: Running) -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let failed = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        fault = running.failed() => Some(fault),
    };
    talk("stopping: finishing what is in flight; a second signal ends at once");
    tokio::select! {
        () = running.drain() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    failed.map_or(Ok(()), |fault| Err(anyhow!(fault.chain())))
}
