//! The endpoints in trouble, as last read: their deliveries take another way from the start.

use std::sync::{Arc, Mutex, PoisonError};

use hookyard_core::Clock;
use hookyard_core::admission::{Follower, KnownGates, READ_EVERY};
use hookyard_core::port::Gates;
use tokio_util::sync::CancellationToken;

/// The endpoints in trouble.
#[derive(Default)]
pub struct Trouble(Mutex<Arc<KnownGates>>);

impl Trouble {
    /// As they are known.
    pub fn gates(&self) -> Arc<KnownGates> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the gates each second, until `stop`. What is routed meanwhile to an endpoint whose trouble began, its dispatcher diverts.
    pub async fn follow(self: Arc<Self>, gates: Arc<dyn Gates>, clock: Arc<dyn Clock>, stop: CancellationToken) {
        let mut follower = Follower::default();
        loop {
            let now = clock.now();
            match follower.read(&*gates, &*clock).await {
                Ok(reading) if reading.is_whole || !reading.gates.is_empty() => {
                    reading.note(Arc::make_mut(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)), now);
                }
                Ok(_) => {}
                Err(fault) => tracing::debug!(error = fault.chain(), "the gates cannot be read; the last known ones count"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = clock.sleep(READ_EVERY) => {}
            }
        }
    }
}
