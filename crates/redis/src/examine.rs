//! Looking at a server with an operator's eyes.

use std::collections::BTreeMap;

use hookyard_core::{Fault, Timestamp};
use hookyard_telemetry::label::StoreOp;

use crate::client::{RedisStore, Server};
use crate::keys;

/// What a server says of itself.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    /// `directory`, `journal`, or `directory and journal`.
    pub holds: &'static str,
    /// The fields of INFO.
    pub info: BTreeMap<String, String>,
    /// Its clock, and ours at the same moment.
    pub clocks: (Timestamp, Timestamp),
}

impl RedisStore {
    /// Asks each server, one after another.
    pub async fn examine(&self) -> Vec<(&'static str, Result<ServerFacts, Fault>)> {
        if self.directory.is_same(&self.journal) {
            let both = "directory and journal";
            return vec![(both, self.facts(both, &self.directory).await)];
        }
        let directory = self.facts("directory", &self.directory).await;
        vec![("directory", directory), ("journal", self.facts("journal", &self.journal).await)]
    }

    async fn facts(&self, holds: &'static str, server: &Server) -> Result<ServerFacts, Fault> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("INFO").arg("everything").cmd("TIME");
        let (info, (seconds, micros)): (String, (i64, i64)) = server.query(StoreOp::Meta, "examine the store", &pipeline).await?;
        let fields = info.lines().filter_map(|line| line.split_once(':'));
        let info = fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
        let theirs = Timestamp::from_millis(seconds * 1_000 + micros / 1_000);
        Ok(ServerFacts { holds, info, clocks: (theirs, self.clock.now()) })
    }

    /// Whether the configured key opens what this store was sealed with; `None` while nothing was sealed.
    pub async fn seal_fits(&self) -> Result<Option<bool>, Fault> {
        let mut pipeline = redis::pipe();
        pipeline.hget(keys::META, "seal_check");
        let (stored,): (Option<String>,) = self.directory.query(StoreOp::Meta, "read the seal check", &pipeline).await?;
        Ok(stored.map(|stored| self.keys.open(&stored, keys::META.as_bytes()).is_ok()))
    }
}
