//! The benchmark's own dealings with the broker: queues, and events published with confirms.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, PublisherConfirm};

use crate::event;

/// Events published and not yet confirmed.
const WINDOW: usize = 1024;
/// A broker that does not confirm within this is not well.
const CONFIRM_WITHIN: Duration = Duration::from_secs(30);

/// Where events are published to.
#[derive(Clone, Debug)]
pub struct Door {
    pub exchange: String,
    pub routing_key: String,
    /// Value of the header that names the application.
    pub app: Option<String>,
    /// Type of the events.
    pub event_type: String,
}

/// A connection with one channel in confirm mode.
pub struct Broker {
    _connection: Connection,
    channel: Channel,
}

impl Broker {
    /// Connects.
    pub async fn connect(url: &str) -> Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.context("cannot reach the broker")?;
        let channel = connection.create_channel().await.context("the broker gives no channel")?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.context("the broker gives no confirms")?;
        Ok(Self { _connection: connection, channel })
    }

    /// Declares a quorum queue.
    pub async fn declare(&self, queue: &str) -> Result<()> {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString(LongString::from("quorum")));
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let declared = self.channel.queue_declare(queue.into(), options, arguments).await;
        declared.map(drop).with_context(|| format!("cannot declare {queue}"))
    }

    /// Deletes a queue with what is in it.
    pub async fn delete(&self, queue: &str) -> Result<()> {
        let deleted = self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await;
        deleted.map(drop).with_context(|| format!("cannot delete {queue}"))
    }

    /// Messages waiting in a queue.
    pub async fn depth(&self, queue: &str) -> Result<u32> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = self.channel.queue_declare(queue.into(), options, FieldTable::default()).await;
        Ok(declared.with_context(|| format!("there is no queue {queue}"))?.message_count())
    }

    /// Publishes the events `0..count` of a round, and returns when every one is confirmed.
    pub async fn publish_all(&self, door: &Door, round: u32, count: usize) -> Result<()> {
        let mut window = VecDeque::with_capacity(WINDOW);
        for number in 0..count {
            if window.len() >= WINDOW
                && let Some(oldest) = window.pop_front()
            {
                confirmed(oldest).await?;
            }
            window.push_back(self.begin(door, round, number).await?);
        }
        for confirm in window {
            confirmed(confirm).await?;
        }
        Ok(())
    }

    /// Publishes one event, and returns when it is confirmed.
    pub async fn publish(&self, door: &Door, round: u32, number: usize) -> Result<()> {
        confirmed(self.begin(door, round, number).await?).await
    }

    /// Publishes one event, and returns when it is sent.
    pub async fn begin(&self, door: &Door, round: u32, number: usize) -> Result<PublisherConfirm> {
        let data = event::data(round, number);
        let mut headers = FieldTable::default();
        if let Some(app) = &door.app {
            headers.insert("hookyard-app".into(), AMQPValue::LongString(LongString::from(app.as_str())));
        }
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/json".into())
            .with_message_id(ShortString::from(format!("bench-{round}-{number}")))
            .with_type(door.event_type.as_str().into())
            .with_headers(headers);
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let (exchange, key) = (door.exchange.as_str().into(), door.routing_key.as_str().into());
        self.channel.basic_publish(exchange, key, options, data.as_bytes(), properties).await.context("cannot publish")
    }
}

/// Waits until an event is durable.
pub async fn confirmed(confirm: PublisherConfirm) -> Result<()> {
    let confirmation = tokio::time::timeout(CONFIRM_WITHIN, confirm).await.context("the broker does not confirm")?;
    match confirmation.context("publishing failed")? {
        Confirmation::Ack(returned) => ensure!(returned.is_none(), "an event came back: no queue takes it"),
        other => bail!("an event was not confirmed: {other:?}"),
    }
    Ok(())
}
