//! A simulation: by seed, receivers that fail, hang and recover, processes that die, and a clock that is corrected. Whatever happens,
//! each delivery ends once, with no more attempts than it may have and none before its time.
//!
//! `HOOKYARD_TEST_SEEDS` says how many seeds, and `HOOKYARD_TEST_SEED` which alone: a seed that fails is printed, and fails again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hookyard_core::{AttemptClass, Clock as _, DeadReason, Delivery, Endpoint, Outcome, Policy};
use hookyard_testkit::{Answer, Asked, SeededEntropy};

use crate::stage::{Process, Stage};

/// Seeds of a run unless more are asked for.
const SEEDS: u64 = 300;
/// Between attempts.
const SCHEDULE: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(20)];
/// From then on every receiver answers 200 at once.
const WELL_FROM: Duration = Duration::from_secs(240);
/// Everything has ended within this time after that: the longest opening, and what waits for it.
const DONE_WITHIN: Duration = Duration::from_secs(2 * 3600);
/// An attempt's budget.
const TIMEOUT: Duration = Duration::from_secs(15);

/// How a receiver fails until all is well.
#[derive(Clone, Copy, Debug)]
struct Nature {
    /// Hundredths of the requests that fail, by this answer.
    fails: u64,
    by: Answer,
    /// The time an answer takes, at most.
    takes: Duration,
    /// When it hangs.
    hangs: (Duration, Duration),
}

fn below(random: &SeededEntropy, bound: u64) -> u64 {
    random.below(bound)
}

fn seconds(random: &SeededEntropy, most: u64) -> Duration {
    Duration::from_millis(below(random, most * 1_000))
}

impl Nature {
    fn of(random: &SeededEntropy) -> Self {
        let by = match below(random, 6) {
            0 => Answer::Status(500),
            1 => Answer::Status(404),
            2 => Answer::RetryAfter(seconds(random, 40)),
            3 => Answer::Silence(AttemptClass::Connect),
            4 => Answer::Silence(AttemptClass::Protocol),
            _ => Answer::Hang,
        };
        let fails = [0, 5, 20, 50, 90, 100][usize::try_from(below(random, 6)).expect("below 6")];
        let takes = [10, 10, 100, 1_000, 5_000][usize::try_from(below(random, 5)).expect("below 5")];
        let begins = seconds(random, 240);
        let hangs = if below(random, 3) == 0 { (begins, begins + seconds(random, 90)) } else { (Duration::ZERO, Duration::ZERO) };
        Self { fails, by, takes: Duration::from_millis(takes), hangs }
    }

    fn answer(self, seed: u64, asked: &Asked) -> (Answer, Duration) {
        if asked.at >= WELL_FROM {
            return (Answer::Status(200), Duration::from_millis(5));
        }
        let hash = asked.id.bytes().fold(seed, |hash, byte| hash.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte));
        let random = SeededEntropy::new(hash.wrapping_add(u64::try_from(asked.before).expect("few")));
        let takes = Duration::from_millis(below(&random, u64::try_from(self.takes.as_millis()).expect("short") + 1));
        if asked.at >= self.hangs.0 && asked.at < self.hangs.1 {
            return (Answer::Hang, Duration::ZERO);
        }
        (if below(&random, 100) < self.fails { self.by } else { Answer::Status(200) }, takes)
    }
}

/// When a receiver was asked, and what it answered if that is over.
type Request = (Duration, Option<Answer>);

/// What happened in one run.
struct Run {
    stage: Stage,
    endpoints: Vec<Endpoint>,
    deliveries: Vec<Delivery>,
    /// How often a process died.
    deaths: usize,
    corrections: usize,
    processes: Vec<Process>,
}

async fn run(seed: u64) -> Run {
    let random = SeededEntropy::new(seed ^ 0x5eed);
    let mut stage = Stage::new(seed);
    stage.config.policy = Policy { retry_schedule: SCHEDULE.into(), timeout: TIMEOUT, ..Policy::default() };
    stage.config.concurrency = [16, 64, 512][usize::try_from(below(&random, 3)).expect("below 3")];
    let mut endpoints = Vec::new();
    for _ in 0..=below(&random, 2) {
        let app = stage.app().await;
        for _ in 0..=below(&random, 4) {
            let (host, nature) = (format!("receiver-{}.example", endpoints.len()), Nature::of(&random));
            let script_seed = seed.wrapping_add(u64::try_from(endpoints.len()).expect("few"));
            stage.receivers.script(&host, move |asked| nature.answer(script_seed, asked));
            let rate = (below(&random, 4) == 0).then(|| 1 + u16::try_from(below(&random, 20)).expect("small"));
            let in_flight = (below(&random, 4) == 0).then(|| 1 + u16::try_from(below(&random, 8)).expect("small"));
            let change = |endpoint: &mut Endpoint| (endpoint.throttle_rate, endpoint.max_in_flight) = (rate, in_flight);
            endpoints.push(stage.endpoint(app.id, &host, change).await);
        }
    }
    let mut processes = vec![stage.start()];
    if below(&random, 2) == 0 {
        processes.push(stage.start());
    }
    let (mut deliveries, mut deaths, mut corrections) = (Vec::new(), 0, 0);
    let (most, pause) = (20 + below(&random, 200), 1 + below(&random, 2_000));
    while deliveries.len() < usize::try_from(most).expect("few") {
        let endpoint = &endpoints[usize::try_from(below(&random, u64::try_from(endpoints.len()).expect("few"))).expect("few")];
        deliveries.push(stage.publish(endpoint));
        match below(&random, 150) {
            0 => {
                let process = processes
                    .swap_remove(usize::try_from(below(&random, u64::try_from(processes.len()).expect("few"))).expect("few"));
                stage.kill(&process);
                deaths += 1;
                stage.pass(seconds(&random, 10)).await;
                processes.push(stage.start());
            }
            1 => {
                let by = i64::try_from(below(&random, 2 * 3_600_000)).expect("two hours") - 3_600_000;
                stage.clock.correct(by);
                corrections += 1;
            }
            _ => {}
        }
        stage.pass(Duration::from_millis(below(&random, pause))).await;
    }
    let done_by = stage.clock.monotonic().max(WELL_FROM) + DONE_WITHIN;
    while stage.broker.deliveries_unsettled() > 0 && stage.clock.monotonic() < done_by {
        stage.pass(Duration::from_secs(10)).await;
    }
    Run { stage, endpoints, deliveries, deaths, corrections, processes }
}

impl Run {
    /// What is not as it must be.
    async fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        let unsettled = self.stage.broker.deliveries_unsettled();
        if unsettled > 0 {
            found.push(format!("{unsettled} of {} deliveries have not ended", self.deliveries.len()));
            return found;
        }
        let dead: BTreeMap<_, _> =
            self.stage.broker.take_dead().into_iter().map(|letter| (letter.delivery.key(), letter.reason)).collect();
        let rejected = self.stage.broker.take_rejected().len();
        if rejected > 0 {
            found.push(format!("{rejected} were quarantined"));
        }
        let hosts: BTreeMap<_, _> = self.endpoints.iter().map(|endpoint| (endpoint.id, host_of(endpoint))).collect();
        let mut asked: BTreeMap<(String, String), Vec<Request>> = BTreeMap::new();
        for (one, answer) in self.stage.receivers.asked() {
            asked.entry((one.host, one.id)).or_default().push((one.at, answer));
        }
        let published: BTreeSet<_> =
            self.deliveries.iter().map(|one| (hosts[&one.endpoint].clone(), one.message.id.to_string())).collect();
        found.extend(asked.keys().filter(|key| !published.contains(*key)).map(|key| format!("{key:?} was never published")));
        for delivery in &self.deliveries {
            let key = (hosts[&delivery.endpoint].clone(), delivery.message.id.to_string());
            let requests = asked.remove(&key).unwrap_or_default();
            let reason = dead.get(&delivery.key()).copied();
            found.extend(self.violation_of(delivery, &requests, reason).await.map(|what| format!("{key:?}: {what}")));
        }
        found.extend(self.counters_differ(&dead));
        found
    }

    async fn violation_of(&self, delivery: &Delivery, requests: &[Request], dead: Option<DeadReason>) -> Option<String> {
        let attempts = self.stage.attempts(delivery).await;
        let delivered = attempts.iter().filter(|attempt| attempt.outcome == Outcome::Delivered).count();
        match (delivered, dead) {
            (1, None) => {}
            (0, Some(DeadReason::AttemptsExhausted)) if attempts.len() == SCHEDULE.len() + 1 => {}
            _ => return Some(format!("delivered {delivered} times, dead {dead:?}, {} attempts", attempts.len())),
        }
        if attempts.last().is_some_and(|last| (last.outcome == Outcome::Delivered) != (delivered == 1)) {
            return Some("an attempt was made after it was delivered".to_owned());
        }
        if requests.len() < attempts.len() || requests.len() > attempts.len() + self.deaths {
            return Some(format!("{} requests, {} attempts recorded, {} deaths", requests.len(), attempts.len(), self.deaths));
        }
        // A death may repeat any of them; without one each has its time.
        let is_early = |pair: &[Request], wait: Duration| pair[1].0 < pair[0].0 + wait;
        if self.deaths == 0 && requests.windows(2).zip(SCHEDULE).any(|(pair, wait)| is_early(pair, wait)) {
            return Some(format!("an attempt before its time: {requests:?}"));
        }
        None
    }

    /// What the counters say otherwise than the ledgers, if no process took its counters with it.
    fn counters_differ(&self, dead: &BTreeMap<hookyard_core::DeliveryKey, DeadReason>) -> Option<String> {
        if self.deaths > 0 {
            return None;
        }
        let counted = |result: &str| -> usize {
            let series = format!("hookyard_deliveries_completed_total{{result=\"{result}\"}} ");
            let of = |process: &Process| {
                let text = String::from_utf8(process.metrics.render()).expect("text");
                text.lines().find_map(|line| line.strip_prefix(&series)?.parse::<usize>().ok()).unwrap_or_default()
            };
            self.processes.iter().map(of).sum()
        };
        let (delivered, lost) = (counted("delivered"), counted("dead"));
        let wanted = (self.deliveries.len() - dead.len(), dead.len());
        ((delivered, lost) != wanted).then(|| format!("counted {delivered} and {lost}, and not {wanted:?}"))
    }
}

fn host_of(endpoint: &Endpoint) -> String {
    endpoint.url.trim_start_matches("https://").trim_end_matches('/').to_owned()
}

fn violations_of(seed: u64) -> (Vec<String>, usize, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let run = run(seed).await;
        let violations = run.violations().await;
        run.processes.iter().for_each(Process::stop);
        (violations, run.deaths, run.corrections)
    })
}

#[test]
#[expect(clippy::print_stdout, reason = "how much was played is the result")]
fn whatever_happens_each_delivery_ends_once_and_in_time() {
    let number = |name: &str| std::env::var_os(name).and_then(|value| value.to_str()?.parse::<u64>().ok());
    let seeds = match number("HOOKYARD_TEST_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("HOOKYARD_TEST_SEEDS").unwrap_or(SEEDS),
    };
    let (mut deaths, mut corrections) = (0, 0);
    for seed in seeds.clone() {
        let (violations, died, corrected) = violations_of(seed);
        assert!(violations.is_empty(), "HOOKYARD_TEST_SEED={seed}:\n  {}", violations.join("\n  "));
        (deaths, corrections) = (deaths + died, corrections + corrected);
    }
    println!("{} seeds, {deaths} deaths, {corrections} corrections of the clock, no violation", seeds.end - seeds.start);
}
