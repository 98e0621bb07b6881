//! How dispatchers add up: one, two and four processes with receivers that take their time.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::receiver::Manner;
use crate::report::{Bound, say, verdict};
use crate::throughput::number;
use crate::yard::{ENDPOINTS, Yard, whole};

const PROCESSES: [usize; 3] = [1, 2, 4];
/// What a receiver takes to answer.
const ANSWER: Duration = Duration::from_millis(50);
/// Requests in flight of one dispatcher: few, so that waiting and not the processor is what limits one.
const CONCURRENCY: &str = "48";
/// What the fast lane has of them over the time of an answer: more than that a dispatcher cannot do.
const BOUND_EACH: f64 = 48.0 * 0.75 / 0.05;
/// Until endpoints have earned their places.
const STARTING: Duration = Duration::from_secs(3);
const MEASURED: Duration = Duration::from_secs(8);
/// Least share of twice the rate that twice the processes give, while the processor is not the limit.
const SCALE_LEAST: f64 = 0.85;

/// Measures and prints.
pub async fn measure(folder: &Path, program: &Path) -> Result<()> {
    let mut yard = Yard::set_up(folder, program).await?;
    yard.receiver.behave(Some((ENDPOINTS, Manner::IsLate(ANSWER))));
    yard.hookyard.set("HOOKYARD_DELIVERY__CONCURRENCY", CONCURRENCY);
    yard.stop_dispatchers().await?;
    say(&format!("receivers answer after {} ms, {CONCURRENCY} requests in flight per dispatcher", ANSWER.as_millis()));
    let mut rates = Vec::new();
    for (round, processes) in (0..).zip(PROCESSES) {
        let events = whole(BOUND_EACH * number(processes) * (STARTING + MEASURED).as_secs_f64() * 1.5);
        let board = yard.board(400 + round, events);
        yard.publish(&board, events, None, |event| event % ENDPOINTS).await?;
        yard.start_dispatchers_of(processes).await?;
        tokio::time::sleep(STARTING).await;
        let (before, begun) = (delivered(&yard).await?, Instant::now());
        tokio::time::sleep(MEASURED).await;
        let rate = (delivered(&yard).await? - before) / begun.elapsed().as_secs_f64();
        ensure!(rate > 0.0, "nothing was delivered");
        say(&format!("{processes} dispatchers: {rate:.0} deliveries/s, {:.0} each", rate / number(processes)));
        rates.push(rate);
        yard.drain().await.context("what was left over")?;
        yard.stop_dispatchers().await?;
    }
    verdict("two dispatchers, times twice one", Some(rates[1] / (2.0 * rates[0])), Bound::Least(SCALE_LEAST));
    verdict("four dispatchers, times twice two", Some(rates[2] / (2.0 * rates[1])), Bound::Least(SCALE_LEAST));
    yard.end().await
}

async fn delivered(yard: &Yard) -> Result<f64> {
    let mut sum = 0.0;
    for dispatcher in &yard.dispatchers {
        sum += yard.api.counter(&dispatcher.ops, "hookyard_deliveries_completed_total").await?;
    }
    Ok(sum)
}
