//! Looking into a queue. A queue cannot be read without taking: what is looked at is taken on a connection of its own and goes back
//! when that ends. Two that look at the same moment see different parts. What goes back goes behind what was not taken, so all there
//! is is taken, up to a bound; beyond it, each look begins with what the last one did not see.

use std::time::Duration;

use futures_util::StreamExt as _;
use hookyard_core::Fault;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};

use crate::connection::{close, connect};
use crate::rabbit::Rabbit;
use crate::topology::short;

/// Messages looked at for one request, and held in memory with their bodies meanwhile.
pub const EXAMINED_MOST: u16 = 500;
/// The longest the next of them may take to come.
const NEXT_WITHIN: Duration = Duration::from_secs(2);
/// How often the queue is asked whether it has everything back, and the pause between.
const BACK_WITHIN: usize = 200;
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// The queue, open; dropped or closed, what was taken goes back.
pub struct Look {
    connection: Connection,
    channel: Channel,
    queue: String,
    /// Messages nobody had taken before, and how many of them may be taken yet.
    pub ready: u32,
    left: u32,
    consumer: Consumer,
}

impl Look {
    pub async fn open(rabbit: &Rabbit, queue: String, operation: &'static str) -> Result<Self, Fault> {
        let connection = connect(&rabbit.config, "look").await?;
        Self::begin(connection, queue).await.map_err(|error| Fault::unavailable(operation, error))
    }

    /// What one consumer takes goes back in its order; what was got one by one does not.
    async fn begin(connection: Connection, queue: String) -> lapin::Result<Self> {
        let channel = connection.create_channel().await?;
        let ready = ready(&channel, &queue).await?;
        channel.basic_qos(EXAMINED_MOST, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(short(&queue), short(""), options, FieldTable::default()).await?;
        let left = ready.min(u32::from(EXAMINED_MOST));
        Ok(Self { connection, channel, queue, ready, left, consumer })
    }

    /// The next of those that were there at the beginning. Others may take some of them meanwhile.
    pub async fn next(&mut self, operation: &'static str) -> Result<Option<Delivery>, Fault> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        match tokio::time::timeout(NEXT_WITHIN, self.consumer.next()).await {
            Err(_) | Ok(None) => Ok(None),
            Ok(Some(delivery)) => delivery.map(Some).map_err(|error| Fault::unavailable(operation, error)),
        }
    }

    pub async fn ack(&self, operation: &'static str, tag: u64) -> Result<(), Fault> {
        let acked = self.channel.basic_ack(tag, BasicAckOptions::default()).await;
        acked.map(drop).map_err(|error| Fault::unavailable(operation, error))
    }

    /// Gives back what was taken, but for so many that were settled, and ends.
    pub async fn close(self, settled: usize) {
        if let Err(error) = self.give_back(settled).await {
            tracing::debug!(%error, "what was looked at goes back with the end of the connection");
        }
        close(self.connection).await;
    }

    /// A quorum queue takes messages back behind the scenes: whoever looked again before that would see them in another order.
    async fn give_back(&self, settled: usize) -> lapin::Result<()> {
        // With its channel everything ends that the consumer took and nobody settled.
        self.channel.close(200, short("done")).await?;
        let channel = self.connection.create_channel().await?;
        let wanted = self.ready.saturating_sub(u32::try_from(settled).unwrap_or(u32::MAX));
        for _ in 0..BACK_WITHIN {
            if ready(&channel, &self.queue).await? >= wanted {
                break;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }
}

/// Messages in a queue that nobody has taken.
async fn ready(channel: &Channel, queue: &str) -> lapin::Result<u32> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    Ok(channel.queue_declare(short(queue), options, FieldTable::default()).await?.message_count())
}
