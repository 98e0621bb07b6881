//! Receivers as people run them: a request that falls together with the end of an idle connection is no lost attempt.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use hookyard_core::AttemptClass;
use hookyard_core::address::AllowList;
use hookyard_core::port::{Request, Sender as _};
use hookyard_e2e::eventually;
use hookyard_egress::{Egress, EgressConfig, SystemLookUp};
use hookyard_node::install_crypto;
use hookyard_node::seams::SystemClock;
use hookyard_telemetry::Metrics;
use tempfile::TempDir;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// Requests, each a little later beside the end of its connection than the one before.
const GAPS: u32 = 40;

/// A server of its own, killed when dropped.
struct Server {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended by itself cannot be killed.
        self.child.kill().and_then(|()| self.child.wait()).ok();
    }
}

impl Server {
    async fn start(words: impl Fn(u16, &Path) -> Vec<String>) -> Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let folder = tempfile::tempdir()?;
        let words = words(port, folder.path());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(format!("{ROOT}/tests/receivers")).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("cannot run {}", words[0]))?;
        let server = Self { child, port, folder };
        eventually(&format!("{} listens", words[0]), async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok())
            .await?;
        Ok(server)
    }

    /// How often each request was answered.
    async fn counts(&self) -> Result<BTreeMap<String, u32>> {
        if let Ok(log) = std::fs::read_to_string(self.folder.path().join("access.log")) {
            let mut counts = BTreeMap::new();
            log.lines().filter(|line| *line != "-").for_each(|line| *counts.entry(line.to_owned()).or_default() += 1);
            return Ok(counts);
        }
        let client = reqwest::Client::builder().no_proxy().build()?;
        Ok(client.get(format!("http://127.0.0.1:{}/counts", self.port)).send().await?.json().await?)
    }
}

fn door() -> Result<Egress> {
    let allow = AllowList { networks: vec!["127.0.0.0/8".parse()?], hosts: vec![] };
    let config = EgressConfig { allow, ..EgressConfig::default() };
    Ok(Egress::new(config, Arc::new(SystemLookUp), Arc::new(SystemClock), &Metrics::unregistered())?)
}

async fn post(door: &Egress, host: &str, port: u16, id: &str) -> Result<AttemptClass> {
    let (url, timeout) = (format!("http://{host}:{port}/hook").parse()?, Duration::from_secs(5));
    let headers = vec![("webhook-id".to_owned(), id.to_owned())];
    Ok(door.send(Request { url, headers, body: Bytes::from_static(b"{}"), timeout }).await?.class)
}

/// Two requests over one connection, which the servers keep for a second, with a pause between them that ends from 10 ms before to 50 ms after the connection does; and again
/// by another name, close to the moment at which the servers let go, where most of the losses were.
async fn loses_nothing(server: &Server) -> Result<()> {
    let each = (0..GAPS).map(async |number| {
        let door = door()?;
        let step = |whole: Duration| whole * number / (GAPS - 1);
        let coarse = Duration::from_millis(990) + step(Duration::from_millis(60));
        let fine = Duration::from_micros(996_500) + step(Duration::from_millis(5));
        for (host, pause) in [("127.0.0.1", coarse), ("localhost", fine)] {
            // One after the other: on two cores, those that begin together would disturb one another.
            tokio::time::sleep(Duration::from_millis(7) * number).await;
            ensure!(post(&door, host, server.port, &format!("{host}-{number}-first")).await? == AttemptClass::Success);
            pass_exactly(pause).await;
            let class = post(&door, host, server.port, &format!("{host}-{number}-second")).await?;
            ensure!(class == AttemptClass::Success, "after {pause:?}: {}", class.as_str());
        }
        Ok(())
    });
    try_join_all(each).await?;
    eventually("all are counted", async || server.counts().await.is_ok_and(|counts| counts.len() == 4 * GAPS as usize)).await?;
    let counts = server.counts().await?;
    ensure!(counts.values().all(|count| *count == 1), "answered twice: {counts:?}");
    Ok(())
}

/// Timers are good to a millisecond or two; the rest is waited for awake.
async fn pass_exactly(pause: Duration) {
    let until = Instant::now() + pause;
    tokio::time::sleep(pause.saturating_sub(Duration::from_millis(2))).await;
    while Instant::now() < until {
        tokio::task::yield_now().await;
    }
}

fn python(program: &str) -> Result<String> {
    let path = format!("{ROOT}/target/python/bin/{program}");
    ensure!(Path::new(&path).exists(), "{path} is missing: `make python` makes it");
    Ok(path)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_attempt_is_lost_to_the_end_of_an_idle_connection() -> Result<()> {
    install_crypto();
    let (uvicorn, gunicorn) = (python("uvicorn")?, python("gunicorn")?);
    let uvicorn = Server::start(|port, _| {
        words(&[&uvicorn, "asgi:app", "--port", &port.to_string(), "--timeout-keep-alive", "1", "--log-level", "error"])
    });
    let gunicorn = Server::start(|port, _| {
        let bind = format!("127.0.0.1:{port}");
        words(&[&gunicorn, "wsgi:app", "--bind", &bind, "--keep-alive", "1", "--worker-class", "gthread", "--threads", "50"])
    });
    let node = Server::start(|port, _| words(&["node", "node.mjs", &port.to_string(), "1000"]));
    let (uvicorn, gunicorn, node) = (uvicorn.await?, gunicorn.await?, node.await?);
    for (name, server) in [("uvicorn", &uvicorn), ("gunicorn", &gunicorn), ("Node.js", &node)] {
        loses_nothing(server).await.context(name)?;
    }
    let nginx = Server::start(|port, folder| {
        let template = include_str!("../receivers/nginx.conf");
        let filled = template.replace("PORT", &port.to_string()).replace("FOLDER", &folder.display().to_string());
        let config = folder.join("nginx.conf");
        // Without it, nginx ends, and that is told.
        std::fs::write(&config, filled).ok();
        words(&[&format!("{ROOT}/target/receivers/usr/sbin/nginx"), "-e", "stderr", "-c", &config.display().to_string()])
    });
    loses_nothing(&nginx.await?).await.context("nginx")
}
