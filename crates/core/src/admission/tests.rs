use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::breaker::Breaker;
use super::streak::OVER_AFTER;
use super::*;
use crate::clock::Timestamp;

const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const SPACING: Duration = Duration::from_millis(500);
const ADMIT: Step = Step::Admit { limit: None, spacing: SPACING, has_slot: false };

/// From the first of the silences on, one a second, that open a breaker at `START`.
const SILENT_SINCE: Timestamp = Timestamp::from_millis(START.as_millis() - 19_000);

fn observe(news: News) -> Step {
    Step::Observe { news, is_probe: false, slow: false, hold_until: None, rule: BreakerRule::default() }
}

fn probed(news: News) -> Step {
    Step::Observe { news, is_probe: true, slow: false, hold_until: None, rule: BreakerRule::default() }
}

fn opened() -> Gate {
    let mut gate = Gate::default();
    for second in 0..20 {
        assert_eq!(gate.breaker(START), BreakerState::Closed);
        gate.step(observe(News::Silence), SILENT_SINCE.plus(Duration::from_secs(second)));
    }
    gate
}

#[test]
fn whoever_answers_is_never_left_alone() {
    let mut gate = Gate::default();
    for number in 0..10_000 {
        let now = START.plus(Duration::from_millis(50) * number);
        assert_eq!(gate.step(ADMIT, now), Pass::Go);
        gate.step(observe(News::Refusal), now);
    }
    assert_eq!(gate.breaker(START), BreakerState::Closed);
}

/// What processes tell the gate of attempts, of which most answers are not told.
fn tell(gate: &mut Gate, news: News, now: Timestamp) {
    if gate.awaits(news, now) {
        gate.step(observe(news), now);
    }
}

#[test]
fn a_busy_receiver_that_restarts_is_not_left_alone() {
    // A hundred a second; one in so many is silent, and for so many from the ninth second on all are.
    for (every, restarts_for) in [(900, 60), (50, 60), (10, 300), (3, 400), (100_000, 400)] {
        let mut gate = Gate::default();
        for number in 0..3_000_u64 {
            let is_silent = number % every == 0 || (930..930 + restarts_for).contains(&number);
            let now = START.plus(Duration::from_millis(10) * u32::try_from(number).expect("few"));
            tell(&mut gate, if is_silent { News::Silence } else { News::Success }, now);
            assert_eq!(gate.breaker(now), BreakerState::Closed, "{number} of one in {every}, {restarts_for} in a row");
        }
    }
}

#[test]
fn silence_opens_it_and_one_probe_finds_out_whether_it_lasts() {
    let mut gate = opened();
    let mut now = START;
    for length in OPEN_FOR.into_iter().chain([OPEN_FOR[3]]) {
        assert_eq!(gate.breaker(now), BreakerState::Open);
        assert!(matches!(gate.step(ADMIT, now), Pass::Later(slot) if slot > now.plus(length.min(HORIZON / 2))));
        now = now.plus(length);
        assert_eq!((gate.step(ADMIT, now), gate.breaker(now)), (Pass::Probe, BreakerState::HalfOpen));
        assert!(matches!(gate.step(ADMIT, now), Pass::Later(_)), "only one probes");
        let before = gate;
        gate.step(observe(News::Silence), now);
        assert_eq!(gate.breaker, before.breaker, "what left before it opened says nothing new");
        gate.step(probed(News::Silence), now);
    }
    // Long after the last slot that was given: nothing waits.
    now = now.plus(OPEN_FOR[3] * 2);
    assert_eq!(gate.step(ADMIT, now), Pass::Probe);
    gate.step(probed(News::Refusal), now);
    assert_eq!((gate.breaker(now), gate.step(ADMIT, now)), (BreakerState::Closed, Pass::Go), "it answers");
}

#[test]
fn an_operator_or_a_customer_says_when_it_opens_if_it_does() {
    let after = |silent_percent: u8, of_ten: u64| {
        let mut gate = Gate::default();
        let rule = BreakerRule { silent_percent, ..BreakerRule::default() };
        for number in 0..300_u64 {
            let news = if number % 10 < of_ten { News::Silence } else { News::Success };
            let now = START.plus(Duration::from_millis(100 * number));
            if gate.awaits(news, now) {
                gate.step(Step::Observe { news, is_probe: false, slow: false, hold_until: None, rule }, now);
            }
        }
        gate.breaker(START.plus(Duration::from_secs(30))) != BreakerState::Closed
    };
    assert!(after(95, 10) && !after(95, 8));
    assert!(after(75, 8) && !after(75, 5) && !after(75, 1));
    assert!(!after(0, 10), "never");
}

/// Probes that leave at once.
fn round(gate: &mut Gate, now: Timestamp) -> usize {
    (0..100).take_while(|_| gate.step(ADMIT, now) == Pass::Probe).count()
}

#[test]
fn probes_grow_while_they_are_answered() {
    let mut gate = opened();
    (0..1_000).for_each(|_| assert!(matches!(gate.step(ADMIT, START), Pass::Later(_))));
    let mut now = START.plus(OPEN_FOR[0]);
    for wanted in [1, 2, 4] {
        assert_eq!((round(&mut gate, now), gate.breaker(now)), (wanted, BreakerState::HalfOpen));
        now = now.plus(Duration::from_millis(100));
        (0..wanted).for_each(|_| assert!(matches!(gate.step(probed(News::Success), now), Pass::Learned(_))));
    }
    assert_eq!((gate.step(ADMIT, now), gate.breaker(now)), (Pass::Go, BreakerState::Closed));
    assert_eq!(gate.step(Step::Reserve { spacing: SPACING }, now), Pass::Later(now), "nobody queues behind what waited");

    let mut gate = opened();
    (0..1_000).for_each(|_| assert!(matches!(gate.step(ADMIT, START), Pass::Later(_))));
    let now = START.plus(OPEN_FOR[0]);
    assert_eq!(round(&mut gate, now), 1);
    gate.step(probed(News::Success), now);
    assert_eq!(round(&mut gate, now), 2);
    gate.step(probed(News::Silence), now);
    assert_eq!(gate.shut_until(now), Some(now.plus(OPEN_FOR[0])), "it answered before: the next opening is a first one");
}

#[test]
fn an_attempt_somebody_asked_for_lets_what_waits_see_for_itself() {
    let mut gate = opened();
    let again = START.plus(OPEN_FOR[0]);
    assert_eq!(gate.step(ADMIT, again), Pass::Probe);
    gate.step(probed(News::Silence), again);
    let (mut nothing_waits, soon, later) = (gate, again.plus(Duration::from_secs(1)), again.plus(Duration::from_secs(40)));
    gate.step(observe(News::Success), soon);
    assert_eq!(gate.breaker(soon), BreakerState::Open, "it was on its way when it opened");
    assert!(matches!(gate.step(ADMIT, later), Pass::Later(_)));
    gate.step(observe(News::Success), later);
    assert_eq!((gate.breaker(later), gate.step(ADMIT, later)), (BreakerState::HalfOpen, Pass::Probe));
    nothing_waits.step(observe(News::Success), later);
    assert_eq!(nothing_waits.breaker(later), BreakerState::Closed);
}

#[test]
fn a_probe_whose_process_died_is_followed_by_another() {
    let (mut gate, now) = (opened(), START.plus(OPEN_FOR[0]));
    assert_eq!(gate.step(ADMIT, now), Pass::Probe);
    let later = now.plus(PROBE_LEASE);
    assert_eq!(gate.step(ADMIT, later), Pass::Probe);
}

#[test]
fn nothing_lasts_longer_because_the_clock_was_set_back() {
    let hour = Duration::from_secs(3600);
    let gate = opened();
    let held = Step::Observe {
        news: News::Refusal,
        is_probe: false,
        slow: true,
        hold_until: Some(START.plus(Duration::from_secs(20))),
        rule: BreakerRule::default(),
    };
    let gate = gate.steps(&[held, ADMIT], START).after;
    let (back, soon) = (START.minus(hour), START.minus(hour).plus(OPEN_FOR[0]));
    assert_eq!((gate.breaker(back), gate.shut_until(back)), (BreakerState::Open, Some(back.plus(OPEN_FOR[0]))));
    let gate = gate.steps(&[ADMIT], back).after;
    assert_eq!((gate.breaker(back), gate.breaker(soon)), (BreakerState::Open, BreakerState::HalfOpen));
    assert!(gate.is_slow(back) && gate.is_left_alone(back) && !gate.is_left_alone(soon));
    let passed = gate.steps(&[ADMIT, ADMIT], soon);
    assert_eq!(passed.passes[0], Pass::Probe);
    assert!(matches!(passed.passes[1], Pass::Later(slot) if slot <= soon.plus(Duration::from_secs(10))), "{passed:?}");
    assert!(passed.after.is_ordinary(soon.plus(hour * 24 * 60)));
}

#[test]
fn a_probe_that_could_not_ask_makes_way_for_another() {
    let (mut gate, now) = (opened(), START.plus(OPEN_FOR[0]));
    assert_eq!(gate.step(ADMIT, now), Pass::Probe);
    gate.step(probed(News::Nothing), now);
    assert_eq!(gate.step(ADMIT, now), Pass::Probe);
}

fn learned(pass: Pass) -> (Option<BreakerState>, Option<Alarm>) {
    match pass {
        Pass::Learned(Learned { breaker, alarm }) => (breaker, alarm),
        pass => panic!("{pass:?}"),
    }
}

#[test]
fn moves_of_the_breaker_are_told_once() {
    let now = START.plus(OPEN_FOR[0]);
    let mut gate = Gate::default();
    for second in 0..22 {
        let opens = second == 19;
        let expected = (opens.then_some(BreakerState::Open), opens.then_some(Alarm::Failing));
        assert_eq!(learned(gate.step(observe(News::Silence), SILENT_SINCE.plus(Duration::from_secs(second)))), expected);
    }
    assert_eq!(gate.step(ADMIT, now), Pass::Probe);
    let mut mended = gate;
    assert_eq!(learned(gate.step(probed(News::Silence), now)), (Some(BreakerState::Open), None));
    assert_eq!(learned(mended.step(probed(News::Success), now)), (Some(BreakerState::Closed), Some(Alarm::Recovered)));
    assert_eq!(learned(mended.step(observe(News::Success), now)), (None, None));
}

#[test]
fn one_that_takes_nothing_for_long_is_warned_of_and_disabled() {
    let hour = Duration::from_secs(3600);
    let lose = Step::Lose { disable_after: Some(DISABLE_AFTER) };
    let mut gate = Gate::default();
    gate.step(observe(News::Refusal), START);
    let mut told = Vec::new();
    for hours in 1..=120 {
        let now = START.plus(hour * hours);
        if let (_, Some(alarm)) = learned(gate.step(lose, now)) {
            told.push((hours, alarm));
        }
        assert!(!gate.is_ordinary(now) && gate.awaits(News::Success, now));
    }
    let warning = Alarm::Warning { since: START, disabled_at: START.plus(DISABLE_AFTER) };
    assert_eq!(told, [(24, warning), (72, warning), (120, Alarm::Disable { since: START })]);
    let (mut never, mut few, mut mended) = (gate, Gate::default(), gate);
    assert_eq!(learned(never.step(Step::Lose { disable_after: None }, START.plus(hour * 200))), (None, None));
    few.step(observe(News::Refusal), START);
    assert!(matches!(learned(few.step(lose, START.plus(hour * 200))), (_, Some(Alarm::Warning { .. }))), "a single one");
    mended.step(observe(News::Success), START.plus(hour * 121));
    assert_eq!(learned(mended.step(lose, START.plus(hour * 122))), (None, None));
    assert!(gate.is_ordinary(START.plus(hour * 120).plus(OVER_AFTER)), "nothing is remembered for ever");
}

#[test]
fn what_was_on_its_way_when_it_opened_does_not_keep_it_open_longer() {
    let mut gate = opened();
    let before = gate;
    gate.step(observe(News::Silence), START.plus(Duration::from_secs(10)));
    assert_eq!(gate.breaker, before.breaker);
}

#[test]
fn what_waits_takes_slots_of_its_own_after_the_probe() {
    let mut gate = opened();
    let probe = START.plus(OPEN_FOR[0]);
    let ask = Step::Ask { limit: None, spacing: SPACING };
    let slots: Vec<Pass> = [ADMIT, ask, ask, ADMIT].map(|step| gate.step(step, START)).to_vec();
    assert_eq!(gate.step(ask, probe), Pass::Go, "who asks does not probe");
    assert_eq!((gate.step(ADMIT, probe), gate.breaker(probe)), (Pass::Probe, BreakerState::HalfOpen));
    let expected: Vec<Pass> = (1..5).map(|n| Pass::Later(probe.plus(SPACING * n))).collect();
    assert_eq!(slots, expected);
    let hold_until = Some(START.plus(Duration::from_secs(120)));
    let mut gate = Gate::default();
    gate.step(
        Step::Observe { news: News::Refusal, is_probe: false, slow: false, hold_until, rule: BreakerRule::default() },
        START,
    );
    assert_eq!(gate.step(ADMIT, START), Pass::Later(START.plus(Duration::from_secs(120))));
    assert!(gate.is_slow(START) && gate.shut_until(START) == hold_until);
}

#[test]
fn what_is_routed_while_it_is_open_comes_back_soon_after_and_not_at_once() {
    for length in OPEN_FOR {
        let breaker = Breaker::Open { since: START, until: START.plus(length), level: 0, ramp: None };
        let gate = Gate { breaker, ..Gate::default() };
        let mut back: BTreeMap<u64, usize> = BTreeMap::new();
        for second in 0..length.as_secs() {
            let now = START.plus(Duration::from_secs(second));
            let until = gate.detour_until(now).expect("it is shut");
            assert!(until >= START.plus(length) && until <= START.plus(length + Duration::from_secs(15)));
            *back.entry(until.since(START).as_secs()).or_default() += 1;
        }
        let most = back.values().max().expect("all come back");
        assert!(*most <= usize::try_from(length.as_secs() / 5).expect("short"), "{most} at once, of {length:?}");
        assert_eq!(gate.detour_until(START.plus(length)), None);
    }
}

#[test]
fn a_breaker_that_nobody_asks_for_days_is_forgotten() {
    let gate = opened();
    assert!(!gate.is_ordinary(START.plus(OVER_AFTER / 2)) && gate.is_ordinary(START.plus(OVER_AFTER)));
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

#[test]
fn what_stays_back_leaves_its_departure_to_another() {
    let interval = Duration::from_millis(100);
    let admit = Step::Admit { limit: Some(interval), spacing: interval, has_slot: true };
    let mut gate = Gate::default();
    for _ in 0..10 {
        assert_eq!(gate.step(admit, START), Pass::Go);
    }
    let full = gate;
    assert!(matches!(gate.step(admit, START), Pass::GoAt(_)));
    let mut gate = full;
    gate.step(Step::StayBack { interval }, START);
    assert_eq!(gate.step(admit, START), Pass::Go);
}

fn any_step() -> impl Strategy<Value = Step> {
    let ms = (0_u64..5_000).prop_map(Duration::from_millis);
    prop_oneof![
        (prop::option::of(ms.clone()), ms.clone(), any::<bool>()).prop_map(|(limit, spacing, has_slot)| Step::Admit {
            limit,
            spacing,
            has_slot
        }),
        (prop::option::of(ms.clone()), ms.clone()).prop_map(|(limit, spacing)| Step::Ask { limit, spacing }),
        ms.prop_map(|spacing| Step::Reserve { spacing }),
        (0_u64..100_000).prop_map(|ms| Step::Lose { disable_after: Some(Duration::from_millis(ms)) }),
        (0..4_usize, any::<bool>(), any::<bool>(), prop::option::of(0_u64..100_000)).prop_map(|(news, is_probe, slow, hold)| {
            Step::Observe {
                news: [News::Success, News::Refusal, News::Silence, News::Nothing][news],
                is_probe,
                slow,
                hold_until: hold.map(|ms| START.plus(Duration::from_millis(ms))),
                rule: BreakerRule::default(),
            }
        }),
    ]
}

proptest! {
    #[test]
    fn a_gate_is_read_back_as_it_was_written_and_passes_only_what_may(steps in prop::collection::vec((any_step(), 0_u64..20_000), 1..80)) {
        let (mut gate, mut now) = (Gate::default(), START);
        for (step, pause) in steps {
            now = now.plus(Duration::from_millis(pause));
            let before = gate;
            let pass = gate.step(step, now);
            prop_assert_eq!(gate.to_string().parse::<Gate>(), Ok(gate));
            match pass {
                Pass::Later(at) => prop_assert!(at >= now && at <= now.plus(HORIZON)),
                Pass::GoAt(at) => prop_assert!(at > now && at <= now.plus(SOON) && before.breaker(now) == BreakerState::Closed),
                Pass::Probe => {
                    prop_assert_eq!(before.shut_until(now), None);
                    // No more probes than a round has.
                    prop_assert!(before.breaker(now) == BreakerState::HalfOpen);
                    let Breaker::Open { ramp: Some(ramp), .. } = gate.breaker else { panic!("a probe is out") };
                    prop_assert!(ramp.left <= ramp.most && ramp.answered < ramp.most && ramp.most < 8, "{:?}", ramp);
                }
                Pass::Learned(Learned { breaker, .. }) => {
                    let is_moved = before.breaker(now) != gate.breaker(now);
                    prop_assert!(breaker.is_none() || is_moved || breaker == Some(BreakerState::Open), "{:?}", breaker);
                }
                Pass::Go => {
                    if matches!(step, Step::Admit { .. }) {
                        prop_assert_eq!(before.breaker(now), BreakerState::Closed);
                        prop_assert!(before.hold_until <= now);
                    }
                }
            }
        }
        gate.step(observe(News::Success), now.plus(HORIZON * 2));
        let later = now.plus(HORIZON * 4);
        prop_assert!(!gate.awaits(News::Success, later) && gate.is_ordinary(later));
    }

    #[test]
    fn no_window_holds_more_than_a_burst_above_the_rate(
        asks in prop::collection::vec((0_u64..300, 0_u64..8_000), 1..400),
        rate in 1_u32..3_000,
        asked_at_once in 1..20_usize,
    ) {
        let interval = Duration::from_secs(1) / rate;
        let (mut gate, mut now, mut leaving) = (Gate::default(), START, Vec::new());
        // Who comes when, and whether for a slot of its own; whoever waited comes late, but in the order of the slots.
        let mut coming = BTreeMap::new();
        for (pause, _) in &asks {
            now = now.plus(Duration::from_millis(*pause));
            *coming.entry((now, false)).or_insert(0) += asked_at_once;
        }
        let mut late = asks.iter().map(|(_, late)| Duration::from_millis(*late)).cycle();
        let mut moves = 0;
        while let Some(((at, has_slot), count)) = coming.pop_first() {
            now = at;
            for _ in 0..count {
                moves += 1;
                match gate.step(Step::Admit { limit: Some(interval), spacing: SPACING, has_slot }, now) {
                    Pass::Go => leaving.push(now),
                    Pass::GoAt(at) => leaving.push(at),
                    Pass::Later(at) if at < now.plus(HORIZON) => {
                        let comes = at.max(now.plus(late.next().unwrap_or_default()));
                        *coming.entry((comes, true)).or_insert(0) += 1;
                    }
                    _ => {}
                }
            }
            prop_assert!(moves < 100_000, "it ends");
        }
        leaving.sort_unstable();
        for (index, first) in leaving.iter().enumerate() {
            for seconds in [1, 5] {
                let end = first.plus(Duration::from_secs(seconds));
                let within = leaving[index..].partition_point(|at| *at < end);
                let most = u64::from(rate) * (seconds + 1) + u64::from(rate / 100) + 2;
                prop_assert!(within as u64 <= most, "{} in {} s at {}/s", within, seconds, rate);
            }
        }
    }

    #[test]
    fn a_rate_is_reached_also_when_many_ask_at_once(rate in 1_u32..20_000) {
        let interval = Duration::from_secs(1) / rate;
        let (mut gate, asks) = (Gate::default(), rate * 3);
        let mut last = START;
        for _ in 0..asks {
            if let Pass::Later(at) = gate.step(Step::Admit { limit: Some(interval), spacing: SPACING, has_slot: false }, START) {
                last = last.max(at);
            }
        }
        // The first second's are the burst.
        let took = last.since(START);
        prop_assert!(took <= Duration::from_millis(2_002) && took >= Duration::from_millis(1_900), "{:?}", took);
    }
}
