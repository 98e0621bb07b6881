//! A throw-away Redis.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::leash::Server;
use super::port;
use super::program::{Installed, Program};

/// The image where Redis runs in a container.
pub(super) const IMAGE: &str = "docker.io/library/redis:7";
/// How an instance is set up, privately or in a container: as the journal's is where Hookyard is deployed.
const SETTINGS: &str = include_str!("../../../deploy/redis/journal.conf");
/// It takes 0.1 s; more only where a restart reads a large append-only file, or the machine is busy building.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// What it keeps in its folder.
const SNAPSHOT: &str = "dump.rdb";
const APPENDED: &str = "appendonlydir";
/// It ends at once, except for the writing out of the append-only file.
const ENDED_WITHIN: Duration = Duration::from_secs(30);

/// A `redis-server` of our own on 127.0.0.1, which ends when this value is dropped or this process ends.
#[derive(Debug)]
pub struct PrivateRedis {
    program: Installed,
    folder: PathBuf,
    port: u16,
    server: Option<Server>,
}

impl PrivateRedis {
    /// Starts one on a free port, with its data and log in `dir`, and waits until it answers. Data that is there is loaded.
    ///
    /// # Errors
    /// Redis is not installed and cannot be, or does not start.
    pub fn start(dir: &Path) -> Result<Self> {
        let program = Program::Redis.find_or_install()?;
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let folder = dir.canonicalize().with_context(|| format!("cannot use {}", dir.display()))?;
        let mut redis = Self { program, folder, port: port::free_port()?, server: None };
        redis.launch(&[])?;
        Ok(redis)
    }

    /// Its URL, without a database: `redis://127.0.0.1:port`.
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// Its port on 127.0.0.1, the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it as a crash would. Up to a second of writes may be lost, as `everysec` says.
    pub fn kill9(&mut self) {
        self.server = None;
    }

    /// Starts it again on the same port with the same data, after stopping it if it runs.
    ///
    /// # Errors
    /// It does not end, or does not start.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.launch(&[])
    }

    /// Where it writes a copy of its data when it is told to (`SAVE`).
    pub fn snapshot(&self) -> PathBuf {
        self.folder.join(SNAPSHOT)
    }

    /// Stops it and starts it again, on the same port, with what a copy holds, as `docs/operations.md` says. From then on it must be told to
    /// append again (`CONFIG SET appendonly yes`).
    ///
    /// # Errors
    /// It does not end, the copy cannot be read, or it does not start.
    pub fn restore(&mut self, copy: &Path) -> Result<()> {
        self.stop()?;
        fs::remove_dir_all(self.folder.join(APPENDED)).context("cannot remove the append-only files")?;
        fs::copy(copy, self.snapshot()).with_context(|| format!("cannot read {}", copy.display()))?;
        self.launch(&["--appendonly", "no"])
    }

    /// Asks it to end and waits for that. Nothing is done to one that does not run.
    ///
    /// # Errors
    /// It did not end within half a minute; it has been killed then.
    pub fn stop(&mut self) -> Result<()> {
        self.server.take().map_or(Ok(()), |server| server.terminate(ENDED_WITHIN)).context("cannot stop Redis")
    }

    /// Stops it in its tracks (SIGSTOP): connections stay open and nothing answers.
    ///
    /// # Errors
    /// It does not run.
    pub fn suspend(&self) -> Result<()> {
        self.server.as_ref().context("Redis does not run")?.suspend()
    }

    /// Lets it go on after [`PrivateRedis::suspend`].
    ///
    /// # Errors
    /// It does not run.
    pub fn resume(&self) -> Result<()> {
        self.server.as_ref().context("Redis does not run")?.resume()
    }

    fn launch(&mut self, more: &[&str]) -> Result<()> {
        let log = self.folder.join("redis.log");
        let mut command = self.program.command(None);
        command.args(&call()[1..]).args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--pidfile", "redis.pid"]);
        command.arg("--dir").arg(&self.folder).args(more);
        let mut server = Server::spawn(command.current_dir(&self.folder), &log)?;
        server.await_ready(READY_WITHIN, &log, || answers(self.port)).context("cannot start Redis")?;
        self.server = Some(server);
        Ok(())
    }
}

/// A server with these settings, as it is called.
pub(super) fn call() -> Vec<String> {
    let lines = SETTINGS.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '));
    let settings = lines.flat_map(|(name, value)| [format!("--{name}"), value.trim_matches('"').to_owned()]);
    std::iter::once("redis-server".to_owned()).chain(settings).collect()
}

/// The URL of an instance on a port of this machine.
pub(super) fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

/// Whether a Redis on this port serves commands. One that still loads its data answers with an error, and does not.
pub(super) fn answers(port: u16) -> bool {
    let mut answer = [0; 5];
    port::greet(port, b"PING\r\n", &mut answer).is_ok() && answer == *b"+PONG"
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::process::{Command, Stdio};
    use std::thread;

    use anyhow::bail;

    use super::*;

    /// Set in the process that is killed; its value is the folder for its Redis.
    const VICTIM_VAR: &str = "HOOKYARD_TEST_VICTIM_FOLDER";

    fn ask<const N: usize>(redis: &PrivateRedis, command: &str) -> Result<String> {
        let mut answer = [0; N];
        port::greet(redis.port(), format!("{command}\r\n").as_bytes(), &mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    #[test]
    fn redis_keeps_its_port_and_data_through_kills_and_stops() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let mut redis = PrivateRedis::start(dir.path())?;
        assert_eq!(ask::<3>(&redis, "SET a 1")?, "+OK");
        assert_eq!(ask::<44>(&redis, "CONFIG GET maxmemory-policy")?.split_whitespace().last(), Some("noeviction"));
        // The append-only file is with the kernel before a command is answered, and only the machine's crash could lose that.
        redis.kill9();
        assert!(!answers(redis.port()));
        let port = redis.port();
        redis.restart()?;
        assert_eq!(redis.port(), port);
        assert_eq!(ask::<7>(&redis, "GET a")?, "$1\r\n1\r\n");

        redis.suspend()?;
        assert!(!answers(port));
        redis.resume()?;
        assert!(answers(port));

        redis.stop()?;
        assert!(!answers(port));
        assert!(redis.suspend().is_err());
        redis.restart()?;
        redis.restart()?;
        assert_eq!(ask::<7>(&redis, "GET a")?, "$1\r\n1\r\n");
        drop(redis);
        assert!(!answers(port));
        Ok(())
    }

    /// Runs this very test in a second process and kills that, as a test runner's time limit does.
    #[test]
    fn a_server_ends_with_the_process_that_started_it() -> Result<()> {
        if let Some(folder) = env::var_os(VICTIM_VAR) {
            let redis = PrivateRedis::start(Path::new(&folder))?;
            fs::write(Path::new(&folder).join("url"), format!("{}\n", redis.url()))?;
            loop {
                thread::park();
            }
        }
        let dir = tempfile::tempdir()?;
        let mut victim = Command::new(env::current_exe()?)
            .args(["--exact", "services::redis::tests::a_server_ends_with_the_process_that_started_it"])
            .env(VICTIM_VAR, dir.path())
            .stdout(Stdio::null())
            .spawn()?;
        let url = wait_for(|| fs::read_to_string(dir.path().join("url")).ok().filter(|url| url.ends_with('\n')))?;
        let port = url.trim().rsplit(':').next().context("no port")?.parse()?;
        assert!(answers(port));
        victim.kill()?;
        victim.wait()?;
        wait_for(|| (!answers(port)).then_some(()))
    }

    fn wait_for<T>(happens: impl Fn() -> Option<T>) -> Result<T> {
        for _ in 0..1_000 {
            if let Some(value) = happens() {
                return Ok(value);
            }
            thread::sleep(Duration::from_millis(10));
        }
        bail!("it did not happen within 10 s")
    }
}
