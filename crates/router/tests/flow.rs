//! The way of events, stepped: minutes of it in moments, on ports in memory.

#![expect(clippy::disallowed_methods, reason = "tests start what they like: what panics fails them")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hookyard_core::admission::{BreakerRule, LEAST_JUDGED, News, OPEN_FOR, Step};
use hookyard_core::port::{Deliveries, Directory as _, Events as _, Expect, Gates as _, Written};
use hookyard_core::step::{NoTripwire, Step as Reached, Tripwire};
use hookyard_core::{AppRef, Application, Clock as _, Endpoint, Event, Lane};
use hookyard_router::{Router, Seams};
use hookyard_telemetry::{Metrics, Traces};
use hookyard_testkit::memory::{MemoryBroker, MemoryDirectory, MemoryGates, MemoryJournal};
use hookyard_testkit::{Builders, PausedClock};
use tokio_util::sync::CancellationToken;

struct Stage {
    clock: PausedClock,
    make: Builders,
    broker: MemoryBroker,
    directory: Arc<MemoryDirectory>,
    gates: Arc<MemoryGates>,
    stop: CancellationToken,
}

impl Stage {
    fn start(seed: u64) -> Self {
        Self::with(seed, Arc::new(NoTripwire))
    }

    fn with(seed: u64, tripwire: Arc<dyn Tripwire>) -> Self {
        let clock = PausedClock::default();
        let shared: Arc<PausedClock> = Arc::new(clock.clone());
        let make = Builders::new(Arc::clone(&shared) as _, seed);
        let broker = MemoryBroker::new(Arc::clone(&shared) as _);
        let (directory, gates, stop) =
            (Arc::<MemoryDirectory>::default(), Arc::<MemoryGates>::default(), CancellationToken::new());
        let seams = Seams {
            events: Arc::new(broker.clone()),
            directory: Arc::clone(&directory) as _,
            catalog: Arc::clone(&directory) as _,
            gates: Arc::clone(&gates) as _,
            journal: Arc::new(MemoryJournal::new(Arc::clone(&shared) as _, Duration::from_secs(3600 * 24))),
            clock: shared,
            entropy: Arc::clone(&make.entropy) as _,
            metrics: Metrics::unregistered(),
            traces: Traces::default(),
            tripwire,
        };
        tokio::spawn(Router::new(seams).run(stop.clone()));
        Self { clock, make, broker, directory, gates, stop }
    }

    async fn app_with_endpoint(&self) -> (Application, Endpoint) {
        let app = self.make.app();
        assert!(matches!(self.directory.put_app(&app, Expect::New).await, Ok(Written::Done(_))));
        let endpoint = self.make.endpoint(app.id);
        assert!(matches!(self.directory.put_endpoint(&endpoint, Expect::New).await, Ok(Written::Done(_))));
        (app, endpoint)
    }

    async fn publish(&self, app: &Application) {
        let event = Event { app: AppRef::Id(app.id), ..self.make.event() };
        self.broker.accept(&event).await.expect("accepted");
    }
}

/// Panics in the first batches that are fanned out.
struct Defect(AtomicUsize);

impl Tripwire for Defect {
    fn reached(&self, step: Reached) {
        let left = |left: usize| left.checked_sub(1);
        let is_sound = step != Reached::FanOutDone || self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_err();
        assert!(is_sound, "the defect of this test");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_panics_comes_again_with_all_its_events() {
    // Of the panics of one event the others of its batch have as many: far fewer than what sets an event aside.
    let stage = Stage::with(3, Arc::new(Defect(AtomicUsize::new(5))));
    let (app, _) = stage.app_with_endpoint().await;
    for _ in 0..20 {
        stage.publish(&app).await;
    }
    stage.clock.sleep(Duration::from_secs(60)).await;
    assert_eq!((stage.broker.events_waiting(), stage.broker.take_rejected().len()), (0, 0));
    stage.stop.cancel();
    stage.clock.sleep(Duration::from_secs(600)).await;
    stage.broker.restart();
    assert_eq!(stage.broker.events_waiting(), 0, "every event is through, and none is held");
}

#[tokio::test(start_paused = true)]
async fn on_a_store_that_was_emptied_events_wait_and_none_is_given_up() {
    let stage = Stage::start(1);
    let (app, _) = stage.app_with_endpoint().await;
    stage.publish(&app).await;
    stage.clock.sleep(Duration::from_secs(1)).await;
    assert_eq!((stage.broker.events_waiting(), stage.broker.deliveries_waiting()), (0, 1));
    stage.directory.empty();
    for _ in 0..50 {
        stage.publish(&app).await;
    }
    // Longer than claims may be held, many times over: they go back and come again, and that counts as no failure.
    stage.clock.sleep(Duration::from_secs(4 * 3600)).await;
    assert_eq!((stage.broker.deliveries_waiting(), stage.broker.take_rejected().len()), (1, 0));
    stage.stop.cancel();
    stage.clock.sleep(Duration::from_secs(600)).await;
    stage.broker.restart();
    assert_eq!(stage.broker.events_waiting(), 50, "all of them are there");
}

#[tokio::test(start_paused = true)]
async fn what_is_for_an_endpoint_that_is_left_alone_comes_by_after_its_pause() {
    let stage = Stage::start(2);
    let (app, endpoint) = stage.app_with_endpoint().await;
    for _ in 0..LEAST_JUDGED {
        let (news, rule) = (News::Silence, BreakerRule::default());
        let silent = Step::Observe { news, is_probe: false, slow: false, hold_until: None, rule };
        stage.gates.steps(endpoint.id.into(), &[silent], stage.clock.now()).await.expect("told");
        stage.clock.sleep(Duration::from_secs(1)).await;
    }
    let opened = stage.clock.monotonic();
    for _ in 0..20 {
        stage.publish(&app).await;
        stage.clock.sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(stage.broker.deliveries_waiting(), 20);
    let (mut back, mut first) = (Vec::new(), None);
    while back.len() < 20 {
        back.extend(Deliveries::claim(&stage.broker, Lane::Slow, 100).await.expect("claimed"));
        first.get_or_insert_with(|| stage.clock.monotonic().saturating_sub(opened));
    }
    let (first, last) = (first.expect("there were some"), stage.clock.monotonic().saturating_sub(opened));
    assert!(first >= OPEN_FOR[0].saturating_sub(Duration::from_secs(1)), "{first:?}");
    assert!(last <= OPEN_FOR[0] + Duration::from_secs(15), "{last:?}");
    stage.stop.cancel();
}
