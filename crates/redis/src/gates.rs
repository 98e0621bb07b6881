//! Gates on Redis: one hash of those that are not ordinary. What steps do is computed here and swapped in if nobody was faster, so that
//! there is one implementation of it.

use async_trait::async_trait;
use hookyard_core::admission::{Gate, Mark, Passed, Reading, Step};
use hookyard_core::port::Gates;
use hookyard_core::{Fault, FaultKind, GateId, Timestamp};
use hookyard_telemetry::label::StoreOp;

use crate::client::RedisStore;
use crate::keys;

/// Tries before somebody is told that too many want the same gate.
const TRIES: usize = 50;
/// Changes kept for those who ask what changed: more than happen between two readings, and about a megabyte.
const CHANGES_KEPT: usize = 10_000;

const READ: &str = "read the gates";

/// An id and the count of its change.
type Change = (Vec<u8>, u64);

#[async_trait]
impl Gates for RedisStore {
    async fn changed(&self, since: Option<Mark>, now: Timestamp) -> Result<Reading, Fault> {
        let Some(Mark(since)) = since else { return self.all(now).await };
        let mut pipeline = redis::pipe();
        pipeline.zrange_withscores(keys::GATES_CHANGED, -1, -1).zrange_withscores(keys::GATES_CHANGED, 0, 0);
        pipeline.zcard(keys::GATES_CHANGED).zrangebyscore(keys::GATES_CHANGED, format!("({since}"), "+inf");
        let answer: (Vec<Change>, Vec<Change>, usize, Vec<Vec<u8>>) = self.journal.query(StoreOp::Read, READ, &pipeline).await?;
        let (newest, oldest, kept, ids) = answer;
        let (newest, oldest) = (count_of(&newest), count_of(&oldest));
        // What was trimmed away changed before the oldest that is kept. A store that counts from the beginning again is another one.
        let is_told = newest >= since && (kept < CHANGES_KEPT || oldest <= since);
        if !is_told {
            return self.all(now).await;
        }
        let ids: Vec<GateId> = ids.iter().filter_map(|id| GateId::from_slice(id)).collect();
        let gates = self.gates(&ids).await?;
        Ok(Reading { mark: Some(Mark(newest)), is_whole: false, gates: ids.into_iter().zip(gates).collect() })
    }

    async fn gates(&self, ids: &[GateId]) -> Result<Vec<Gate>, Fault> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        let fields: Vec<&[u8]> = ids.iter().map(|id| &id.as_bytes()[..]).collect();
        pipeline.cmd("HMGET").arg(keys::GATES).arg(fields);
        let (found,): (Vec<Option<String>>,) = self.journal.query(StoreOp::Read, READ, &pipeline).await?;
        Ok(found.into_iter().map(|text| text.and_then(|text| text.parse().ok()).unwrap_or_default()).collect())
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
            call.key(keys::GATES).key(keys::GATES_CHANGED).arg(&id.as_bytes()[..]).arg(&known).arg(next).arg(CHANGES_KEPT);
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

fn count_of(changes: &[Change]) -> u64 {
    changes.first().map_or(0, |(_, count)| *count)
}

impl RedisStore {
    /// The gates that are not ordinary.
    async fn all(&self, now: Timestamp) -> Result<Reading, Fault> {
        let mut pipeline = redis::pipe();
        // First how far it has come: what changes in between is read again.
        pipeline.zrange_withscores(keys::GATES_CHANGED, -1, -1).hgetall(keys::GATES);
        let (newest, found): (Vec<Change>, Vec<(Vec<u8>, String)>) = self.journal.query(StoreOp::Read, READ, &pipeline).await?;
        let (mut gates, mut gone) = (Vec::new(), Vec::new());
        for (id, text) in found {
            match (GateId::from_slice(&id), text.parse::<Gate>()) {
                (Some(id), Ok(gate)) if !gate.is_ordinary(now) => gates.push((id, gate)),
                // What a newer program wrote is its own.
                (Some(_), Err(_)) => {}
                _ => gone.push((id, text)),
            }
        }
        // What became ordinary by the passing of time, unless something happened to it just now.
        if !gone.is_empty() {
            let mut pipeline = redis::pipe();
            for (id, text) in &gone {
                let mut call = self.journal.scripts.swap_gate.prepare_invoke();
                call.key(keys::GATES).key(keys::GATES_CHANGED).arg(id).arg(text).arg("").arg(CHANGES_KEPT);
                pipeline.invoke_script(&call).ignore();
            }
            let () = self.journal.query(StoreOp::Write, READ, &pipeline).await?;
        }
        Ok(Reading { mark: Some(Mark(count_of(&newest))), is_whole: true, gates })
    }
}
