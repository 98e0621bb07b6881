//! Runs roles from the environment's configuration, and kills itself at a step: `roles-under-test router --trip=EventRouted:3`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use hookyard_core::step::{Step, Tripwire};
use hookyard_node::load::Layers;
use hookyard_node::{Config, Role, Roles, Seams, local};
use tokio::signal::unix::{SignalKind, signal};

/// Ends the process like a kill -9 would: nothing is flushed, nothing is dropped.
struct Trip {
    step: Step,
    left: AtomicU32,
}

impl Tripwire for Trip {
    fn reached(&self, step: Step) {
        if step == self.step && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            std::process::abort();
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let (mut roles, mut seams) = (Vec::new(), Seams::default());
    for argument in std::env::args().skip(1) {
        match argument.strip_prefix("--trip=") {
            None => roles.push(argument.parse::<Role>().map_err(anyhow::Error::msg)?),
            Some(trip) => {
                let (name, count) = trip.split_once(':').context("--trip=STEP:COUNT")?;
                let step = Step::ALL.into_iter().find(|step| format!("{step:?}") == name).context("no such step")?;
                seams.tripwire = Arc::new(Trip { step, left: AtomicU32::new(count.parse()?) });
            }
        }
    }
    let mut config = Config::load(Layers::default())?;
    local::create(&mut config, &*seams.entropy)?;
    let running = hookyard_node::start(&config.judge()?, Roles::of(&roles), seams).await?;
    signal(SignalKind::terminate())?.recv().await;
    running.drain().await;
    Ok(())
}
