//! Neighbours that misbehave, and what that costs the others: twenty endpoints at a steady load, a third of it for those that do not
//! behave.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::latency::percentile;
use crate::process::peak_memory;
use crate::receiver::Manner;
use crate::report::{Bound, say, verdict};
use crate::yard::{ENDPOINTS, Yard, await_arrivals, whole};

/// Every so manieth event is for those that misbehave.
const FOR_THE_BAD: usize = 3;
/// Part of the most it can do.
const LOAD: f64 = 0.4;
/// Most times the p99 of the run in which everybody behaves.
const RATIO_MOST: f64 = 1.5;

/// What is played: how many misbehave, and how.
const SCENES: [(&str, Option<(usize, Manner)>); 8] = [
    ("everybody behaves", None),
    ("one hangs", Some((1, Manner::Hangs))),
    ("one answers 500 at once", Some((1, Manner::Fails))),
    ("one answers after 3 s", Some((1, Manner::IsLate(Duration::from_secs(3))))),
    ("one resets the connection", Some((1, Manner::Resets))),
    ("one trickles its response", Some((1, Manner::Trickles))),
    ("five hang at once", Some((5, Manner::Hangs))),
    ("everybody behaves, again", None),
];

/// Parts of a scene that are looked at on their own: what comes in waves does not hide in the whole.
const PART: Duration = Duration::from_secs(5);

/// What of it is played.
#[derive(Clone, Debug)]
pub struct Program {
    /// A small version.
    pub short: bool,
    /// Seconds per scene, unless it is short.
    pub seconds: Option<f64>,
    /// Only scenes whose names contain this, beside the calm ones.
    pub scene: Option<String>,
}

/// How long those that behave waited, in ms.
struct Scene {
    what: &'static str,
    is_calm: bool,
    median: f64,
    p99: f64,
    slowest: f64,
    /// The p99 of each part of what was published.
    parts: Vec<f64>,
    memory: f64,
}

/// Plays every scene on services of its own, so that none has to clear up after another.
pub async fn measure(folder: &Path, hookyard: &Path, program: &Program) -> Result<()> {
    let most = most(Yard::set_up(&folder.join("most"), hookyard).await?, if program.short { 5_000 } else { 20_000 }).await?;
    let (rate, seconds) = (most * LOAD, if program.short { 8.0 } else { program.seconds.unwrap_or(60.0) });
    say(&format!(
        "two dispatchers, {ENDPOINTS} endpoints; the most they deliver: {most:.0}/s; here {rate:.0} events/s for {seconds:.0} s, every {FOR_THE_BAD}rd for whoever misbehaves"
    ));
    let mut scenes = Vec::new();
    let is_wanted = |what: &str, bad: Option<_>| bad.is_none() || program.scene.as_ref().is_none_or(|part| what.contains(part));
    for (number, (what, bad)) in SCENES.into_iter().enumerate().filter(|(_, (what, bad))| is_wanted(what, *bad)) {
        let yard = Yard::set_up(&folder.join(format!("scene-{number}")), hookyard).await?;
        let scene = play(yard, what, bad, rate, seconds).await.with_context(|| what.to_owned())?;
        say(&format!(
            "  {what:28} p50 {:7.1} ms  p99 {:7.1} ms  slowest {:7.1} ms  a dispatcher's memory {:4.0} MB",
            scene.median, scene.p99, scene.slowest, scene.memory
        ));
        let parts: Vec<String> = scene.parts.iter().map(|p99| format!("{p99:.0}")).collect();
        say(&format!("    p99 of each {} s: {} ms", PART.as_secs(), parts.join(" ")));
        scenes.push(scene);
    }
    let calm: Vec<f64> = scenes.iter().filter(|scene| scene.is_calm).map(|scene| scene.p99).collect();
    let calm = calm.iter().sum::<f64>() / f64::from(u32::try_from(calm.len())?);
    for scene in scenes.iter().filter(|scene| !scene.is_calm) {
        let ratio = Some(scene.p99 / calm);
        verdict(&format!("p99 of those that behave while {}, times that without", scene.what), ratio, Bound::Most(RATIO_MOST));
    }
    Ok(())
}

/// Whose an event is, while so many misbehave.
fn endpoint_of(event: usize, bad: usize) -> usize {
    if event.is_multiple_of(FOR_THE_BAD) {
        return event / FOR_THE_BAD % bad;
    }
    bad + (event - event / FOR_THE_BAD - 1) % (ENDPOINTS - bad)
}

/// Deliveries per second when there is always more to do.
async fn most(yard: Yard, events: usize) -> Result<f64> {
    let mut span = Duration::ZERO;
    // The first time is for the broker to warm up.
    for round in [1, 2] {
        let board = yard.board(round, events);
        let begun = Instant::now();
        yard.publish(&board, events, None, |event| endpoint_of(event, 1)).await?;
        await_arrivals(&board, events).await?;
        span = begun.elapsed();
    }
    yard.end().await?;
    Ok(f64::from(u32::try_from(events)?) / span.as_secs_f64())
}

async fn play(yard: Yard, what: &'static str, bad: Option<(usize, Manner)>, rate: f64, seconds: f64) -> Result<Scene> {
    let misbehaving = bad.map_or(1, |(count, _)| count);
    let warming = whole(rate * 3.0);
    let board = yard.board(1, warming);
    yard.publish(&board, warming, Some(rate), |event| endpoint_of(event, misbehaving)).await?;
    await_arrivals(&board, warming).await?;

    let events = whole(rate * seconds);
    let board = yard.board(2, events);
    yard.receiver.behave(bad);
    let sent = yard.publish(&board, events, Some(rate), |event| endpoint_of(event, misbehaving)).await?;
    // Without anybody who misbehaves, those who would are still not counted.
    let is_counted = |event: &usize| endpoint_of(*event, misbehaving) >= misbehaving;
    let counted: Vec<usize> = (0..events).filter(is_counted).collect();
    await_arrivals(&board, if bad.is_some() { counted.len() } else { events }).await?;
    let took = counted.iter().map(|event| {
        let arrival = board.arrival(*event).context("an event did not arrive")?;
        Ok(arrival.saturating_duration_since(sent[*event]).as_secs_f64() * 1e3)
    });
    let mut took = took.collect::<Result<Vec<f64>>>()?;
    let mut parts: Vec<Vec<f64>> = Vec::new();
    for (event, took) in counted.iter().zip(&took) {
        let part = whole(sent[*event].duration_since(sent[0]).div_duration_f64(PART));
        parts.resize(parts.len().max(part + 1), Vec::new());
        parts[part].push(*took);
    }
    took.sort_by(f64::total_cmp);
    let memory = yard.dispatchers.iter().map(|role| peak_memory(role.process.id()?)).collect::<Result<Vec<f64>>>()?;
    yard.end().await?;
    Ok(Scene {
        what,
        is_calm: bad.is_none(),
        median: percentile(&took, 50),
        p99: percentile(&took, 99),
        slowest: percentile(&took, 100),
        parts: parts.iter_mut().map(|part| p99_of(part)).collect(),
        memory: memory.into_iter().fold(0.0, f64::max),
    })
}

fn p99_of(took: &mut [f64]) -> f64 {
    took.sort_by(f64::total_cmp);
    percentile(took, 99)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_is_for_the_bad_and_the_rest_for_all_others_alike() {
        for bad in [1, 5] {
            let mut counts = [0; ENDPOINTS];
            (0..3 * 5 * 19 * 15 * 2).for_each(|event| counts[endpoint_of(event, bad)] += 1);
            let all: usize = counts.iter().sum();
            assert_eq!(counts[..bad].iter().sum::<usize>() * FOR_THE_BAD, all);
            assert!(counts[bad..].iter().max().zip(counts[bad..].iter().min()).is_some_and(|(most, least)| most - least <= 1));
        }
    }
}
