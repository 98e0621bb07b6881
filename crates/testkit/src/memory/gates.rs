//! Gates in memory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use hookyard_core::admission::{Gate, Mark, Passed, Reading, Step};
use hookyard_core::port::Gates;
use hookyard_core::{Fault, GateId, Timestamp};

/// The gates.
#[derive(Default)]
pub struct MemoryGates(Mutex<HashMap<GateId, Gate>>);

#[async_trait]
impl Gates for MemoryGates {
    async fn changed(&self, _: Option<Mark>, now: Timestamp) -> Result<Reading, Fault> {
        let gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gates = gates.iter().filter(|(_, gate)| !gate.is_ordinary(now)).map(|(id, gate)| (*id, *gate)).collect();
        Ok(Reading { mark: None, is_whole: true, gates })
    }

    async fn gates(&self, ids: &[GateId]) -> Result<Vec<Gate>, Fault> {
        let gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(ids.iter().map(|id| gates.get(id).copied().unwrap_or_default()).collect())
    }

    async fn steps(&self, id: GateId, steps: &[Step], now: Timestamp) -> Result<Passed, Fault> {
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gate = gates.entry(id).or_default();
        let passed = gate.steps(steps, now);
        *gate = passed.after;
        Ok(passed)
    }
}
