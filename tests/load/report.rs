//! What was measured, as tables and verdicts.

use std::collections::BTreeMap;

use crate::latency::Latency;
use crate::stage::Side;
use crate::throughput::{RedisUse, ServerUse, Throughput};

/// Least share of the relay's throughput.
const THROUGHPUT_LEAST: f64 = 0.8;
/// Most times the relay's median latency at idle.
const LATENCY_MOST: f64 = 2.5;
/// Most resident memory of a dispatcher, in MB.
const MEMORY_MOST: f64 = 100.0;
/// Most commands sent to Redis per event.
const PER_EVENT_MOST: f64 = 4.0;
/// Most commands sent to Redis per delivery.
const PER_DELIVERY_MOST: f64 = 2.0;
/// Shares of commands below this are left out of the tables: they are the watching of a second, not the work.
const WORTH_SHOWING: f64 = 0.005;

/// Everything measured so far. Rounds of the two sides at the same place in their lists belong together.
#[derive(Default)]
pub struct Report {
    throughput: BTreeMap<usize, [Vec<Throughput>; 2]>,
    latency: [Vec<Latency>; 2],
}

impl Report {
    /// Adds a round of throughput.
    pub fn add_throughput(&mut self, endpoints: usize, side: Side, round: Throughput) {
        self.throughput.entry(endpoints).or_default()[place(side)].push(round);
    }

    /// Adds a round at idle.
    pub fn add_latency(&mut self, side: Side, round: Latency) {
        self.latency[place(side)].push(round);
    }

    /// Prints everything.
    pub fn print(&self) {
        say(&format!("\n{:44}{:>12}{:>12}{:>9}", "", "relay", "Hookyard", "ratio"));
        for (endpoints, [relay, hookyard]) in &self.throughput {
            let rate = |round: &Throughput| round.rate;
            line(&format!("throughput, fan-out {endpoints} (deliveries/s)"), relay, hookyard, rate, 0);
        }
        let [relay, hookyard] = &self.latency;
        line("latency at idle, p50 (ms)", relay, hookyard, |round| round.median, 2);
        line("latency at idle, p99 (ms)", relay, hookyard, |round| round.p99, 2);
        for (endpoints, sides) in &self.throughput {
            print_costs(*endpoints, sides);
        }
        self.print_verdicts();
    }

    fn print_verdicts(&self) {
        say("");
        for (endpoints, [relay, hookyard]) in &self.throughput {
            let ratio = ratio(relay, hookyard, |round| round.rate);
            verdict(&format!("throughput ratio at fan-out {endpoints}"), ratio, Bound::Least(THROUGHPUT_LEAST));
        }
        let [relay, hookyard] = &self.latency;
        let latency = ratio(relay, hookyard, |round| round.median);
        verdict("median latency at idle, times the relay's", latency, Bound::Most(LATENCY_MOST));
        let rounds = || self.throughput.values().flat_map(|[_, hookyard]| hookyard);
        let memory = rounds().flat_map(|round| &round.memory).filter(|(name, _)| *name == "dispatcher").map(|(_, mb)| *mb);
        verdict("dispatcher's peak memory (MB)", memory.reduce(f64::max), Bound::Most(MEMORY_MOST));
        let uses = || rounds().filter_map(|round| round.redis.as_ref());
        let per_event = uses().map(|redis| redis.router.values().sum()).reduce(f64::max);
        verdict("Redis commands sent per event", per_event, Bound::Most(PER_EVENT_MOST));
        let per_delivery = uses().map(|redis| redis.dispatcher.values().sum()).reduce(f64::max);
        verdict("Redis commands sent per delivery", per_delivery, Bound::Most(PER_DELIVERY_MOST));
    }
}

fn place(side: Side) -> usize {
    match side {
        Side::Relay => 0,
        Side::Hookyard => 1,
    }
}

/// Medians of both sides, and the median of the pairs' ratios: what slows the machine for a while slows a whole pair.
pub fn line<T>(what: &str, relay: &[T], hookyard: &[T], value: impl Fn(&T) -> f64, digits: usize) {
    let shown = |rounds: &[T]| show(median(rounds.iter().map(&value)), digits);
    let (relay_shown, hookyard_shown) = (shown(relay), shown(hookyard));
    say(&format!("{what:44}{relay_shown:>12}{hookyard_shown:>12}{:>9}", show(ratio(relay, hookyard, &value), 2)));
}

fn ratio<T>(relay: &[T], hookyard: &[T], value: impl Fn(&T) -> f64) -> Option<f64> {
    median(relay.iter().zip(hookyard).map(|(relay, hookyard)| value(hookyard) / value(relay)))
}

pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values.get(middle).copied()
    } else {
        Some(f64::midpoint(*values.get(middle.checked_sub(1)?)?, *values.get(middle)?))
    }
}

fn show(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

fn print_costs(endpoints: usize, [relay, hookyard]: &[Vec<Throughput>; 2]) {
    for (who, rounds) in [("relay", relay), ("Hookyard", hookyard)] {
        let Some(first) = rounds.first() else { continue };
        say(&format!("\n{who}, fan-out {endpoints}"));
        let processes = |of: fn(&Throughput) -> &Vec<(&'static str, f64)>, digits: usize| {
            let shown = of(first).iter().enumerate().map(|(index, (name, _))| {
                let each = rounds.iter().filter_map(|round| Some(of(round).get(index)?.1));
                format!("{name} {}", show(median(each), digits))
            });
            shown.collect::<Vec<_>>().join(", ")
        };
        say(&format!("  CPU seconds per 10,000 deliveries: {}", processes(|round| &round.cpu, 2)));
        say(&format!("  peak resident memory (MB): {}", processes(|round| &round.memory, 0)));
        let repeated: usize = rounds.iter().map(|round| round.repeated).sum();
        let connections: Vec<String> = rounds.iter().map(|round| round.connections.to_string()).collect();
        say(&format!("  arrived twice: {repeated}; connections to the receiver, by round: {}", connections.join(", ")));
        if let Some(redis) = rounds.last().and_then(|round| round.redis.as_ref()) {
            print_redis(redis);
        }
    }
}

fn print_redis(redis: &RedisUse) {
    say("  Redis, commands our client sent (a script is one):");
    say(&format!("    router, per event:         {}", shares(&redis.router)));
    say(&format!("    dispatcher, per delivery:  {}", shares(&redis.dispatcher)));
    say("  Redis, commands the servers ran per event with its deliveries (those inside scripts count):");
    for (name, ServerUse { all, by_command }) in ["directory", "journal"].iter().zip(&redis.servers) {
        say(&format!("    {name:10} {all:.2}: {}", shares(by_command)));
    }
}

fn shares(commands: &BTreeMap<String, f64>) -> String {
    let sum: f64 = commands.values().sum();
    let shown = commands.iter().filter(|(_, share)| **share >= WORTH_SHOWING);
    let shown: Vec<String> = shown.map(|(name, share)| format!("{name} {share:.2}")).collect();
    format!("{sum:.2} ({})", shown.join(", "))
}

#[derive(Clone, Copy)]
pub enum Bound {
    Least(f64),
    Most(f64),
}

pub fn verdict(what: &str, value: Option<f64>, bound: Bound) {
    let Some(value) = value else { return };
    let (good, wanted) = match bound {
        Bound::Least(least) => (value >= least, format!("at least {least}")),
        Bound::Most(most) => (value <= most, format!("at most {most}")),
    };
    say(&format!("{}  {what}: {value:.2}, wanted {wanted}", if good { "PASS" } else { "FAIL" }));
}

/// Prints a line.
#[expect(clippy::print_stdout, reason = "the report is what this program is for")]
pub fn say(text: &str) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
        assert_eq!(median([].into_iter()), None);
    }

    #[test]
    fn ratios_are_of_pairs() {
        let (relay, hookyard) = ([10.0, 20.0, 10.0], [5.0, 16.0, 9.0]);
        assert_eq!(ratio(&relay, &hookyard, |value| *value), Some(0.8));
    }
}
