//! What Hookyard stands on in a broker, on whichever version the tests run: `docs/servers.md` has the table.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use futures_util::StreamExt as _;
use hookyard_e2e::receiver::Answer;
use hookyard_e2e::services::PrivateRabbit;
use hookyard_e2e::{Api, World, eventually};
use hookyard_node::Roles;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use serde_json::json;

fn arguments(pairs: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in pairs {
        table.insert((*name).into(), value.clone());
    }
    table
}

/// Each end of a connection counts, so a message that is never settled ends where it is kept, and not in a circle.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_back_too_often_is_kept() -> Result<()> {
    let world = World::new().await?;
    let url = world.config().amqp_url.context("a broker")?;
    let connect = async || Connection::connect(&url, ConnectionProperties::default()).await;
    let connection = connect().await?;
    let channel = connection.create_channel().await?;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let (tried, kept) = (format!("{}.tried", world.prefix), format!("{}.kept", world.prefix));
    let text = |text: &str| AMQPValue::LongString(text.into());
    let quorum = [("x-queue-type", text("quorum"))];
    channel.queue_declare(kept.as_str().into(), durable, arguments(&quorum)).await?;
    let limited = [
        ("x-delivery-limit", AMQPValue::LongInt(3)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(&kept)),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ];
    channel.queue_declare(tried.as_str().into(), durable, arguments(&[&quorum[..], &limited].concat())).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let properties = BasicProperties::default().with_delivery_mode(2);
    channel.basic_publish("".into(), tried.as_str().into(), BasicPublishOptions::default(), b"x", properties).await?.await?;
    for _ in 0..4 {
        let connection = connect().await?;
        let channel = connection.create_channel().await?;
        let options = BasicConsumeOptions::default();
        let mut consumer = channel.basic_consume(tried.as_str().into(), "".into(), options, FieldTable::default()).await?;
        consumer.next().await.context("a message")??;
        connection.close(200, "bye".into()).await?;
    }
    let depth = async || {
        let passive = QueueDeclareOptions { passive: true, ..durable };
        channel.queue_declare(kept.as_str().into(), passive, FieldTable::default()).await.map(|queue| queue.message_count())
    };
    eventually("it is kept", async || depth().await.is_ok_and(|count| count == 1)).await
}

/// A broker that was given `deploy/rabbitmq/definitions.json` has everything: roles that may declare nothing run on it.
#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_definitions_are_taken() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let rabbit = tokio::task::block_in_place(|| PrivateRabbit::start(&folder.path().join("rabbit")))?;
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/rabbitmq/definitions.json");
    // Where the broker's tools can read it, in whatever root they are.
    let file = folder.path().join("definitions.json");
    std::fs::copy(shipped, &file)?;
    tokio::task::block_in_place(|| rabbit.ctl(&["import_definitions", file.to_str().context("a path")?]))?;
    let world = World::at(rabbit.url(), |_, _| Answer::Status(204)).await?;
    let mut config = world.config();
    config.amqp.prefix = "hookyard".to_owned();
    config.amqp.declare = false;
    let running = world.start_unready(Roles::ALL, config).await?;
    eventually("the roles are ready", || running.is_ready()).await?;
    let api = Api::of(&running)?;
    api.endpoint("default", &world.receiver.url("/all"), json!({})).await?;
    api.post("/app/default/msg", &json!({"eventType": "a", "payload": {}})).await?;
    eventually("an event arrives", async || world.receiver.hits().len() == 1).await?;
    ensure!(rabbit.ctl(&["list_policies"])?.lines().count() <= 1, "no policies");
    running.drain().await;
    Ok(())
}
