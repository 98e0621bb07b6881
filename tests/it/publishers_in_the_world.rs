//! What publishers do that were written elsewhere: what their libraries put on the wire, and, where they can be installed, they themselves.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hookyard_e2e::raw_amqp::{RawAmqp, RawProperties, long, short, tagged};
use hookyard_e2e::services::{PrivateRabbit, RabbitOptions};
use hookyard_e2e::{Api, World, eventually};
use serde_json::{Value, json};

/// The table of what clients do, as data.
fn rows() -> Result<Vec<Value>> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/publishers.json");
    Ok(serde_json::from_slice(&std::fs::read(file)?)?)
}

/// A header's value: its tag names how it is written.
fn value(value: &Value) -> Result<Vec<u8>> {
    if value == "V" {
        return Ok(b"V".to_vec());
    }
    let (tag, content) = value.as_object().and_then(|object| object.iter().next()).context("a value behind its tag")?;
    let number = || content.as_i64().context("a number");
    Ok(match tag.as_str() {
        "S" => tagged(b'S', &long(content.as_str().context("a text")?.as_bytes())),
        "S_base64" => tagged(b'S', &long(&BASE64.decode(content.as_str().context("base64")?)?)),
        "x" => tagged(b'x', &long(&BASE64.decode(content.as_str().context("base64")?)?)),
        "l" => tagged(b'l', &number()?.to_be_bytes()),
        "I" => tagged(b'I', &i32::try_from(number()?)?.to_be_bytes()),
        "t" => tagged(b't', &[u8::try_from(number()?)?]),
        other => bail!("an unknown tag {other}"),
    })
}

/// Flags and values in the order of the protocol (AMQP 0-9-1 §1.8).
fn properties(row: &Value) -> Result<RawProperties> {
    let given = row["wire"]["properties"].as_object().context("properties")?;
    let names = ["content_type", "content_encoding", "headers", "delivery_mode", "priority", "correlation_id", "reply_to"];
    let names = names.into_iter().chain(["expiration", "message_id", "timestamp", "type", "user_id", "app_id"]);
    let (mut flags, mut values, mut written) = (0, Vec::new(), 0);
    for (index, name) in names.enumerate() {
        let Some(property) = given.get(name) else { continue };
        (flags, written) = (flags | (0x8000 >> index), written + 1);
        values.extend(match name {
            "headers" => {
                let headers = property.as_object().context("headers")?.iter();
                let entries: Result<Vec<_>> =
                    headers.map(|(name, given)| Ok([short(name.as_bytes()), value(given)?].concat())).collect();
                long(&entries?.concat())
            }
            "delivery_mode" | "priority" => vec![u8::try_from(property.as_u64().context("a number")?)?],
            "timestamp" => property.as_u64().context("a number")?.to_be_bytes().to_vec(),
            _ => short(property.as_str().context("a text")?.as_bytes()),
        });
    }
    ensure!(written == given.len(), "a property that is none: {row}");
    Ok(RawProperties::raw(flags, values))
}

fn body(row: &Value) -> Result<Vec<u8>> {
    match (row["wire"]["body"].as_str(), row["wire"]["body_base64"].as_str()) {
        (Some(text), None) => Ok(text.as_bytes().to_vec()),
        (None, Some(text)) => Ok(BASE64.decode(text)?),
        _ => bail!("either body or body_base64: {row}"),
    }
}

/// Bodies that arrived as published, and with the event's time around them.
struct Arrived<'a>(&'a World);

impl Arrived<'_> {
    fn at(&self, path: &str) -> Vec<String> {
        let hits = self.0.receiver.hits().into_iter().filter(|hit| hit.path == path);
        hits.map(|hit| String::from_utf8_lossy(&hit.body).into_owned()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_every_client_puts_on_the_wire_becomes_what_the_table_says() -> Result<()> {
    let world = World::new().await?;
    let running = world.start().await?;
    let (api, amqp) = (Api::of(&running)?, world.amqp().await?);
    api.endpoint("default", &world.receiver.url("/plain"), json!({})).await?;
    api.endpoint("default", &world.receiver.url("/timed"), json!({"bodyFormat": "envelope"})).await?;
    let mut raw = RawAmqp::connect(&world.config().amqp_url.context("a broker")?, &world.prefix).await?;
    let (mut delivered, mut refused) = (0, 0);
    for row in rows()?.iter().filter(|row| row["wire"].is_object()) {
        let client = row["client"].as_str().context("a client")?;
        let key = row["wire"]["routing_key"].as_str().context("a key")?;
        raw.publish(key.as_bytes(), &properties(row)?, &body(row)?).await.context(client.to_owned())?;
        let arrived = Arrived(&world);
        if let Some(expected) = row["delivered"].as_str() {
            delivered += 1;
            eventually(client, async || arrived.at("/plain").len() == delivered && arrived.at("/timed").len() == delivered)
                .await?;
            let (plain, timed) = (arrived.at("/plain"), arrived.at("/timed"));
            ensure!(plain.last().is_some_and(|last| last == expected), "{client}: {plain:?}");
            if let Some(time) = row["time"].as_str() {
                ensure!(
                    timed.last().is_some_and(|last| last.contains(&format!("\"event_time\":\"{time}\""))),
                    "{client}: {timed:?}"
                );
            }
        } else {
            refused += 1;
            eventually(client, async || amqp.depth("rejected").await.is_ok_and(|depth| depth == refused)).await?;
            let listed = api.get("/rejected?limit=250").await?;
            let reasons = listed["data"].as_array().context("a list")?.iter();
            let of_this = reasons.filter(|one| one["reason"] == row["refused"]).count();
            ensure!(of_this > 0 && row["refused"].is_string(), "{client}: {listed}");
        }
    }
    ensure!(delivered > 15 && refused > 5, "{delivered} delivered, {refused} refused");
    running.drain().await;
    Ok(())
}

/// What `make clients` prepared.
fn target(path: &str) -> String {
    format!("{}/../target/{path}", env!("CARGO_MANIFEST_DIR"))
}

fn example(name: &str) -> String {
    format!("{}/../proto/examples/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Runs a publisher to its end.
async fn publish(mut command: Command) -> Result<()> {
    let shown = format!("{command:?}");
    let output = tokio::task::spawn_blocking(move || command.output()).await?.with_context(|| shown.clone())?;
    let said = || format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{shown}: {}", said());
    Ok(())
}

/// Publishers by their names, each with the type `by.NAME` and data that says so.
fn publishers(url: &str, exchange: &str) -> Vec<(String, Command)> {
    let call = |name: &str, program: String, script: Vec<String>| {
        let mut command = Command::new(program);
        // Modules are found beside the prepared folder, not beside the examples.
        command.env("NODE_PATH", target("node/node_modules"));
        command.args(script).args([url, exchange, &format!("by.{name}"), &data_by(name)]);
        (name.to_owned(), command)
    };
    let python = |name: &str, script: &str| call(name, target("python/bin/python"), vec![example(script)]);
    let foreign = |name: &str| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/publishers/foreign.py").to_owned();
        call(name, target("python/bin/python"), vec![script, name.to_owned()])
    };
    let node = |name: &str| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/publishers/foreign.cjs").to_owned();
        call(name, "node".to_owned(), vec![script, name.to_owned()])
    };
    vec![
        python("pika", "publish.py"),
        python("aio-pika", "aio_pika_publish.py"),
        python("kombu", "kombu_publish.py"),
        foreign("kombu-compressed"),
        foreign("faststream"),
        foreign("rabbitpy"),
        foreign("amqpstorm"),
        foreign("cloudevents-amqp"),
        foreign("cloudevents-rabbitmq"),
        foreign("cloudevents-structured"),
        node("amqplib"),
        node("rabbitmq-client"),
        node("rabbitmq-client-cloudevent"),
        node("cloudevents"),
        node("amqp-client"),
        call("amqp-publish", "sh".to_owned(), vec![example("amqp-publish.sh")]),
        call("go", target("publishers/go-publish"), vec![]),
    ]
}

fn data_by(name: &str) -> String {
    format!("{{\"by\": \"{name}\"}}")
}

/// Who arrived, and whether nothing else did.
fn arrived(world: &World) -> Result<BTreeSet<String>> {
    let by = |hit: hookyard_e2e::receiver::Hit| -> Result<String> {
        let data: Value = serde_json::from_slice(&hit.body).with_context(|| format!("{:?}", hit.body))?;
        Ok(data["by"].as_str().with_context(|| data.to_string())?.to_owned())
    };
    world.receiver.hits().into_iter().map(by).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_the_clients_people_use_arrive() -> Result<()> {
    let world = World::new().await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    api.endpoint("default", &world.receiver.url("/all"), json!({"eventTypes": ["by.*"]})).await?;
    let url = world.config().amqp_url.context("a broker")?;
    let mut expected = BTreeSet::new();
    for (name, command) in publishers(&url, &format!("{}.events", world.prefix)) {
        publish(command).await?;
        expected.insert(name);
    }
    let rejected = async || api.get("/rejected").await.map(|page| page["data"].clone()).unwrap_or_default();
    let all = eventually("every client's event", async || world.receiver.hits().len() >= expected.len()).await;
    ensure!(
        all.is_ok(),
        "missing {:?}; rejected: {}",
        expected.difference(&arrived(&world)?).collect::<Vec<_>>(),
        rejected().await
    );
    ensure!(arrived(&world)? == expected && world.receiver.hits().len() == expected.len(), "{:?}", arrived(&world)?);
    running.drain().await;
    Ok(())
}

/// RabbitMQ 4 speaks AMQP 1.0 itself, 3.x by a plugin, with other addresses and other things made of what was sent.
#[tokio::test(flavor = "multi_thread")]
async fn events_of_an_amqp_1_client_arrive() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let is_native = PrivateRabbit::version()?.is_some_and(|version| version.0 >= 4);
    let plugins: &[&str] = if is_native { &[] } else { &["rabbitmq_amqp1_0"] };
    let place = folder.path().join("rabbit");
    let options = RabbitOptions { plugins, ..RabbitOptions::default() };
    let rabbit = tokio::task::block_in_place(|| PrivateRabbit::start_with(Path::new(&place), options))?;
    let world = World::at(rabbit.url(), |_, _| hookyard_e2e::receiver::Answer::Status(204)).await?;
    let running = world.start().await?;
    let (api, amqp) = (Api::of(&running)?, world.amqp().await?);
    api.post("/app", &json!({"name": "Acme", "uid": "acme"})).await?;
    api.endpoint("acme", &world.receiver.url("/acme"), json!({"eventTypes": ["by.rhea"]})).await?;
    api.endpoint("default", &world.receiver.url("/default"), json!({})).await?;
    for kind in ["data", "text", "buffer"] {
        let mut command = Command::new("node");
        command.env("NODE_PATH", target("node/node_modules")).args([example("rhea_publish.mjs"), rabbit.url()]);
        command.args([&format!("{}.events", world.prefix), "by.rhea", &data_by("rhea"), "--app", "acme", "--body", kind]);
        if !is_native {
            command.arg("--plugin");
        }
        publish(command).await?;
    }
    eventually("three events", async || world.receiver.hits().len() == 3).await?;
    for hit in world.receiver.hits() {
        ensure!(hit.path == "/acme", "its application was taken for none");
        ensure!(&hit.body[..] == data_by("rhea").as_bytes(), "{:?}", hit.body);
    }
    let mut command = Command::new("node");
    command.env("NODE_PATH", target("node/node_modules")).args([example("rhea_publish.mjs"), rabbit.url()]);
    command.args([&format!("{}.events", world.prefix), "by.rhea", r#"{"a": 1}"#, "--app", "acme", "--body", "map"]);
    if !is_native {
        command.arg("--plugin");
    }
    publish(command).await?;
    eventually("a map is refused", async || amqp.depth("rejected").await.is_ok_and(|depth| depth == 1)).await?;
    let listed = api.get("/rejected").await?;
    ensure!(listed["data"][0]["detail"].as_str().is_some_and(|detail| detail.contains("a list or a map")), "{listed}");
    running.drain().await;
    Ok(())
}
