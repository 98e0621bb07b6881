//! The processes measured: started, looked at through `/proc`, ended by their number.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// From a process's start to the line that says it began.
const BEGUN_WITHIN: Duration = Duration::from_secs(30);
/// From the request to end to the end.
const ENDED_WITHIN: Duration = Duration::from_secs(40);
/// Clock ticks per second in `/proc`: the same on every Linux there is.
const TICKS: f64 = 100.0;

/// A process that was started for a round. Dropping kills it.
pub struct Process {
    name: &'static str,
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Process {
    /// Starts `command` and waits for a line, on the stream `from`, that `wanted` makes something of.
    pub async fn start<T>(
        name: &'static str,
        command: &mut Command,
        from: Stream,
        wanted: impl Fn(&str) -> Option<T>,
    ) -> Result<(Self, T)> {
        command.stdin(Stdio::piped()).kill_on_drop(true);
        match from {
            Stream::Out => command.stdout(Stdio::piped()),
            Stream::Error => command.stdout(Stdio::null()).stderr(Stdio::piped()),
        };
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let stdin = child.stdin.take();
        let found = match from {
            Stream::Out => await_line(name, child.stdout.take().context("no stdout")?, wanted).await?,
            Stream::Error => await_line(name, child.stderr.take().context("no stderr")?, wanted).await?,
        };
        Ok((Self { name, child, stdin }, found))
    }

    /// What it is called in the report.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its number.
    pub fn id(&self) -> Result<u32> {
        self.child.id().with_context(|| format!("{} has ended", self.name))
    }

    /// An error if it has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{} ended with {status}", self.name),
            None => Ok(()),
        }
    }

    /// Writes a line to its standard input.
    pub async fn tell(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("no stdin")?;
        stdin.write_all(format!("{line}\n").as_bytes()).await.with_context(|| format!("{} does not listen", self.name))
    }

    /// Asks it to end and waits for that; kills it if it takes too long, which is an error.
    pub async fn stop(mut self) -> Result<()> {
        let id = self.id()?.to_string();
        Command::new("kill").args(["-s", "TERM", &id]).status().await.context("cannot run kill")?;
        let Ok(status) = tokio::time::timeout(ENDED_WITHIN, self.child.wait()).await else {
            self.child.kill().await?;
            bail!("{} did not end within {} s and was killed", self.name, ENDED_WITHIN.as_secs());
        };
        status.map(drop).with_context(|| format!("cannot wait for {}", self.name))
    }
}

/// Where a process says that it began.
#[derive(Clone, Copy, Debug)]
pub enum Stream {
    Out,
    Error,
}

/// Waits for the line; whatever else comes, now and later, is passed on.
async fn await_line<T>(
    name: &'static str,
    stream: impl AsyncRead + Unpin + Send + 'static,
    wanted: impl Fn(&str) -> Option<T>,
) -> Result<T> {
    let mut lines = BufReader::new(stream).lines();
    let reading = async {
        while let Some(line) = lines.next_line().await? {
            match wanted(&line) {
                Some(found) => return Ok(found),
                None => complain(name, &line),
            }
        }
        bail!("{name} ended before it began")
    };
    let found = tokio::time::timeout(BEGUN_WITHIN, reading).await.with_context(|| format!("{name} does not begin"))??;
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            if !line.starts_with("stopping") {
                complain(name, &line);
            }
        }
    });
    Ok(found)
}

#[expect(clippy::print_stderr, reason = "what a measured process complains of explains its numbers")]
fn complain(name: &str, line: &str) {
    eprintln!("{name}: {line}");
}

/// Seconds of CPU a process has used so far, all its threads together.
pub fn cpu_seconds(id: u32) -> Result<f64> {
    let text = read_proc(id, "stat")?;
    // The name, in parentheses, may hold anything; user and system time are the fields 14 and 15.
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |field: usize| fields.get(field).and_then(|text| text.parse::<u32>().ok()).context("/proc/…/stat is odd");
    Ok((f64::from(ticks(11)?) + f64::from(ticks(12)?)) / TICKS)
}

/// The most memory a process ever had resident, in MB of a million bytes.
pub fn peak_memory(id: u32) -> Result<f64> {
    let text = read_proc(id, "status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("/proc/…/status is odd")?;
    let kib: u32 = line.trim_end_matches("kB").trim().parse().context("/proc/…/status is odd")?;
    Ok(f64::from(kib) * 1024.0 / 1e6)
}

fn read_proc(id: u32, file: &str) -> Result<String> {
    let path = PathBuf::from(format!("/proc/{id}/{file}"));
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}
