//! Gates on Redis: one hash of those that are not ordinary. A step is computed here and swapped in if nobody was faster, so that there
//! is one implementation of what a step does.

use async_trait::async_trait;
use hookyard_core::gate::{Gate, Pass, Step};
use hookyard_core::port::Gates;
use hookyard_core::{EndpointId, Fault, FaultKind, Timestamp};
use hookyard_telemetry::label::StoreOp;

use crate::client::RedisStore;
use crate::keys;

/// Tries before somebody is told that too many want the same gate.
const TRIES: usize = 50;

#[async_trait]
impl Gates for RedisStore {
    async fn gates(&self, now: Timestamp) -> Result<Vec<(EndpointId, Gate)>, Fault> {
        const OPERATION: &str = "read the gates";
        let mut pipeline = redis::pipe();
        pipeline.hgetall(keys::GATES);
        let (found,): (Vec<(Vec<u8>, String)>,) = self.journal.query(StoreOp::Read, OPERATION, &pipeline).await?;
        let (mut gates, mut gone) = (Vec::new(), Vec::new());
        for (id, text) in found {
            match (EndpointId::from_slice(&id), text.parse::<Gate>()) {
                (Some(endpoint), Ok(gate)) if !gate.is_ordinary(now) => gates.push((endpoint, gate)),
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

    async fn step(&self, endpoint: EndpointId, step: Step, now: Timestamp) -> Result<(Pass, Gate), Fault> {
        const OPERATION: &str = "pass a gate";
        // Most gates are not there: what is guessed wrong costs one more round trip.
        let mut known = String::new();
        for _ in 0..TRIES {
            let mut gate = known.parse().unwrap_or_else(|_| Gate::default());
            let pass = gate.step(step, now);
            let next = if gate.is_ordinary(now) { String::new() } else { gate.to_string() };
            let mut call = self.journal.scripts.swap_gate.prepare_invoke();
            call.key(keys::GATES).arg(&endpoint.as_bytes()[..]).arg(&known).arg(next);
            let mut pipeline = redis::pipe();
            pipeline.invoke_script(&call);
            let (answer,): (String,) = self.journal.query(StoreOp::Write, OPERATION, &pipeline).await?;
            match answer.strip_prefix("is:") {
                Some(current) => current.clone_into(&mut known),
                None => return Ok((pass, gate)),
            }
        }
        Err(Fault::new(FaultKind::Contended, OPERATION))
    }
}
