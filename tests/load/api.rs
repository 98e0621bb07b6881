//! The little of Hookyard's HTTP that the benchmark calls.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

/// A call that takes longer is not answered.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// From a process's start to its readiness.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How often a starting process is asked.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// The counter of commands that our client sent.
const COMMANDS: &str = "hookyard_redis_commands_total{op=\"";

/// A client for all of it.
#[derive(Clone)]
pub struct Api(reqwest::Client);

impl Api {
    /// Builds the client.
    pub fn new() -> Result<Self> {
        let client = reqwest::Client::builder().no_proxy().http1_only().timeout(ANSWERED_WITHIN).build();
        client.map(Self).context("cannot build an HTTP client")
    }

    /// PUTs a JSON document.
    pub async fn put(&self, url: &str, token: &str, document: &Value) -> Result<()> {
        let request = self.0.put(url).bearer_auth(token).header("content-type", "application/json").body(document.to_string());
        let response = request.send().await.with_context(|| format!("cannot reach {url}"))?;
        let status = response.status();
        let text = response.text().await.unwrap_or_default();
        ensure!(status.is_success(), "{url} answered {status}: {text}");
        Ok(())
    }

    /// GETs a JSON document.
    pub async fn get(&self, url: &str, token: &str) -> Result<Value> {
        let response = self.0.get(url).bearer_auth(token).send().await.with_context(|| format!("cannot reach {url}"))?;
        let status = response.status();
        let text = response.text().await.unwrap_or_default();
        ensure!(status.is_success(), "{url} answered {status}: {text}");
        serde_json::from_str(&text).with_context(|| format!("{url} answered no JSON"))
    }

    /// Waits until the process with this operators' listener is ready.
    pub async fn await_ready(&self, ops: &str) -> Result<()> {
        let asking = async {
            while !self.0.get(format!("{ops}/readyz")).send().await.is_ok_and(|response| response.status().is_success()) {
                tokio::time::sleep(ASK_EVERY).await;
            }
        };
        if tokio::time::timeout(READY_WITHIN, asking).await.is_err() {
            bail!("{ops} is not ready after {} s", READY_WITHIN.as_secs());
        }
        Ok(())
    }

    /// The sum of the counters whose lines begin so, of the process with this operators' listener.
    pub async fn counter(&self, ops: &str, begins: &str) -> Result<f64> {
        let response = self.0.get(format!("{ops}/metrics")).send().await.context("cannot read the metrics")?;
        let text = response.text().await.context("cannot read the metrics")?;
        let of_those = text.lines().filter(|line| line.starts_with(begins));
        Ok(of_those.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Commands that the process with this operators' listener has sent to Redis, by operation.
    pub async fn redis_commands(&self, ops: &str) -> Result<BTreeMap<String, f64>> {
        let response = self.0.get(format!("{ops}/metrics")).send().await.context("cannot read the metrics")?;
        let text = response.text().await.context("cannot read the metrics")?;
        let mut commands = BTreeMap::new();
        for line in text.lines() {
            let Some((op, rest)) = line.strip_prefix(COMMANDS).and_then(|rest| rest.split_once('"')) else { continue };
            let count: f64 = rest.rsplit(' ').next().and_then(|count| count.parse().ok()).context("the metrics are odd")?;
            *commands.entry(op.to_owned()).or_default() += count;
        }
        ensure!(!commands.is_empty(), "the metrics do not say how many commands went to Redis");
        Ok(commands)
    }
}
