//! Everything in one process on one SQLite file, beside a bare client that POSTs the same bodies.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

use crate::api::Api;
use crate::bare::Bare;
use crate::board::Board;
use crate::hookyard::{Hookyard, app_name};
use crate::process::{Process, Stream, peak_memory};
use crate::publisher::{Accepted, Publishers};
use crate::receiver::Receiver;
use crate::relay::READY;
use crate::report::{Bound, line, median, say, verdict};

/// Least deliveries per second at fan-out 5.
const DELIVERIES_LEAST: f64 = 5_000.0;
/// Least events accepted per second.
const ACCEPTED_LEAST: f64 = 3_000.0;
/// Endpoints per event while accepting and delivering at once.
const BUSY: usize = 5;
/// Publishers at once.
const PUBLISHERS: usize = 64;
/// How the backlog of a round of deliveries is published: fast, so that delivering is what takes the time.
const BATCH: usize = 100;
/// Connections it is published on.
const BATCHERS: usize = 4;
/// Without an arrival for this long, what is missing is lost.
const STALLED_AFTER: Duration = Duration::from_secs(20);

/// What is measured.
pub struct Plan<'a> {
    pub hookyard: &'a Path,
    pub fan_outs: &'a [usize],
    /// Deliveries per round.
    pub deliveries: usize,
    /// Rounds of each side.
    pub pairs: usize,
    /// Events accepted per round.
    pub accepted: usize,
}

struct Bench<'a> {
    receiver: Receiver,
    publishers: Publishers,
    plan: &'a Plan<'a>,
    rounds: u32,
}

/// Measures and prints.
pub async fn measure(folder: &Path, plan: &Plan<'_>) -> Result<()> {
    let (receiver, api) = (Receiver::start().await?, Api::new()?);
    let hookyard = Hookyard::embedded(plan.hookyard, folder);
    let role = hookyard.start_whole(&api).await?;
    let (base, token) = (role.api.clone().context("it has no API")?, hookyard.token().await?);
    let fan_outs: BTreeSet<usize> = plan.fan_outs.iter().copied().chain([0, BUSY]).collect();
    Hookyard::create_apps(&api, &base, &token, &receiver.url(), &fan_outs).await?;
    let address = base.trim_start_matches("http://").parse().context("an odd address")?;
    let publishers = Publishers { address, app: app_name(0), token, connections: PUBLISHERS, batch: 1 };
    // Numbers beyond those of the other rounds: events of one round are strays in another.
    let mut bench = Bench { receiver, publishers, plan, rounds: 5_000 };
    say("\none process on one SQLite file, beside a bare client that POSTs the same bodies");
    bench.warm().await?;
    let mut verdicts = Vec::new();
    for &endpoints in plan.fan_outs {
        let (mut yardstick, mut ours) = (Vec::new(), Vec::new());
        for pair in 1..=plan.pairs {
            yardstick
                .push(bench.bare(endpoints).await.with_context(|| format!("fan-out {endpoints}, pair {pair}, bare client"))?);
            ours.push(bench.deliver(endpoints).await.with_context(|| format!("fan-out {endpoints}, pair {pair}, Hookyard"))?);
        }
        line(&format!("embedded, fan-out {endpoints} (deliveries/s)"), &yardstick, &ours, |rate| *rate, 0);
        verdicts.push((endpoints, median(ours.into_iter())));
    }
    let alone = bench.accept(0).await.context("accepting for nobody")?;
    show_accepted("accepted, nobody subscribed", alone);
    let busy = bench.accept(BUSY).await.context("accepting while delivering")?;
    show_accepted(&format!("accepted while delivering at fan-out {BUSY}"), busy);
    let memory = peak_memory(role.process.id()?)?;
    say(&format!("peak resident memory of the one process: {memory:.0} MB"));
    for (endpoints, rate) in verdicts.into_iter().filter(|(endpoints, _)| *endpoints == 5) {
        verdict(&format!("embedded deliveries per second at fan-out {endpoints}"), rate, Bound::Least(DELIVERIES_LEAST));
    }
    verdict("embedded events accepted per second, 64 publishers", Some(alone.rate), Bound::Least(ACCEPTED_LEAST));
    role.process.stop().await
}

fn show_accepted(what: &str, accepted: Accepted) {
    let Accepted { rate, median, p99 } = accepted;
    say(&format!("{what}, 64 publishers: {rate:.0} events/s, p50 {median:.1} ms, p99 {p99:.1} ms"));
}

impl Bench<'_> {
    fn board(&mut self, events: usize, endpoints: usize) -> Arc<Board> {
        self.rounds += 1;
        let board = Arc::new(Board::new(self.rounds, events, endpoints));
        self.receiver.use_board(Arc::clone(&board));
        board
    }

    /// An unmeasured round.
    async fn warm(&mut self) -> Result<()> {
        let Some(&endpoints) = self.plan.fan_outs.first() else { return Ok(()) };
        let board = self.board(2_000, endpoints);
        self.batchers(endpoints).publish(board.round(), 2_000).await?;
        await_all(&board).await
    }

    fn batchers(&self, endpoints: usize) -> Publishers {
        Publishers { app: app_name(endpoints), connections: BATCHERS, batch: BATCH, ..self.publishers.clone() }
    }

    async fn bare(&mut self, endpoints: usize) -> Result<f64> {
        let events = self.plan.deliveries / endpoints;
        let board = self.board(events, endpoints);
        let bare = Bare { url: self.receiver.url(), endpoints, events, round: board.round() };
        let mut command = Command::new(std::env::current_exe().context("who are we?")?);
        command.args(["bare", "--url", &bare.url, "--endpoints", &endpoints.to_string()]);
        command.args(["--events", &events.to_string(), "--round", &bare.round.to_string()]);
        let ready = |line: &str| (line == READY).then_some(());
        let (mut process, ()) = Process::start("bare client", &mut command, Stream::Out, ready).await?;
        process.tell("go").await?;
        await_all(&board).await?;
        process.stop().await?;
        Ok(rate(&board))
    }

    /// From the first arrival to the last, with publishing on the way.
    async fn deliver(&mut self, endpoints: usize) -> Result<f64> {
        let events = self.plan.deliveries / endpoints;
        let board = self.board(events, endpoints);
        self.batchers(endpoints).publish(board.round(), events).await?;
        await_all(&board).await?;
        ensure!(board.repeated() == 0, "{} deliveries arrived twice", board.repeated());
        Ok(rate(&board))
    }

    async fn accept(&mut self, endpoints: usize) -> Result<Accepted> {
        let board = self.board(self.plan.accepted, endpoints.max(1));
        let publishers = Publishers { app: app_name(endpoints), ..self.publishers.clone() };
        let accepted = publishers.publish(board.round(), self.plan.accepted).await?;
        if endpoints > 0 {
            await_all(&board).await?;
        }
        Ok(accepted)
    }
}

fn rate(board: &Board) -> f64 {
    crate::throughput::number(board.expected()) / board.span().as_secs_f64()
}

async fn await_all(board: &Board) -> Result<()> {
    let (mut seen, mut since) = (0, Instant::now());
    while board.distinct() < board.expected() {
        if board.distinct() > seen {
            (seen, since) = (board.distinct(), Instant::now());
        }
        ensure!(since.elapsed() < STALLED_AFTER, "{} of {} deliveries arrived and no more", board.distinct(), board.expected());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
