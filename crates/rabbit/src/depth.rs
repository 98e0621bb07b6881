//! How many messages wait in each queue.

use hookyard_core::delay::Tier;
use hookyard_core::{Fault, Lane, QueueDepth};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

use crate::session::{Rabbit, close};
use crate::topology::short;

impl Rabbit {
    /// Every queue with what waits in it and who consumes it; those of the delay tiers only while something waits.
    pub async fn depths(&self) -> Result<Vec<QueueDepth>, Fault> {
        const OPERATION: &str = "count what waits in the queues";
        let connection = Self::connect_once(&self.config).await?;
        let counted = async {
            let channel = connection.create_channel().await.map_err(|error| Fault::unavailable(OPERATION, error))?;
            let mut depths = Vec::new();
            for (name, is_shown_empty) in self.queues() {
                let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
                let queue = channel.queue_declare(short(&name), options, FieldTable::default()).await;
                let queue = queue.map_err(|error| Fault::unavailable(OPERATION, error))?;
                if is_shown_empty || queue.message_count() > 0 {
                    let (messages, consumers) = (u64::from(queue.message_count()), queue.consumer_count());
                    depths.push(QueueDepth { name, messages, consumers: Some(consumers) });
                }
            }
            Ok(depths)
        };
        let counted = counted.await;
        close(connection).await;
        counted
    }

    /// The names of all queues, and whether each is of interest while it is empty.
    fn queues(&self) -> Vec<(String, bool)> {
        let (names, shards) = (&self.names, self.shards());
        let lane = |lane, count: u32| (0..count).map(move |shard| (names.lane_queue(lane, shard), true));
        let mut queues = vec![(names.ingest(), true)];
        queues.extend(lane(Lane::Fast, shards.fast).chain(lane(Lane::Slow, shards.slow)));
        queues.extend(Tier::all().map(|tier| (names.delay(tier), false)));
        queues.extend([names.dead(), names.rejected(), names.journal()].map(|name| (name, true)));
        queues
    }
}
