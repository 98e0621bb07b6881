//! Emptied is not empty: the dataset in the store must be the one the broker's anchor names.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hookyard_core::{Clock, Entropy, Fault, FaultKind};
use hookyard_rabbit::{Anchor, Rabbit, RabbitConfig, Shards};
use hookyard_redis::{Meta, RedisStore, ShardCounts};
use tokio_util::sync::CancellationToken;

use crate::built_in_apps;

/// How often the sentinel is looked at, beside every read that looks at it anyway.
const WATCH: Duration = Duration::from_secs(2);

/// How the store stands to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They belong together, or this is the first start and now they do.
    Good(Meta),
    /// The broker belongs to a dataset and the store holds none.
    Emptied,
    /// The broker belongs to another dataset than the store holds.
    Exchanged(Meta),
}

/// Looks, and changes nothing.
pub async fn look(store: &RedisStore, broker: &RabbitConfig) -> Result<(Option<Meta>, Anchor), Fault> {
    let meta = store.meta().await?;
    let anchor = Rabbit::anchor(broker, meta.as_ref().map(|meta| meta.dataset.as_str())).await?;
    Ok((meta, anchor))
}

/// Verifies that store and broker belong together. On the very first start, creates the dataset and its anchor; a store that lost
/// its sentinel while the anchor stands is never given a new one.
pub async fn verify(store: &RedisStore, broker: &RabbitConfig, entropy: &dyn Entropy) -> Result<Standing, Fault> {
    let meta = match look(store, broker).await? {
        (None, Anchor::None) => store.create_meta(&new_id(entropy)).await?,
        (None, _) => return Ok(Standing::Emptied),
        (Some(meta), Anchor::Same) => return Ok(Standing::Good(meta)),
        (Some(meta), Anchor::Other) => return Ok(Standing::Exchanged(meta)),
        (Some(meta), Anchor::None) => meta,
    };
    // First start, or a new broker. Two processes may be here at once: the broker lets only one dataset win.
    if Rabbit::drop_anchor(broker, &meta.dataset).await? { Ok(Standing::Good(meta)) } else { Ok(Standing::Exchanged(meta)) }
}

/// Accepts what the store holds now as the dataset, at an operator's word: the anchor is weighed and dropped anew, and the epoch is
/// raised, so that everybody forgets what they remembered.
pub async fn accept(store: &RedisStore, broker: &RabbitConfig, entropy: &dyn Entropy) -> Result<Meta, Fault> {
    let meta = match store.meta().await? {
        Some(meta) => meta,
        None => store.create_meta(&new_id(entropy)).await?,
    };
    let epoch = store.raise_epoch().await?;
    Rabbit::weigh_anchor(broker).await?;
    if !Rabbit::drop_anchor(broker, &meta.dataset).await? {
        return Err(Fault::new(FaultKind::Contended, "drop the anchor"));
    }
    Ok(Meta { epoch, ..meta })
}

/// What the guard of the dataset works with.
pub(crate) struct Guard {
    pub store: RedisStore,
    pub broker: RabbitConfig,
    pub rabbit: Arc<Rabbit>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    /// Whether the dataset is verified, the built-in applications exist in it and its number of shards is in use. A process is not
    /// ready before: its first request would not find what always exists.
    pub established: Arc<AtomicBool>,
}

impl Guard {
    /// Verifies, adopts, and keeps looking until `stop`. Returns early only with a fault that no waiting mends.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Fault> {
        loop {
            let looked = if self.is_established() { self.look_again().await } else { self.establish().await };
            match looked {
                Ok(()) => {}
                Err(fault) if fault.kind == FaultKind::Refused => return Err(fault),
                Err(fault) => tracing::debug!(error = fault.chain(), "the dataset cannot be looked at now"),
            }
            let pause = if self.is_established() { WATCH } else { WATCH / 4 };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn is_established(&self) -> bool {
        self.established.load(Ordering::Acquire) && self.store.adopted().is_some()
    }

    /// Verifies, adopts, and makes what must exist. What failed half-way is done again from the beginning.
    async fn establish(&self) -> Result<(), Fault> {
        self.established.store(false, Ordering::Release);
        match verify(&self.store, &self.broker, &*self.entropy).await? {
            Standing::Good(meta) => {
                self.store.check_seal().await?;
                tracing::info!(dataset = meta.dataset, epoch = meta.epoch, "dataset verified");
                // Claiming begins with what is adopted: an event that waited finds its application.
                let alone = self.store.adopted_alone(meta.clone());
                built_in_apps::ensure(&alone, &*self.clock, &*self.entropy).await?;
                self.refresh_shards().await?;
                self.store.adopt(Some(meta));
                self.store.reach_journal().await?;
                self.established.store(true, Ordering::Release);
                Ok(())
            }
            standing => {
                let what =
                    if standing == Standing::Emptied { "the store was emptied" } else { "the store holds another dataset" };
                tracing::error!("{what}: nothing is claimed, accepted or delivered; see `hookyard dataset show`");
                self.store.adopt(None);
                Ok(())
            }
        }
    }

    async fn look_again(&self) -> Result<(), Fault> {
        let (found, adopted) = (self.store.meta().await?, self.store.adopted());
        match (found, adopted) {
            (Some(found), Some(adopted)) if found.dataset == adopted.dataset && found.epoch >= adopted.epoch => {
                if found.epoch > adopted.epoch {
                    self.store.adopt(Some(found));
                }
                self.refresh_shards().await
            }
            _ => {
                self.store.adopt(None);
                self.establish().await
            }
        }
    }

    async fn refresh_shards(&self) -> Result<(), Fault> {
        let known = self.rabbit.shards();
        let counts = self.store.grow_shards(ShardCounts { fast: known.fast, slow: known.slow }).await?;
        self.rabbit.grow_shards(Shards { fast: counts.fast, slow: counts.slow });
        Ok(())
    }
}

fn new_id(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 8];
    entropy.fill(&mut bytes);
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}
