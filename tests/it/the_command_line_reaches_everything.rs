//! What the console does, the command line does: the catalog, tests of endpoints, logs past and present, the configuration.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use hookyard_e2e::process::program;
use hookyard_e2e::{Api, Backend, World, eventually};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

#[tokio::test(flavor = "multi_thread")]
async fn catalog_endpoint_and_log_are_at_hand() -> Result<()> {
    let world = World::on(Backend::Embedded).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let create =
        ["event-type", "create", "order.paid", "--description", "An order was paid.", "--group", "Orders", "--output", "json"];
    ensure!(api.command_line(&create).await?.data()?["groupName"] == "Orders");
    let update = ["event-type", "update", "order.paid", "--archived", "true", "--output", "json"];
    ensure!(api.command_line(&update).await?.data()?["archived"] == true);
    let exported = api.command_line(&["event-type", "export", "--output", "json"]).await?;
    ensure!(String::from_utf8_lossy(&exported.output).contains("An order was paid."), "{}", exported.talk);
    let refused = api.command_line(&["event-type", "delete", "order.paid"]).await?;
    ensure!(!refused.worked && refused.talk.contains("--yes"), "{}", refused.talk);
    ensure!(api.command_line(&["event-type", "delete", "order.paid", "--expunge", "--yes"]).await?.worked);
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), &exported.output)?;
    let path = file.path().display().to_string();
    let imported = api.command_line(&["event-type", "import", &path, "--output", "json"]).await?.data()?;
    ensure!(imported["created"].as_array().is_some_and(|created| created.iter().any(|name| name == "order.paid")), "{imported}");

    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/catalogs/unit21.yaml");
    ensure!(api.command_line(&["event-type", "import", shipped, "--dry-run"]).await?.worked, "a shipped catalog is not taken");

    let endpoint = api.endpoint("default", &world.receiver.url("/a"), json!({})).await?;
    ensure!(api.command_line(&["endpoint", "test", &endpoint, "--output", "json"]).await?.data()?["outcome"] == "success");
    let (url, token) = api.place();
    let mut follow = tokio::process::Command::new(program("hookyard")?);
    follow.args(["log", "--follow"]).env("HOOKYARD_URL", url).env("HOOKYARD_TOKEN", token).kill_on_drop(true);
    let mut follow = follow.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (said, told) = (follow.stdout.take().context("output")?, follow.stderr.take().context("talk")?);
    ensure!(BufReader::new(told).lines().next_line().await?.is_some_and(|line| line.contains("following")));
    world.publish(&api, "user.created", "one", "{}").await?;
    let line = BufReader::new(said).lines().next_line().await?.context("a line")?;
    let attempt: Value = serde_json::from_str(&line)?;
    ensure!(attempt["eventType"] == "user.created" && attempt["outcome"] == "success", "{attempt}");
    follow.kill().await?;
    let log = async || {
        let said = api.command_line(&["log", "--event-type", "user.created", "--output", "json"]).await?;
        said.data().map(|page| page["data"].as_array().map_or(0, Vec::len))
    };
    eventually("it is in the log", async || log().await.is_ok_and(|count| count == 1)).await?;
    let failed = api.command_line(&["log", "--failed", "--output", "json"]).await?.data()?;
    ensure!(failed["data"].as_array().is_some_and(Vec::is_empty), "{failed}");
    running.drain().await;
    Ok(())
}

/// Runs `hookyard` with an environment of its own.
fn hookyard(arguments: &[&str], environment: &[(&str, &str)]) -> Result<(bool, String, String)> {
    let mut command = Command::new(program("hookyard")?);
    let output = command.args(arguments).env_clear().envs(environment.iter().copied()).output()?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).context("text");
    Ok((output.status.success(), text(output.stdout)?, text(output.stderr)?))
}

#[test]
fn the_configuration_says_what_counts_and_where_it_came_from() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("hookyard.toml");
    std::fs::write(&file, "[delivery]\ntimeout = \"7s\"\nconcurrency = 100\n")?;
    let file = file.display().to_string();
    let environment = [
        ("HOOKYARD_CONFIG", &*file),
        ("HOOKYARD_DELIVERY__CONCURRENCY", "200"),
        ("HOOKYARD_AMQP_URL", "amqp://user:secret@127.0.0.1/"),
        ("HOOKYARD_REDIS_URL", "redis://127.0.0.1"),
        ("HOOKYARD_SECRET_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ("HOOKYARD_JWT_SECRET", "secret-secret-secret-secret-secret"),
    ];
    let (worked, printed, talk) = hookyard(&["config", "print", "--output", "json", "--set", "amqp.shards=4"], &environment)?;
    ensure!(worked && !printed.contains("secret-") && !printed.contains(":secret@"), "{printed}{talk}");
    let rows: Value = serde_json::from_str(&printed)?;
    let row = |key: &str| {
        let row = rows["data"].as_array().into_iter().flatten().find(|row| row["key"] == key);
        row.map(|row| {
            (row["value"].as_str().unwrap_or_default().to_owned(), row["origin"].as_str().unwrap_or_default().to_owned())
        })
    };
    let is = |key: &str, value: &str, origin: &str| {
        ensure!(row(key) == Some((value.to_owned(), origin.to_owned())), "{key}: {:?}", row(key));
        Ok(())
    };
    is("delivery.timeout", "7s", &file)?;
    is("delivery.concurrency", "200", "HOOKYARD_DELIVERY__CONCURRENCY")?;
    is("amqp.shards", "4", "--set")?;
    is("journal.retention", "7d", "default")?;
    ensure!(hookyard(&["config", "check"], &environment)?.0);
    let (worked, _, talk) = hookyard(&["config", "check", "--set", "delivery.timeout=90s"], &environment)?;
    ensure!(!worked && talk.contains("TIMEOUT must be from 1s to 30s"), "{talk}");
    let (worked, _, talk) = hookyard(&["config", "check"], &[("HOOKYARD_AMQP_URL", "amqp://127.0.0.1")])?;
    ensure!(!worked && talk.contains("go together"), "{talk}");
    // As Kubernetes does for a Service named `hookyard-admin`.
    let of_a_service = [("HOOKYARD_ADMIN_SERVICE_HOST", "10.0.0.7"), ("HOOKYARD_ADMIN_PORT_80_TCP_ADDR", "10.0.0.7")];
    let (worked, _, talk) = hookyard(&["config", "check"], &[&environment[..], &of_a_service].concat())?;
    ensure!(worked, "{talk}");
    for shell in ["bash", "zsh", "fish"] {
        ensure!(hookyard(&["completion", shell], &[])?.1.contains("hookyard"));
    }
    Ok(())
}
