//! Which processes there are: each writes itself down every few seconds.

use hookyard_core::fleet::FORGOTTEN_AFTER;
use hookyard_core::{Fault, Member};
use hookyard_telemetry::label::StoreOp;

use crate::client::RedisStore;
use crate::keys;

impl RedisStore {
    /// Writes a process down, as seen now.
    pub async fn beat(&self, member: &Member) -> Result<(), Fault> {
        const OPERATION: &str = "tell that this process is there";
        let record = serde_json::to_string(member).map_err(|error| Fault::corrupt(OPERATION, error))?;
        let mut pipeline = redis::pipe();
        pipeline.hset(keys::FLEET, &member.id, record).ignore();
        self.directory.query(StoreOp::Meta, OPERATION, &pipeline).await
    }

    /// Takes a process off the list.
    pub async fn leave(&self, id: &str) -> Result<(), Fault> {
        let mut pipeline = redis::pipe();
        pipeline.hdel(keys::FLEET, id).ignore();
        self.directory.query(StoreOp::Meta, "tell that this process is gone", &pipeline).await
    }

    /// Takes or renews a lease for a process; whether it has it.
    pub async fn hold(&self, lease: &str, holder: &str, for_ms: u64) -> Result<bool, Fault> {
        const HOLD: &str = "local has = redis.call('GET', KEYS[1]) if has and has ~= ARGV[1] then return 0 end \
             redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1";
        let mut pipeline = redis::pipe();
        pipeline.cmd("EVAL").arg(HOLD).arg(1).arg(keys::lease(lease)).arg(holder).arg(for_ms);
        let (has,): (bool,) = self.directory.query(StoreOp::Meta, "hold a lease", &pipeline).await?;
        Ok(has)
    }

    /// The processes heard of lately, the oldest first. Those that are gone are taken off the list.
    pub async fn members(&self) -> Result<Vec<Member>, Fault> {
        const OPERATION: &str = "read which processes there are";
        let mut pipeline = redis::pipe();
        pipeline.hgetall(keys::FLEET);
        let (found,): (Vec<(String, String)>,) = self.directory.query(StoreOp::Meta, OPERATION, &pipeline).await?;
        let now = self.clock.now();
        let (mut members, mut gone) = (Vec::new(), Vec::new());
        for (id, record) in found {
            match serde_json::from_str::<Member>(&record) {
                Ok(member) if now.since(member.seen_at) <= FORGOTTEN_AFTER => members.push(member),
                _ => gone.push(id),
            }
        }
        for id in gone {
            self.leave(&id).await?;
        }
        members.sort_by(|a, b| (a.started_at, &a.id).cmp(&(b.started_at, &b.id)));
        Ok(members)
    }
}
