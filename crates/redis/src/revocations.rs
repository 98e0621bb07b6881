//! The revocations' port on Redis.

use async_trait::async_trait;
use hookyard_core::port::Revocations;
use hookyard_core::{Fault, Timestamp};
use hookyard_telemetry::label::StoreOp;

use crate::client::RedisStore;
use crate::directory::next;
use crate::keys;
use crate::meta::Sentinel;

#[async_trait]
impl Revocations for RedisStore {
    async fn revoke(&self, token: &str, until: Timestamp) -> Result<(), Fault> {
        const OPERATION: &str = "revoke a token";
        self.dataset_id(OPERATION)?;
        let mut pipeline = redis::pipe();
        pipeline.zadd(keys::REVOKED, token, until.as_millis()).ignore();
        pipeline.zrembyscore(keys::REVOKED, "-inf", self.clock.now().as_millis()).ignore();
        self.directory.query(StoreOp::Write, OPERATION, &pipeline).await
    }

    async fn revoked(&self, now: Timestamp) -> Result<Vec<String>, Fault> {
        const OPERATION: &str = "read revoked tokens";
        let mut pipeline = redis::pipe();
        Self::read_sentinel(&mut pipeline);
        pipeline.zrangebyscore(keys::REVOKED, format!("({}", now.as_millis()), "+inf");
        let answers: Vec<redis::Value> = self.directory.query(StoreOp::Read, OPERATION, &pipeline).await?;
        let mut answers = answers.into_iter();
        let sentinel: Sentinel = next(&mut answers, OPERATION)?;
        self.check_sentinel(OPERATION, &sentinel)?;
        next(&mut answers, OPERATION)
    }
}
