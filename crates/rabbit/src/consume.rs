//! Consumers: one per queue, feeding one mailbox of claims per lane.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::sync::{Mutex, mpsc};

use crate::acker::Acker;
use crate::message::{failures, first_published};
use crate::receipt::{Hold, Receipt, Taken};
use crate::session::Session;
use crate::topology::short;

/// Messages taken and waiting to be claimed.
pub type Inbox = Mutex<mpsc::UnboundedReceiver<Box<Receipt>>>;

/// A channel with its consumers, before they begin.
pub struct Intent {
    channel: Channel,
    queues: Vec<String>,
    prefetch: u16,
    sender: mpsc::UnboundedSender<Box<Receipt>>,
}

/// Opens a channel for `queues`, each with this prefetch. The consumers begin with [`Intent::begin`].
pub async fn open(connection: &Connection, queues: Vec<String>, prefetch: u16) -> lapin::Result<(Intent, Inbox)> {
    let channel = connection.create_channel().await?;
    // Not global: the window is each consumer's own.
    channel.basic_qos(prefetch, BasicQosOptions { global: false }).await?;
    // Unbounded, and still bounded: the broker sends no more than the prefetch window.
    let (sender, receiver) = mpsc::unbounded_channel();
    Ok((Intent { channel, queues, prefetch, sender }, Mutex::new(receiver)))
}

impl Intent {
    /// Begins to consume for `session`.
    pub async fn begin(self, session: &Arc<Session>) -> lapin::Result<()> {
        let window = usize::from(self.prefetch) * self.queues.len();
        let acker = Acker::start(self.channel.clone(), window, session.dead.clone());
        session.keep(acker.clone());
        for queue in self.queues {
            let name: Arc<str> = Arc::from(queue.as_str());
            let options = BasicConsumeOptions::default();
            let consumer = self.channel.basic_consume(short(&queue), short(""), options, FieldTable::default()).await?;
            #[expect(clippy::disallowed_methods, reason = "ends its session however it ends")]
            tokio::spawn(feed(consumer, name, Arc::clone(session), acker.clone(), self.sender.clone()));
        }
        Ok(())
    }
}

async fn feed(
    mut consumer: lapin::Consumer,
    queue: Arc<str>,
    session: Arc<Session>,
    acker: Acker,
    inbox: mpsc::UnboundedSender<Box<Receipt>>,
) {
    // However this ends, the session ends with it, and another begins.
    let _ends_session = session.dead.clone().drop_guard();
    loop {
        let next = tokio::select! {
            () = session.dead.cancelled() => return,
            next = consumer.next() => next,
        };
        let Some(Ok(delivery)) = next else {
            // A stream that ends means the queue is gone or the channel closed.
            tracing::debug!(queue = &*queue, "consumer ended; the session ends");
            return;
        };
        // What was given back was published again: for the broker that is a new message.
        let had_before = failures(&delivery.properties).is_some();
        let (exchange, routing_key) =
            first_published(&delivery.properties, delivery.exchange.as_str(), delivery.routing_key.as_str());
        let taken = Taken {
            queue: Arc::clone(&queue),
            exchange,
            routing_key,
            properties: delivery.properties,
            body: Bytes::from(delivery.data),
            redelivered: delivery.redelivered || had_before,
        };
        let receipt = Receipt::new(Arc::clone(&session), taken, Hold::new(delivery.delivery_tag, acker.clone()));
        if inbox.send(Box::new(receipt)).is_err() {
            return;
        }
    }
}
