//! Exchanges, queues and bindings, all durable, declared idempotently.

use hookyard_core::Lane;
use hookyard_core::delay::Tier;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{Channel, ExchangeKind};

use crate::config::Shards;
use crate::names::{Names, shard_key};

/// Returns of one message before the broker itself dead-letters it. Up to RabbitMQ 4.2 every return counts, also of messages that
/// were only prefetched; our own guard counts failures of handling. Always positive: -1 means "drop at the first return" up to 3.13.
const DELIVERY_LIMIT: i32 = 10_000;
/// For queues that end a message's way: from 4.0 on, a queue without a limit gets 20.
const NO_DELIVERY_LIMIT: i32 = i32::MAX;

/// Declares everything. Dead-letter targets come before the queues that name them.
pub async fn declare(channel: &Channel, names: &Names, shards: Shards) -> lapin::Result<()> {
    for terminal in [names.dead(), names.rejected(), names.journal()] {
        exchange(channel, &terminal, ExchangeKind::Fanout, None).await?;
        queue(channel, &terminal, &[("x-delivery-limit", Argument::Int(NO_DELIVERY_LIMIT))]).await?;
        bind(channel, &terminal, &terminal, "").await?;
    }
    exchange(channel, &names.events(), ExchangeKind::Topic, Some(names.rejected())).await?;
    exchange(channel, &names.dispatch(), ExchangeKind::Direct, Some(names.rejected())).await?;

    queue(channel, &names.ingest(), &working_queue(names, "ingest")).await?;
    bind(channel, &names.ingest(), &names.events(), "#").await?;

    for (lane, count, label) in [(Lane::Fast, shards.fast, "dispatch"), (Lane::Slow, shards.slow, "slow")] {
        for shard in 0..count {
            let mut arguments = working_queue(names, label);
            arguments.push(("x-queue-leader-locator", Argument::Text("balanced".into())));
            let name = names.lane_queue(lane, shard);
            queue(channel, &name, &arguments).await?;
            bind(channel, &name, &names.dispatch(), &shard_key(lane, shard)).await?;
        }
    }
    for tier in Tier::all() {
        declare_tier(channel, names, tier).await?;
    }
    Ok(())
}

/// One fanout exchange and queue per tier: the publisher's routing key stays on the message, the queue sets none, and so an
/// expired message comes back to its own lane and shard.
async fn declare_tier(channel: &Channel, names: &Names, tier: Tier) -> lapin::Result<()> {
    let name = names.delay(tier);
    let ttl_ms = i32::try_from(tier.seconds() * 1000).unwrap_or(i32::MAX);
    exchange(channel, &name, ExchangeKind::Fanout, None).await?;
    let arguments = [
        ("x-message-ttl", Argument::Int(ttl_ms)),
        ("x-dead-letter-exchange", Argument::Text(names.dispatch())),
        ("x-dead-letter-strategy", Argument::Text("at-least-once".into())),
        ("x-overflow", Argument::Text("reject-publish".into())),
    ];
    queue(channel, &name, &arguments).await?;
    bind(channel, &name, &name, "").await
}

enum Argument {
    Int(i32),
    Text(String),
}

/// Arguments of a queue that services consume: what the broker gives up on goes to the rejected ones, never away.
fn working_queue(names: &Names, label: &str) -> Vec<(&'static str, Argument)> {
    vec![
        ("x-delivery-limit", Argument::Int(DELIVERY_LIMIT)),
        ("x-dead-letter-exchange", Argument::Text(names.rejected())),
        ("x-dead-letter-routing-key", Argument::Text(label.into())),
        ("x-dead-letter-strategy", Argument::Text("at-least-once".into())),
        ("x-overflow", Argument::Text("reject-publish".into())),
    ]
}

async fn exchange(channel: &Channel, name: &str, kind: ExchangeKind, alternate: Option<String>) -> lapin::Result<()> {
    let mut arguments = FieldTable::default();
    if let Some(alternate) = alternate {
        arguments.insert("alternate-exchange".into(), text(&alternate));
    }
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(short(name), kind, options, arguments).await
}

async fn queue(channel: &Channel, name: &str, arguments: &[(&'static str, Argument)]) -> lapin::Result<()> {
    let mut table = FieldTable::default();
    table.insert("x-queue-type".into(), text("quorum"));
    for (key, argument) in arguments {
        let value = match argument {
            Argument::Int(number) => AMQPValue::LongInt(*number),
            Argument::Text(value) => text(value),
        };
        table.insert((*key).into(), value);
    }
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(short(name), options, table).await.map(drop)
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> lapin::Result<()> {
    channel.queue_bind(short(queue), short(exchange), short(key), QueueBindOptions::default(), FieldTable::default()).await
}

pub(crate) fn short(text: &str) -> ShortString {
    ShortString::from(text)
}

pub(crate) fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}
