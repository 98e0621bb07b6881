//! `hookyard demo` plays its script and says so; `hookyard bench` counts what it sent; `hookyard run --try` is ready at once and prints a
//! line that works.

use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use hookyard_e2e::process::program;
use hookyard_e2e::{Backend, World};
use hookyard_node::install_crypto;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

on_both_backends! {
    the_script_is_played_and_everything_comes_as_it_must;
    a_load_is_measured_and_every_event_of_it_arrives;
}

/// Ready within this after the start of a program that is not even optimised.
const READY_WITHIN: Duration = Duration::from_secs(2);

async fn hookyard(arguments: &[&str], environment: &[(&str, String)]) -> Result<Output> {
    let mut command = Command::new(program("hookyard")?);
    command.args(arguments).envs(environment.iter().map(|(name, value)| (*name, value))).stdin(Stdio::null());
    Ok(command.output().await?)
}

/// The arguments, and where a world of broker and store has them: only what the command line names is used.
fn there<'a>(arguments: &[&'a str], environment: &'a [(&'static str, String)]) -> Vec<&'a str> {
    let flags = [("--amqp", "HOOKYARD_AMQP_URL"), ("--redis", "HOOKYARD_REDIS_URL")];
    let named = flags.iter().filter_map(|(flag, variable)| {
        let (_, url) = environment.iter().find(|(name, _)| name == variable)?;
        Some([*flag, url.as_str()])
    });
    arguments.iter().copied().chain(named.flatten()).collect()
}

async fn the_script_is_played_and_everything_comes_as_it_must(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let environment = world.environment();
    let output = hookyard(&there(&["demo"], &environment), &environment).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    ensure!(said.contains("everything came as it must") && !said.contains("FAILED"), "{said}");
    ensure!(said.matches("  ok      ").count() == 14, "{said}");
    Ok(())
}

async fn a_load_is_measured_and_every_event_of_it_arrives(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    // Twice where it leaves something behind: that does not get in the way of the second.
    for _ in 0..if backend == Backend::Cluster { 2 } else { 1 } {
        let arguments = ["bench", "--events", "300", "--endpoints", "3", "--bytes", "2000", "--output", "json"];
        let environment = world.environment();
        let output = hookyard(&there(&arguments, &environment), &environment).await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let measured: Value = serde_json::from_slice(&output.stdout)?;
        ensure!(measured["events"] == 300 && measured["deliveries"] == 900, "{measured}");
        for figure in ["acceptedPerSecond", "acceptedP50Ms", "deliveredPerSecond", "singleP50Ms", "singleP99Ms"] {
            ensure!(measured[figure].as_f64().is_some_and(|figure| figure > 0.0), "{figure}: {measured}");
        }
    }
    let too_many = hookyard(&["bench", "--events", "1000000", "--endpoints", "1000"], &world.environment()).await?;
    ensure!(!too_many.status.success() && String::from_utf8_lossy(&too_many.stderr).contains("at most 10000000"), "{too_many:?}");
    Ok(())
}

/// Does what the printed line says: curl itself need not be installed.
async fn paste(curl: &str) -> Result<Value> {
    // curl -sS URL -H 'name: value' -H 'name: value' -d 'body'
    let words: Vec<&str> = curl.trim().split('\'').collect();
    let [command, authorization, " -H ", content_type, " -d ", body, ""] = words[..] else { bail!("{curl}") };
    let url = command.strip_prefix("curl -sS ").and_then(|rest| rest.strip_suffix(" -H ")).context("an address")?;
    let mut request = reqwest::Client::builder().no_proxy().build()?.post(url).body(body.to_owned());
    for header in [authorization, content_type] {
        let (name, value) = header.split_once(": ").context("a header")?;
        request = request.header(name, value);
    }
    Ok(request.send().await?.error_for_status()?.json().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demonstration_that_cannot_begin_fails() -> Result<()> {
    let output = hookyard(&["demo", "--amqp", "amqp://127.0.0.1:1"], &[]).await?;
    ensure!(output.status.code() == Some(2), "a broker without a store is wrong usage: {output:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_broker_is_left_alone() -> Result<()> {
    let production = [
        ("HOOKYARD_AMQP_URL", "amqp://127.0.0.1:1".to_owned()),
        ("HOOKYARD_REDIS_URL", "redis://127.0.0.1:1".to_owned()),
        ("HOOKYARD_REDIS_JOURNAL_URL", "redis://127.0.0.1:1".to_owned()),
    ];
    for arguments in [&["demo"][..], &["bench", "--events", "100"]] {
        let output = hookyard(arguments, &production).await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn trying_it_out_is_ready_at_once_and_the_printed_line_publishes_an_event_that_arrives() -> Result<()> {
    install_crypto();
    let folder = tempfile::tempdir()?;
    let environment = [
        ("HOOKYARD_DATA_DIR", folder.path().join("data").display().to_string()),
        ("HOOKYARD_LISTEN", "127.0.0.1:0".to_owned()),
        ("HOOKYARD_OPS_LISTEN", "127.0.0.1:0".to_owned()),
    ];
    let begun = Instant::now();
    let mut process = Command::new(program("hookyard")?)
        .args(["run", "--try"])
        .envs(environment)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(process.stdout.take().context("its output")?).lines();
    let mut line = async || lines.next_line().await?.context("it ended");
    let curl = loop {
        let line = line().await?;
        if line.trim_start().starts_with("curl ") {
            break line;
        }
    };
    ensure!(begun.elapsed() < READY_WITHIN, "{:?}", begun.elapsed());
    let answer = paste(&curl).await?;
    let id = answer["id"].as_str().context("an id")?;
    let received = loop {
        let line = line().await?;
        if line.starts_with("received ") {
            break line;
        }
    };
    ensure!(received.contains(id) && received.contains("signature good"), "{received}");
    process.kill().await?;
    Ok(())
}
