//! `hookyard`: webhook delivery that never loses an event.

mod bench;
mod client;
mod command;
mod demo;
mod node;
mod output;
mod receiver;
mod traces;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use hookyard_node::load::Layers;

use crate::command::Command;
use crate::output::{Format, talk};

/// Half of the work is small allocations of headers and messages, which this allocator is good at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Webhook delivery that never loses an event.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage.
#[derive(Parser)]
#[command(version, propagate_version = true)]
pub struct Arguments {
    /// Configuration file (TOML); the environment (HOOKYARD_…) goes over it.
    #[arg(long, global = true, env = "HOOKYARD_CONFIG")]
    config: Option<PathBuf>,
    /// A key of the configuration and its value: --set delivery.timeout=5s. Goes over environment and file.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// How answers are printed: a table on a terminal, JSON otherwise.
    #[arg(long, global = true, value_enum)]
    output: Option<Format>,
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    hookyard_node::install_crypto();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers()).enable_all().build();
    let layers = Layers { file: arguments.config.as_deref(), flags: &arguments.set };
    let done = runtime.map_err(Into::into).and_then(|runtime| {
        let done = runtime.block_on(arguments.command.run(layers, arguments.output));
        runtime.shutdown_background();
        done
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            talk(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// One fewer than there are cores: the connections to the broker have threads of their own, and on two cores a second worker costs
/// more in switches between threads than it brings (measured: a sixth of the throughput).
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1))
}
