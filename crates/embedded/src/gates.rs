//! Gates in memory: this process is the only one, and after a restart it finds out again.

use std::sync::PoisonError;

use async_trait::async_trait;
use hookyard_core::gate::{Gate, Passed, Step};
use hookyard_core::port::Gates;
use hookyard_core::{Fault, GateId, Timestamp};

use crate::store::Store;

#[async_trait]
impl Gates for Store {
    async fn gates(&self, now: Timestamp) -> Result<Vec<(GateId, Gate)>, Fault> {
        let mut gates = self.0.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.retain(|_, gate| !gate.is_ordinary(now));
        Ok(gates.iter().map(|(id, gate)| (*id, *gate)).collect())
    }

    async fn gate(&self, id: GateId) -> Result<Gate, Fault> {
        let gates = self.0.gates.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(gates.get(&id).copied().unwrap_or_default())
    }

    async fn steps(&self, id: GateId, steps: &[Step], now: Timestamp) -> Result<Passed, Fault> {
        let mut gates = self.0.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let gate = gates.entry(id).or_default();
        let passed = gate.steps(steps, now);
        *gate = passed.after;
        Ok(passed)
    }
}
