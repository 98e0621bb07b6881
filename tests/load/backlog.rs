//! A backlog for one endpoint that died: how fast it leaves the queue, and what those on the other queue feel of it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::hookyard::Hookyard;
use crate::latency::percentile;
use crate::process::peak_memory;
use crate::receiver::Manner;
use crate::report::{Bound, say, verdict};
use crate::stage::{Services, Side, Stage};
use crate::throughput::{self, number};
use crate::yard::{ENDPOINTS, Yard, await_arrivals, whole};

/// Least share of the rate at which the bare relay delivers.
const RATE_LEAST: f64 = 0.7;
/// Most times the p99 of the others without the backlog.
const RATIO_MOST: f64 = 1.5;
/// Most memory more than after a tenth of it, in parts.
const MEMORY_MOST: f64 = 1.25;
/// Events per second for the others.
const OTHERS_RATE: f64 = 200.0;
/// Seconds of them without the backlog: over fewer, one hiccup of the machine is the 99th percentile.
const OTHERS_SECONDS: f64 = 60.0;
/// Seconds that are not counted.
const STARTING: f64 = 3.0;
/// Deliveries of the relay, for its rate.
const RELAYED: usize = 30_000;
/// The endpoint that died.
const DEAD: usize = 0;
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Without one leaving for this long, none does.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// Measures and prints.
pub async fn measure(folder: &Path, program: &Path, deliveries: usize) -> Result<()> {
    let relay = relay_rate(&folder.join("relay"), program).await.context("the relay")?;
    let mut yard = Yard::set_up(&folder.join("yard"), program).await?;
    let (dead, others) = shards(&mut yard).await?;
    let calm = p99_of(&yard, 100, &others, OTHERS_SECONDS).await?;
    // Those it has in hand when it opens are not the backlog.
    yard.stop_dispatchers().await?;
    let board = yard.board(200, deliveries);
    yard.publish(&board, deliveries, None, |_| DEAD).await?;
    let full = await_depth(&yard, dead, deliveries).await?;
    say(&format!("{full} deliveries wait for one endpoint, on queue {dead}; {} others are on the other", others.len()));

    yard.receiver.behave(Some((DEAD + 1, Manner::Fails)));
    yard.start_dispatchers().await?;
    let begun = Instant::now();
    let seconds = number(deliveries) / (relay * RATE_LEAST);
    let (leaving, busy) = tokio::join!(leave(&yard, dead, deliveries), p99_of(&yard, 300, &others, seconds));
    let ((left_at, early_memory), busy) = (leaving?, busy?);
    let rate = number(deliveries) / left_at.duration_since(begun).as_secs_f64();
    let (memory, mut moves) = (memory(&yard)?, 0.0);
    for dispatcher in &yard.dispatchers {
        moves += yard.api.counter(&dispatcher.ops, "hookyard_amqp_publishes_total").await?;
    }
    say(&format!("it leaves at {rate:.0}/s, the bare relay delivers {relay:.0}/s"));
    say(&format!("publishes by the dispatchers until the queue was empty: {:.2} per delivery", moves / number(deliveries)));
    say(&format!("a dispatcher's memory: {early_memory:.0} MB after a tenth, {memory:.0} MB at the end"));
    say(&format!("p99 of the others: {calm:.1} ms without it, {busy:.1} ms while it leaves"));
    verdict("rate at which a backlog leaves, times the relay's", Some(rate / relay), Bound::Least(RATE_LEAST));
    verdict("p99 of those on the other queue, times that without", Some(busy / calm), Bound::Most(RATIO_MOST));
    verdict("memory at the end, times that after a tenth", Some(memory / early_memory), Bound::Most(MEMORY_MOST));
    yard.end().await
}

async fn relay_rate(folder: &Path, program: &Path) -> Result<f64> {
    let folder = folder.to_owned();
    let services = tokio::task::spawn_blocking(move || Services::start(&folder)).await??;
    let mut stage = Stage::set_up(&services, program, &[1].into()).await?;
    throughput::play(&mut stage, Side::Relay, RELAYED / 10, 1).await?;
    Ok(throughput::play(&mut stage, Side::Relay, RELAYED, 1).await?.rate)
}

/// The queue of the endpoint that will die, and the endpoints of the other: found by sending one event to each while nobody
/// delivers.
async fn shards(yard: &mut Yard) -> Result<(usize, Vec<usize>)> {
    yard.stop_dispatchers().await?;
    let mut queues = Vec::new();
    let mut before = Hookyard::dispatch_depths(&yard.broker).await?;
    for endpoint in 0..ENDPOINTS {
        let board = yard.board(1_000 + u32::try_from(endpoint)?, 1);
        yard.publish(&board, 1, None, |_| endpoint).await?;
        let since = Instant::now();
        loop {
            let now = Hookyard::dispatch_depths(&yard.broker).await?;
            if let Some(queue) = (0..now.len()).find(|queue| now[*queue] > before[*queue]) {
                before = now;
                queues.push(queue);
                break;
            }
            ensure!(since.elapsed() < STALLED_AFTER, "an event was not routed");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    yard.start_dispatchers().await?;
    while Hookyard::dispatch_depths(&yard.broker).await? != [0, 0] {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let others: Vec<usize> = (0..ENDPOINTS).filter(|endpoint| queues[*endpoint] != queues[DEAD]).collect();
    ensure!(!others.is_empty(), "all endpoints are on one queue");
    Ok((queues[DEAD], others))
}

/// How long events to these endpoints take at a gentle rate, at the 99th percentile, in ms.
async fn p99_of(yard: &Yard, round: u32, endpoints: &[usize], seconds: f64) -> Result<f64> {
    let events = whole(OTHERS_RATE * seconds.max(OTHERS_SECONDS));
    let board = yard.board(round, events);
    let sent = yard.publish(&board, events, Some(OTHERS_RATE), |event| endpoints[event % endpoints.len()]).await?;
    await_arrivals(&board, events).await?;
    // Dispatchers that just started are neither's doing.
    let took = sent.iter().enumerate().skip(whole(OTHERS_RATE * STARTING)).map(|(event, sent)| {
        let arrival = board.arrival(event).context("an event did not arrive")?;
        Ok(arrival.saturating_duration_since(*sent).as_secs_f64() * 1e3)
    });
    let mut took = took.collect::<Result<Vec<f64>>>()?;
    took.sort_by(f64::total_cmp);
    Ok(percentile(&took, 99))
}

async fn await_depth(yard: &Yard, queue: usize, wanted: usize) -> Result<u32> {
    let (mut seen, mut since) = (0, Instant::now());
    loop {
        let depth = Hookyard::dispatch_depths(&yard.broker).await?[queue];
        if usize::try_from(depth)? >= wanted {
            return Ok(depth);
        }
        if depth > seen {
            (seen, since) = (depth, Instant::now());
        }
        ensure!(since.elapsed() < STALLED_AFTER, "{depth} of {wanted} were routed and no more");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until the queue is empty: when that was, and the memory after a tenth had left.
async fn leave(yard: &Yard, queue: usize, deliveries: usize) -> Result<(Instant, f64)> {
    let (mut least, mut since, mut early) = (u32::MAX, Instant::now(), None);
    loop {
        let depth = Hookyard::dispatch_depths(&yard.broker).await?[queue];
        if depth == 0 {
            return Ok((Instant::now(), early.unwrap_or(memory(yard)?)));
        }
        if depth < least {
            (least, since) = (depth, Instant::now());
        }
        if early.is_none() && usize::try_from(depth)? < deliveries / 10 * 9 {
            early = Some(memory(yard)?);
        }
        ensure!(since.elapsed() < STALLED_AFTER, "{depth} of {deliveries} are left and none leaves");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn memory(yard: &Yard) -> Result<f64> {
    let each = yard.dispatchers.iter().map(|role| peak_memory(role.process.id()?)).collect::<Result<Vec<f64>>>()?;
    Ok(each.into_iter().fold(0.0, f64::max))
}
