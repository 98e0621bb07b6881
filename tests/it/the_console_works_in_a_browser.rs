//! The console in a real browser: the first flow of an administrator, text that stays text, nothing that keeps people out, and nothing
//! asked of anybody else.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hookyard_e2e::process::program;
use hookyard_e2e::services::free_port;
use hookyard_e2e::world::JWT_SECRET;
use hookyard_e2e::{Backend, World, eventually, or_more};
use hookyard_node::config::{ApiConfig, Config};
use hookyard_node::roles::Roles;
use hookyard_node::seams::{SystemClock, SystemEntropy};
use hookyard_node::token;
use http::Method;
use tokio::io::{AsyncBufReadExt as _, BufReader};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// What `make console` makes.
const MODULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/console");

/// Seconds of the stream unless `HOOKYARD_TEST_STREAMED` asks for more.
const STREAMED: usize = 15;

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_finds_and_mends_what_went_wrong() -> Result<()> {
    play("flow.mjs", &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_flow_needs_no_mouse() -> Result<()> {
    play("keyboard.mjs", &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_screen_shows_what_the_demonstration_did() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut command = tokio::process::Command::new(program("hookyard")?);
    command.args(["demo", "--keep"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    command
        .env("HOOKYARD_DATA_DIR", folder.path())
        .env("HOOKYARD_LISTEN", "127.0.0.1:0")
        .env("HOOKYARD_OPS_LISTEN", "127.0.0.1:0");
    let mut demonstration = command.spawn()?;
    let mut lines = BufReader::new(demonstration.stdout.take().context("its output")?).lines();
    let (address, token) = loop {
        let line = lines.next_line().await?.context("the demonstration said where it is")?;
        if let Some((address, token)) = line.strip_prefix("console  ").and_then(|place| place.split_once("/#token=")) {
            break (address.to_owned(), token.to_owned());
        }
    };
    let script = format!("{ROOT}/tests/console/screens.mjs");
    run("node", &[&script, MODULES, &address, &token], "ok").await?;
    demonstration.kill().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_leaves_the_page_quick_and_its_memory_flat() -> Result<()> {
    let seconds = or_more("HOOKYARD_TEST_STREAMED", STREAMED);
    // The short form runs beside other tests, in a build that is not optimised.
    let (rate, endpoints, before) = if seconds > STREAMED { ("500", "200", "100000") } else { ("60", "30", "600") };
    play("endurance.mjs", &[&seconds.to_string(), rate, endpoints, before]).await
}

/// Whoever embeds the official client's React hooks in an application of theirs names its origin; the browser does the rest.
#[tokio::test(flavor = "multi_thread")]
async fn the_clients_hooks_work_on_a_page_of_another_origin() -> Result<()> {
    let origin = format!("http://127.0.0.1:{}", free_port()?);
    let api = ApiConfig { cors_origins: vec![origin.clone()], ..ApiConfig::default() };
    play_with(|config| Config { api, ..config }, "hooks.mjs", &[&origin]).await
}

/// Plays a script on one process with everything in it.
async fn play(script: &str, more: &[&str]) -> Result<()> {
    play_with(|config| config, script, more).await
}

async fn play_with(configured: impl FnOnce(Config) -> Config, script: &str, more: &[&str]) -> Result<()> {
    let world = World::on(Backend::Embedded).await?;
    let running = world.start_unready(Roles::ALL, configured(world.config())).await?;
    eventually("it is ready", || running.is_ready()).await?;
    let address = format!("http://{}", running.api.context("an API")?);
    let token = token::create(JWT_SECRET, &"admin".parse()?, Duration::from_secs(3600), &SystemClock, &SystemEntropy::default())?;
    let script = format!("{ROOT}/tests/console/{script}");
    run("node", &[&[script.as_str(), MODULES, &address, &token], more].concat(), "ok").await?;
    running.drain().await;
    Ok(())
}

#[tokio::test]
async fn its_types_fit() -> Result<()> {
    let compiler = format!("{MODULES}/node_modules/typescript/bin/tsc");
    run("node", &[&compiler, "--project", &format!("{ROOT}/tests/console/tsconfig.json")], "").await
}

#[test]
fn its_libraries_are_those_of_their_packages() -> Result<()> {
    let folder = format!("{ROOT}/crates/admin/console/vendor");
    let table = std::fs::read_to_string(format!("{folder}/README.md"))?;
    let rows: Vec<Vec<&str>> = table.lines().skip(4).map(|line| line.split('|').map(str::trim).collect()).collect();
    let mut named = 0;
    for row in rows {
        let [_, file, package, there, _, sum, _] = row[..] else { continue };
        let name = package.split_whitespace().next().context("a package")?;
        let ours = std::fs::read(format!("{folder}/{file}"))?;
        ensure!(ours == std::fs::read(format!("{MODULES}/node_modules/{name}/{there}"))?, "{file} is not {package}'s {there}");
        let digest = ring::digest::digest(&ring::digest::SHA256, &ours);
        let hex = digest.as_ref().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        ensure!(hex == sum, "{file} has the sum {hex}");
        named += 1;
    }
    let there = std::fs::read_dir(&folder)?.count();
    ensure!(named == there - 2, "{named} of {there} files are named, beside the table and the licences");
    Ok(())
}

#[tokio::test]
async fn it_is_small_and_sent_with_a_strict_policy() -> Result<()> {
    let world = World::on(Backend::Embedded).await?;
    let running = world.start().await?;
    let address = format!("http://{}", running.api.context("an API")?);
    let client = reqwest::Client::builder().no_proxy().build()?;
    let get =
        async |path: &str| client.request(Method::GET, format!("{address}{path}")).header("accept-encoding", "gzip").send().await;
    let page = get("/").await?;
    let policy = page.headers()["content-security-policy"].to_str()?.to_owned();
    for part in
        ["default-src 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'", "script-src 'self' 'sha256-"]
    {
        ensure!(policy.contains(part), "{policy}");
    }
    ensure!(!policy.contains("unsafe"), "{policy}");
    let mut sent = page.bytes().await?.len();
    let folder = Path::new(ROOT).join("crates/admin/console");
    for part in ["", "lib", "screens", "vendor"] {
        for file in std::fs::read_dir(folder.join(part))? {
            let path = file?.path();
            if path.extension().is_some_and(|kind| kind == "js" || kind == "css" || kind == "svg") {
                let answer = get(&format!("/assets/{}", path.strip_prefix(&folder)?.display())).await?;
                ensure!(answer.status().is_success() && answer.headers()["content-encoding"] == "gzip", "{}", path.display());
                let tag = answer.headers()["etag"].clone();
                sent += answer.bytes().await?.len();
                let url = format!("{address}/assets/{}", path.strip_prefix(&folder)?.display());
                let again = client.get(url).header("if-none-match", tag).send().await?;
                ensure!(again.status() == http::StatusCode::NOT_MODIFIED, "{}", path.display());
            }
        }
    }
    ensure!(sent < 150_000, "{sent} bytes over the wire");
    for path in ["/console", "/console/", "/console/app/default/logs"] {
        ensure!(get(path).await?.status().is_success(), "{path}");
    }
    ensure!(get("/assets/../Cargo.toml").await?.status() == http::StatusCode::NOT_FOUND);
    running.drain().await;
    Ok(())
}

/// Runs a program that ends by saying this.
async fn run(program: &str, arguments: &[&str], last: &str) -> Result<()> {
    ensure!(Path::new(MODULES).join("node_modules").exists(), "{MODULES} is missing: `make console` makes it");
    let mut command = Command::new(program);
    command.args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await?.with_context(|| format!("cannot run {program}"))?;
    let (said, talked) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success() && said.trim() == last, "{said}{talked}");
    print_figures(&talked);
    Ok(())
}

/// What a script measured, for whoever runs the test with its output shown.
#[expect(clippy::print_stderr, reason = "figures of a test")]
fn print_figures(talked: &str) {
    eprint!("{talked}");
}
