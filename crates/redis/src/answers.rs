//! The answers' port on Redis.

use std::time::Duration;

use async_trait::async_trait;
use hookyard_core::Fault;
use hookyard_core::port::{AnswerKey, Answers, Begun};
use hookyard_telemetry::label::StoreOp;

use crate::client::RedisStore;
use crate::keys;

#[async_trait]
impl Answers for RedisStore {
    async fn begin(&self, key: AnswerKey, lease: Duration) -> Result<Begun, Fault> {
        let key = keys::answer(key);
        let mut pipeline = redis::pipe();
        pipeline.cmd("SET").arg(&key).arg("").arg("NX").arg("EX").arg(lease.as_secs().max(1)).get(&key);
        let (first, found): (Option<String>, Option<Vec<u8>>) =
            self.journal.query(StoreOp::Write, "begin an answer", &pipeline).await?;
        Ok(match found {
            _ if first.is_some() => Begun::First,
            Some(answer) if !answer.is_empty() => Begun::Answered(answer),
            _ => Begun::Elsewhere,
        })
    }

    async fn finish(&self, key: AnswerKey, answer: Option<Vec<u8>>, kept: Duration) -> Result<(), Fault> {
        let key = keys::answer(key);
        let mut pipeline = redis::pipe();
        match answer {
            Some(answer) => pipeline.set_ex(key, answer, kept.as_secs().max(1)).ignore(),
            None => pipeline.del(key).ignore(),
        };
        self.journal.query(StoreOp::Write, "finish an answer", &pipeline).await
    }
}
