//! Hookyard as it is run in production: its executable, one process per role, configured by the environment.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::process::Command;

use crate::api::Api;
use crate::broker::{Broker, Door};
use crate::event;
use crate::process::{Process, Stream};

/// What all names in the broker begin with.
const PREFIX: &str = "bench";
/// Good for measuring, never for anything that matters.
const JWT_SECRET: &str = "benchmark-secret-not-for-real-use";
/// Queues that are empty when every event was delivered at the first attempt.
const QUEUES: [&str; 7] = ["ingest", "dispatch.0", "dispatch.1", "slow.0", "dead", "rejected", "journal"];

/// An installation: its configuration, and applications with 1, 2, … endpoints as asked for.
pub struct Hookyard {
    program: PathBuf,
    environment: Vec<(&'static str, String)>,
}

/// Where an installation keeps things.
pub struct Places<'a> {
    pub amqp: &'a str,
    pub directory: &'a str,
    pub journal: &'a str,
}

/// A process with one role.
pub struct Role {
    pub process: Process,
    /// Its operators' listener.
    pub ops: String,
    /// Its API, if it has one.
    pub api: Option<String>,
}

impl Hookyard {
    /// Declares topology and dataset by a first start, and creates an application for each number of endpoints, all at `receiver`.
    pub async fn install(
        program: &Path,
        places: &Places<'_>,
        api: &Api,
        receiver: &str,
        fan_outs: &BTreeSet<usize>,
    ) -> Result<Self> {
        let mut this = Self { program: program.to_owned(), environment: Vec::new() };
        this.environment = vec![
            ("HOOKYARD_AMQP_URL", places.amqp.to_owned()),
            ("HOOKYARD_AMQP__PREFIX", PREFIX.to_owned()),
            ("HOOKYARD_REDIS_URL", places.directory.to_owned()),
            ("HOOKYARD_REDIS_JOURNAL_URL", places.journal.to_owned()),
            ("HOOKYARD_SECRET_KEY", this.ask(&["secret-key", "create"]).await?),
            ("HOOKYARD_JWT_SECRET", JWT_SECRET.to_owned()),
            ("HOOKYARD_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8".to_owned()),
            ("HOOKYARD_LISTEN", "127.0.0.1:0".to_owned()),
            ("HOOKYARD_OPS_LISTEN", "127.0.0.1:0".to_owned()),
            ("HOOKYARD_LOG", "error".to_owned()),
        ];
        let token = this.token().await?;
        let admin = this.start("admin", api).await?;
        Self::create_apps(api, admin.api.as_deref().context("the role admin has no API")?, &token, receiver, fan_outs).await?;
        admin.process.stop().await?;
        Ok(this)
    }

    /// One that keeps everything in a folder.
    pub fn embedded(program: &Path, folder: &Path) -> Self {
        let environment = vec![
            ("HOOKYARD_DATA_DIR", folder.join("data").display().to_string()),
            ("HOOKYARD_JWT_SECRET", JWT_SECRET.to_owned()),
            ("HOOKYARD_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8".to_owned()),
            ("HOOKYARD_LISTEN", "127.0.0.1:0".to_owned()),
            ("HOOKYARD_OPS_LISTEN", "127.0.0.1:0".to_owned()),
            ("HOOKYARD_LOG", "error".to_owned()),
        ];
        Self { program: program.to_owned(), environment }
    }

    /// Creates an application for each number of endpoints, all at `receiver`.
    pub async fn create_apps(api: &Api, address: &str, token: &str, receiver: &str, fan_outs: &BTreeSet<usize>) -> Result<()> {
        for &endpoints in fan_outs {
            let app = format!("{address}/api/v1/app/{}", app_name(endpoints));
            api.put(&app, token, &json!({"name": format!("{endpoints} endpoints")})).await?;
            for number in 0..endpoints {
                let endpoint = json!({"url": format!("{receiver}{number}")});
                api.put(&format!("{app}/endpoint/number-{number}"), token, &endpoint).await?;
            }
        }
        Ok(())
    }

    /// Configures what is started from now on otherwise.
    pub fn set(&mut self, name: &'static str, value: &str) {
        self.environment.push((name, value.to_owned()));
    }

    /// A token that may do everything.
    pub async fn token(&self) -> Result<String> {
        self.ask(&["token", "create", "--scope", "admin"]).await
    }

    /// Its version, as it says.
    pub async fn version(&self) -> Result<String> {
        self.ask(&["--version"]).await
    }

    /// Starts a role and waits until it is ready.
    pub async fn start(&self, role: &'static str, api: &Api) -> Result<Role> {
        self.begin(role, &["run", "--role", role], api).await
    }

    /// Starts every role in one process.
    pub async fn start_whole(&self, api: &Api) -> Result<Role> {
        self.begin("hookyard", &["run"], api).await
    }

    async fn begin(&self, role: &'static str, arguments: &[&str], api: &Api) -> Result<Role> {
        let mut command = self.command(arguments);
        let (process, (api_address, ops)) = Process::start(role, &mut command, Stream::Error, addresses).await?;
        api.await_ready(&ops).await?;
        Ok(Role { process, ops, api: api_address })
    }

    /// Where events for the application with this many endpoints are published.
    pub fn door(endpoints: usize) -> Door {
        Self::door_of(app_name(endpoints), event::TYPE)
    }

    /// Where events of a type for an application are published.
    pub fn door_of(app: String, event_type: &str) -> Door {
        let exchange = format!("{PREFIX}.events");
        Door { exchange, routing_key: event_type.to_owned(), app: Some(app), event_type: event_type.to_owned() }
    }

    /// Messages in each dispatch queue.
    pub async fn dispatch_depths(broker: &Broker) -> Result<[u32; 2]> {
        let [one, other] = ["dispatch.0", "dispatch.1"].map(|queue| format!("{PREFIX}.{queue}"));
        Ok([broker.depth(&one).await?, broker.depth(&other).await?])
    }

    /// Messages in all queues that should be empty now, each with its name.
    pub async fn left_over(broker: &Broker) -> Result<Vec<(String, u32)>> {
        let mut left = Vec::new();
        for queue in QUEUES.map(|queue| format!("{PREFIX}.{queue}")) {
            let depth = broker.depth(&queue).await?;
            if depth > 0 {
                left.push((queue, depth));
            }
        }
        Ok(left)
    }

    /// Runs a command that prints one thing.
    async fn ask(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).output().await;
        let output = output.with_context(|| format!("cannot run {}", self.program.display()))?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{} {arguments:?}: {complaint}", self.program.display());
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        // Whatever of ours the caller has set would be measured too.
        command.args(arguments).env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

pub fn app_name(endpoints: usize) -> String {
    format!("fan-out-{endpoints}")
}

/// Reads `API on http://…, operations on http://…`, whose first part only some roles say.
fn addresses(line: &str) -> Option<(Option<String>, String)> {
    let (before, ops) = line.split_once("perations on ")?;
    let api = before.strip_prefix("API on ").and_then(|rest| rest.split(',').next());
    Some((api.map(str::to_owned), ops.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_are_found_in_what_a_role_says() {
        let both = addresses("API on http://127.0.0.1:1, operations on http://127.0.0.1:2");
        assert_eq!(both, Some((Some("http://127.0.0.1:1".to_owned()), "http://127.0.0.1:2".to_owned())));
        assert_eq!(addresses("operations on http://127.0.0.1:2"), Some((None, "http://127.0.0.1:2".to_owned())));
        assert_eq!(addresses("error: no"), None);
    }
}
