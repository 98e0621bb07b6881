//! How long to wait before the next session. The one place that names the crate `backoff`.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;
use hookyard_core::Entropy;

/// First wait.
const FIRST: Duration = Duration::from_millis(200);
/// Longest wait: an operator who repaired the broker does not want to wait longer.
const LONGEST: Duration = Duration::from_secs(15);

/// Waits that grow, with jitter of our own so that tests can fix it; never gives up.
pub struct Reconnect(ExponentialBackoff);

impl Reconnect {
    /// From the shortest wait.
    pub fn new() -> Self {
        let backoff = ExponentialBackoff {
            initial_interval: FIRST,
            current_interval: FIRST,
            randomization_factor: 0.0,
            max_interval: LONGEST,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Self(backoff)
    }

    /// The next wait: half of the interval for certain, the other half by chance.
    pub fn next(&mut self, entropy: &dyn Entropy) -> Duration {
        let interval = self.0.next_backoff().unwrap_or(LONGEST);
        interval.mul_f64(0.5 + entropy.fraction() / 2.0)
    }

    /// A session lived: begin again from the shortest.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}
