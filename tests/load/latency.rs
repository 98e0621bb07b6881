//! One round at idle: an event at a time, and how long each takes from its publish to its arrival.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::board::Board;
use crate::broker::Door;
use crate::stage::{Side, Stage};

/// From one event to the next: long enough that each finds everything at rest.
const PAUSE: Duration = Duration::from_millis(20);
/// Events that are not counted: connections and caches are made on the first.
const WARMING: usize = 25;
/// Time for the first event, and for the last, to arrive.
const PATIENCE: Duration = Duration::from_secs(20);

/// What one round showed, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    pub median: f64,
    pub p99: f64,
}

/// Plays one round with `events` counted events and one endpoint.
pub async fn play(stage: &mut Stage, side: Side, events: usize) -> Result<Latency> {
    let round = stage.next_round();
    let door = stage.open(side, 1).await?;
    let board = Arc::new(Board::new(round, WARMING + events, 1));
    stage.receiver.use_board(Arc::clone(&board));
    let prepared = stage.prepare(side, 1).await?;
    let mut running = stage.go(prepared).await?;
    stage.broker.publish(&door, round, 0).await?;
    await_arrivals(&board, 1).await?;
    let sent = publish_slowly(stage, &door, &board).await?;
    await_arrivals(&board, board.expected()).await?;
    running.check()?;
    stage.close(running).await?;
    let took = sent.into_iter().enumerate().skip(WARMING - 1).map(|(index, sent)| {
        let arrival = board.arrival(index + 1).context("an event did not arrive")?;
        Ok(arrival.saturating_duration_since(sent).as_secs_f64() * 1e3)
    });
    let mut took = took.collect::<Result<Vec<f64>>>()?;
    took.sort_by(f64::total_cmp);
    Ok(Latency { median: percentile(&took, 50), p99: percentile(&took, 99) })
}

/// Publishes the events from the second on, and says when each was begun.
async fn publish_slowly(stage: &Stage, door: &Door, board: &Board) -> Result<Vec<Instant>> {
    let mut ticks = tokio::time::interval(PAUSE);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut sent = Vec::with_capacity(board.expected());
    for number in 1..board.expected() {
        ticks.tick().await;
        sent.push(Instant::now());
        stage.broker.publish(door, board.round(), number).await?;
    }
    Ok(sent)
}

async fn await_arrivals(board: &Board, count: usize) -> Result<()> {
    let begun = Instant::now();
    while board.distinct() < count {
        ensure!(begun.elapsed() < PATIENCE, "{} of {count} events arrived and no more", board.distinct());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

pub fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_nearest_rank() {
        let sorted: Vec<f64> = (1..=200).map(f64::from).collect();
        assert!((percentile(&sorted, 50) - 100.0).abs() < 1e-9);
        assert!((percentile(&sorted, 99) - 198.0).abs() < 1e-9);
        assert!((percentile(&[7.0], 99) - 7.0).abs() < 1e-9);
    }
}
