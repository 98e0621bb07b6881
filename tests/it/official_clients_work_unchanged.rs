//! The official clients of the compatible API work with another server URL and token, and nothing else: each plays through every
//! resource and verifies with its own library what it received.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hookyard_e2e::world::JWT_SECRET;
use hookyard_e2e::{Backend, World, eventually};
use hookyard_node::roles::Roles;
use hookyard_node::seams::{SystemClock, SystemEntropy};
use hookyard_node::token;

on_both_backends! {
    the_rust_client_plays_through_every_resource;
    the_python_client_plays_through_every_resource;
    the_javascript_client_plays_through_every_resource;
}

/// Releases that play every call they have in each run: the oldest, one that takes no other status than its description's, and the
/// newest ones. `make compat` plays them all.
const RELEASES: &str = "0.85.1,1.45.1,2.5.0,2.9.1";

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

async fn the_rust_client_plays_through_every_resource(backend: Backend) -> Result<()> {
    play(backend, &[prepared("target/clients/debug/hookyard-client-rust")?]).await
}

async fn the_python_client_plays_through_every_resource(backend: Backend) -> Result<()> {
    play(backend, &[prepared("target/python/bin/python")?, prepared("tests/clients/scenario.py")?]).await
}

async fn the_javascript_client_plays_through_every_resource(backend: Backend) -> Result<()> {
    play(backend, &["node".to_owned(), prepared("tests/clients/scenario.mjs")?, prepared("target/node")?]).await
}

/// Something that `make test` makes before the tests.
fn prepared(path: &str) -> Result<String> {
    let path = format!("{ROOT}/{path}");
    ensure!(Path::new(&path).exists(), "{path} is missing: `make clients` makes it");
    Ok(path)
}

/// Runs a scenario against a world; it ends by saying `ok`.
async fn play(backend: Backend, words: &[String]) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let address = format!("http://{}", running.api.context("an API")?);
    let token = token::create(JWT_SECRET, &"admin".parse()?, Duration::from_secs(3600), &SystemClock, &SystemEntropy::default())?;
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args([address, token]);
    let output =
        tokio::task::spawn_blocking(move || command.output()).await?.with_context(|| format!("cannot run {}", words[0]))?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success() && said.trim() == "ok", "{said}");
    running.drain().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_play_every_call_they_have() -> Result<()> {
    play_releases(Backend::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "`make compat` runs it, with every release"]
async fn releases_play_every_call_they_have_in_a_cluster() -> Result<()> {
    play_releases(Backend::Cluster).await
}

/// What the newest client sends and reads is in our description, or in the list of what is not, which names nothing else.
#[test]
fn what_the_newest_client_knows_is_served_or_listed() -> Result<()> {
    let python = prepared("target/compat/pypi/2.9.1/bin/python")?;
    let script = prepared("tests/clients/every_field.py")?;
    let output = Command::new(python).args(["-W", "ignore", &script, &format!("{ROOT}/docs/openapi.json")]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8(output.stdout)?;
    let page = std::fs::read_to_string(format!("{ROOT}/docs/compatibility.md"))?;
    let (_, list) = page.split_once("| operations, ").context("the list")?;
    let rows = list.lines().skip(2).map_while(|row| row.strip_prefix("| "));
    let listed: Vec<&str> =
        rows.filter_map(|row| row.split_once(" | ")).flat_map(|(names, _)| names.split('`').skip(1).step_by(2)).collect();
    let is_named = |line: &str, name: &str| match name.strip_suffix('*') {
        Some(beginning) => line.starts_with(beginning),
        None => line == name || line.split_once(' ').is_some_and(|(_, what)| what == name),
    };
    for line in told.lines() {
        ensure!(listed.iter().any(|name| is_named(line, name)), "neither served nor listed: {line}");
    }
    for name in &listed {
        ensure!(told.lines().any(|line| is_named(line, name)), "listed, and served: {name}");
    }
    ensure!(listed.len() > 30, "{listed:?}");
    Ok(())
}

async fn play_releases(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let mut config = world.config();
    // The scenario waits for what was tried in vain.
    config.delivery.retry_schedule = vec![Duration::from_secs(1); 2];
    let running = world.start_unready(Roles::ALL, config).await?;
    eventually("it is ready", || running.is_ready()).await?;
    let address = format!("http://{}", running.api.context("an API")?);
    let token = token::create(JWT_SECRET, &"admin".parse()?, Duration::from_secs(3600), &SystemClock, &SystemEntropy::default())?;
    let mut command = Command::new("python3");
    command.arg(prepared("tests/clients/compat.py")?);
    let is_whole = std::env::var_os("HOOKYARD_TEST_ALL_RELEASES").is_some();
    if !is_whole {
        command.args(["--releases", RELEASES]);
    }
    command.arg(prepared("target/compat")?).args([address, token]);
    let output = tokio::task::spawn_blocking(move || command.output()).await?.context("cannot run python3")?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if is_whole {
        std::fs::write(format!("{ROOT}/target/compat/{backend:?}.txt"), &said)?;
    }
    ensure!(output.status.success(), "{said}");
    running.drain().await;
    Ok(())
}
