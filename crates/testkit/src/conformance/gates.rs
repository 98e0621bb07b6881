//! The suite of [`hookyard_core::port::Gates`]. What a step does is core's; here it is that each happens once, for everybody.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use hookyard_core::admission::{BreakerRule, Follower, Gate, KnownGates, LEAST_JUDGED, News, OPEN_FOR, Pass, Step};
use hookyard_core::port::Gates;
use hookyard_core::{BreakerState, Clock, EndpointId, GateId, Timestamp};

use super::suite;
use crate::StepClock;

suite! { $ each_promise_of_gates: gates on GatesBackend,
    a_gate_is_everybodys_and_only_what_is_not_ordinary_is_listed,
    who_follows_knows_what_who_reads_all_knows,
    of_many_who_ask_at_once_one_probes_and_each_other_has_a_slot_of_its_own,
}

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const SPACING: Duration = Duration::from_millis(100);
const ADMIT: Step = Step::Admit { limit: None, spacing: SPACING, has_slot: false };

/// A backend of the gates.
pub trait GatesBackend: Send + Sync {
    /// The gates, as one process sees them.
    fn gates(&self) -> Arc<dyn Gates>;
}

fn endpoint(number: u8) -> GateId {
    EndpointId::from_bytes([number; 20]).into()
}

async fn observe(gates: &dyn Gates, endpoint: GateId, news: News, now: Timestamp) {
    let step = Step::Observe { news, is_probe: false, slow: false, hold_until: None, rule: BreakerRule::default() };
    gates.steps(endpoint, &[step], now).await.expect("observed");
}

/// Opens a breaker at `NOW`, by what two processes find out.
async fn open(gates: [&dyn Gates; 2], endpoint: GateId) {
    for silent in (0..LEAST_JUDGED).rev() {
        let at = NOW.minus(Duration::from_secs(u64::from(silent)));
        observe(gates[usize::from(silent % 2 == 0)], endpoint, News::Silence, at).await;
    }
}

async fn a_gate_is_everybodys_and_only_what_is_not_ordinary_is_listed(backend: &dyn GatesBackend) {
    let (one, other) = (backend.gates(), backend.gates());
    assert_eq!(listed(&*one, NOW).await, []);
    observe(&*one, endpoint(1), News::Success, NOW).await;
    assert_eq!(listed(&*one, NOW).await, [], "a success is ordinary");
    open([&*one, &*other], endpoint(1)).await;
    for gates in [&one, &other] {
        let found = listed(&**gates, NOW).await;
        assert!(matches!(&found[..], [(id, gate)] if *id == endpoint(1) && gate.breaker(NOW) == BreakerState::Open), "{found:?}");
    }
    let passed = other.steps(endpoint(2), &[ADMIT], NOW).await.expect("answered");
    assert_eq!(passed.passes, [Pass::Go], "another endpoint has its own");
    let found = one.gates(&[endpoint(1), endpoint(2)]).await.expect("answered");
    assert_eq!(found.iter().map(|gate| gate.breaker(NOW)).collect::<Vec<_>>(), [BreakerState::Open, BreakerState::Closed]);
    assert_eq!(one.gates(&[]).await.expect("answered"), []);
    observe(&*other, endpoint(1), News::Success, NOW.plus(OPEN_FOR[0])).await;
    assert_eq!(listed(&*one, NOW.plus(OPEN_FOR[0])).await, []);
}

async fn who_follows_knows_what_who_reads_all_knows(backend: &dyn GatesBackend) {
    let (one, other) = (backend.gates(), backend.gates());
    let (mut follower, mut known, clock) = (Follower::default(), KnownGates::new(), StepClock::at(NOW));
    for turn in 0..240_u8 {
        // Some are silent for long enough to open, some recover, and some turns nothing happens.
        if turn % 4 < 3 {
            let news = if turn % 7 == 6 { News::Success } else { News::Silence };
            observe(if turn % 2 == 0 { &*one } else { &*other }, endpoint(turn % 5), news, clock.now()).await;
        }
        clock.step(Duration::from_secs(2));
        let now = clock.now();
        follower.read(&*one, &clock).await.expect("answered").note(&mut known, now);
        let mut listing: Vec<_> = known.iter().map(|(id, gate)| (*id, *gate)).collect();
        listing.sort_unstable_by_key(|(id, _)| *id);
        assert_eq!(listing, listed(&*other, now).await, "after turn {turn}");
    }
    assert!(!known.is_empty());
}

/// Those that are not ordinary, in order.
async fn listed(gates: &dyn Gates, now: Timestamp) -> Vec<(GateId, Gate)> {
    let reading = gates.changed(None, now).await.expect("answered");
    assert!(reading.is_whole, "nothing is left out for who knows nothing");
    let mut gates = reading.gates;
    gates.sort_unstable_by_key(|(id, _)| *id);
    gates
}

async fn of_many_who_ask_at_once_one_probes_and_each_other_has_a_slot_of_its_own(backend: &dyn GatesBackend) {
    let gates = [backend.gates(), backend.gates()];
    open([&*gates[0], &*gates[1]], endpoint(1)).await;
    let now = NOW.plus(OPEN_FOR[0]);
    let answers = join_all((0..10).map(|turn| gates[turn % 2].steps(endpoint(1), &[ADMIT; 2], now))).await;
    let passes: Vec<Pass> = answers.into_iter().flat_map(|answer| answer.expect("answered").passes).collect();
    assert_eq!(passes.iter().filter(|pass| **pass == Pass::Probe).count(), 1, "{passes:?}");
    let mut slots: Vec<Timestamp> =
        passes.iter().filter_map(|pass| if let Pass::Later(at) = pass { Some(*at) } else { None }).collect();
    slots.sort_unstable();
    assert_eq!(slots.len(), 19);
    assert!(slots.windows(2).all(|pair| pair[1] >= pair[0].plus(SPACING)), "{slots:?}");
}
