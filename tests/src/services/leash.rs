//! Server processes that cannot outlive the process that started them.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often a server that starts or ends is looked at: little against the 0.1 s that even Redis takes.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How much of a log an error shows: enough for Erlang's long complaints.
const LOG_LINES: usize = 30;

/// A command that runs when this value is dropped or this process ends, kill -9 included.
///
/// It is a shell that waits at a pipe of which we hold the only other end, so the kernel itself tells it of our death, and there
/// is nothing to poll. `setpriv --pdeathsig` would not do: it kills when the *thread* that started the server ends, each test has
/// a thread of its own, and macOS does not have it.
#[derive(Debug)]
pub(super) struct Leash {
    shell: Child,
}

impl Leash {
    /// Starts the shell; it has nothing to do yet.
    pub(super) fn new() -> Result<Self> {
        let shell = Command::new("sh")
            .args(["-c", r#"read -r last; read -r _; eval "$last""#])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C goes to our whole process group, and the shell has to be there after it.
            .process_group(0)
            .spawn()
            .context("cannot start sh")?;
        Ok(Self { shell })
    }

    /// Sets the one line of shell that is run at the end. May be called once.
    pub(super) fn run_at_end(&mut self, command: &str) -> Result<()> {
        let pipe = self.shell.stdin.as_mut().context("the leash has no pipe")?;
        writeln!(pipe, "{command}").context("the leash is broken")
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // Nothing can be done about a shell that is gone already.
        self.shell.wait().ok();
    }
}

/// A running server. Dropping kills it, and what it has started in its process group.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    leash: Option<Leash>,
}

impl Server {
    /// Starts a server whose output is added to `log`.
    pub(super) fn spawn(command: &mut Command, log: &Path) -> Result<Self> {
        let mut leash = Leash::new()?;
        let out =
            fs::File::options().create(true).append(true).open(log).with_context(|| format!("cannot write {}", log.display()))?;
        let err = out.try_clone().context("cannot share the log")?;
        let program = command.get_program().to_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let tied = leash.run_at_end(&format!("kill -s KILL -- -{}", child.id()));
        let server = Self { child, leash: Some(leash) };
        tied.map(|()| server)
    }

    /// Waits until `answers` says so; an error shows the end of `log`.
    pub(super) fn await_ready(&mut self, limit: Duration, log: &Path, answers: impl Fn() -> bool) -> Result<()> {
        let begun = Instant::now();
        while !answers() {
            if let Some(status) = self.child.try_wait().context("cannot look after the server")? {
                bail!("the server ended before it was ready, with {status}{}", end_of(log));
            }
            if begun.elapsed() > limit {
                bail!("the server is not ready after {} s{}", limit.as_secs(), end_of(log));
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Asks the server to end and waits for it; kills it if it takes longer than `limit`, which is an error.
    pub(super) fn terminate(mut self, limit: Duration) -> Result<()> {
        signal("TERM", &self.child.id().to_string())?;
        // A suspended process gets its signal only when it goes on.
        self.resume()?;
        let begun = Instant::now();
        while self.child.try_wait().context("cannot look after the server")?.is_none() {
            if begun.elapsed() > limit {
                bail!("the server did not end within {} s and was killed", limit.as_secs());
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Stops the server in its tracks: its connections stay open and nobody answers.
    pub(super) fn suspend(&self) -> Result<()> {
        signal("STOP", &format!("-{}", self.child.id()))
    }

    /// Lets a suspended server go on.
    pub(super) fn resume(&self) -> Result<()> {
        signal("CONT", &format!("-{}", self.child.id()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error says that it has ended already.
        self.child.kill().ok();
        // Before the child is reaped: until then nobody else can get its number.
        drop(self.leash.take());
        self.child.wait().ok();
    }
}

/// Whether there is such a process, and we may signal it.
pub(super) fn is_alive(pid: u32) -> bool {
    signal("0", &pid.to_string()).is_ok()
}

/// Sends a signal by the shell's `kill`, because std can only send KILL, and only to one process.
fn signal(name: &str, target: &str) -> Result<()> {
    let status = Command::new("sh")
        .args(["-c", r#"kill -s "$0" -- "$1""#, name, target])
        .stderr(Stdio::null())
        .status()
        .context("cannot start sh")?;
    if !status.success() {
        bail!("cannot send {name} to process {target}");
    }
    Ok(())
}

fn end_of(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    format!("; {} ends with:\n{}", log.display(), lines[lines.len().saturating_sub(LOG_LINES)..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn sleeper(log: &Path) -> Result<(Server, u32)> {
        let server = Server::spawn(Command::new("sleep").arg("1000"), log)?;
        let pid = server.child.id();
        Ok((server, pid))
    }

    #[test]
    fn a_dropped_server_is_gone_even_when_suspended() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let (server, pid) = sleeper(&dir.path().join("log"))?;
        assert!(is_alive(pid));
        server.suspend()?;
        drop(server);
        assert!(!is_alive(pid));
        Ok(())
    }

    #[test]
    fn a_suspended_server_can_be_asked_to_end() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let (server, pid) = sleeper(&dir.path().join("log"))?;
        server.suspend()?;
        server.terminate(PATIENCE)?;
        assert!(!is_alive(pid));
        Ok(())
    }

    #[test]
    fn a_server_that_ends_early_is_reported_with_its_last_words() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let log = dir.path().join("log");
        let mut server = Server::spawn(Command::new("sh").args(["-c", "echo no luck; exit 3"]), &log)?;
        let report = server.await_ready(PATIENCE, &log, || false).map_err(|error| error.to_string());
        assert!(report.is_err_and(|text| text.contains("exit status: 3") && text.contains("no luck")));
        Ok(())
    }
}
