//! Exchanges, queues and bindings, all durable: what there must be, and declaring it idempotently.

use std::fmt;

use hookyard_core::Lane;
use hookyard_core::delay::Tier;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{Channel, ExchangeKind};

use crate::config::Shards;
use crate::names::{CANARY_KEY, Names, shard_key};

/// Returns of one message before the broker itself dead-letters it. Up to RabbitMQ 4.2 every return counts, also of messages that
/// were only prefetched; our own guard counts failures of handling. Always positive: -1 means "drop at the first return" up to 3.13.
const DELIVERY_LIMIT: i32 = 10_000;
/// For queues that end a message's way: from 4.0 on, a queue without a limit gets 20.
const NO_DELIVERY_LIMIT: i32 = i32::MAX;
/// A canary nobody looked for within an hour tells nobody anything, and neither do more than a thousand.
const CANARY_TTL_MS: i32 = 3_600_000;
const CANARY_MOST: i32 = 1_000;

/// Everything there must be in the broker.
#[derive(Clone, Debug)]
pub struct Topology {
    /// Exchanges.
    pub exchanges: Vec<Exchange>,
    /// Queues, those that others dead-letter to first.
    pub queues: Vec<Queue>,
    /// What leads where.
    pub bindings: Vec<Binding>,
}

/// An exchange.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Its name.
    pub name: String,
    /// How it routes.
    pub kind: Kind,
    /// Where what it cannot route goes.
    pub alternate: Option<String>,
}

/// How an exchange routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By patterns of words.
    Topic,
    /// By equal keys.
    Direct,
    /// To everything bound to it.
    Fanout,
}

impl Kind {
    /// Its name in AMQP.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Direct => "direct",
            Self::Fanout => "fanout",
        }
    }
}

/// A quorum queue.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Its arguments beside the type.
    pub arguments: Vec<(&'static str, Argument)>,
}

/// The value of a queue's argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A number, signed, of 32 bits.
    Int(i32),
    /// A text.
    Text(String),
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// A queue bound to an exchange.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The queue.
    pub queue: String,
    /// The exchange.
    pub exchange: String,
    /// For which keys.
    pub key: String,
}

impl Topology {
    /// Of an installation with this prefix and so many shards.
    pub fn new(prefix: &str, shards: Shards) -> Self {
        let names = &Names::new(prefix);
        let mut this = Self { exchanges: Vec::new(), queues: Vec::new(), bindings: Vec::new() };
        for terminal in [names.dead(), names.rejected(), names.journal()] {
            this.exchange(terminal.clone(), Kind::Fanout, None);
            this.queue(terminal.clone(), vec![("x-delivery-limit", Argument::Int(NO_DELIVERY_LIMIT))], &terminal, "");
        }
        this.exchange(names.events(), Kind::Topic, Some(names.rejected()));
        this.exchange(names.dispatch(), Kind::Direct, Some(names.rejected()));
        this.queue(names.ingest(), working_queue(names, "ingest"), &names.events(), "#");
        for (lane, count, label) in [(Lane::Fast, shards.fast, "dispatch"), (Lane::Slow, shards.slow, "slow")] {
            for shard in 0..count {
                let mut arguments = working_queue(names, label);
                arguments.push(("x-queue-leader-locator", Argument::Text("balanced".into())));
                this.queue(names.lane_queue(lane, shard), arguments, &names.dispatch(), &shard_key(lane, shard));
            }
        }
        this.queue(names.canary(), canary_queue(), &names.dispatch(), CANARY_KEY);
        for tier in Tier::all() {
            this.exchange(names.delay(tier), Kind::Fanout, None);
            this.queue(names.delay(tier), tier_queue(names, tier), &names.delay(tier), "");
        }
        this
    }

    fn exchange(&mut self, name: String, kind: Kind, alternate: Option<String>) {
        self.exchanges.push(Exchange { name, kind, alternate });
    }

    fn queue(&mut self, name: String, arguments: Vec<(&'static str, Argument)>, exchange: &str, key: &str) {
        self.bindings.push(Binding { queue: name.clone(), exchange: exchange.to_owned(), key: key.to_owned() });
        self.queues.push(Queue { name, arguments });
    }

    /// Asks whether everything is there: operators who declare it themselves may do so after a process has started.
    pub(crate) async fn expect(&self, channel: &Channel) -> lapin::Result<()> {
        for exchange in &self.exchanges {
            exchange.expect(channel).await?;
        }
        for queue in &self.queues {
            queue.declare(channel, true).await?;
        }
        Ok(())
    }

    /// Declares what is missing; changes nothing that is there.
    pub(crate) async fn declare(&self, channel: &Channel) -> lapin::Result<()> {
        for exchange in &self.exchanges {
            exchange.declare(channel).await?;
        }
        for queue in &self.queues {
            queue.declare(channel, false).await?;
        }
        for Binding { queue, exchange, key } in &self.bindings {
            let options = QueueBindOptions::default();
            channel.queue_bind(short(queue), short(exchange), short(key), options, FieldTable::default()).await?;
        }
        Ok(())
    }
}

impl Exchange {
    /// Asks whether it is there, whatever its arguments.
    async fn expect(&self, channel: &Channel) -> lapin::Result<()> {
        let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(short(&self.name), ExchangeKind::Fanout, options, FieldTable::default()).await
    }

    async fn declare(&self, channel: &Channel) -> lapin::Result<()> {
        let mut arguments = FieldTable::default();
        if let Some(alternate) = &self.alternate {
            arguments.insert("alternate-exchange".into(), text(alternate));
        }
        let kind = match self.kind {
            Kind::Topic => ExchangeKind::Topic,
            Kind::Direct => ExchangeKind::Direct,
            Kind::Fanout => ExchangeKind::Fanout,
        };
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(short(&self.name), kind, options, arguments).await
    }
}

impl Queue {
    /// Declares it; passively, only asks whether it is there, and does not compare arguments.
    pub(crate) async fn declare(&self, channel: &Channel, passive: bool) -> lapin::Result<()> {
        let mut table = FieldTable::default();
        table.insert("x-queue-type".into(), text("quorum"));
        for (key, argument) in &self.arguments {
            let value = match argument {
                Argument::Int(number) => AMQPValue::LongInt(*number),
                Argument::Text(value) => text(value),
            };
            table.insert((*key).into(), value);
        }
        let options = QueueDeclareOptions { durable: true, passive, ..QueueDeclareOptions::default() };
        channel.queue_declare(short(&self.name), options, table).await.map(drop)
    }
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

/// One fanout exchange and queue per tier: the publisher's routing key stays on the message, the queue sets none, and so an
/// expired message comes back to its own lane and shard.
fn tier_queue(names: &Names, tier: Tier) -> Vec<(&'static str, Argument)> {
    vec![
        ("x-message-ttl", Argument::Int(i32::try_from(tier.seconds() * 1000).unwrap_or(i32::MAX))),
        ("x-dead-letter-exchange", Argument::Text(names.dispatch())),
        ("x-dead-letter-strategy", Argument::Text("at-least-once".into())),
        ("x-overflow", Argument::Text("reject-publish".into())),
    ]
}

/// Where canaries come out of the tiers: they are looked at and let go, and may be lost.
fn canary_queue() -> Vec<(&'static str, Argument)> {
    vec![
        ("x-delivery-limit", Argument::Int(NO_DELIVERY_LIMIT)),
        ("x-message-ttl", Argument::Int(CANARY_TTL_MS)),
        ("x-max-length", Argument::Int(CANARY_MOST)),
        ("x-overflow", Argument::Text("drop-head".into())),
    ]
}

pub(crate) fn short(text: &str) -> ShortString {
    ShortString::from(text)
}

pub(crate) fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}
