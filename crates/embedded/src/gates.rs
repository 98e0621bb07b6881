//! Gates in memory: this process is the only one. What was learned of endpoints is written down for the next; slots are not.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use hookyard_core::admission::{Gate, Mark, Passed, Reading, Step};
use hookyard_core::port::Gates;
use hookyard_core::{Fault, GateId, Timestamp};

use rusqlite::Connection;

use crate::store::{Inner, Store};

#[async_trait]
impl Gates for Store {
    async fn changed(&self, _: Option<Mark>, now: Timestamp) -> Result<Reading, Fault> {
        let mut gates = self.0.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.retain(|_, gate| !gate.is_ordinary(now));
        Ok(Reading { mark: None, is_whole: true, gates: gates.iter().map(|(id, gate)| (*id, *gate)).collect() })
    }

    async fn gates(&self, ids: &[GateId]) -> Result<Vec<Gate>, Fault> {
        let gates = self.0.gates.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(ids.iter().map(|id| gates.get(id).copied().unwrap_or_default()).collect())
    }

    async fn steps(&self, id: GateId, steps: &[Step], now: Timestamp) -> Result<Passed, Fault> {
        let (before, passed) = {
            let mut gates = self.0.gates.lock().unwrap_or_else(PoisonError::into_inner);
            let gate = gates.entry(id).or_default();
            let before = std::mem::take(gate);
            let passed = before.steps(steps, now);
            *gate = passed.after;
            (before, passed)
        };
        if before.lasting() != passed.after.lasting() {
            let inner = Arc::clone(&self.0);
            let keep = move |connection: &Connection| keep(connection, id, inner.gate(id));
            if let Err(fault) = self.0.write("write a gate down", keep).await {
                tracing::debug!(error = fault.chain(), "a gate is known until this process ends");
            }
        }
        Ok(passed)
    }
}

impl Inner {
    /// The gate as it is now: of two that are written down, the later is not overwritten by the earlier.
    fn gate(&self, id: GateId) -> Gate {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner).get(&id).copied().unwrap_or_default()
    }
}

fn keep(connection: &Connection, id: GateId, gate: Gate) -> rusqlite::Result<()> {
    let gate = gate.lasting();
    if gate == Gate::default() {
        return connection.prepare_cached("DELETE FROM gates WHERE id = ?1")?.execute([&id.as_bytes()[..]]).map(drop);
    }
    let keep = "INSERT INTO gates (id, gate) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET gate = excluded.gate";
    connection.prepare_cached(keep)?.execute((&id.as_bytes()[..], gate.to_string())).map(drop)
}

/// The gates written down; those that are ordinary at `now` are no longer kept.
pub fn kept(connection: &Connection, now: Timestamp) -> rusqlite::Result<HashMap<GateId, Gate>> {
    let mut kept = HashMap::new();
    let mut query = connection.prepare("SELECT id, gate FROM gates")?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for row in rows.collect::<rusqlite::Result<Vec<(Vec<u8>, String)>>>()? {
        match (GateId::from_slice(&row.0), row.1.parse::<Gate>()) {
            (Some(id), Ok(gate)) if !gate.is_ordinary(now) => drop(kept.insert(id, gate)),
            _ => drop(connection.execute("DELETE FROM gates WHERE id = ?1", [row.0])?),
        }
    }
    Ok(kept)
}
