//! How many messages wait in each queue.

use std::sync::Arc;

use hookyard_core::delay::Tier;
use hookyard_core::fleet::QueueKind;
use hookyard_core::{Fault, Lane, QueueDepth};
use lapin::Connection;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

use crate::rabbit::Rabbit;
use crate::topology::short;

impl Rabbit {
    /// Every queue with what waits in it and who consumes it.
    pub async fn depths(&self) -> Result<Vec<QueueDepth>, Fault> {
        const OPERATION: &str = "count what waits in the queues";
        let look = |connection: Arc<Connection>| async move {
            let channel = connection.create_channel().await.map_err(|error| Fault::unavailable(OPERATION, error))?;
            let mut depths = Vec::new();
            for (kind, name) in self.queues() {
                let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
                let queue = channel.queue_declare(short(&name), options, FieldTable::default()).await;
                let queue = queue.map_err(|error| Fault::unavailable(OPERATION, error))?;
                let (messages, consumers) = (u64::from(queue.message_count()), queue.consumer_count());
                depths.push(QueueDepth { name, kind, messages, consumers: Some(consumers) });
            }
            Ok(depths)
        };
        self.look_beside(OPERATION, look).await
    }

    /// All queues, by what they are for.
    fn queues(&self) -> Vec<(QueueKind, String)> {
        let (names, shards) = (&self.names, self.shards());
        let lane = |kind, lane, count: u32| (0..count).map(move |shard| (kind, names.lane_queue(lane, shard)));
        let mut queues = vec![(QueueKind::Ingest, names.ingest())];
        queues.extend(lane(QueueKind::Fast, Lane::Fast, shards.fast).chain(lane(QueueKind::Slow, Lane::Slow, shards.slow)));
        queues.extend(Tier::all().map(|tier| (QueueKind::Delay, names.delay(tier))));
        let terminals = [(QueueKind::Dead, names.dead()), (QueueKind::Rejected, names.rejected())];
        queues.extend(terminals.into_iter().chain([(QueueKind::Journal, names.journal())]));
        queues
    }
}
