//! Publishing over HTTP to RabbitMQ and Redis: every answer after the event is durable.

use anyhow::{Context as _, Result};

use crate::hookyard::app_name;
use crate::publisher::Publishers;
use crate::report::{Bound, say, verdict};
use crate::stage::Stage;

/// Publishers at once.
const PUBLISHERS: usize = 64;
/// Least events accepted per second.
const ACCEPTED_LEAST: f64 = 3_000.0;
/// Slowest answer, at the 99th percentile, in ms.
const P99_MOST: f64 = 60.0;
/// Numbers beyond those of the other rounds.
const ROUND: u32 = 9_000;

/// Measures and prints: intake alone, then with the router working beside it.
pub async fn measure(stage: &Stage, events: usize) -> Result<()> {
    let ingest = stage.hookyard.start("ingest", &stage.api).await?;
    let address = ingest.api.as_deref().context("the role ingest has no API")?.trim_start_matches("http://").parse()?;
    let token = stage.hookyard.token().await?;
    let publishers = Publishers { address, app: app_name(0), token, connections: PUBLISHERS, batch: 1 };
    let router = stage.hookyard.start("router", &stage.api).await?;
    publishers.publish(ROUND, events / 10).await.context("warming up")?;
    let accepted = publishers.publish(ROUND + 1, events).await?;
    say(&format!(
        "\naccepted over HTTP, RabbitMQ and Redis beside it, the router at work, {PUBLISHERS} publishers: {:.0} events/s, p50 {:.1} ms, p99 {:.1} ms",
        accepted.rate, accepted.median, accepted.p99
    ));
    ingest.process.stop().await?;
    router.process.stop().await?;
    verdict("events accepted over HTTP per second", Some(accepted.rate), Bound::Least(ACCEPTED_LEAST));
    verdict("slowest answer to a publish, p99 (ms)", Some(accepted.p99), Bound::Most(P99_MOST));
    Ok(())
}
