//! `hookyard doctor` on a live broker and store: each fault is made, found with what to do, and unmade again.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hookyard_e2e::process::program;
use hookyard_e2e::services::{PrivateRabbit, PrivateRedis, RabbitOptions};
use serde_json::Value;

const SECRET_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
/// Within this the broker has seen a change and its management API says so: it looks at its disk each ten seconds at most, and counts each
/// five, on a machine that runs other tests.
const SEEN_WITHIN: Duration = Duration::from_secs(60);
const OTHER_KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

/// Of a broker that came from an older version: one is missing.
const OLDER_FLAGS: &str = "quorum_queue,implicit_default_bindings,virtual_host_metadata,maintenance_mode_status,user_limits";

/// Whether there is the flag without which delay tiers are not safe; later versions have it always.
fn has_flag() -> Result<bool> {
    Ok(PrivateRabbit::version()?.is_some_and(|version| version < (3, 12)))
}

/// An installation's broker and store.
struct Ward {
    rabbit: PrivateRabbit,
    redis: PrivateRedis,
    management: String,
    ops: TcpListener,
}

/// What `hookyard doctor` found and how it ended.
struct Diagnosis {
    findings: Vec<Value>,
    worked: bool,
}

impl Diagnosis {
    /// What is so bad, as text.
    fn of(&self, level: &str) -> Vec<String> {
        let wanted = self.findings.iter().filter(|finding| finding["level"] == level);
        let text = |finding: &Value, field: &str| finding[field].as_str().unwrap_or_default().to_owned();
        wanted.map(|one| format!("{}: {} → {}", text(one, "area"), text(one, "told"), text(one, "remedy"))).collect()
    }

    /// It failed, over something that says this, and says what to do.
    fn is_bad(&self, area: &str, told: &str, remedy: &str) -> Result<()> {
        let bad = self.of("bad");
        let found = self.findings.iter().any(|finding| {
            let says = |field: &str, part: &str| finding[field].as_str().is_some_and(|text| text.contains(part));
            finding["level"] == "bad" && finding["area"] == area && says("told", told) && says("remedy", remedy)
        });
        ensure!(found && !self.worked, "{told}: {bad:#?} of {:#?}", self.findings);
        Ok(())
    }

    fn is_sound(&self) -> Result<()> {
        ensure!(self.worked && self.of("bad").is_empty(), "{:#?}", self.of("bad"));
        Ok(())
    }
}

impl Ward {
    fn open(folder: &Path) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let configuration = format!("management.tcp.port = {port}\nmanagement.tcp.ip = 127.0.0.1\n");
        let options = RabbitOptions {
            configuration: &configuration,
            plugins: &["rabbitmq_management"],
            feature_flags: has_flag()?.then_some(OLDER_FLAGS),
        };
        Ok(Self {
            rabbit: PrivateRabbit::start_with(&folder.join("rabbit"), options)?,
            redis: PrivateRedis::start(&folder.join("redis"))?,
            management: format!("http://guest:guest@127.0.0.1:{port}"),
            ops: TcpListener::bind("127.0.0.1:0")?,
        })
    }

    fn hookyard(&self, arguments: &[&str], more: &[(&str, &str)]) -> Result<std::process::Output> {
        let mut command = self.command(arguments)?;
        for (name, value) in more {
            // Without a value it is not set.
            if value.is_empty() {
                command.env_remove(name)
            } else {
                command.env(name, value)
            };
        }
        Ok(command.output()?)
    }

    /// Starts everything once, so that there is a dataset and its anchor.
    fn live_for_a_moment(&self) -> Result<()> {
        let mut running = self.command(&["run"])?.stderr(Stdio::null()).spawn()?;
        let is_there = (0..50).any(|_| {
            let of = |area| move |finding: &String| finding.starts_with(area);
            self.doctor(&[]).is_ok_and(|found| {
                let good = found.of("good");
                good.iter().any(of("dataset")) && good.iter().any(of("secrets"))
            })
        });
        let found = self.doctor(&[])?;
        running.kill().and_then(|()| running.wait())?;
        ensure!(
            is_there,
            "there never was a dataset and a seal: {:#?}",
            [found.of("good"), found.of("unknown"), found.of("bad")]
        );
        Ok(())
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(program("hookyard")?);
        command.args(arguments).env_clear().envs([
            ("HOOKYARD_AMQP_URL", self.rabbit.url()),
            ("HOOKYARD_REDIS_URL", self.redis.url()),
            ("HOOKYARD_AMQP__MANAGEMENT_URL", self.management.clone()),
            ("HOOKYARD_SECRET_KEY", SECRET_KEY.to_owned()),
            ("HOOKYARD_JWT_SECRET", "x".repeat(32)),
            ("HOOKYARD_LISTEN", "127.0.0.1:0".to_owned()),
            ("HOOKYARD_OPS_LISTEN", "127.0.0.1:0".to_owned()),
        ]);
        Ok(command)
    }

    fn doctor(&self, more: &[(&str, &str)]) -> Result<Diagnosis> {
        let output = self.hookyard(&["doctor", "--output", "json"], more)?;
        let said: Value =
            serde_json::from_slice(&output.stdout).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        Ok(Diagnosis { findings: said["data"].as_array().cloned().context("findings")?, worked: output.status.success() })
    }

    /// Asks until it says this.
    fn until(&self, level: &str, told: &str) -> Result<Diagnosis> {
        let begun = Instant::now();
        while begun.elapsed() < SEEN_WITHIN {
            let diagnosis = self.doctor(&[])?;
            if diagnosis.of(level).iter().any(|finding| finding.contains(told)) {
                return Ok(diagnosis);
            }
        }
        anyhow::bail!("it never says {told}")
    }

    /// The same until nothing is wrong.
    fn until_sound(&self, more: &[(&str, &str)]) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < SEEN_WITHIN && !self.doctor(more).is_ok_and(|diagnosis| diagnosis.worked) {}
        self.doctor(more)?.is_sound()
    }

    fn declare(&self) -> Result<()> {
        let output = self.hookyard(&["topology", "declare"], &[])?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// A command of Redis, on a line.
    fn redis(&self, line: &str) -> Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.redis.port()))?;
        write!(stream, "{line}\r\n")?;
        let mut answer = [0; 64];
        let read = stream.read(&mut answer)?;
        ensure!(!answer[..read].starts_with(b"-"), "{line}: {}", String::from_utf8_lossy(&answer[..read]));
        Ok(())
    }
}

#[test]
fn each_fault_of_broker_store_and_machine_is_found_and_what_to_do() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ward = Ward::open(folder.path())?;
    if has_flag()? {
        ward.doctor(&[])?.is_bad("broker", "stream_queue is off", "enable_feature_flag")?;
        ward.rabbit.ctl(&["enable_feature_flag", "stream_queue"])?;
    }
    ward.declare()?;
    ward.doctor(&[])?.is_sound()?;
    // The limit of the tests' brokers is RabbitMQ's own.
    ward.until("doubt", "disk_free_limit")?;

    of_the_broker(&ward)?;
    of_the_store(&ward)?;
    of_the_machine(&ward)?;
    ward.doctor(&[])?.is_sound()
}

fn of_the_broker(ward: &Ward) -> Result<()> {
    ward.rabbit.ctl(&[
        "set_policy",
        "careless",
        ".*",
        r#"{"overflow":"drop-head","max-length":1000}"#,
        "--apply-to",
        "queues",
    ])?;
    ward.until("bad", "careless")?.is_bad("broker", "the policy careless sets max-length", "narrow the pattern")?;
    ward.rabbit.ctl(&["clear_policy", "careless"])?;

    ward.rabbit.ctl(&["add_user", "weak", "weak"])?;
    ward.rabbit.ctl(&["set_permissions", "weak", "^nothing$", "", ".*"])?;
    let weak = ward.rabbit.url().replace("guest:guest", "weak:weak");
    let diagnosis = ward.doctor(&[("HOOKYARD_AMQP_URL", &weak)])?;
    diagnosis.is_bad("broker", "this user may not declare hookyard.ingest", "set_permissions")?;
    diagnosis.is_bad("broker", "it takes no messages", "write permission")?;
    let nobody = ward.rabbit.url().replace("guest:guest", "nobody:wrong");
    ward.doctor(&[("HOOKYARD_AMQP_URL", &nobody)])?.is_bad("broker", "it cannot be used", "password")?;
    // What it says to do is enough.
    ward.rabbit.ctl(&["set_permissions", "weak", "^hookyard", r"^(hookyard|amq\.default$)", "^hookyard"])?;
    ward.until_sound(&[("HOOKYARD_AMQP_URL", &weak)])?;

    ward.rabbit.ctl(&["delete_queue", "hookyard.dead"])?;
    ward.doctor(&[])?.is_bad("broker", "queues are missing: hookyard.dead", "topology declare")?;
    ward.declare()?;
    ward.rabbit.ctl(&["delete_queue", "hookyard.journal"])?;
    ward.rabbit.ctl(&[
        "eval",
        r#"rabbit_amqqueue:declare(rabbit_misc:r(<<"/">>, queue, <<"hookyard.journal">>), true, false, [], none, <<"test">>)."#,
    ])?;
    ward.doctor(&[])?.is_bad("broker", "hookyard.journal has other arguments", "empty hookyard.journal, delete it")?;
    ward.rabbit.ctl(&["delete_queue", "hookyard.journal"])?;
    ward.declare()?;

    ward.rabbit.ctl(&["set_disk_free_limit", "100000GB"])?;
    ward.until("bad", "it takes no messages")?.is_bad("broker", "it takes no messages", "check_local_alarms")?;
    ward.until("bad", "alarm over its disk")?.is_bad("broker", "alarm over its disk", "free disk")?;
    ward.rabbit.ctl(&["set_disk_free_limit", "50MB"])?;
    ward.until_sound(&[])
}

fn of_the_store(ward: &Ward) -> Result<()> {
    for (fault, cure, told, remedy) in [
        ("CONFIG SET maxmemory-policy allkeys-lru", "CONFIG SET maxmemory-policy noeviction", "evicts keys", "noeviction"),
        ("CONFIG SET appendonly no", "CONFIG SET appendonly yes", "no append-only file", "appendonly yes"),
    ] {
        ward.redis(fault)?;
        ward.doctor(&[])?.is_bad("store", told, remedy)?;
        ward.redis(cure)?;
    }
    let nowhere = [("HOOKYARD_REDIS_URL", "redis://127.0.0.1:1")];
    ward.doctor(&nowhere)?.is_bad("store", "does not answer", "HOOKYARD_REDIS_URL")?;

    // A dataset that the broker knows, and a store that lost it.
    ward.live_for_a_moment()?;
    ward.redis("FLUSHALL")?;
    ward.doctor(&[])?.is_bad("dataset", "do not belong together", "dataset accept")?;
    let output = ward.hookyard(&["dataset", "accept", "--yes"], &[])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn of_the_machine(ward: &Ward) -> Result<()> {
    let taken = ward.ops.local_addr()?.to_string();
    let diagnosis = ward.doctor(&[("HOOKYARD_OPS_LISTEN", &taken)])?;
    ensure!(diagnosis.of("doubt").iter().any(|finding| finding.contains(&taken)), "{:#?}", diagnosis.of("doubt"));
    let file = ("HOOKYARD_SECRET_KEY_FILE", "/nowhere/key");
    ward.doctor(&[file, ("HOOKYARD_SECRET_KEY", "")])?.is_bad("configuration", "cannot be read", "config print")?;
    ward.doctor(&[file])?.is_bad("configuration", "are both set", "config print")?;
    let unknown = [("HOOKYARD_AMQP__SHARTS", "4")];
    ward.doctor(&unknown)?.is_bad("configuration", "did you mean HOOKYARD_AMQP__SHARDS", "config print")?;
    // Whoever starts first seals.
    ward.live_for_a_moment()?;
    let other = [("HOOKYARD_SECRET_KEY", OTHER_KEY)];
    ward.doctor(&other)?.is_bad("secrets", "not the key this store was sealed with", "set the key")
}
