//! An upstream service's side of the broker, and a look into its queues.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};

/// A publisher with confirms.
pub struct Amqp {
    _connection: Connection,
    channel: Channel,
    prefix: String,
}

/// A message found in a queue.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its headers as text.
    pub headers: Vec<(String, String)>,
    /// Its properties.
    pub properties: BasicProperties,
    /// Its body.
    pub body: Bytes,
}

impl Found {
    /// One header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

impl Amqp {
    /// Connects.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn connect(url: &str, prefix: &str) -> Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.context("the broker")?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { _connection: connection, channel, prefix: prefix.to_owned() })
    }

    /// Publishes to the events exchange and waits for the confirm.
    ///
    /// # Errors
    /// When the broker does not take it.
    pub async fn publish(&self, key: &str, properties: BasicProperties, body: &[u8]) -> Result<()> {
        self.begin(key, properties, body).await?.await
    }

    /// The same to another exchange, named without the prefix.
    ///
    /// # Errors
    /// When the broker does not take it.
    pub async fn publish_to(&self, exchange: &str, key: &str, properties: BasicProperties, body: &[u8]) -> Result<()> {
        let exchange = ShortString::from(format!("{}.{exchange}", self.prefix));
        let options = BasicPublishOptions::default();
        let properties = properties.with_delivery_mode(2);
        match self.channel.basic_publish(exchange, key.into(), options, body, properties).await?.await? {
            Confirmation::Ack(None) => Ok(()),
            other => bail!("not confirmed: {other:?}"),
        }
    }

    /// Publishes without waiting; the confirm is the returned future's.
    ///
    /// # Errors
    /// When the message cannot be written.
    pub async fn begin(
        &self,
        key: &str,
        properties: BasicProperties,
        body: &[u8],
    ) -> Result<impl Future<Output = Result<()>> + use<>> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let exchange = ShortString::from(format!("{}.events", self.prefix));
        let properties = properties.with_delivery_mode(2);
        let confirm = self.channel.basic_publish(exchange, key.into(), options, body, properties).await?;
        Ok(async move {
            match confirm.await? {
                Confirmation::Ack(None) => Ok(()),
                other => bail!("not confirmed: {other:?}"),
            }
        })
    }

    /// Publishes an event in the raw form.
    ///
    /// # Errors
    /// When the broker does not take it.
    pub async fn raw(&self, event_type: &str, id: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<()> {
        self.publish(event_type, raw_properties(event_type, id, headers), body).await
    }

    /// Takes everything out of a queue, named without the prefix.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn take_all(&self, queue: &str) -> Result<Vec<Found>> {
        let name = ShortString::from(format!("{}.{queue}", self.prefix));
        let mut found = Vec::new();
        while let Some(message) = self.channel.basic_get(name.clone(), BasicGetOptions::default()).await? {
            let table = message.properties.headers().clone().unwrap_or_default();
            let headers = table.inner().iter().filter_map(|(name, value)| Some((name.to_string(), as_text(value)?))).collect();
            let body = Bytes::from(message.delivery.data);
            found.push(Found { headers, properties: message.delivery.properties, body });
            self.channel.basic_ack(message.delivery.delivery_tag, BasicAckOptions::default()).await?;
        }
        Ok(found)
    }

    /// Deletes exchanges and queues, named whole.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn delete(&self, exchanges: impl Iterator<Item = String>, queues: impl Iterator<Item = String>) -> Result<()> {
        for queue in queues {
            self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        }
        for exchange in exchanges {
            self.channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await?;
        }
        Ok(())
    }

    /// Messages ready in a queue, named without the prefix.
    ///
    /// # Errors
    /// When there is no such queue.
    pub async fn depth(&self, queue: &str) -> Result<u32> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let name = ShortString::from(format!("{}.{queue}", self.prefix));
        Ok(self.channel.queue_declare(name, options, FieldTable::default()).await?.message_count())
    }
}

/// Properties of the raw form.
pub fn raw_properties(event_type: &str, id: &str, headers: &[(&str, &str)]) -> BasicProperties {
    let mut table = FieldTable::default();
    for (name, value) in headers {
        table.insert((*name).into(), AMQPValue::LongString((*value).into()));
    }
    BasicProperties::default()
        .with_type(event_type.into())
        .with_message_id(id.into())
        .with_content_type("application/json".into())
        .with_headers(table)
}

fn as_text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        AMQPValue::LongInt(number) => Some(number.to_string()),
        AMQPValue::LongLongInt(number) => Some(number.to_string()),
        _ => None,
    }
}
