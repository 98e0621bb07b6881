//! The official clients of the compatible API work with another server URL and token, and nothing else: each plays through every
//! resource and verifies with its own library what it received.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hookyard_e2e::world::JWT_SECRET;
use hookyard_e2e::{Backend, World};
use hookyard_node::seams::{SystemClock, SystemEntropy};
use hookyard_node::token;

on_both_backends! {
    the_rust_client_plays_through_every_resource;
    the_python_client_plays_through_every_resource;
    the_javascript_client_plays_through_every_resource;
}

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
