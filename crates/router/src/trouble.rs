//! The endpoints in trouble, as last read: their deliveries take another way from the start.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hookyard_core::port::Gates;
use hookyard_core::{Clock, KnownGates};
use tokio_util::sync::CancellationToken;

/// How often the gates are read. What is routed meanwhile to an endpoint whose trouble began, its dispatcher diverts.
const READ_EVERY: Duration = Duration::from_secs(1);

/// The endpoints in trouble.
#[derive(Default)]
pub struct Trouble(Mutex<Arc<KnownGates>>);

impl Trouble {
    /// As they are known.
    pub fn gates(&self) -> Arc<KnownGates> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the gates each second, until `stop`.
    pub async fn follow(self: Arc<Self>, gates: Arc<dyn Gates>, clock: Arc<dyn Clock>, stop: CancellationToken) {
        loop {
            match gates.gates(clock.now()).await {
                Ok(found) => *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(found.into_iter().collect()),
                Err(fault) => tracing::debug!(error = fault.chain(), "the gates cannot be read; the last known ones count"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(READ_EVERY) => {}
            }
        }
    }
}
