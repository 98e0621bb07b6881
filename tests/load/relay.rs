//! The yardstick: a relay that does what any delivery over a durable queue has to do, and nothing else.
//!
//! It copies each message of one quorum queue to another, once per endpoint, with confirms; and POSTs what is in that one. No
//! routing, no signature, no record, no retries: a failure ends it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use clap::Args;
use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, PublisherConfirm};
use tokio::sync::{Semaphore, mpsc};

use crate::report::say;

/// Messages copied and not yet acked.
const COPY_WINDOW: u16 = 1024;
/// Requests in flight: Hookyard's default.
pub const CONCURRENCY: usize = 512;
/// Messages held by the half that POSTs: Hookyard's, a quarter more than can be in flight.
const POST_PREFETCH: u16 = 640;
/// Tags acked at once, at most.
const ACKS: usize = 1024;
/// What the relay prints when the half that POSTs consumes.
pub const READY: &str = "ready";

/// Run the bare relay: it says when it is ready, begins at a line on standard input, and ends with it.
#[derive(Args, Clone, Debug)]
pub struct Relay {
    /// The broker.
    #[arg(long)]
    pub amqp: String,
    /// The queue it copies from.
    #[arg(long)]
    pub from: String,
    /// The queue it copies to, and POSTs from.
    #[arg(long)]
    pub to: String,
    /// What the endpoints' URLs begin with: their number follows.
    #[arg(long)]
    pub url: String,
    /// How many endpoints each message goes to.
    #[arg(long)]
    pub endpoints: usize,
}

impl Relay {
    /// Relays until standard input ends.
    pub async fn run(self) -> Result<()> {
        let connect = || Connection::connect(&self.amqp, ConnectionProperties::default());
        let (consuming, publishing) = (connect().await?, connect().await?);
        let (channel, consumer) = consume(&consuming, &self.to, POST_PREFETCH).await?;
        let posting = tokio::spawn(post_all(channel, consumer, client()?, self.url));
        let mut lines = input();
        say(READY);
        if lines.recv().await.is_none() {
            return Ok(());
        }
        let (channel, consumer) = consume(&consuming, &self.from, COPY_WINDOW).await?;
        let publisher = publishing.create_channel().await?;
        publisher.confirm_select(ConfirmSelectOptions::default()).await?;
        let (copied, acks) = mpsc::channel(usize::from(COPY_WINDOW));
        let acking = tokio::spawn(ack_copied(channel, acks));
        let copying = tokio::spawn(copy_all(consumer, publisher, self.to, self.endpoints, copied));
        tokio::select! {
            ended = posting => ended??,
            ended = copying => ended??,
            ended = acking => ended??,
            _ = lines.recv() => return Ok(()),
        }
        bail!("a consumer ended")
    }
}

/// The lines of standard input; it ends with whoever started us, and the channel with it.
pub fn input() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            let Ok(line) = line else { return };
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

async fn consume(connection: &Connection, queue: &str, prefetch: u16) -> Result<(Channel, Consumer)> {
    let channel = connection.create_channel().await?;
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let consumer = channel.basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default()).await?;
    Ok((channel, consumer))
}

/// A message copied: its tag, and the confirms of its copies.
struct Copied {
    tag: u64,
    confirms: Vec<PublisherConfirm>,
}

async fn copy_all(
    mut consumer: Consumer,
    publisher: Channel,
    to: String,
    endpoints: usize,
    copied: mpsc::Sender<Copied>,
) -> Result<()> {
    let to = ShortString::from(to);
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery?;
        let mut confirms = Vec::with_capacity(endpoints);
        for endpoint in 0..endpoints {
            let properties = copy_properties(&delivery.properties, endpoint);
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            confirms.push(publisher.basic_publish("".into(), to.clone(), options, &delivery.data, properties).await?);
        }
        if copied.send(Copied { tag: delivery.delivery_tag, confirms }).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// The endpoint's number travels as the type.
fn copy_properties(original: &BasicProperties, endpoint: usize) -> BasicProperties {
    let mut properties = BasicProperties::default().with_delivery_mode(2).with_type(endpoint.to_string().into());
    if let Some(id) = original.message_id() {
        properties = properties.with_message_id(id.clone());
    }
    properties
}

/// Acks in order, as many at once as are confirmed.
async fn ack_copied(channel: Channel, mut copied: mpsc::Receiver<Copied>) -> Result<()> {
    let mut batch = Vec::with_capacity(ACKS);
    while copied.recv_many(&mut batch, ACKS).await > 0 {
        let mut last = 0;
        for Copied { tag, confirms } in batch.drain(..) {
            for confirm in confirms {
                let confirmation = confirm.await?;
                ensure!(matches!(confirmation, Confirmation::Ack(None)), "not confirmed: {confirmation:?}");
            }
            last = tag;
        }
        channel.basic_ack(last, BasicAckOptions { multiple: true }).await?;
    }
    Ok(())
}

async fn post_all(channel: Channel, mut consumer: Consumer, client: reqwest::Client, url: String) -> Result<()> {
    let permits = Arc::new(Semaphore::new(CONCURRENCY));
    let (posted, acks) = mpsc::unbounded_channel();
    let acking = ack_posted(channel, acks);
    let posting = async {
        while let Some(delivery) = consumer.next().await {
            let delivery = delivery?;
            let permit = Arc::clone(&permits).acquire_owned().await?;
            let (client, posted, url) = (client.clone(), posted.clone(), endpoint_url(&url, &delivery)?);
            tokio::spawn(async move {
                let tag = delivery.delivery_tag;
                let done = post(&client, url, delivery).await.map(|()| tag);
                drop(permit);
                // Nobody listens any more when the relay ends.
                posted.send(done).ok();
            });
        }
        bail!("the consumer of the copies ended")
    };
    tokio::select! {
        ended = acking => ended,
        ended = posting => ended,
    }
}

fn endpoint_url(base: &str, delivery: &Delivery) -> Result<String> {
    let endpoint = delivery.properties.kind().as_ref().context("a copy without its endpoint")?;
    Ok(format!("{base}{endpoint}"))
}

async fn post(client: &reqwest::Client, url: String, delivery: Delivery) -> Result<()> {
    let id = delivery.properties.message_id().as_ref().map_or("", ShortString::as_str);
    let request = client.post(url).header("content-type", "application/json").header("webhook-id", id);
    let response = request.body(Bytes::from(delivery.data)).send().await.context("a POST failed")?;
    ensure!(response.status().is_success(), "a POST was answered with {}", response.status());
    Ok(())
}

/// Acks the finished tags up to the smallest unfinished one, as many at once as there are.
async fn ack_posted(channel: Channel, mut posted: mpsc::UnboundedReceiver<Result<u64>>) -> Result<()> {
    let (mut batch, mut behind, mut smallest) = (Vec::with_capacity(ACKS), BTreeSet::new(), 1);
    while posted.recv_many(&mut batch, ACKS).await > 0 {
        for tag in batch.drain(..) {
            behind.insert(tag?);
        }
        let before = smallest;
        while behind.remove(&smallest) {
            smallest += 1;
        }
        if smallest > before {
            channel.basic_ack(smallest - 1, BasicAckOptions { multiple: true }).await?;
        }
    }
    Ok(())
}

/// With the settings of Hookyard's client.
pub fn client() -> Result<reqwest::Client> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never().max_retries_per_request(0))
        .no_proxy()
        .http1_only()
        .referer(false)
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(15))
        .pool_idle_timeout(Duration::from_secs(50))
        .pool_max_idle_per_host(512)
        .tcp_nodelay(true)
        .build()
        .context("cannot build an HTTP client")
}
