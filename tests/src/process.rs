//! Roles as processes of their own, which can be killed, and which can kill themselves at a step of the flow.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hookyard_core::step::Step;
use serde_json::Value;

use crate::services::free_port;
use crate::world::{Api, World};

/// What long forms of tests are asked for with.
const TOLD_TO_TESTS: [&str; 5] = [
    "HOOKYARD_TEST_REPLAYED",
    "HOOKYARD_TEST_QUEUED",
    "HOOKYARD_TEST_CRASHES",
    "HOOKYARD_TEST_STREAMED",
    "HOOKYARD_TEST_NODE_KILLS",
];
/// The program that runs roles and trips over steps; built beside the tests.
const PROGRAM: &str = "roles-under-test";

/// An address for a process that will be started, killed, and started again there. The host part is this test's own: another test
/// that asks at the same moment may be given the same port.
///
/// # Errors
/// When there is none.
pub fn free_address() -> Result<SocketAddr> {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    // 127.0.0.1 is everybody's, and 127.255.255.255 is nobody's.
    let host = Ipv4Addr::new(127, 0x40 | (high & 3), middle, low.clamp(1, 254));
    Ok(SocketAddr::from((host, free_port()?)))
}

/// Waits until the process whose operators' listener is there can do its work.
///
/// # Errors
/// When it cannot in time.
pub async fn await_ready(ops: SocketAddr) -> Result<()> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let is_ready = async || {
        let answer = client.get(format!("http://{ops}/readyz")).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    };
    crate::eventually("it is ready", is_ready).await
}

/// A process with some roles. Killed when dropped.
pub struct RoleProcess(Child);

impl RoleProcess {
    /// Starts these roles (`router`, `dispatcher` …) in `world`; with a step, the process kills itself when it reaches that step for
    /// the given time (from 1).
    ///
    /// # Errors
    /// When the program does not start.
    pub fn start(world: &World, roles: &[&str], trip: Option<(Step, u32)>) -> Result<Self> {
        Self::start_with(&world.environment(), roles, trip)
    }

    /// The same with a configuration of its own, as environment variables.
    ///
    /// # Errors
    /// When the program does not start.
    pub fn start_with(environment: &[(&'static str, String)], roles: &[&str], trip: Option<(Step, u32)>) -> Result<Self> {
        let mut command = Command::new(program(PROGRAM)?);
        command.args(roles).envs(environment.iter().cloned()).stdin(Stdio::null()).stdout(Stdio::null());
        // What tests are told is not for the program, which refuses variables it does not know.
        for name in TOLD_TO_TESTS {
            command.env_remove(name);
        }
        if let Some((step, count)) = trip {
            command.arg(format!("--trip={step:?}:{count}"));
        }
        Ok(Self(command.spawn().context("start roles")?))
    }

    /// The same, with every role, where no file may grow beyond so many KiB: a disk that is full.
    ///
    /// # Errors
    /// When the program does not start.
    pub fn start_on_a_small_disk(environment: &[(&'static str, String)], kib: u64) -> Result<Self> {
        // Blocks of 512 bytes (POSIX). The signal that comes with the limit is ignored: writing fails instead, as on a full disk.
        let limited = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\"", kib * 2);
        let mut command = Command::new("sh");
        command.arg("-c").arg(limited).arg(program(PROGRAM)?).envs(environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Self(command.spawn().context("start roles")?))
    }

    /// Kills the process without warning.
    pub fn kill9(&mut self) {
        // Already dead is as good.
        if self.0.kill().is_ok() && self.0.wait().is_err() {}
    }

    /// Asks the process to stop (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// When it does not stop.
    pub fn stop(mut self) -> Result<bool> {
        let sent = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().context("kill")?;
        if !sent.success() {
            bail!("no such process");
        }
        self.wait(Duration::from_secs(40))
    }

    /// Waits for the process to end by itself; whether it ended well.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn wait(&mut self, patience: Duration) -> Result<bool> {
        let begun = Instant::now();
        while begun.elapsed() < patience {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status.success());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the process did not end within {} s", patience.as_secs())
    }

    /// Whether it is still there.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for RoleProcess {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// What a command of `hookyard` did.
pub struct Said {
    /// Whether it ended with 0.
    pub worked: bool,
    /// Its standard output.
    pub output: Vec<u8>,
    /// Its standard error, where it talks to people.
    pub talk: String,
}

impl Said {
    /// The JSON it printed.
    ///
    /// # Errors
    /// When it failed, or printed something else.
    pub fn data(&self) -> Result<Value> {
        ensure!(self.worked, "{}", self.talk);
        serde_json::from_slice(&self.output).with_context(|| String::from_utf8_lossy(&self.output).into_owned())
    }
}

impl Api {
    /// Runs `hookyard` with these arguments against this API, with this token.
    ///
    /// # Errors
    /// When it cannot be run.
    pub async fn command_line(&self, arguments: &[&str]) -> Result<Said> {
        let (url, token) = self.place();
        let mut command = tokio::process::Command::new(program("hookyard")?);
        let output = command.args(arguments).env("HOOKYARD_URL", url).env("HOOKYARD_TOKEN", token).output().await?;
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(Said { worked: output.status.success(), output: output.stdout, talk })
    }
}

/// A program of the workspace; they lie two folders above the test's own file.
///
/// # Errors
/// When it was not built.
pub fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("where this test lies")?;
    let folder = own.parent().and_then(|deps| deps.parent()).context("the folder of programs")?;
    let program = folder.join(name);
    if program.exists() { Ok(program) } else { bail!("{} is not built", program.display()) }
}
