//! A clock that stands still, randomness that repeats itself, and things to work with.
//!
//! The things are ordinary values: where a default does not fit, `Event { data, ..make.event() }` says what matters to the test.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hookyard_core::journal::{AttemptRecord, Shown};
use hookyard_core::signature::Secret;
use hookyard_core::{
    AppId, AppRef, Application, AttemptClass, AttemptResult, Clock, Delivery, Endpoint, EndpointId, EndpointSecret, Entropy,
    Event, EventId, Message, MessageId, Outcome, PastAttempt, Timestamp,
};
use tokio::sync::watch;
use tokio::time::Instant;

/// A clock that moves only when it is told to. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct StepClock(Arc<watch::Sender<Hands>>);

/// What a clock shows.
#[derive(Clone, Copy, Debug)]
struct Hands {
    moment: Timestamp,
    monotonic: Duration,
}

impl StepClock {
    /// Where a new clock stands: 2023-11-14T22:13:20Z, less than two hours before midnight.
    pub const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    /// A clock that stands at `moment`.
    pub fn at(moment: Timestamp) -> Self {
        Self(Arc::new(watch::Sender::new(Hands { moment, monotonic: Duration::ZERO })))
    }

    /// So much time passes.
    pub fn step(&self, by: Duration) {
        self.0.send_modify(|hands| {
            *hands = Hands { moment: hands.moment.plus(by), monotonic: hands.monotonic + by };
        });
    }
}

impl Default for StepClock {
    fn default() -> Self {
        Self::at(Self::START)
    }
}

#[async_trait]
impl Clock for StepClock {
    fn now(&self) -> Timestamp {
        self.0.borrow().moment
    }

    fn monotonic(&self) -> Duration {
        self.0.borrow().monotonic
    }

    async fn sleep(&self, time: Duration) {
        let (mut hands, until) = (self.0.subscribe(), self.monotonic().saturating_add(time));
        // The sender lives as long as this clock.
        hands.wait_for(|hands| hands.monotonic >= until).await.ok();
    }
}

/// The clock of a runtime whose time is paused: it moves on to the next timer when no task has anything left to do. A correction
/// moves what it shows, and no timer. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct PausedClock {
    begun: Instant,
    corrected_by: Arc<AtomicI64>,
}

impl Default for PausedClock {
    /// At [`StepClock::START`].
    fn default() -> Self {
        Self { begun: Instant::now(), corrected_by: Arc::default() }
    }
}

impl PausedClock {
    /// Sets it by so many milliseconds, back if they are below zero.
    pub fn correct(&self, millis: i64) {
        self.corrected_by.fetch_add(millis, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        let shown = StepClock::START.plus(self.monotonic());
        Timestamp::from_millis(shown.as_millis() + self.corrected_by.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        self.begun.elapsed()
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// The same bytes from the same seed, asked in the same order. For tests only: anybody can foretell them.
#[derive(Debug)]
pub struct SeededEntropy(AtomicU64);

impl SeededEntropy {
    /// The sequence of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// SplitMix64: every seed gives a full period, and one addition is all that threads share.
    fn next(&self) -> u64 {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(GOLDEN, Ordering::Relaxed).wrapping_add(GOLDEN);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_be_bytes()[..chunk.len()]);
        }
    }
}

/// Makes things with sensible defaults, each with an id of its own.
#[derive(Clone)]
pub struct Builders {
    /// Their moments.
    pub clock: Arc<dyn Clock>,
    /// Their ids.
    pub entropy: Arc<SeededEntropy>,
    made: Arc<AtomicU64>,
}

impl Builders {
    /// Things of `clock`'s moments, with ids from `seed`. Builders of one world need different seeds.
    pub fn new(clock: Arc<dyn Clock>, seed: u64) -> Self {
        Self { clock, entropy: Arc::new(SeededEntropy::new(seed)), made: Arc::default() }
    }

    /// An application without a uid, not yet stored.
    pub fn app(&self) -> Application {
        let now = self.clock.now();
        Application {
            id: AppId::new(now, &*self.entropy),
            uid: None,
            name: format!("application {}", self.number()),
            disabled: false,
            throttle_rate: None,
            metadata: BTreeMap::new(),
            created_at: now,
            updated_at: now,
            revision: 0,
        }
    }

    /// An endpoint of `app` that wants everything, not yet stored.
    pub fn endpoint(&self, app: AppId) -> Endpoint {
        let (now, number) = (self.clock.now(), self.number());
        Endpoint {
            id: self.endpoint_id(),
            app,
            uid: None,
            url: format!("https://receiver-{number}.example/hooks"),
            name: format!("endpoint {number}"),
            description: String::new(),
            event_types: Vec::new(),
            channels: Vec::new(),
            disabled: false,
            headers: BTreeMap::new(),
            api_key: None,
            secrets: vec![EndpointSecret { secret: Secret::generate(&*self.entropy), expires_at: None }],
            body_format: None,
            retry_schedule: None,
            timeout: None,
            max_age: None,
            throttle_rate: None,
            max_in_flight: None,
            breaker_percent: None,
            metadata: BTreeMap::new(),
            created_at: now,
            updated_at: now,
            revision: 0,
        }
    }

    /// The id of some endpoint.
    pub fn endpoint_id(&self) -> EndpointId {
        EndpointId::new(self.clock.now(), &*self.entropy)
    }

    /// `user.created` for the application `default`, with an id and data of its own.
    ///
    /// # Panics
    /// Never: the names are valid.
    pub fn event(&self) -> Event {
        let (now, number) = (self.clock.now(), self.number());
        Event {
            app: AppRef::Uid(AppRef::DEFAULT_UID.parse().expect("a uid")),
            id: EventId::parse(&format!("event-{number}-{:016x}", self.entropy.next())),
            message_id: None,
            event_type: "user.created".parse().expect("an event type"),
            channels: Vec::new(),
            time: Arc::from(now.to_string()),
            context: None,
            content_type: Arc::from("application/json"),
            data: Bytes::from(format!("{{\"number\": {number}}}")),
            traceparent: None,
            accepted_at: now,
            data_kept: None,
            tags: Vec::new(),
        }
    }

    /// An event of `app` with its identity fixed.
    pub fn message(&self, app: AppId) -> Message {
        self.message_of(app, self.event())
    }

    /// `event` with its identity fixed, of the moment of its acceptance.
    pub fn message_of(&self, app: AppId, event: Event) -> Message {
        let id = MessageId::new(event.accepted_at, &*self.entropy);
        Message { id, app, event: Arc::new(Event { app: AppRef::Id(app), ..event }) }
    }

    /// A first delivery of an event of `app`.
    pub fn delivery(&self, app: AppId) -> Delivery {
        Delivery::routed(Arc::new(self.message(app)), self.endpoint_id(), false)
    }

    /// The record of the attempt that `delivery` asks for: answered with `status` at once, and what followed.
    pub fn attempt(&self, delivery: &Delivery, status: u16, outcome: Outcome) -> AttemptRecord {
        let url = format!("https://receiver-{}.example/hooks", self.number());
        let headers = vec![("webhook-id".to_owned(), delivery.message.id.to_string())];
        AttemptRecord::new(delivery, Shown { url, headers }, answered(status, delivery.due), outcome)
    }

    fn number(&self) -> u64 {
        self.made.fetch_add(1, Ordering::Relaxed)
    }
}

/// A receiver's answer with this status after 30 ms.
pub fn answered(status: u16, started_at: Timestamp) -> AttemptResult {
    let class = AttemptClass::of_status(status);
    let result = AttemptResult::without_response(class, started_at, Duration::from_millis(30));
    AttemptResult { status: Some(status), response: Bytes::from(format!("answer {status}")), ..result }
}

/// What a delivery remembers of such an answer.
pub fn remembered(status: u16, at: Timestamp) -> PastAttempt {
    PastAttempt { class: AttemptClass::of_status(status), status: Some(status), at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_clock_moves_for_everybody_and_only_when_told() {
        let clock = StepClock::default();
        let same = clock.clone();
        assert_eq!(same.now(), StepClock::START);
        clock.step(Duration::from_millis(1_500));
        assert_eq!(same.now().since(StepClock::START), Duration::from_millis(1_500));
    }

    #[test]
    fn a_seed_repeats_itself_and_seeds_differ() {
        let bytes = |seed| {
            let mut bytes = [0; 20];
            SeededEntropy::new(seed).fill(&mut bytes);
            bytes
        };
        assert_eq!(bytes(1), bytes(1));
        assert_ne!(bytes(1), bytes(2));
        let entropy = SeededEntropy::new(3);
        assert!((0..1_000).all(|_| entropy.below(7) < 7));
    }

    #[test]
    fn things_have_ids_of_their_own_and_repeat_from_run_to_run() {
        let run = || {
            let make = Builders::new(Arc::new(StepClock::default()), 1);
            let app = make.app();
            (app.id, make.endpoint(app.id).id, make.message(app.id), make.message(app.id))
        };
        let (first, second) = (run(), run());
        assert_eq!(first, second);
        assert_ne!(first.2, first.3);
    }
}
