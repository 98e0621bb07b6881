//! Gates in memory: this process is the only one, and after a restart it finds out again.

use std::sync::PoisonError;

use async_trait::async_trait;
use hookyard_core::gate::{Gate, Pass, Step};
use hookyard_core::port::Gates;
use hookyard_core::{EndpointId, Fault, Timestamp};

use crate::store::Store;

#[async_trait]
impl Gates for Store {
    async fn gates(&self, now: Timestamp) -> Result<Vec<(EndpointId, Gate)>, Fault> {
        let mut gates = self.0.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.retain(|_, gate| !gate.is_ordinary(now));
        Ok(gates.iter().map(|(endpoint, gate)| (*endpoint, *gate)).collect())
    }

    async fn step(&self, endpoint: EndpointId, step: Step, now: Timestamp) -> Result<(Pass, Gate), Fault> {
        let mut gates = self.0.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let gate = gates.entry(endpoint).or_default();
        let pass = gate.step(step, now);
        Ok((pass, *gate))
    }
}
