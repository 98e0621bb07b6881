//! What every round is played on: the private services, the receiver, and the two sides.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use hookyard_e2e::services::{PrivateRabbit, PrivateRedis};
use tokio::process::Command;

use crate::api::Api;
use crate::broker::{Broker, Door};
use crate::event;
use crate::hookyard::{Hookyard, Places, Role};
use crate::process::{Process, Stream};
use crate::receiver::Receiver;
use crate::redis_info::Info;
use crate::relay;

/// The queues of the bare relay.
const RELAY_QUEUES: [&str; 2] = ["relay.in", "relay.out"];

/// Who delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Side {
    Relay,
    Hookyard,
}

/// The private services, which end with this value.
pub struct Services {
    pub rabbit: PrivateRabbit,
    pub directory: PrivateRedis,
    pub journal: PrivateRedis,
    /// Process number of the broker.
    pub broker_id: u32,
    pub broker_version: String,
}

impl Services {
    /// Starts all three with their data in `folder`. Blocks for some seconds.
    pub fn start(folder: &Path) -> Result<Self> {
        let directory = PrivateRedis::start(&folder.join("directory"))?;
        let journal = PrivateRedis::start(&folder.join("journal"))?;
        let rabbit = PrivateRabbit::start(&folder.join("rabbitmq"))?;
        let id = fs::read_to_string(folder.join("rabbitmq/broker.pid")).context("the broker has not said its number")?;
        let broker_id = id.trim().parse().context("the broker's number is odd")?;
        let broker_version = rabbit.ctl(&["version"])?.trim().to_owned();
        Ok(Self { rabbit, directory, journal, broker_id, broker_version })
    }
}

/// The stage.
pub struct Stage {
    pub broker: Broker,
    pub broker_id: u32,
    /// Ports of the two Redis servers: directory and journal.
    pub redis_ports: [u16; 2],
    /// Their process numbers.
    pub redis_ids: [u32; 2],
    pub receiver: Receiver,
    pub api: Api,
    pub hookyard: Hookyard,
    amqp: String,
    rounds: u32,
}

/// The processes of a side at work.
pub struct Running {
    pub processes: Vec<Process>,
    /// Operators' listeners of router and dispatcher.
    pub ops: Option<[String; 2]>,
}

/// A side whose delivering half waits for the other.
pub enum Prepared {
    Relay(Process),
    Hookyard(Role),
}

impl Stage {
    /// Sets it up, with applications for these fan-outs.
    pub async fn set_up(services: &Services, hookyard: &Path, fan_outs: &BTreeSet<usize>) -> Result<Self> {
        let amqp = services.rabbit.url();
        let (receiver, api) = (Receiver::start().await?, Api::new()?);
        let (directory, journal) = (services.directory.url(), services.journal.url());
        let places = Places { amqp: &amqp, directory: &directory, journal: &journal };
        let hookyard = Hookyard::install(hookyard, &places, &api, &receiver.url(), fan_outs).await?;
        let broker = Broker::connect(&amqp).await?;
        let redis_ports = [services.directory.port(), services.journal.port()];
        let redis_ids = [Info::ask(redis_ports[0]).await?.process()?, Info::ask(redis_ports[1]).await?.process()?];
        Ok(Self { broker, broker_id: services.broker_id, redis_ports, redis_ids, receiver, api, hookyard, amqp, rounds: 0 })
    }

    /// The next round's number.
    pub fn next_round(&mut self) -> u32 {
        self.rounds += 1;
        self.rounds
    }

    /// Makes a side's queues, and says where events for it are published.
    pub async fn open(&self, side: Side, endpoints: usize) -> Result<Door> {
        match side {
            Side::Hookyard => Ok(Hookyard::door(endpoints)),
            Side::Relay => {
                for queue in RELAY_QUEUES {
                    self.broker.declare(queue).await?;
                }
                Ok(Door {
                    exchange: String::new(),
                    routing_key: RELAY_QUEUES[0].to_owned(),
                    app: None,
                    event_type: event::TYPE.to_owned(),
                })
            }
        }
    }

    /// Starts the half of a side that POSTs: it is ready, and has nothing to do.
    pub async fn prepare(&self, side: Side, endpoints: usize) -> Result<Prepared> {
        match side {
            Side::Hookyard => Ok(Prepared::Hookyard(self.hookyard.start("dispatcher", &self.api).await?)),
            Side::Relay => {
                let mut command = Command::new(std::env::current_exe().context("who are we?")?);
                command.args(["relay", "--amqp", &self.amqp, "--from", RELAY_QUEUES[0], "--to", RELAY_QUEUES[1]]);
                command.args(["--url", &self.receiver.url(), "--endpoints", &endpoints.to_string()]);
                let ready = |line: &str| (line == relay::READY).then_some(());
                let (process, ()) = Process::start("relay", &mut command, Stream::Out, ready).await?;
                Ok(Prepared::Relay(process))
            }
        }
    }

    /// Starts the half that feeds it.
    pub async fn go(&self, prepared: Prepared) -> Result<Running> {
        match prepared {
            Prepared::Relay(mut process) => {
                process.tell("go").await?;
                Ok(Running { processes: vec![process], ops: None })
            }
            Prepared::Hookyard(dispatcher) => {
                let router = self.hookyard.start("router", &self.api).await?;
                let ops = Some([router.ops, dispatcher.ops]);
                Ok(Running { processes: vec![router.process, dispatcher.process], ops })
            }
        }
    }

    /// Ends a side and removes what is left in its queues; anything left in Hookyard's is an error.
    pub async fn close(&self, running: Running) -> Result<()> {
        let hookyard = running.ops.is_some();
        for process in running.processes {
            process.stop().await?;
        }
        if hookyard {
            let left = Hookyard::left_over(&self.broker).await?;
            ensure!(left.is_empty(), "everything has arrived, and yet there is something in {left:?}");
        } else {
            for queue in RELAY_QUEUES {
                self.broker.delete(queue).await?;
            }
        }
        Ok(())
    }
}

impl Prepared {
    /// Its process number.
    pub fn id(&self) -> Result<u32> {
        match self {
            Self::Relay(process) => process.id(),
            Self::Hookyard(role) => role.process.id(),
        }
    }
}

impl Running {
    /// An error if a process has ended.
    pub fn check(&mut self) -> Result<()> {
        self.processes.iter_mut().try_for_each(Process::check)
    }
}
