//! Gates on Redis: one hash of those that are not ordinary. What steps do is computed here and swapped in if nobody was faster, so that
//! there is one implementation of it.

use async_trait::async_trait;
use hookyard_core::gate::{Gate, Passed, Step};
use hookyard_core::port::Gates;
use hookyard_core::{Fault, FaultKind, GateId, Timestamp};
use hookyard_telemetry::label::StoreOp;

use crate::client::RedisStore;
use crate::keys;

/// Tries before somebody is told that too many want the same gate.
const TRIES: usize = 50;

#[async_trait]
impl Gates for RedisStore {
    async fn gates(&self, now: Timestamp) -> Result<Vec<(GateId, Gate)>, Fault> {
        const OPERATION: &str = "read the gates";
        let mut pipeline = redis::pipe();
        pipeline.hgetall(keys::GATES);
        let (found,): (Vec<(Vec<u8>, String)>,) = self.journal.query(StoreOp::Read, OPERATION, &pipeline).await?;
        let (mut gates, mut gone) = (Vec::new(), Vec::new());
        for (id, text) in found {
            match (GateId::from_slice(&id), text.parse::<Gate>()) {
                (Some(id), Ok(gate)) if !gate.is_ordinary(now) => gates.push((id, gate)),
                _ => gone.push((id, text)),
            }
        }
        // What became ordinary by the passing of time, unless something happened to it just now.
        if !gone.is_empty() {
            let mut pipeline = redis::pipe();
            for (id, text) in &gone {
                let mut call = self.journal.scripts.swap_gate.prepare_invoke();
                pipeline.invoke_script(call.key(keys::GATES).arg(id).arg(text).arg("")).ignore();
            }
            let () = self.journal.query(StoreOp::Write, OPERATION, &pipeline).await?;
        }
        Ok(gates)
    }

    async fn gate(&self, id: GateId) -> Result<Gate, Fault> {
        let mut pipeline = redis::pipe();
        pipeline.hget(keys::GATES, &id.as_bytes()[..]);
        let (found,): (Option<String>,) = self.journal.query(StoreOp::Read, "read a gate", &pipeline).await?;
        Ok(found.and_then(|text| text.parse().ok()).unwrap_or_default())
    }

    async fn steps(&self, id: GateId, steps: &[Step], now: Timestamp) -> Result<Passed, Fault> {
        const OPERATION: &str = "pass a gate";
        // Most gates are not there: what is guessed wrong costs one more round trip.
        let mut known = String::new();
        for _ in 0..TRIES {
            let before: Gate = known.parse().unwrap_or_default();
            let passed = before.steps(steps, now);
            let next = if passed.after.is_ordinary(now) { String::new() } else { passed.after.to_string() };
            let mut call = self.journal.scripts.swap_gate.prepare_invoke();
            call.key(keys::GATES).arg(&id.as_bytes()[..]).arg(&known).arg(next);
            let mut pipeline = redis::pipe();
            pipeline.invoke_script(&call);
            let (answer,): (String,) = self.journal.query(StoreOp::Write, OPERATION, &pipeline).await?;
            match answer.strip_prefix("is:") {
                Some(current) => current.clone_into(&mut known),
                None => return Ok(passed),
            }
        }
        Err(Fault::new(FaultKind::Contended, OPERATION))
    }
}
