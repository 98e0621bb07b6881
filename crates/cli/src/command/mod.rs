//! The commands, one file each.

mod bench;
mod completion;
mod config;
mod dataset;
mod dead_letter;
mod demo;
mod doctor;
mod event;
mod event_type;
mod listen;
mod log;
mod resource;
mod run;
mod secret_key;
mod token;
mod topology;

use anyhow::Context as _;
use clap::Subcommand;
use hookyard_node::load::Layers;
use hookyard_node::{Config, Settings};

use crate::output::{Format, print};

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Run one or more roles until told to stop.
    Run(run::Run),
    /// Start everything with receivers that answer well, badly or not at all, publish events, and check what comes of them.
    Demo(demo::Demo),
    /// Publish as fast as events are accepted, and say how fast they arrived.
    Bench(bench::Bench),
    /// What is configured, and whether it is right.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Look at configuration, broker, store, clocks and ports, and say what is wrong and what to do.
    Doctor(doctor::Doctor),
    /// Exchanges, queues and bindings in the broker.
    #[command(subcommand)]
    Topology(topology::Topology),
    /// Which dataset store and broker belong to.
    #[command(subcommand)]
    Dataset(dataset::Dataset),
    /// Tokens for the API.
    #[command(subcommand)]
    Token(token::Token),
    /// Keys that seal secrets at rest.
    #[command(subcommand)]
    SecretKey(secret_key::SecretKey),
    /// Applications.
    #[command(subcommand)]
    App(resource::App),
    /// Endpoints.
    #[command(subcommand)]
    Endpoint(resource::Endpoint),
    /// Event types: the catalog.
    #[command(subcommand)]
    EventType(event_type::EventTypeCommand),
    /// Events.
    #[command(subcommand)]
    Event(event::Event),
    /// What was sent, and what receivers answered.
    Log(log::Log),
    /// What will not be tried again on its own.
    #[command(subcommand)]
    DeadLetter(dead_letter::DeadLetter),
    /// What intake refused over AMQP, or could not be handled.
    #[command(subcommand)]
    Rejected(dead_letter::Rejected),
    /// Receive webhooks here, verify and print them.
    Listen(listen::Listen),
    /// Print the description of the HTTP API (OpenAPI 3.1).
    Openapi,
    /// Print what makes a shell complete these commands.
    Completion(completion::Completion),
}

impl Command {
    /// Does it.
    pub async fn run(self, config: Layers<'_>, format: Option<Format>) -> anyhow::Result<()> {
        match self {
            Self::Run(command) => command.run(Config::load(config)?).await,
            Self::Demo(command) => command.run(Config::load(config)?).await,
            Self::Bench(command) => command.run(Config::load(config)?, format).await,
            Self::Config(command) => command.run(config, format),
            Self::Doctor(command) => command.run(config, format).await,
            Self::Topology(command) if command.is_offline() => {
                topology::Topology::print(&Config::load(config)?);
                Ok(())
            }
            Self::Topology(command) => command.run(&judged(config)?).await,
            Self::Dataset(command) => command.run(&judged(config)?, format).await,
            Self::Token(command) => command.run(&Config::load(config)?),
            Self::SecretKey(command) => {
                command.run();
                Ok(())
            }
            Self::App(command) => command.run(format).await,
            Self::Endpoint(command) => command.run(format).await,
            Self::EventType(command) => command.run(format).await,
            Self::Event(command) => command.run(format).await,
            Self::Log(command) => command.run(format).await,
            Self::DeadLetter(command) => command.run(format).await,
            Self::Rejected(command) => command.run(format).await,
            Self::Listen(command) => command.run().await,
            Self::Openapi => {
                print(hookyard_node::openapi::document().trim_end());
                Ok(())
            }
            Self::Completion(command) => {
                command.run();
                Ok(())
            }
        }
    }
}

fn judged(config: Layers<'_>) -> anyhow::Result<Settings> {
    let config = Config::load(config)?;
    hookyard_telemetry::logs::begin(&config.log);
    config.judge().context("the configuration is wrong")
}
