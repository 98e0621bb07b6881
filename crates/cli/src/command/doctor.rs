//! `hookyard doctor`.

use anyhow::{Context as _, bail};
use clap::Args;
use hookyard_node::doctor::{self, Answers, Finding, Level};
use hookyard_node::load::Layers;
use hookyard_node::settings::BackendSettings;
use hookyard_node::{Config, Settings, local};
use serde_json::{Value, json};
use url::Url;

use crate::output::{Format, print, show};

const COLUMNS: [&str; 4] = ["area", "level", "told", "remedy"];

/// Look at configuration, broker, store, clocks and ports, and say what is wrong and what to do. Changes nothing.
///
/// Exit code 1 if something does not work, or events may be lost.
#[derive(Args)]
pub struct Doctor {
    /// Only what is not as it should be.
    #[arg(long)]
    quiet: bool,
}

impl Doctor {
    pub async fn run(self, layers: Layers<'_>, format: Option<Format>) -> anyhow::Result<()> {
        let settings = Config::load(layers).and_then(|mut config| {
            // What one process makes for itself at its first start is not missing before.
            local::assume(&mut config)?;
            config.judge()
        });
        let findings = match &settings {
            Ok(settings) => examine(settings).await,
            Err(error) => {
                vec![Finding::bad("configuration", format!("{error:#}"), "correct it; `hookyard config print` shows what counts")]
            }
        };
        let told: Vec<&Finding> = findings.iter().filter(|finding| !self.quiet || finding.level != Level::Good).collect();
        if Format::chosen(format) == Format::Table {
            for finding in told {
                print(&line(finding));
            }
        } else {
            let rows: Vec<Value> = told.iter().map(|finding| json!(finding)).collect();
            show(&json!({ "data": rows }), &COLUMNS, format);
        }
        match findings.iter().filter(|finding| finding.level == Level::Bad).count() {
            0 => Ok(()),
            bad => bail!("{bad} of {} findings need something done", findings.len()),
        }
    }
}

/// One finding for people: a mark, what it is, and what to do below.
fn line(finding: &Finding) -> String {
    let mark = match finding.level {
        Level::Good => "ok  ",
        Level::Unknown => "?   ",
        Level::Doubt => "warn",
        Level::Bad => "BAD ",
    };
    let told = format!("{mark}  {:<8} {}", finding.area, finding.told);
    if finding.remedy.is_empty() { told } else { format!("{told}\n                 → {}", finding.remedy) }
}

async fn examine(settings: &Settings) -> Vec<Finding> {
    let mut findings = doctor::examine(settings).await;
    if let BackendSettings::Cluster(cluster) = &settings.backend
        && let Some((url, vhost)) = doctor::management_url(settings, cluster)
    {
        match ask(&url, &vhost).await {
            Ok(answers) => findings.extend(doctor::judge_management(&answers, &settings.config.amqp.prefix)),
            Err(error) => findings.push(Finding::unknown(
                "broker",
                format!("its management API does not answer ({error:#}): version, alarms, limits, feature flags and policies are not known"),
                "rabbitmq-plugins enable rabbitmq_management, or say where it is: HOOKYARD_AMQP__MANAGEMENT_URL",
            )),
        }
    }
    findings
}

async fn ask(url: &Url, vhost: &str) -> anyhow::Result<Answers> {
    let client = reqwest::Client::builder().no_proxy().timeout(std::time::Duration::from_secs(5)).build()?;
    let text = |part: &str| percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned();
    let (user, password) = (text(url.username()), url.password().map(text));
    let mut bare = url.clone();
    if bare.set_username("").and_then(|()| bare.set_password(None)).is_err() {
        bail!("this is no address of an API");
    }
    let get = async |path: &str| -> anyhow::Result<Value> {
        let address = format!("{}/{path}", bare.as_str().trim_end_matches('/'));
        // The virtual host is one part of the path, its slash escaped.
        let request = client.get(address).basic_auth(&user, password.as_deref());
        let response = request.send().await.map_err(reqwest::Error::without_url)?;
        let response = response.error_for_status().map_err(reqwest::Error::without_url)?;
        response.json().await.context("what it answers is no JSON")
    };
    Ok(Answers {
        overview: get("api/overview").await?,
        nodes: get("api/nodes").await?,
        queues: get(&format!("api/queues/{vhost}")).await?,
        feature_flags: get("api/feature-flags").await?,
    })
}
