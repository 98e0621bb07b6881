//! The sentinel: which dataset this store holds, and what the whole installation shares.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use hookyard_core::port::Counters;
use hookyard_core::{AppId, Fault, FaultKind, Timestamp};
use hookyard_telemetry::label::StoreOp;
use redis::Pipeline;

use crate::client::RedisStore;
use crate::keys;

/// Version of the layout of keys.
const SCHEMA: u32 = 1;

/// Regressions kept for an operator to see, the latest ones: a few hundred kilobytes.
const REGRESSIONS_KEPT: isize = 10_000;
/// And for so long: until then what was lost has been made good, or never will be.
const REGRESSIONS_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// The sentinel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The dataset's id.
    pub dataset: String,
    /// Raised when an operator accepts a dataset: everything remembered is forgotten.
    pub epoch: u64,
}

/// Shard counts in use; they only grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardCounts {
    /// Of the fast lane.
    pub fast: u32,
    /// Of the slow lane.
    pub slow: u32,
}

impl RedisStore {
    /// The sentinel, if there is one.
    pub async fn meta(&self) -> Result<Option<Meta>, Fault> {
        let mut pipeline = redis::pipe();
        pipeline.hmget(keys::META, &["dataset", "epoch"]);
        let (fields,): ((Option<String>, Option<u64>),) =
            self.directory.query(StoreOp::Meta, "read the sentinel", &pipeline).await?;
        Ok(fields.0.map(|dataset| Meta { dataset, epoch: fields.1.unwrap_or(0) }))
    }

    /// Whether the journal's server answers, which may be another one than the directory's.
    pub async fn reach_journal(&self) -> Result<(), Fault> {
        let mut pipeline = redis::pipe();
        pipeline.ping().ignore();
        self.journal.query(StoreOp::Meta, "reach the journal's server", &pipeline).await
    }

    /// Writes the sentinel of a new dataset unless somebody else just did; the sentinel afterwards.
    pub async fn create_meta(&self, proposed: &str) -> Result<Meta, Fault> {
        let mut pipeline = redis::pipe();
        pipeline.hset_nx(keys::META, "dataset", proposed).ignore();
        pipeline.hset_nx(keys::META, "epoch", 1).ignore();
        pipeline.hset_nx(keys::META, "schema", SCHEMA).ignore();
        let () = self.directory.query(StoreOp::Meta, "write the sentinel", &pipeline).await?;
        self.meta().await?.ok_or_else(|| Fault::new(FaultKind::Contended, "write the sentinel"))
    }

    /// Raises the epoch: everybody forgets what they remembered.
    pub async fn raise_epoch(&self) -> Result<u64, Fault> {
        let mut pipeline = redis::pipe();
        // An operator has seen what was lost.
        pipeline.hincr(keys::META, "epoch", 1).del(keys::REGRESSIONS).ignore();
        let (epoch,): (u64,) = self.directory.query(StoreOp::Meta, "raise the epoch", &pipeline).await?;
        Ok(epoch)
    }

    /// Raises the shard counts to at least these; the counts afterwards.
    pub async fn grow_shards(&self, proposed: ShardCounts) -> Result<ShardCounts, Fault> {
        const GROW: &str = "local out = {} for i = 1, 2 do local f = ({'fast_shards', 'slow_shards'})[i] \
             local n = math.max(tonumber(redis.call('HGET', KEYS[1], f) or '0'), tonumber(ARGV[i])) \
             redis.call('HSET', KEYS[1], f, n) out[i] = n end return out";
        let mut pipeline = redis::pipe();
        pipeline.cmd("EVAL").arg(GROW).arg(1).arg(keys::META).arg(proposed.fast).arg(proposed.slow);
        let (counts,): ((u32, u32),) = self.directory.query(StoreOp::Meta, "grow the shard counts", &pipeline).await?;
        Ok(ShardCounts { fast: counts.0, slow: counts.1 })
    }

    /// Writes down that the store knows less of an application than it did. Best effort: it is told in the log and counted too.
    pub(crate) async fn tell_of_regression(&self, app: AppId) {
        let mut pipeline = redis::pipe();
        let now = self.clock.now();
        pipeline.zadd(keys::REGRESSIONS, app.to_string(), now.as_millis()).ignore();
        pipeline.cmd("ZREMRANGEBYSCORE").arg(keys::REGRESSIONS).arg("-inf").arg(now.minus(REGRESSIONS_FOR).as_millis()).ignore();
        pipeline.zremrangebyrank(keys::REGRESSIONS, 0, -REGRESSIONS_KEPT - 1).ignore();
        if let Err(fault) = self.directory.query::<()>(StoreOp::Meta, "tell of a regression", &pipeline).await {
            tracing::warn!(error = fault.chain(), %app, "that the directory went back in time is not written down");
        }
    }

    /// Applications of which the store was found to know less than before within the last 30 days, and when, the latest first.
    pub async fn regressions(&self) -> Result<Vec<(AppId, Timestamp)>, Fault> {
        let since = self.clock.now().minus(REGRESSIONS_FOR).as_millis();
        let mut pipeline = redis::pipe();
        pipeline.cmd("ZREVRANGEBYSCORE").arg(keys::REGRESSIONS).arg("+inf").arg(since).arg("WITHSCORES");
        let (found,): (Vec<(String, i64)>,) = self.directory.query(StoreOp::Meta, "read the regressions", &pipeline).await?;
        Ok(found.into_iter().filter_map(|(app, at)| Some((app.parse().ok()?, Timestamp::from_millis(at)))).collect())
    }

    /// Whether the configured key is the one this store was sealed with; the first to ask seals the check.
    pub async fn check_seal(&self) -> Result<(), Fault> {
        let refused = |error| Fault::caused(FaultKind::Refused, "open the store's seal check", error);
        let sealed = self.keys.seal_check(keys::META.as_bytes(), &*self.entropy).map_err(refused)?;
        let mut pipeline = redis::pipe();
        pipeline.hset_nx(keys::META, "seal_check", sealed).ignore().hget(keys::META, "seal_check");
        let (stored,): (String,) = self.directory.query(StoreOp::Meta, "read the seal check", &pipeline).await?;
        self.keys.check(&stored, keys::META.as_bytes()).map_err(refused)
    }

    /// From now on, only this dataset is read and written; `None`: nothing is.
    pub fn adopt(&self, meta: Option<Meta>) {
        self.metrics.dataset_wrong.set(i64::from(meta.is_none()));
        if let Ok(mut dataset) = self.dataset.write() {
            *dataset = meta;
        }
    }

    /// The same store with this dataset adopted for this handle alone.
    #[must_use]
    pub fn adopted_alone(&self, meta: Meta) -> Self {
        Self { dataset: Arc::new(RwLock::new(Some(meta))), ..self.clone() }
    }

    /// The dataset adopted, if any.
    pub fn adopted(&self) -> Option<Meta> {
        self.dataset.read().ok().and_then(|dataset| dataset.clone())
    }

    /// The adopted dataset's id, for the scripts that check it themselves.
    pub(crate) fn dataset_id(&self, operation: &'static str) -> Result<String, Fault> {
        self.adopted().map(|meta| meta.dataset).ok_or_else(|| Fault::new(FaultKind::WrongDataset, operation))
    }

    /// Adds the reading of the sentinel to a pipeline; its answer goes to [`RedisStore::check_sentinel`].
    pub(crate) fn read_sentinel(pipeline: &mut Pipeline) {
        pipeline.hmget(keys::META, &["dataset", "epoch", "names", "catalog"]);
    }

    /// Whether the sentinel is the adopted one; the epoch and the counters.
    pub(crate) fn check_sentinel(&self, operation: &'static str, sentinel: &Sentinel) -> Result<(u64, Counters), Fault> {
        let wrong = || Fault::new(FaultKind::WrongDataset, operation);
        let adopted = self.adopted().ok_or_else(wrong)?;
        let (Some(dataset), Some(epoch), names, catalog) = sentinel else {
            self.adopt(None);
            return Err(wrong());
        };
        if *dataset != adopted.dataset || *epoch < adopted.epoch {
            self.adopt(None);
            return Err(wrong());
        }
        // Of their epoch: a dataset that was accepted may have counted to the same number with other content.
        let counter = |counted: &Option<u64>| (*epoch << 48) | (counted.unwrap_or(0) & ((1 << 48) - 1));
        Ok((*epoch, Counters { names: counter(names), catalog: counter(catalog) }))
    }

    /// Everything in the sentinel, for an operator who wants to see.
    pub async fn meta_fields(&self) -> Result<HashMap<String, String>, Fault> {
        let mut pipeline = redis::pipe();
        pipeline.hgetall(keys::META);
        let (mut fields,): (HashMap<String, String>,) =
            self.directory.query(StoreOp::Meta, "read the sentinel", &pipeline).await?;
        fields.remove("seal_check");
        Ok(fields)
    }
}

/// `dataset`, `epoch`, `names` and `catalog` as read.
pub(crate) type Sentinel = (Option<String>, Option<u64>, Option<u64>, Option<u64>);
