//! A throw-away RabbitMQ: the installed program with everything of its own, down to Erlang's port mapper.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::leash::Server;
use super::port;
use super::program::{Installed, Program, on_path};

/// The image where RabbitMQ runs in a container.
pub(super) const IMAGE: &str = "docker.io/library/rabbitmq:3.13";
/// The same for every instance alone: each has its own port mapper, and its data, which goes by this name, is found again.
const NODE: &str = "hookyard@localhost";
/// What the nodes of a cluster know each other by.
const COOKIE: &str = "HOOKYARDTESTS";
/// The configuration file; the user guest with password guest, from this machine only, is RabbitMQ's default.
///
/// An alarm blocks every publisher, and tests would hang: the limits are there to be met last. Quorum queues write ahead to a file
/// of 512 MB that is also held in memory; 64 MB is what RabbitMQ's guide names for small machines.
const CONFIG: &str = "\
vm_memory_high_watermark.relative = 0.6
disk_free_limit.absolute = 50MB
raft.wal_max_size_bytes = 64000000
";
/// As installations are told to have it: what a delay tier published and nobody confirmed, because a node died, is published again
/// after this long.
const ADVANCED: &str = include_str!("../../../deploy/rabbitmq/advanced.config");
/// For the server and for `rabbitmqctl`: the port mapper is ours to start, and nothing listens beyond this machine.
const ERLANG_ARGS: &str = "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}";
/// It takes 4 to 7 s; more where the machine is busy building, or there is a log to replay.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// It takes 2 s, and more with many queues.
const ENDED_WITHIN: Duration = Duration::from_secs(60);
/// The port mapper is up at once.
const MAPPER_WITHIN: Duration = Duration::from_secs(10);

/// A RabbitMQ node of our own on 127.0.0.1, which ends when this value is dropped or this process ends.
///
/// It has no plugins, and every feature flag that its version knows (quorum queues and streams among them), because the node is new.
#[derive(Debug)]
pub struct PrivateRabbit {
    script: Installed,
    folder: PathBuf,
    amqp_port: u16,
    erlang_port: u16,
    mapper_port: u16,
    node: String,
    feature_flags: Option<&'static str>,
    broker: Option<Server>,
    // Lives through the broker's restarts, as a machine's port mapper does.
    _mapper: Arc<Server>,
}

/// What is other than usual.
#[derive(Clone, Copy, Debug, Default)]
pub struct RabbitOptions<'a> {
    /// More lines of `rabbitmq.conf`; what stands here counts.
    pub configuration: &'a str,
    /// Plugins.
    pub plugins: &'a [&'a str],
    /// The only feature flags of a new node, instead of all that its version knows.
    pub feature_flags: Option<&'static str>,
}

/// Nodes on this machine that are one cluster.
#[derive(Debug)]
pub struct RabbitCluster {
    /// The nodes.
    pub nodes: Vec<PrivateRabbit>,
}

impl RabbitCluster {
    /// Starts so many nodes and joins them.
    ///
    /// # Errors
    /// RabbitMQ is not installed and cannot be, or one does not start or join.
    pub fn start(dir: &Path, size: usize) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let mapper_port = port::free_port()?;
        let mapper = Arc::new(start_mapper(mapper_port, dir).context("cannot start Erlang's port mapper")?);
        let mut nodes = Vec::new();
        for number in 1..=size {
            let name = format!("hookyard{number}@localhost");
            let place = dir.join(format!("node{number}"));
            let node = PrivateRabbit::launch_one(&place, RabbitOptions::default(), name, mapper_port, Arc::clone(&mapper))?;
            if number > 1 {
                for step in [&["stop_app"][..], &["join_cluster", "hookyard1@localhost"], &["start_app"]] {
                    node.ctl(step)?;
                }
            }
            nodes.push(node);
        }
        Ok(Self { nodes })
    }
}

impl PrivateRabbit {
    /// Starts one on free ports, with its data and logs in `dir`, and waits until it answers. Data that is there is found again.
    ///
    /// # Errors
    /// RabbitMQ is not installed and cannot be, or does not start.
    pub fn start(dir: &Path) -> Result<Self> {
        Self::start_with(dir, RabbitOptions::default())
    }

    /// The same with something other than usual.
    ///
    /// # Errors
    /// As [`PrivateRabbit::start`].
    pub fn start_with(dir: &Path, options: RabbitOptions<'_>) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let mapper_port = port::free_port()?;
        let mapper = Arc::new(start_mapper(mapper_port, dir).context("cannot start Erlang's port mapper")?);
        Self::launch_one(dir, options, NODE.to_owned(), mapper_port, mapper)
    }

    fn launch_one(dir: &Path, options: RabbitOptions<'_>, node: String, mapper_port: u16, mapper: Arc<Server>) -> Result<Self> {
        let script = Program::RabbitMq.find_or_install()?;
        let folder = lay_out(dir, options).with_context(|| format!("cannot prepare {}", dir.display()))?;
        let mut rabbit = Self {
            script,
            folder,
            amqp_port: port::free_port()?,
            erlang_port: port::free_port()?,
            mapper_port,
            node,
            feature_flags: options.feature_flags,
            broker: None,
            _mapper: mapper,
        };
        rabbit.launch()?;
        Ok(rabbit)
    }

    /// The installed version, where the place of its program says it, as Debian's does: `(3, 10)`.
    ///
    /// # Errors
    /// RabbitMQ is not installed and cannot be.
    pub fn version() -> Result<Option<(u32, u32)>> {
        let script = Program::RabbitMq.find_or_install()?.path.canonicalize()?;
        let of = |part: &std::ffi::OsStr| {
            let mut numbers = part.to_str()?.strip_prefix("rabbitmq_server-")?.split('.');
            Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
        };
        Ok(script.iter().find_map(of))
    }

    /// The URL of its default virtual host: `amqp://guest:guest@127.0.0.1:port/%2f`.
    pub fn url(&self) -> String {
        url(self.amqp_port)
    }

    /// Its AMQP port on 127.0.0.1, the same after a restart.
    pub fn port(&self) -> u16 {
        self.amqp_port
    }

    /// Kills it as a crash would.
    pub fn kill9(&mut self) {
        self.broker = None;
    }

    /// Starts it again on the same ports with the same data, after stopping it if it runs.
    ///
    /// # Errors
    /// It does not end, or does not start.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.launch()
    }

    /// Asks it to end and waits for that. Nothing is done to one that does not run.
    ///
    /// # Errors
    /// It did not end within a minute; it has been killed then.
    pub fn stop(&mut self) -> Result<()> {
        self.broker.take().map_or(Ok(()), |broker| broker.terminate(ENDED_WITHIN)).context("cannot stop RabbitMQ")
    }

    /// Stops it in its tracks (SIGSTOP): connections stay open and nothing answers.
    ///
    /// # Errors
    /// It does not run.
    pub fn suspend(&self) -> Result<()> {
        self.broker.as_ref().context("RabbitMQ does not run")?.suspend()
    }

    /// Lets it go on after [`PrivateRabbit::suspend`].
    ///
    /// # Errors
    /// It does not run.
    pub fn resume(&self) -> Result<()> {
        self.broker.as_ref().context("RabbitMQ does not run")?.resume()
    }

    /// Runs `rabbitmqctl --silent` against it (1 to 2 s) and gives back what it prints: one line per row, columns between tabs.
    ///
    /// # Errors
    /// `rabbitmqctl` fails; the error has what it says.
    pub fn ctl(&self, args: &[&str]) -> Result<String> {
        let mut command = self.command(Some("rabbitmqctl"));
        let output = command.arg("--silent").args(args).output().context("cannot start rabbitmqctl")?;
        if !output.status.success() {
            bail!(
                "rabbitmqctl {} ended with {}: {}",
                args.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        String::from_utf8(output.stdout).context("rabbitmqctl prints no UTF-8")
    }

    fn launch(&mut self) -> Result<()> {
        let log = self.folder.join("broker.out");
        let mut broker = Server::spawn(&mut self.command(None), &log)?;
        broker.await_ready(READY_WITHIN, &log, || answers(self.amqp_port)).context("cannot start RabbitMQ")?;
        self.broker = Some(broker);
        Ok(())
    }

    /// One of RabbitMQ's scripts with the environment of this node, and nothing of the caller's or the machine's.
    fn command(&self, beside: Option<&str>) -> Command {
        let mut command = self.script.command(beside);
        command.current_dir(&self.folder).env_clear();
        command.envs([
            ("HOME", self.folder.join("home")),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", self.folder.join("advanced.config")),
            ("RABBITMQ_CONF_ENV_FILE", self.folder.join("env.conf")),
            ("RABBITMQ_CONFIG_FILE", self.folder.join("rabbitmq.conf")),
            ("RABBITMQ_CONFIG_FILES", self.folder.join("conf.d")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", self.folder.join("enabled_plugins")),
            ("RABBITMQ_LOG_BASE", self.folder.join("log")),
            ("RABBITMQ_MNESIA_BASE", self.folder.join("mnesia")),
            ("RABBITMQ_PID_FILE", self.folder.join("broker.pid")),
        ]);
        command.envs([
            ("ERL_EPMD_PORT", self.mapper_port.to_string()),
            ("RABBITMQ_NODE_PORT", self.amqp_port.to_string()),
            ("RABBITMQ_DIST_PORT", self.erlang_port.to_string()),
        ]);
        command.envs([
            ("RABBITMQ_NODENAME", self.node.as_str()),
            ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1"),
            ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", ERLANG_ARGS),
            ("RABBITMQ_CTL_ERL_ARGS", ERLANG_ARGS),
            // The script then becomes the broker instead of a parent that waits for it: our child's number is the broker's.
            ("RUNNING_UNDER_SYSTEMD", "true"),
            // Elixir's tools complain about anything that is not UTF-8.
            ("LC_ALL", "C.UTF-8"),
        ]);
        command.envs(self.feature_flags.map(|flags| ("RABBITMQ_FEATURE_FLAGS", flags)));
        command.envs(env::var_os("PATH").map(|path| ("PATH", path)));
        command
    }
}

/// The URL of a node on a port of this machine.
pub(super) fn url(port: u16) -> String {
    format!("amqp://guest:guest@127.0.0.1:{port}/%2f")
}

/// Whether a broker on this port begins the AMQP 0-9-1 handshake: a method frame (1) on channel 0 with Connection.Start (10, 10).
pub(super) fn answers(port: u16) -> bool {
    let mut frame = [0; 11];
    port::greet(port, b"AMQP\0\0\x09\x01", &mut frame).is_ok() && frame[..3] == [1, 0, 0] && frame[7..] == [0, 10, 0, 10]
}

/// Makes the files and folders that the environment names, and gives back the folder's full path, for nodes do not stay in ours.
fn lay_out(dir: &Path, options: RabbitOptions<'_>) -> Result<PathBuf> {
    fs::create_dir_all(dir)?;
    let folder = dir.canonicalize()?;
    for inner in ["home", "conf.d"] {
        fs::create_dir_all(folder.join(inner))?;
    }
    fs::write(folder.join("rabbitmq.conf"), format!("{CONFIG}{}", options.configuration))?;
    fs::write(folder.join("enabled_plugins"), format!("[{}].\n", options.plugins.join(",")))?;
    let cookie = folder.join("home/.erlang.cookie");
    if !cookie.exists() {
        fs::write(&cookie, COOKIE)?;
        // Erlang refuses one that others can read.
        fs::set_permissions(&cookie, fs::Permissions::from_mode(0o400))?;
    }
    fs::write(folder.join("advanced.config"), ADVANCED)?;
    fs::write(folder.join("env.conf"), "")?;
    Ok(folder)
}

/// Erlang would start a port mapper in the background when it finds none, and nobody would know its number.
fn start_mapper(port: u16, folder: &Path) -> Result<Server> {
    let program = on_path("epmd").context("there is no epmd, which comes with Erlang")?;
    let log = folder.join("epmd.out");
    let mut command = Command::new(program);
    command.args(["-address", "127.0.0.1", "-port", &port.to_string()]).current_dir(folder);
    let mut mapper = Server::spawn(&mut command, &log)?;
    // NAMES_REQ: a length of one byte, and the letter n; the answer begins with the mapper's own port.
    mapper.await_ready(MAPPER_WITHIN, &log, || {
        let mut answer = [0; 4];
        port::greet(port, b"\0\x01n", &mut answer).is_ok() && answer == u32::from(port).to_be_bytes()
    })?;
    Ok(mapper)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rabbit_keeps_its_port_and_data_through_kills_and_stops() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let mut rabbit = PrivateRabbit::start(dir.path())?;
        let port = rabbit.port();
        let flags = rabbit.ctl(&["list_feature_flags", "name", "state"])?;
        for flag in ["quorum_queue", "stream_queue"] {
            assert!(flags.lines().any(|line| line == format!("{flag}\tenabled")), "{flags}");
        }
        rabbit.ctl(&["add_vhost", "kept"])?;

        rabbit.kill9();
        assert!(!answers(port));
        assert!(rabbit.ctl(&["list_vhosts"]).is_err());
        rabbit.restart()?;
        assert_eq!(rabbit.port(), port);
        assert!(answers(port));
        assert!(rabbit.ctl(&["list_vhosts"])?.lines().any(|line| line == "kept"));

        rabbit.suspend()?;
        assert!(!answers(port));
        rabbit.resume()?;
        assert!(answers(port));

        rabbit.stop()?;
        assert!(!answers(port));
        assert!(rabbit.suspend().is_err());
        rabbit.restart()?;
        assert!(answers(port));
        let mapper_port = rabbit.mapper_port;
        drop(rabbit);
        assert!(!answers(port));
        assert!(port::greet(mapper_port, b"\0\x01n", &mut [0; 4]).is_err());
        Ok(())
    }
}
