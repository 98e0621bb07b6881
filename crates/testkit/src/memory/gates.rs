//! Gates in memory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use hookyard_core::gate::{Gate, Pass, Step};
use hookyard_core::port::Gates;
use hookyard_core::{EndpointId, Fault, Timestamp};

/// The gates.
#[derive(Default)]
pub struct MemoryGates(Mutex<HashMap<EndpointId, Gate>>);

#[async_trait]
impl Gates for MemoryGates {
    async fn gates(&self, now: Timestamp) -> Result<Vec<(EndpointId, Gate)>, Fault> {
        let gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(gates.iter().filter(|(_, gate)| !gate.is_ordinary(now)).map(|(endpoint, gate)| (*endpoint, *gate)).collect())
    }

    async fn step(&self, endpoint: EndpointId, step: Step, now: Timestamp) -> Result<(Pass, Gate), Fault> {
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gate = gates.entry(endpoint).or_default();
        let pass = gate.step(step, now);
        Ok((pass, *gate))
    }
}
