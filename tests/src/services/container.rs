//! A server in a container, where neither the programs nor the right to install them are to be had.

use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::leash::Leash;
use super::program::on_path;

/// From the container's start to the server's answer; the image has been fetched by then.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// How often a starting server is asked: containers take seconds.
const ASK_EVERY: Duration = Duration::from_millis(100);

static STARTED: AtomicU32 = AtomicU32::new(0);

/// A running container, removed when this value is dropped or this process ends.
#[derive(Debug)]
pub(super) struct Container {
    port: u16,
    _leash: Leash,
}

impl Container {
    /// Runs an image with its port `inner_port` on a free port of 127.0.0.1, and waits until `answers` says so of that.
    pub(super) fn start(engine: &Path, image: &str, inner_port: u16, call: &[String], answers: fn(u16) -> bool) -> Result<Self> {
        let name = format!("hookyard-test-{}-{}", process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        let mut leash = Leash::new()?;
        // Before it runs, so that there is no moment in which it would stay behind.
        leash.run_at_end(&format!("'{}' rm --force --volumes {name}", engine.display()))?;
        let publish = format!("127.0.0.1::{inner_port}");
        ask(Command::new(engine).args(["run", "--detach", "--name", &name, "--publish", &publish, image]).args(call))?;
        let mapping = ask(Command::new(engine).args(["port", &name, &format!("{inner_port}/tcp")]))?;
        let port = published_port(&mapping).with_context(|| format!("{image} has no port: {mapping}"))?;
        let begun = Instant::now();
        while !answers(port) {
            if begun.elapsed() > READY_WITHIN {
                bail!("{image} does not answer after {} s", READY_WITHIN.as_secs());
            }
            thread::sleep(ASK_EVERY);
        }
        Ok(Self { port, _leash: leash })
    }

    /// The server's port on 127.0.0.1.
    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

/// docker or podman, whichever can run a container here: the program alone says nothing about its daemon.
pub(super) fn find_engine() -> Option<PathBuf> {
    let mut engines = ["docker", "podman"].into_iter().filter_map(on_path);
    engines.find(|engine| Command::new(engine).arg("ps").output().is_ok_and(|output| output.status.success()))
}

/// Runs the engine and gives back what it prints; progress and errors go to standard error.
fn ask(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Reads the answer of `port`: one line per address, such as `127.0.0.1:49153`.
fn published_port(mapping: &str) -> Option<u16> {
    mapping.lines().next()?.rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::{port, redis};
    use super::*;

    #[test]
    fn the_port_is_read_from_what_the_engine_prints() {
        assert_eq!(published_port("127.0.0.1:49153"), Some(49_153));
        assert_eq!(published_port("127.0.0.1:40001\n[::1]:40002"), Some(40_001));
        assert_eq!(published_port(""), None);
    }

    /// The machines that run this have no container daemon: the engine here runs its "containers" as plain processes.
    #[test]
    fn a_container_is_started_asked_and_removed() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let engine = dir.path().join("engine");
        let port = port::free_port()?;
        let folder = dir.path().display();
        let script = format!(
            r#"#!/bin/sh
            case "$1" in
                run) shift 7; "$@" --port {port} --bind 127.0.0.1 --dir {folder} --daemonize yes --pidfile {folder}/pid >&2 ;;
                port) echo 127.0.0.1:{port} ;;
                rm) echo "$4" > {folder}/removed; kill -9 "$(cat {folder}/pid)" ;;
            esac
            "#
        );
        fs::write(&engine, script)?;
        fs::set_permissions(&engine, fs::Permissions::from_mode(0o755))?;
        let container = Container::start(&engine, redis::IMAGE, 6379, &redis::call(), redis::answers)?;
        assert_eq!(container.port(), port);
        drop(container);
        assert!(!redis::answers(port));
        assert!(fs::read_to_string(dir.path().join("removed"))?.starts_with("hookyard-test-"));
        Ok(())
    }
}
