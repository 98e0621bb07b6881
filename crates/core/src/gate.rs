//! The gate in front of an endpoint: its breaker, and time slots for what must wait. Pure; stores keep a [`Gate`] per endpoint that is
//! not ordinary and apply [`Step`]s to it, each of which happened or did not.
//!
//! The breaker follows the pattern of that name: closed, open after failures in a row, and half-open while one probe is out. Slots are
//! given by the generic cell rate algorithm (ITU-T I.371) used as a scheduler: whoever must wait takes a moment of its own, so that
//! what waits never comes back all at once.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::limits;

/// Failures in a row after which the breaker opens.
pub const FAILURES_TO_OPEN: u32 = 5;
/// How long it stays open: the first time, the second, and so on; every further time as the last.
pub const OPEN_FOR: [Duration; 4] =
    [Duration::from_secs(30), Duration::from_secs(2 * 60), Duration::from_secs(10 * 60), Duration::from_secs(3600)];
/// Whoever probes has this long before another may: the longest attempt, and time to write it down.
pub const PROBE_LEASE: Duration = Duration::from_secs(limits::ATTEMPT_TIMEOUT_MOST.as_secs() + 15);
/// How long the others wait for what a probe finds out, before they ask again.
const PROBE_ANSWERS: Duration = Duration::from_secs(5);
/// An endpoint that timed out, or answers slowly, is slow for so long.
pub const SLOW_FOR: Duration = Duration::from_secs(60);
/// Nobody is given a slot later than this: whoever must wait longer asks again then.
pub const HORIZON: Duration = Duration::from_secs(3600);
/// An open breaker that nobody probed for so long is forgotten: its endpoint receives nothing, or is there no longer. Nothing waits
/// longer than this.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Failures farther apart than this are not in a row: nobody is protected from so few.
const ROW_ENDS_AFTER: Duration = Duration::from_secs(3600);

/// What the installation knows of an endpoint that is not ordinary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    breaker: Breaker,
    /// No slot before this one is free.
    next_slot: Timestamp,
    /// The receiver asked to be left alone until then.
    hold_until: Timestamp,
    /// It counts as slow until then.
    slow_until: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Breaker {
    Closed {
        /// In a row.
        failures: u32,
        /// When the last of them was.
        last: Timestamp,
    },
    Open {
        /// Then it may be probed.
        until: Timestamp,
        /// How often it opened without a success in between, from 0.
        level: u8,
        /// A probe is out, and may be until then.
        probed_until: Option<Timestamp>,
    },
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { failures: 0, last: Timestamp::default() }
    }
}

/// The breaker as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// Deliveries go out.
    Closed,
    /// None does.
    Open,
    /// One may, to see.
    HalfOpen,
}

impl BreakerState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// Its name everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// Something that happens at a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A delivery wants to leave.
    Admit {
        /// Least time between two of them, if the endpoint is limited.
        limit: Option<Duration>,
        /// Time between two slots while it is closed to all.
        spacing: Duration,
        /// Whether it waited for a slot of its own, which is now.
        has_slot: bool,
    },
    /// A delivery takes a slot because its turn does not come soon enough.
    Reserve {
        /// Time between two slots.
        spacing: Duration,
    },
    /// An attempt was made.
    Observe {
        /// Whether the receiver took it.
        success: bool,
        /// Whether it, or the average of late, was slow.
        slow: bool,
        /// The receiver asked to be left alone until then.
        hold_until: Option<Timestamp>,
        /// How long the breaker opens; see [`OPEN_FOR`]. Without length, it does not.
        open_for: [Duration; 4],
    },
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Go on.
    Go,
    /// Go on, and be the one that finds out.
    Probe,
    /// Not before then, which is a slot of its own unless it lies at the horizon.
    Later(Timestamp),
}

impl Gate {
    /// Does a step at `now`.
    pub fn step(&mut self, step: Step, now: Timestamp) -> Pass {
        match step {
            Step::Admit { limit, spacing, has_slot } => self.admit(limit, spacing, has_slot, now),
            Step::Reserve { spacing } => self.slot(now, spacing, now),
            Step::Observe { success, slow, hold_until, open_for } => {
                if success && matches!(self.breaker, Breaker::Open { .. }) {
                    // What waited has its slots; what comes now is not to queue behind them.
                    self.next_slot = now;
                }
                self.breaker = self.breaker.after(success, open_for, now);
                if slow {
                    self.slow_until = self.slow_until.max(now.plus(SLOW_FOR));
                }
                self.hold_until = self.hold_until.max(hold_until.unwrap_or_default());
                Pass::Go
            }
        }
    }

    fn admit(&mut self, limit: Option<Duration>, spacing: Duration, has_slot: bool, now: Timestamp) -> Pass {
        if self.hold_until > now {
            return self.slot(self.hold_until, spacing.max(limit.unwrap_or_default()), now);
        }
        if let Breaker::Open { until, level, probed_until } = self.breaker {
            // A probe is out, and its news will be there sooner than its time is over.
            let probing = probed_until.unwrap_or_default().min(now.plus(PROBE_ANSWERS));
            let shut_until = until.max(probing);
            if shut_until > now {
                // The moment itself is the probe's.
                return self.slot(shut_until.plus(spacing), spacing.max(limit.unwrap_or_default()), now);
            }
            self.breaker = Breaker::Open { until, level, probed_until: Some(now.plus(PROBE_LEASE)) };
            return Pass::Probe;
        }
        match limit {
            Some(interval) if !has_slot => {
                // What is unused of one second may be used at once.
                let burst = BURST.saturating_sub(interval);
                if self.next_slot <= now.plus(burst) {
                    self.next_slot = self.next_slot.max(now).plus(interval);
                    Pass::Go
                } else {
                    let slot = self.next_slot.minus(burst);
                    self.take(slot, self.next_slot.plus(interval), now)
                }
            }
            _ => Pass::Go,
        }
    }

    /// The first free slot from `earliest` on.
    fn slot(&mut self, earliest: Timestamp, spacing: Duration, now: Timestamp) -> Pass {
        let slot = self.next_slot.max(earliest);
        self.take(slot, slot.plus(spacing), now)
    }

    fn take(&mut self, slot: Timestamp, next_slot: Timestamp, now: Timestamp) -> Pass {
        if slot > now.plus(HORIZON) {
            // Beyond what is given out: nothing is taken, and it is asked for again.
            return Pass::Later(now.plus(HORIZON));
        }
        self.next_slot = next_slot;
        Pass::Later(slot)
    }

    /// The breaker at `now`.
    pub fn breaker(&self, now: Timestamp) -> BreakerState {
        match self.breaker {
            Breaker::Closed { .. } => BreakerState::Closed,
            Breaker::Open { until, probed_until, .. } if until <= now || probed_until.is_some() => BreakerState::HalfOpen,
            Breaker::Open { .. } => BreakerState::Open,
        }
    }

    /// When what is routed now may be looked at, if nothing may leave before.
    pub fn shut_until(&self, now: Timestamp) -> Option<Timestamp> {
        let open_until = match self.breaker {
            Breaker::Open { until, .. } => until,
            Breaker::Closed { .. } => Timestamp::default(),
        };
        Some(open_until.max(self.hold_until)).filter(|until| *until > now)
    }

    /// The one predicate of the lanes: whether what goes to the endpoint takes the slow one.
    pub fn is_slow(&self, now: Timestamp) -> bool {
        self.slow_until > now || self.hold_until > now || self.breaker(now) != BreakerState::Closed
    }

    /// Whether nothing is left to remember.
    pub fn is_ordinary(&self, now: Timestamp) -> bool {
        let is_quiet = match self.breaker {
            Breaker::Closed { failures, last } => failures == 0 || last.plus(ROW_ENDS_AFTER) <= now,
            Breaker::Open { until, probed_until, .. } => probed_until.unwrap_or(until).max(until).plus(FORGOTTEN_AFTER) <= now,
        };
        is_quiet && self.next_slot <= now && self.slow_until <= now && self.hold_until <= now
    }
}

/// What a limited endpoint may get at once after a pause: what its rate allows in a second.
const BURST: Duration = Duration::from_secs(1);

impl Breaker {
    fn after(self, success: bool, open_for: [Duration; 4], now: Timestamp) -> Self {
        match self {
            _ if success || open_for[0].is_zero() => Self::default(),
            Self::Closed { last, .. } if last.plus(ROW_ENDS_AFTER) <= now => Self::Closed { failures: 1, last: now },
            Self::Closed { failures, .. } if failures + 1 >= FAILURES_TO_OPEN => Self::opened(0, open_for, now),
            Self::Closed { failures, .. } => Self::Closed { failures: failures + 1, last: now },
            // The probe failed, or its news comes late.
            Self::Open { until, level, .. } if until <= now => Self::opened(level.saturating_add(1), open_for, now),
            // What was on its way when it opened says nothing new.
            open @ Self::Open { .. } => open,
        }
    }

    fn opened(level: u8, open_for: [Duration; 4], now: Timestamp) -> Self {
        let length = open_for[usize::from(level).min(open_for.len() - 1)];
        Self::Open { until: now.plus(length), level, probed_until: None }
    }
}

impl fmt::Display for Gate {
    /// As stores keep it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.breaker {
            Breaker::Closed { failures, last } => write!(f, "closed:{failures}:{}", last.as_millis())?,
            Breaker::Open { until, level, probed_until } => {
                write!(f, "open:{}:{level}:{}", until.as_millis(), probed_until.unwrap_or_default().as_millis())?;
            }
        }
        write!(f, "|{}|{}|{}", self.next_slot.as_millis(), self.hold_until.as_millis(), self.slow_until.as_millis())
    }
}

/// Text that is not a gate.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not the state of an endpoint's gate")]
pub struct BadGate;

impl FromStr for Gate {
    type Err = BadGate;
    fn from_str(text: &str) -> Result<Self, BadGate> {
        let moment = |text: &str| text.parse().map(Timestamp::from_millis).map_err(|_| BadGate);
        let [breaker, next_slot, hold_until, slow_until] = text.split('|').collect::<Vec<_>>()[..] else { return Err(BadGate) };
        let breaker = match breaker.split(':').collect::<Vec<_>>()[..] {
            ["closed", failures, last] => {
                Breaker::Closed { failures: failures.parse().map_err(|_| BadGate)?, last: moment(last)? }
            }
            ["open", until, level, probed] => {
                let (level, probed) = (level.parse().map_err(|_| BadGate)?, moment(probed)?);
                Breaker::Open { until: moment(until)?, level, probed_until: Some(probed).filter(|at| *at > Timestamp::default()) }
            }
            _ => return Err(BadGate),
        };
        Ok(Self { breaker, next_slot: moment(next_slot)?, hold_until: moment(hold_until)?, slow_until: moment(slow_until)? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const SPACING: Duration = Duration::from_millis(500);
    const ADMIT: Step = Step::Admit { limit: None, spacing: SPACING, has_slot: false };

    fn observe(success: bool) -> Step {
        Step::Observe { success, slow: false, hold_until: None, open_for: OPEN_FOR }
    }

    fn opened() -> Gate {
        let mut gate = Gate::default();
        (0..FAILURES_TO_OPEN).for_each(|_| assert_eq!(gate.step(observe(false), START), Pass::Go));
        gate
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_one_probe_at_a_time_finds_out() {
        let mut gate = Gate::default();
        for _ in 0..3 {
            (1..FAILURES_TO_OPEN).for_each(|_| assert_eq!(gate.step(observe(false), START), Pass::Go));
            assert_eq!((gate.step(ADMIT, START), gate.breaker(START)), (Pass::Go, BreakerState::Closed));
            gate.step(observe(true), START);
        }
        assert!(gate.is_ordinary(START));
        let mut gate = opened();
        let mut now = START;
        for length in OPEN_FOR.into_iter().chain([OPEN_FOR[3]]) {
            assert_eq!(gate.breaker(now), BreakerState::Open);
            assert!(matches!(gate.step(ADMIT, now), Pass::Later(slot) if slot > now.plus(length.min(HORIZON / 2))));
            now = now.plus(length);
            assert_eq!((gate.step(ADMIT, now), gate.breaker(now)), (Pass::Probe, BreakerState::HalfOpen));
            assert!(matches!(gate.step(ADMIT, now), Pass::Later(_)), "only one probes");
            gate.step(observe(false), now);
        }
        now = now.plus(OPEN_FOR[3]);
        assert_eq!(gate.step(ADMIT, now), Pass::Probe);
        gate.step(observe(true), now);
        assert_eq!((gate.breaker(now), gate.step(ADMIT, now)), (BreakerState::Closed, Pass::Go));
    }

    #[test]
    fn a_probe_whose_process_died_is_followed_by_another() {
        let (mut gate, now) = (opened(), START.plus(OPEN_FOR[0]));
        assert_eq!(gate.step(ADMIT, now), Pass::Probe);
        let later = now.plus(PROBE_LEASE);
        assert_eq!(gate.step(ADMIT, later), Pass::Probe);
    }

    #[test]
    fn what_was_on_its_way_when_it_opened_does_not_keep_it_open_longer() {
        let mut gate = opened();
        let before = gate;
        gate.step(observe(false), START.plus(Duration::from_secs(10)));
        assert_eq!(gate, before);
    }

    #[test]
    fn what_waits_takes_slots_of_its_own_after_the_probe() {
        let mut gate = opened();
        let probe = START.plus(OPEN_FOR[0]);
        let slots: Vec<Pass> = (0..4).map(|_| gate.step(ADMIT, START)).collect();
        let expected: Vec<Pass> = (1..5).map(|n| Pass::Later(probe.plus(SPACING * n))).collect();
        assert_eq!(slots, expected);
        let hold_until = Some(START.plus(Duration::from_secs(120)));
        let mut gate = Gate::default();
        gate.step(Step::Observe { success: false, slow: false, hold_until, open_for: OPEN_FOR }, START);
        assert_eq!(gate.step(ADMIT, START), Pass::Later(START.plus(Duration::from_secs(120))));
        assert!(gate.is_slow(START) && gate.shut_until(START) == hold_until);
    }

    #[test]
    fn what_comes_after_it_closed_does_not_queue_behind_the_slots_of_what_waited() {
        let mut gate = opened();
        (0..1000).for_each(|_| assert!(matches!(gate.step(ADMIT, START), Pass::Later(_))));
        let now = START.plus(OPEN_FOR[0]);
        gate.step(observe(true), now);
        assert_eq!(gate.step(Step::Reserve { spacing: SPACING }, now), Pass::Later(now));
    }

    #[test]
    fn a_breaker_that_nobody_asks_for_a_day_is_forgotten() {
        let gate = opened();
        let until = START.plus(OPEN_FOR[0]);
        assert!(!gate.is_ordinary(until.plus(HORIZON)) && gate.is_ordinary(until.plus(FORGOTTEN_AFTER)));
    }

    #[test]
    fn nothing_is_given_out_beyond_the_horizon() {
        let mut gate = opened();
        let far = Step::Admit { limit: None, spacing: Duration::from_secs(1800), has_slot: false };
        assert!(matches!(gate.step(far, START), Pass::Later(_)));
        for _ in 0..3 {
            let before = gate;
            let pass = gate.step(far, START);
            if pass == Pass::Later(START.plus(HORIZON)) {
                assert_eq!(gate, before, "nothing is taken");
            }
        }
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let ms = (0_u64..5_000).prop_map(Duration::from_millis);
        prop_oneof![
            (prop::option::of(ms.clone()), ms.clone(), any::<bool>()).prop_map(|(limit, spacing, has_slot)| Step::Admit {
                limit,
                spacing,
                has_slot
            }),
            ms.prop_map(|spacing| Step::Reserve { spacing }),
            (any::<bool>(), any::<bool>(), prop::option::of(0_i64..100_000)).prop_map(|(success, slow, hold)| Step::Observe {
                success,
                slow,
                hold_until: hold.map(|ms| START.plus(Duration::from_millis(ms.unsigned_abs()))),
                open_for: OPEN_FOR,
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_gate_is_read_back_as_it_was_written_and_passes_only_what_may(steps in prop::collection::vec((any_step(), 0_u64..20_000), 1..80)) {
            let (mut gate, mut now, mut probed_at) = (Gate::default(), START, None);
            for (step, pause) in steps {
                now = now.plus(Duration::from_millis(pause));
                let before = gate;
                let pass = gate.step(step, now);
                prop_assert_eq!(gate.to_string().parse::<Gate>(), Ok(gate));
                match pass {
                    Pass::Later(at) => prop_assert!(at >= now && at <= now.plus(HORIZON)),
                    Pass::Probe => {
                        prop_assert_eq!(before.shut_until(now), None);
                        // One probe at a time.
                        let earliest = probed_at.map_or(now, |at: Timestamp| at.plus(PROBE_LEASE));
                        prop_assert!(before.breaker(now) == BreakerState::HalfOpen && (now >= earliest || before.breaker != Breaker::default()));
                        probed_at = Some(now);
                    }
                    Pass::Go => {
                        if matches!(step, Step::Admit { .. }) {
                            prop_assert_eq!(before.breaker(now), BreakerState::Closed);
                            prop_assert!(before.hold_until <= now);
                        }
                    }
                }
            }
            prop_assert!(gate.step(observe(true), now.plus(HORIZON * 2)) == Pass::Go && gate.is_ordinary(now.plus(HORIZON * 4)));
        }

        #[test]
        fn no_window_holds_more_than_a_burst_above_the_rate(asks in prop::collection::vec(0_u64..300, 1..400), rate in 1_u32..50) {
            let interval = Duration::from_secs(1) / rate;
            let (mut gate, mut now, mut leaving) = (Gate::default(), START, Vec::new());
            for pause in asks {
                now = now.plus(Duration::from_millis(pause));
                match gate.step(Step::Admit { limit: Some(interval), spacing: SPACING, has_slot: false }, now) {
                    Pass::Later(at) if at == now.plus(HORIZON) => {}
                    Pass::Later(at) => leaving.push(at),
                    _ => leaving.push(now),
                }
            }
            leaving.sort_unstable();
            for (index, first) in leaving.iter().enumerate() {
                for seconds in [1, 5] {
                    let end = first.plus(Duration::from_secs(seconds));
                    let within = leaving[index..].iter().filter(|at| **at < end).count();
                    let most = u64::from(rate) * (seconds + 1) + 1;
                    prop_assert!(within as u64 <= most, "{} in {} s at {}/s", within, seconds, rate);
                }
            }
        }
    }
}
