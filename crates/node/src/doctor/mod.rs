//! What an operator should know before something goes wrong: each finding with what to do.
//!
//! Nothing is changed. What could not be asked is said, too.

mod broker;
mod management;
mod store;

use std::net::{SocketAddr, TcpListener};

use hookyard_core::Clock as _;
use serde::Serialize;

pub use management::{Answers, judge as judge_management, url as management_url};

use crate::config::Config;
use crate::seams::SystemClock;
use crate::settings::{BackendSettings, Settings};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Good,
    /// Could not be asked.
    Unknown,
    /// It works, and may not for long.
    Doubt,
    /// It does not work, or events may be lost.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `broker`, `store`, `dataset`, `clock`, `ports`, `secrets`, `file`.
    pub area: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub told: String,
    /// What to do; empty where nothing is to be done.
    pub remedy: String,
}

impl Finding {
    fn new(level: Level, area: &'static str, told: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { area, level, told: told.into(), remedy: remedy.into() }
    }

    fn good(area: &'static str, told: impl Into<String>) -> Self {
        Self::new(Level::Good, area, told, "")
    }

    /// That something is wrong, for whoever finds out elsewhere.
    pub fn bad(area: &'static str, told: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Level::Bad, area, told, remedy)
    }

    /// That something could not be asked.
    pub fn unknown(area: &'static str, told: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Level::Unknown, area, told, remedy)
    }
}

/// Looks at everything but what only the broker's management API says.
pub async fn examine(settings: &Settings) -> Vec<Finding> {
    let mut findings = ports(&settings.config);
    match &settings.backend {
        BackendSettings::Embedded(folder) => findings.push(file(folder)),
        BackendSettings::Cluster(cluster) => {
            findings.extend(broker::examine(settings, cluster).await);
            findings.extend(store::examine(settings, cluster).await);
        }
    }
    findings
}

/// Whether somebody listens already where this would.
fn ports(config: &Config) -> Vec<Finding> {
    let wanted = [("listen", config.listen), ("ops_listen", config.ops_listen)];
    let judge = |(key, address): (&str, SocketAddr)| match TcpListener::bind(address) {
        Ok(_) => Finding::good("ports", format!("{address} ({key}) is free")),
        Err(error) => Finding::new(
            Level::Doubt,
            "ports",
            format!("{address} ({key}) cannot be listened on: {error}"),
            format!(
                "if that is not this installation's own process, end it or choose another address: {}",
                crate::load::variable(key)
            ),
        ),
    };
    wanted.into_iter().map(judge).collect()
}

/// Whether the data folder can be written.
fn file(folder: &std::path::Path) -> Finding {
    let there = if folder.exists() { folder } else { folder.parent().unwrap_or(folder) };
    let there = if there.as_os_str().is_empty() { std::path::Path::new(".") } else { there };
    let probe = there.join(format!(".hookyard-doctor-{}", SystemClock.now().as_millis()));
    let written = std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe));
    match written {
        Ok(()) => Finding::good("file", format!("{} can be written", there.display())),
        Err(error) => Finding::bad(
            "file",
            format!("{} cannot be written: {error}", there.display()),
            "give this user the right to write there, or choose another folder with HOOKYARD_DATA_DIR",
        ),
    }
}
