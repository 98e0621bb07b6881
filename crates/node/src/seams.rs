//! What tests may exchange: time, randomness, names, steps. Production's own are here, and nowhere else.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use hookyard_core::step::{NoTripwire, Tripwire};
use hookyard_core::{Clock, Entropy, Timestamp};
use hookyard_egress::{LookUp, SystemLookUp};
use hookyard_telemetry::Traces;
use prometheus::Registry;
use ring::rand::{SecureRandom as _, SystemRandom};

/// The machine's clock, and its timers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// When this process first asked.
static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one home of the wall clock")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        BEGUN.elapsed()
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// The operating system's generator.
#[derive(Clone, Debug)]
pub struct SystemEntropy(SystemRandom);

impl Default for SystemEntropy {
    fn default() -> Self {
        Self(SystemRandom::new())
    }
}

impl Entropy for SystemEntropy {
    /// # Panics
    /// When the operating system gives no random bytes: nothing can be signed or sealed then.
    fn fill(&self, buffer: &mut [u8]) {
        self.0.fill(buffer).expect("the operating system gives random bytes");
    }
}

/// Everything a process takes from outside that is neither broker nor store.
#[derive(Clone)]
pub struct Seams {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Host names of receivers.
    pub look_up: Arc<dyn LookUp>,
    /// Told of every step.
    pub tripwire: Arc<dyn Tripwire>,
    /// Where metrics are declared.
    pub registry: Registry,
    /// Who makes spans.
    pub traces: Traces,
}

impl Default for Seams {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy::default()),
            look_up: Arc::new(SystemLookUp),
            tripwire: Arc::new(NoTripwire),
            registry: Registry::new(),
            traces: Traces::default(),
        }
    }
}
