//! The description of the API is served for anybody to read, and holds against requests nobody thought of.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hookyard_e2e::world::JWT_SECRET;
use hookyard_e2e::{Api, Backend, World, eventually};
use hookyard_node::openapi::document;
use hookyard_node::seams::{SystemClock, SystemEntropy};
use hookyard_node::token;
use serde_json::json;

on_both_backends! {
    generated_requests_find_no_server_error_and_nothing_undocumented;
}

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// Requests generated per operation and phase.
const EXAMPLES: &str = "8";
/// The same requests in every run: what is found once is found again.
const SEED: &str = "20260131";

#[tokio::test(flavor = "multi_thread")]
async fn the_description_and_its_page_are_served_to_anybody() -> Result<()> {
    let world = World::on(Backend::Embedded).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?.with_token("");
    let json = api.stream("/openapi.json", None).await?;
    ensure!(json.status() == 200 && json.headers()["content-type"] == "application/json");
    ensure!(json.text().await? == document());
    let page = api.stream("/docs", None).await?;
    ensure!(page.status() == 200 && page.headers()["content-security-policy"].to_str()?.contains("default-src 'none'"));
    let page = page.text().await?;
    ensure!(page.contains("/api/v1/app/{app}/msg/batch") && page.contains("Replaces the custom headers"), "{page}");
    running.drain().await;
    Ok(())
}

async fn generated_requests_find_no_server_error_and_nothing_undocumented(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    // Something to be found under every name.
    api.post("/app", &json!({"name": "Acme", "uid": "acme"})).await?;
    let hook = world.receiver.url("/hook");
    api.endpoint("acme", &hook, json!({"uid": "ok", "retrySchedule": []})).await?;
    let described = json!({"name": "user.created", "description": "Somebody", "sample": {"id": 7}});
    api.post("/event-type", &described).await?;
    let message = api.post("/app/acme/msg", &json!({"eventType": "user.created", "payload": {"id": 7}})).await?;
    let message = message["id"].as_str().context("an id")?;
    let attempts = format!("/app/acme/attempt/msg/{message}");
    eventually("it is delivered", async || {
        api.get(&attempts).await.is_ok_and(|found| found["data"].as_array().is_some_and(|all| all.len() == 1))
    })
    .await?;
    let attempt = api.get(&attempts).await?["data"][0]["id"].as_str().context("an id")?.to_owned();
    let known = format!(
        "[parameters]\napp = \"acme\"\nendpoint = \"ok\"\nname = \"user.created\"\nmessage = \"{message}\"\nattempt = \"{attempt}\"\n"
    );
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("openapi.json"), document())?;
    let address = format!("http://{}", running.api.context("an API")?);
    // Once with names nobody has, once with those that are there.
    for config in ["", &known] {
        let file = folder.path().join("schemathesis.toml");
        std::fs::write(&file, config)?;
        generate(folder.path(), &file, &address).await?;
    }
    ensure!(running.is_ready().await, "it still works");
    running.drain().await;
    Ok(())
}

/// Runs schemathesis against the API; every answer must be as the description says.
async fn generate(folder: &Path, config: &Path, address: &str) -> Result<()> {
    let program = format!("{ROOT}/target/python/bin/schemathesis");
    ensure!(Path::new(&program).exists(), "{program} is missing: `make clients` makes it");
    let token = token::create(JWT_SECRET, &"admin".parse()?, Duration::from_secs(3600), &SystemClock, &SystemEntropy::default())?;
    let mut command = Command::new(program);
    command.current_dir(folder).arg("--config-file").arg(config).args(["run", "openapi.json", "--url", address]);
    command.args(["--header", &format!("Authorization: Bearer {token}"), "--no-color", "--seed", SEED]);
    let checks = "not_a_server_error,status_code_conformance,response_schema_conformance,content_type_conformance";
    command.args(["--checks", checks, "--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES]);
    // One never ends, one ends the token it is asked with, and one takes away what the others need.
    command.args(["--exclude-path", "/api/v1/activity", "--exclude-operation-id", "logout"]);
    command.args(["--exclude-operation-id", "delete_application", "--generation-database=none"]);
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{said}");
    Ok(())
}
