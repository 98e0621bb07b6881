//! A real RabbitMQ and a real Redis for the tests, wherever they can be had.
//!
//! Everything here blocks its thread: a broker takes some seconds to start, and nothing else can happen meanwhile.

mod container;
mod folder;
mod leash;
mod port;
mod program;
mod rabbit;
mod redis;

use std::env;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

pub use self::port::free_port;
pub use self::rabbit::{PrivateRabbit, RabbitCluster, RabbitOptions};
pub use self::redis::PrivateRedis;

use self::container::Container;
use self::folder::FolderInUse;
use self::program::Program;

/// Environment variable with the AMQP URL of a broker that the tests may use.
pub const AMQP_URL_VAR: &str = "HOOKYARD_TEST_AMQP_URL";
/// Environment variable with the URL of a Redis that the tests may use.
pub const REDIS_URL_VAR: &str = "HOOKYARD_TEST_REDIS_URL";

/// A broker and a Redis for one run of tests. What was started for it ends with it.
#[derive(Debug)]
pub struct Services {
    /// Where the broker is: `amqp://user:password@host:port/vhost`.
    pub amqp_url: String,
    /// Where Redis is: `redis://host:port`.
    pub redis_url: String,
    // In the order of dropping: servers before the folder they write to.
    holdings: Vec<Holding>,
    _place: Place,
}

impl Services {
    /// Finds both, the data of private instances going to a temporary folder.
    ///
    /// Each is looked for in this order, and the choice goes to standard error: the environment variable; a private instance of
    /// the installed program; the same after installing it, where this is root on a Debian; a container of docker or podman.
    ///
    /// # Errors
    /// None of them is to be had (with the line to type), or the one chosen does not start.
    pub fn find() -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("hookyard-services-").tempdir().context("no temporary folder")?;
        Self::start_in(Place::Scratch(scratch))
    }

    /// As [`Services::find`], but the data of private instances stays in `state` and is found there again. Containers keep none.
    ///
    /// # Errors
    /// As [`Services::find`], or another run is using the folder.
    pub fn find_in(state: &Path) -> Result<Self> {
        Self::start_in(Place::Kept(FolderInUse::claim(state)?))
    }

    /// Stops gracefully what was started, so that kept data is whole. Dropping instead kills.
    ///
    /// # Errors
    /// A server did not end when asked to; it has been killed then.
    pub fn stop(mut self) -> Result<()> {
        for holding in &mut self.holdings {
            match holding {
                Holding::Rabbit(rabbit) => rabbit.stop()?,
                Holding::Redis(redis) => redis.stop()?,
                Holding::Container(_) => {}
            }
        }
        Ok(())
    }

    fn start_in(place: Place) -> Result<Self> {
        let (amqp_url, rabbit) = find_one(Program::RabbitMq, &place.folder().join("rabbitmq"))?;
        let (redis_url, redis) = find_one(Program::Redis, &place.folder().join("redis"))?;
        Ok(Self { amqp_url, redis_url, holdings: rabbit.into_iter().chain(redis).collect(), _place: place })
    }
}

/// Installs whichever of the two programs is missing, and does nothing where both are there.
///
/// # Errors
/// They cannot be installed from here; the error has the line to type.
pub fn install_missing() -> Result<()> {
    for program in [Program::RabbitMq, Program::Redis] {
        let path = program.find_or_install()?;
        announce(&format!("{program} is installed: {}", path.path.display()));
    }
    Ok(())
}

/// Where private instances keep their data.
#[derive(Debug)]
enum Place {
    Scratch(TempDir),
    Kept(FolderInUse),
}

impl Place {
    fn folder(&self) -> &Path {
        match self {
            Self::Scratch(scratch) => scratch.path(),
            Self::Kept(kept) => kept.folder(),
        }
    }
}

/// What has to be ended when the run is over.
#[derive(Debug)]
enum Holding {
    Rabbit(PrivateRabbit),
    Redis(PrivateRedis),
    Container(#[expect(dead_code, reason = "held for its end only")] Container),
}

#[expect(clippy::disallowed_methods, reason = "how a developer names services of their own")]
fn find_one(program: Program, folder: &Path) -> Result<(String, Option<Holding>)> {
    let variable = match program {
        Program::RabbitMq => AMQP_URL_VAR,
        Program::Redis => REDIS_URL_VAR,
    };
    if let Some(url) = env::var(variable).ok().filter(|url| !url.is_empty()) {
        announce(&format!("{program}: the one that {variable} names"));
        return Ok((url, None));
    }
    let not_installed = match program.find_or_install() {
        Ok(installed) => {
            let begun = Instant::now();
            let (url, holding) = start_private(program, folder)?;
            let seconds = begun.elapsed().as_secs_f32();
            announce(&format!(
                "{program}: a private instance of {} at {url}, started in {seconds:.1} s",
                installed.path.display()
            ));
            return Ok((url, Some(holding)));
        }
        Err(error) => error,
    };
    let Some(engine) = container::find_engine() else {
        bail!("{not_installed:#}; nor does docker or podman answer, and {variable} is not set");
    };
    let (url, container) = start_container(program, &engine)?;
    announce(&format!("{program}: a container of {} at {url}, because {not_installed:#}", engine.display()));
    Ok((url, Some(Holding::Container(container))))
}

fn start_private(program: Program, folder: &Path) -> Result<(String, Holding)> {
    Ok(match program {
        Program::RabbitMq => {
            let rabbit = PrivateRabbit::start(folder)?;
            (rabbit.url(), Holding::Rabbit(rabbit))
        }
        Program::Redis => {
            let redis = PrivateRedis::start(folder)?;
            (redis.url(), Holding::Redis(redis))
        }
    })
}

fn start_container(program: Program, engine: &Path) -> Result<(String, Container)> {
    Ok(match program {
        Program::RabbitMq => {
            let container = Container::start(engine, rabbit::IMAGE, 5672, &[], rabbit::answers)?;
            (rabbit::url(container.port()), container)
        }
        Program::Redis => {
            let container = Container::start(engine, redis::IMAGE, 6379, &redis::call(), redis::answers)?;
            (redis::url(container.port()), container)
        }
    })
}

#[expect(clippy::print_stderr, reason = "which services a run used must be seen in its output")]
fn announce(text: &str) {
    eprintln!("services: {text}");
}
