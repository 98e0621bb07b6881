//! A process whose root task panicked, or ended before it was told to, is not ready, says why, and stops.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hookyard_core::step::{Step, Tripwire};
use hookyard_e2e::{Backend, World, eventually};
use hookyard_node::roles::Roles;
use hookyard_node::supervisor::ROOTS;
use hookyard_node::{Running, Seams};

on_both_backends! {
    every_root_task_that_panics_takes_its_process_with_it;
}

/// Notes which root tasks begin, and has one of them panic.
#[derive(Default)]
struct Failpoint {
    breaks: Option<&'static str>,
    begun: Mutex<BTreeSet<&'static str>>,
}

impl Tripwire for Failpoint {
    fn reached(&self, _: Step) {}

    fn root_begins(&self, name: &'static str) {
        self.begun.lock().expect("no holder panics").insert(name);
        assert!(self.breaks != Some(name), "the failpoint of {name}");
    }
}

async fn start(world: &World, failpoint: Arc<Failpoint>) -> Result<Running> {
    let seams = Seams { tripwire: failpoint, ..Seams::default() };
    hookyard_node::start(&world.config().judge()?, Roles::ALL, seams).await
}

async fn every_root_task_that_panics_takes_its_process_with_it(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let whole = Arc::new(Failpoint::default());
    let running = start(&world, Arc::clone(&whole)).await?;
    eventually("it is ready", || running.is_ready()).await?;
    running.drain().await;
    let begun = whole.begun.lock().expect("no holder panics").clone();
    ensure!(begun.iter().all(|name| ROOTS.contains(name)), "{begun:?}");
    ensure!(backend == Backend::Embedded || begun.len() == ROOTS.len(), "{begun:?}");
    for name in begun {
        let failpoint = Failpoint { breaks: Some(name), ..Failpoint::default() };
        let running = start(&world, Arc::new(failpoint)).await?;
        let fault = tokio::time::timeout(Duration::from_secs(20), running.failed()).await;
        let fault = fault.with_context(|| format!("{name} panicked, and the process goes on"))?;
        let told = format!("{name} panicked: the failpoint of {name}");
        ensure!(fault.chain().contains(&told), "{name}: {}", fault.chain());
        ensure!(!running.is_ready().await, "{name}: it counts as ready");
        let drained = tokio::time::timeout(Duration::from_secs(20), running.drain()).await;
        ensure!(drained.is_ok(), "{name}: the soft stop does not end");
    }
    Ok(())
}
