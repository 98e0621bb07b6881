//! The two servers as installed programs, and how to install them.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Where programs are besides `PATH`: Debian keeps `sbin` out of an ordinary user's, and Homebrew is not in that of a service.
const MORE_FOLDERS: [&str; 5] = ["/usr/local/bin", "/usr/local/sbin", "/usr/sbin", "/opt/homebrew/bin", "/opt/homebrew/sbin"];
/// The script itself, as Debian and Red Hat install it. Their `rabbitmq-server` on the `PATH` is a wrapper that refuses anyone but
/// root and the user rabbitmq, and then runs as the latter.
const RABBITMQ_SCRIPT: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/// Held while installing, by `flock`, which lets go however its holder ends. In `/run`, where only root can put a file in the way.
const INSTALL_LOCK: &str = "/run/hookyard-test-services.lock";
/// Installs both, without letting Debian start them as services: they would sit on the usual ports from now on. A `policy-rc.d`
/// that is there already is the owner's word on that, and stays.
const INSTALL: &str = r"
set -e
[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] && command -v redis-server > /dev/null && exit 0
policy=/usr/sbin/policy-rc.d
if ! [ -e $policy ]; then
    trap 'rm -f $policy' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' > $policy
    chmod 755 $policy
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -o DPkg::Lock::Timeout=300 update
apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends rabbitmq-server redis-server
";

/// Folder of another Debian release whose RabbitMQ is used.
const RABBITMQ_ROOT_VAR: &str = "MATRIX_RABBITMQ_ROOT";
/// Folder of another Debian release whose Redis is used.
const REDIS_ROOT_VAR: &str = "MATRIX_REDIS_ROOT";
/// Its program, unless it is `redis-server`: Valkey's.
const REDIS_SERVER_VAR: &str = "MATRIX_REDIS_SERVER";

/// A server that the tests need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// RabbitMQ.
    RabbitMq,
    /// Redis.
    Redis,
}

/// A program that starts a server, on this system or in another release's root.
#[derive(Clone, Debug)]
pub(super) struct Installed {
    /// As this system sees it.
    pub(super) path: PathBuf,
    root: Option<PathBuf>,
}

impl Installed {
    /// A call of it, or of another program in its folder.
    pub(super) fn command(&self, beside: Option<&str>) -> Command {
        let path = beside.map_or_else(|| self.path.clone(), |name| self.path.with_file_name(name));
        match &self.root {
            None => Command::new(path),
            Some(root) => {
                let within = Path::new("/").join(path.strip_prefix(root).unwrap_or(&path));
                let mut command = Command::new("chroot");
                command.arg(root).arg(within);
                command
            }
        }
    }
}

impl Program {
    /// The other release's root that the environment names, and the program in it. `make matrix` prepares such roots; they see the
    /// folder for temporary files at its own place.
    #[expect(clippy::disallowed_methods, reason = "how the matrix names another release's server")]
    fn in_root(self) -> Option<Installed> {
        let (variable, program) = match self {
            Self::RabbitMq => (RABBITMQ_ROOT_VAR, RABBITMQ_SCRIPT.trim_start_matches('/').to_owned()),
            Self::Redis => {
                let server = env::var(REDIS_SERVER_VAR).unwrap_or_else(|_| "redis-server".to_owned());
                (REDIS_ROOT_VAR, format!("usr/bin/{server}"))
            }
        };
        let root = PathBuf::from(env::var_os(variable).filter(|root| !root.is_empty())?);
        Some(Installed { path: root.join(program), root: Some(root) })
    }

    /// The program that starts the server, where it is installed.
    pub(super) fn find(self) -> Option<PathBuf> {
        match self {
            Self::RabbitMq => {
                Some(PathBuf::from(RABBITMQ_SCRIPT)).filter(|script| script.is_file()).or_else(|| on_path("rabbitmq-server"))
            }
            Self::Redis => on_path("redis-server"),
        }
    }

    /// The program that starts the server, installed first if it is missing and that can be done.
    ///
    /// # Errors
    /// It is not there and cannot be installed; the error has the line to type.
    pub(super) fn find_or_install(self) -> Result<Installed> {
        if let Some(installed) = self.in_root() {
            return if installed.path.is_file() { Ok(installed) } else { bail!("there is no {}", installed.path.display()) };
        }
        let here = |path| Installed { path, root: None };
        if let Some(path) = self.find() {
            return Ok(here(path));
        }
        if !(is_root() && on_path("apt-get").is_some()) {
            bail!("{self} is not installed: {}", line_to_type());
        }
        install().with_context(|| format!("{self} is not installed, and installing it failed: {}", line_to_type()))?;
        self.find().map(here).with_context(|| format!("{self} was installed and is not to be found"))
    }
}

impl fmt::Display for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::RabbitMq => "RabbitMQ",
            Self::Redis => "Redis",
        })
    }
}

/// A program by its name.
pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(MORE_FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

fn install() -> Result<()> {
    super::announce("installing rabbitmq-server and redis-server by apt-get");
    let status = Command::new("flock")
        .args([Path::new(INSTALL_LOCK), Path::new("sh"), Path::new("-c"), Path::new(INSTALL)])
        .stdin(Stdio::null())
        // Standard output belongs to the command that the services are for.
        .stdout(std::io::stderr())
        .status()
        .context("cannot start flock")?;
    if !status.success() {
        bail!("apt-get ended with {status}");
    }
    Ok(())
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn line_to_type() -> &'static str {
    if cfg!(target_os = "macos") {
        "brew install rabbitmq redis"
    } else {
        "sudo apt-get install -y --no-install-recommends rabbitmq-server redis-server"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_name_or_not_at_all() {
        assert!(on_path("sh").is_some_and(|path| path.is_absolute()));
        assert_eq!(on_path("hookyard-no-such-program"), None);
    }
}
