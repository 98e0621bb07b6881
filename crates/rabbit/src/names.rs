//! The names of exchanges, queues and routing keys: one constructor each.

use std::sync::Arc;

use hookyard_core::delay::Tier;
use hookyard_core::{EndpointId, Lane};

use crate::config::Shards;

/// Every name, from one prefix.
#[derive(Clone, Debug)]
pub struct Names(Arc<str>);

impl Names {
    /// Names that begin with `prefix`.
    pub fn new(prefix: &str) -> Self {
        Self(Arc::from(prefix))
    }

    fn with(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.0)
    }

    /// Exchange that upstream services publish to.
    pub fn events(&self) -> String {
        self.with("events")
    }

    /// Queue of the router.
    pub fn ingest(&self) -> String {
        self.with("ingest")
    }

    /// Exchange from which deliveries reach their lane and shard.
    pub fn dispatch(&self) -> String {
        self.with("dispatch")
    }

    /// Queue of one shard of a lane.
    pub fn lane_queue(&self, lane: Lane, shard: u32) -> String {
        match lane {
            Lane::Fast => self.with(&format!("dispatch.{shard}")),
            Lane::Slow => self.with(&format!("slow.{shard}")),
        }
    }

    /// Exchange and queue of a delay tier.
    pub fn delay(&self, tier: Tier) -> String {
        self.with(&format!("delay.{}s", tier.seconds()))
    }

    /// Exchange and queue of dead letters.
    pub fn dead(&self) -> String {
        self.with("dead")
    }

    /// Exchange and queue of what cannot be handled.
    pub fn rejected(&self) -> String {
        self.with("rejected")
    }

    /// Exchange and queue where journal entries wait while the journal is away.
    pub fn journal(&self) -> String {
        self.with("journal")
    }

    /// Queue where canaries come out of the delay tiers.
    pub fn canary(&self) -> String {
        self.with("canary")
    }

    /// Exchange that remembers which dataset this broker belongs to.
    pub fn dataset(&self) -> String {
        self.with("dataset")
    }

    /// What the dataset exchange names as its alternate: the dataset itself.
    pub fn dataset_anchor(&self, dataset: &str) -> String {
        self.with(&format!("dataset.{dataset}"))
    }

    /// A routing key nothing is bound to.
    pub fn probe(&self) -> String {
        self.with("probe")
    }
}

/// The routing key of canaries.
pub const CANARY_KEY: &str = "canary";

/// The routing key of one shard of a lane.
pub fn shard_key(lane: Lane, shard: u32) -> String {
    match lane {
        Lane::Fast => format!("f.{shard}"),
        Lane::Slow => format!("s.{shard}"),
    }
}

/// The routing key of an endpoint in a lane: always the same shard, so that a burst for one endpoint does not spread.
pub fn endpoint_key(lane: Lane, endpoint: EndpointId, shards: Shards) -> String {
    let count = match lane {
        Lane::Fast => shards.fast,
        Lane::Slow => shards.slow,
    };
    // The end of an id is random, so it is its own hash.
    let tail = endpoint.as_bytes()[12..].iter().fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
    shard_key(lane, u32::try_from(tail % u64::from(count.max(1))).unwrap_or(0))
}
