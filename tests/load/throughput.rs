//! One round of throughput: a backlog, and the time from its first arrival to its last.

use std::collections::BTreeMap;
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::board::Board;
use crate::process::{cpu_seconds, peak_memory};
use crate::redis_info::Info;
use crate::stage::{Running, Side, Stage};

/// How often the board is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Without an arrival for this long, what is missing is lost.
const STALLED_AFTER: Duration = Duration::from_secs(20);
/// Longest round.
const ROUND_MOST: Duration = Duration::from_secs(600);
/// From the last arrival until records, marks and acks are through.
const SETTLING: Duration = Duration::from_millis(500);
/// CPU and the like are given per this many deliveries.
pub const PER: f64 = 10_000.0;

/// What one round showed.
#[derive(Clone, Debug)]
pub struct Throughput {
    /// Deliveries per second.
    pub rate: f64,
    /// Arrivals of what had arrived before.
    pub repeated: usize,
    /// Connections the receiver accepted.
    pub connections: usize,
    /// Seconds of CPU per [`PER`] deliveries, by process.
    pub cpu: Vec<(&'static str, f64)>,
    /// Peak resident memory in MB, by process of the side.
    pub memory: Vec<(&'static str, f64)>,
    /// What went to Redis.
    pub redis: Option<RedisUse>,
}

/// Commands at Redis in a round.
#[derive(Clone, Debug)]
pub struct RedisUse {
    /// Sent by the router, per event, by operation.
    pub router: BTreeMap<String, f64>,
    /// Sent by the dispatcher, per delivery, by operation.
    pub dispatcher: BTreeMap<String, f64>,
    /// Run by the servers of directory and journal, per event with all its deliveries.
    pub servers: [ServerUse; 2],
}

/// Commands that one server ran, those inside scripts included.
#[derive(Clone, Debug)]
pub struct ServerUse {
    pub all: f64,
    pub by_command: BTreeMap<String, f64>,
}

/// What counts up, at one moment.
struct Counts {
    cpu: Vec<(&'static str, u32, f64)>,
    redis: [Info; 2],
}

/// Plays one round.
pub async fn play(stage: &mut Stage, side: Side, events: usize, endpoints: usize) -> Result<Throughput> {
    let round = stage.next_round();
    let door = stage.open(side, endpoints).await?;
    let board = Arc::new(Board::new(round, events, endpoints));
    stage.receiver.use_board(Arc::clone(&board));
    stage.broker.publish_all(&door, round, events).await?;
    let prepared = stage.prepare(side, endpoints).await?;
    let before = count(stage, &[("delivering half", prepared.id()?)]).await?;
    let mut running = stage.go(prepared).await?;
    await_all(stage, &mut running, &board).await?;
    let processes = ids(&running)?;
    let cpu_after = count(stage, &processes).await?;
    let memory = processes.iter().map(|(name, id)| Ok((*name, peak_memory(*id)?))).collect::<Result<_>>()?;
    tokio::time::sleep(SETTLING).await;
    let redis = match &running.ops {
        Some(ops) => Some(redis_use(stage, ops, &before.redis, events, endpoints).await?),
        None => None,
    };
    stage.close(running).await?;
    let strays = stage.receiver.strays();
    ensure!(strays == 0, "{strays} requests arrived that belong to no delivery of this round");
    Ok(Throughput {
        rate: number(board.expected()) / board.span().as_secs_f64(),
        repeated: board.repeated(),
        connections: stage.receiver.connections(),
        cpu: used(&before, &cpu_after, board.expected()),
        memory,
        redis,
    })
}

fn ids(running: &Running) -> Result<Vec<(&'static str, u32)>> {
    running.processes.iter().map(|process| Ok((process.name(), process.id()?))).collect()
}

async fn await_all(stage: &Stage, running: &mut Running, board: &Board) -> Result<()> {
    let begun = Instant::now();
    let (mut seen, mut since) = (0, begun);
    loop {
        let distinct = board.distinct();
        if distinct == board.expected() {
            return Ok(());
        }
        if distinct > seen {
            (seen, since) = (distinct, Instant::now());
        }
        running.check()?;
        let (round, expected, strays) = (board.round(), board.expected(), stage.receiver.strays());
        ensure!(
            since.elapsed() < STALLED_AFTER && begun.elapsed() < ROUND_MOST,
            "round {round}: {distinct} of {expected} deliveries arrived and no more ({strays} strays)"
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn count(stage: &Stage, processes: &[(&'static str, u32)]) -> Result<Counts> {
    let [directory, journal] = stage.redis_ids;
    let others = [("broker", stage.broker_id), ("redis directory", directory), ("redis journal", journal)];
    let all = processes.iter().copied().chain(others).chain([("receiver", process::id())]);
    let cpu = all.map(|(name, id)| Ok((name, id, cpu_seconds(id)?))).collect::<Result<_>>()?;
    let redis = [Info::ask(stage.redis_ports[0]).await?, Info::ask(stage.redis_ports[1]).await?];
    Ok(Counts { cpu, redis })
}

/// A process that was not there before has used none.
fn used(before: &Counts, after: &Counts, deliveries: usize) -> Vec<(&'static str, f64)> {
    let at_start = |id: u32| before.cpu.iter().find(|(_, other, _)| *other == id).map_or(0.0, |(_, _, seconds)| *seconds);
    after.cpu.iter().map(|(name, id, seconds)| (*name, (seconds - at_start(*id)) * PER / number(deliveries))).collect()
}

async fn redis_use(stage: &Stage, ops: &[String; 2], before: &[Info; 2], events: usize, endpoints: usize) -> Result<RedisUse> {
    let (per_event, per_delivery) = (number(events), number(events * endpoints));
    let share = |commands: BTreeMap<String, f64>, per: f64| commands.into_iter().map(|(op, count)| (op, count / per)).collect();
    let mut servers = Vec::new();
    for (port, before) in stage.redis_ports.iter().zip(before) {
        let after = Info::ask(*port).await?;
        let calls = before.calls();
        let delta = |(name, count): (String, f64)| {
            let more = (count - calls.get(&name).copied().unwrap_or(0.0)) / per_event;
            (name, more)
        };
        let by_command = after.calls().into_iter().map(delta).collect();
        servers.push(ServerUse { all: (after.commands()? - before.commands()?) / per_event, by_command });
    }
    let servers = servers.try_into().map_err(|_| anyhow::anyhow!("two servers"))?;
    Ok(RedisUse {
        router: share(stage.api.redis_commands(&ops[0]).await?, per_event),
        dispatcher: share(stage.api.redis_commands(&ops[1]).await?, per_delivery),
        servers,
    })
}

/// A count as a number to divide by.
pub fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
