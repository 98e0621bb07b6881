//! Hookyard beside a bare relay, in one run on one broker: throughput, latency at idle, memory, CPU, and commands at Redis.
//!
//! `docs/benchmarks.md` says how to read what it prints.

#![expect(clippy::disallowed_methods, reason = "a measurement starts what it likes: what panics fails it")]

mod accept;
mod api;
mod backlog;
mod bare;
mod board;
mod broker;
mod embedded;
mod event;
mod hookyard;
mod isolation;
mod latency;
mod lists;
mod machine;
mod process;
mod publisher;
mod receiver;
mod redis_info;
mod relay;
mod report;
mod routing;
mod scale;
mod stage;
mod throughput;
mod yard;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::bare::Bare;
use crate::relay::Relay;
use crate::report::{Report, say};
use crate::stage::{Services, Side, Stage};

/// The same as the executable's: the yardstick shall not be shorter for want of it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Hookyard beside a bare relay and prints ratios. Exits 0 unless the run itself breaks, which includes losing a delivery.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    plan: Plan,
}

#[derive(Debug, Subcommand)]
enum Command {
    Relay(Relay),
    Bare(Bare),
}

/// What is measured, and how long.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// The executable to measure.
    #[arg(long, default_value = "target/release/hookyard")]
    hookyard: PathBuf,
    /// A small version, in under a minute: for seeing that it works, not for numbers to quote.
    #[arg(long)]
    short: bool,
    /// Deliveries per round of throughput.
    #[arg(long)]
    deliveries: Option<usize>,
    /// Pairs of rounds, relay and Hookyard in turn, per measurement.
    #[arg(long)]
    pairs: Option<usize>,
    /// Endpoints per event, one measurement each.
    #[arg(long, value_delimiter = ',', default_value = "1,5")]
    fan_outs: Vec<usize>,
    /// Measure only one side, for looking at it with a profiler; there are no ratios then.
    #[arg(long, value_enum)]
    only: Option<Side>,
    /// Measure only the embedded mode.
    #[arg(long, conflicts_with = "only")]
    embedded: bool,
    /// Measure only what neighbours that misbehave cost the others.
    #[arg(long, conflicts_with_all = ["only", "embedded"])]
    isolation: bool,
    /// Of those neighbours, only scenes whose names contain this, beside the calm ones.
    #[arg(long, requires = "isolation")]
    scene: Option<String>,
    /// How long each scene takes.
    #[arg(long, requires = "isolation")]
    seconds: Option<f64>,
    /// Measure only how a backlog of so many deliveries for one dead endpoint leaves the queue, and what that costs the others.
    #[arg(long, value_name = "DELIVERIES", conflicts_with_all = ["only", "embedded", "isolation"])]
    backlog: Option<usize>,
    /// Measure only this part.
    #[arg(long, value_enum, conflicts_with_all = ["only", "embedded", "isolation", "backlog"])]
    part: Option<Part>,
    /// Measure only the lists of journals filled with so many messages, and what those take.
    #[arg(long, value_name = "MESSAGES", conflicts_with_all = ["only", "embedded"])]
    lists: Option<usize>,
}

/// What can be measured without the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// What routing one event costs, by how many endpoints there are.
    Routing,
    /// How dispatchers add up.
    Scale,
}

/// Deliveries of an unmeasured first round per side: the broker compiles and allocates as it goes.
const WARMING: usize = 2_000;

impl Plan {
    fn deliveries(&self) -> usize {
        self.deliveries.unwrap_or(if self.short { 10_000 } else { 60_000 })
    }

    fn pairs(&self) -> usize {
        self.pairs.unwrap_or(if self.short { 1 } else { 3 })
    }

    fn latency_events(&self) -> usize {
        if self.short { 100 } else { 400 }
    }

    fn sides(&self) -> Vec<Side> {
        self.only.map_or_else(|| vec![Side::Relay, Side::Hookyard], |side| vec![side])
    }
}

fn main() -> ExitCode {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        say("a provider of cryptography was already installed");
    }
    match serve(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("BROKEN: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: Arguments) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = match arguments.command {
        Some(Command::Relay(relay)) => runtime.block_on(relay.run()),
        Some(Command::Bare(bare)) => runtime.block_on(bare.run()),
        None => {
            let folder = tempfile::Builder::new().prefix("hookyard-bench-").tempdir().context("no temporary folder")?;
            let plan = &arguments.plan;
            let services = if plan.embedded || plan.isolation || plan.part.is_some() || plan.backlog.is_some() {
                None
            } else {
                Some(Services::start(folder.path())?)
            };
            // Dropped on any signal, and with it every process that was started.
            runtime.block_on(async {
                tokio::select! {
                    done = measure_all(services.as_ref(), folder.path(), plan) => done,
                    stopped = signalled() => stopped,
                }
            })
        }
    };
    runtime.shutdown_background();
    done
}

async fn signalled() -> Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => bail!("stopped"),
        _ = interrupt.recv() => bail!("stopped"),
    }
}

async fn measure_all(services: Option<&Services>, folder: &Path, plan: &Plan) -> Result<()> {
    if let Some(deliveries) = plan.backlog {
        return backlog::measure(folder, &plan.hookyard, deliveries).await;
    }
    match plan.part {
        Some(Part::Routing) => return routing::measure(),
        Some(Part::Scale) => return scale::measure(folder, &plan.hookyard).await,
        None => {}
    }
    if plan.isolation {
        let program = isolation::Program { short: plan.short, seconds: plan.seconds, scene: plan.scene.clone() };
        return isolation::measure(folder, &plan.hookyard, &program).await;
    }
    if let (Some(messages), Some(services)) = (plan.lists, services) {
        return lists::measure(services, folder, &plan.hookyard, messages).await;
    }
    if let Some(services) = services {
        measure(services, plan).await?;
    }
    if plan.only.is_some() {
        return Ok(());
    }
    let accepted = if plan.short { 5_000 } else { 30_000 };
    let (fan_outs, deliveries, pairs) = (&plan.fan_outs[..], plan.deliveries(), plan.pairs());
    let embedded = embedded::Plan { hookyard: &plan.hookyard, fan_outs, deliveries, pairs, accepted };
    embedded::measure(folder, &embedded).await
}

async fn measure(services: &Services, plan: &Plan) -> Result<()> {
    // Latency is measured with one endpoint, whatever the fan-outs.
    let fan_outs: BTreeSet<usize> = plan.fan_outs.iter().copied().chain([0, 1]).collect();
    let mut stage = Stage::set_up(services, &plan.hookyard, &fan_outs).await?;
    let versions = [
        stage.hookyard.version().await?,
        format!("RabbitMQ {}", services.broker_version),
        format!("Redis {} (two: directory, journal)", redis_info::Info::ask(stage.redis_ports[0]).await?.version()),
    ];
    say(&format!("machine   {}, load {}", machine::describe(), machine::load()));
    say(&format!("versions  {}", versions.join(", ")));
    say(&format!(
        "plan      fan-outs {:?}, {} deliveries of {} bytes per round, {} pairs; at idle {} events",
        plan.fan_outs,
        plan.deliveries(),
        event::BYTES,
        plan.pairs(),
        plan.latency_events(),
    ));
    let mut report = Report::default();
    if let Some(&endpoints) = plan.fan_outs.first() {
        for side in plan.sides() {
            throughput::play(&mut stage, side, WARMING / endpoints, endpoints).await.context("warming up")?;
        }
    }
    for &endpoints in &plan.fan_outs {
        for pair in 1..=plan.pairs() {
            for side in plan.sides() {
                let what = format!("fan-out {endpoints}, pair {pair}, {side:?}");
                let events = plan.deliveries() / endpoints;
                let round = throughput::play(&mut stage, side, events, endpoints).await.context(what.clone())?;
                say(&format!("  {what}: {:.0} deliveries/s", round.rate));
                report.add_throughput(endpoints, side, round);
            }
        }
    }
    for pair in 1..=plan.pairs() {
        for side in plan.sides() {
            let what = format!("idle, pair {pair}, {side:?}");
            let round = latency::play(&mut stage, side, plan.latency_events()).await.context(what.clone())?;
            say(&format!("  {what}: p50 {:.2} ms, p99 {:.2} ms", round.median, round.p99));
            report.add_latency(side, round);
        }
    }
    report.print();
    if plan.only.is_some() {
        return Ok(());
    }
    accept::measure(&stage, if plan.short { 5_000 } else { 60_000 }).await.context("accepting over HTTP")
}
