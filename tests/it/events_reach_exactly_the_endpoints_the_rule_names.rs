//! An event published with confirms reaches exactly the endpoints the routing rule names, byte for byte and signed.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use hookyard_core::name::EventPattern;
use hookyard_core::{Channel, EndpointId, EventType, Subscription};
use hookyard_e2e::{Api, Backend, World, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use standardwebhooks::Webhook;

on_both_backends! {
    events_reach_exactly_whom_the_rule_names;
    an_event_published_over_http_arrives_and_a_known_id_is_refused;
    an_event_published_after_a_change_is_routed_with_it;
    one_event_for_5000_endpoints_reaches_each_once;
}

/// Endpoints over types × wildcards × channels × states: (path, fields).
fn endpoints() -> Vec<(&'static str, Value)> {
    vec![
        ("/all", json!({})),
        ("/created", json!({"eventTypes": ["user.created"]})),
        ("/user", json!({"eventTypes": ["user.*"]})),
        ("/two", json!({"eventTypes": ["order.paid", "user.deleted"]})),
        ("/eu", json!({"channels": ["eu"]})),
        ("/eu-us", json!({"channels": ["eu", "us"], "eventTypes": ["order.*"]})),
        ("/star", json!({"eventTypes": ["*"]})),
        ("/off", json!({"disabled": true})),
    ]
}

fn subscription(fields: &Value, number: u8) -> Subscription {
    let list = |name: &str| fields[name].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    Subscription {
        endpoint: EndpointId::from_bytes([number; 20]),
        event_types: list("eventTypes").iter().map(|v| text(v).parse::<EventPattern>().expect("a pattern")).collect(),
        channels: list("channels").iter().map(|v| text(v).parse::<Channel>().expect("a channel")).collect(),
        active: fields["disabled"] != json!(true),
    }
}

const EVENTS: [(&str, &str); 6] = [
    ("user.created", ""),
    ("user.deleted", "eu"),
    ("order.paid", "us"),
    ("order.refunded", "eu,us"),
    ("ALERT", "asia"),
    ("user", ""),
];

/// Bytes that any re-encoding would change: spaces, key order, escapes, a number too precise for a double.
fn body(number: usize) -> String {
    format!("{{ \"z\":{number},  \"a\" : \"\\u00e9 é\", \"n\": 12345678901234567890.123456789 }}")
}

async fn events_reach_exactly_whom_the_rule_names(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let mut secrets = BTreeMap::new();
    for (path, fields) in endpoints() {
        let id = api.endpoint("default", &world.receiver.url(path), fields).await?;
        secrets.insert(path, api.secret("default", &id).await?);
    }
    let mut expected = BTreeSet::new();
    for (number, (event_type, channels)) in EVENTS.into_iter().enumerate() {
        let event_id = format!("event-{number}");
        let channels: Vec<&str> = channels.split(',').filter(|channel| !channel.is_empty()).collect();
        world.publish_on(&api, event_type, &event_id, &channels, &body(number)).await?;
        let parsed: EventType = event_type.parse()?;
        let labels: Vec<Channel> = channels.iter().map(|channel| channel.parse()).collect::<Result<_, _>>()?;
        for ((path, fields), index) in endpoints().iter().zip(0..) {
            if subscription(fields, index).wants(&parsed, &labels) {
                expected.insert(((*path).to_owned(), body(number).into_bytes()));
            }
        }
    }
    eventually("every expected delivery", async || world.receiver.hits().len() >= expected.len()).await?;
    // Whatever should not come would have come with the rest: let the queues run dry and look again.
    eventually("the queues are empty", async || world.is_drained().await.unwrap_or(false)).await?;
    let hits = world.receiver.hits();
    let arrived: BTreeSet<_> = hits.iter().map(|hit| (hit.path.clone(), hit.body.to_vec())).collect();
    ensure!(arrived == expected, "arrived {arrived:?}, expected {expected:?}");
    ensure!(hits.len() == expected.len(), "no duplicates without a fault");
    for hit in &hits {
        let webhook = Webhook::new(&secrets[hit.path.as_str()])?;
        webhook.verify(&hit.body, &hit.headers).context("the signature")?;
        ensure!(hit.headers["content-type"] == "application/json");
        ensure!(hit.headers["user-agent"].to_str()?.starts_with("Hookyard/"));
    }
    running.drain().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pika_events_arrive_in_every_form() -> Result<()> {
    let python = match pika_python() {
        Ok(python) => python,
        Err(error) => anyhow::bail!("a Python with pika is needed (make installs one in a virtualenv): {error:#}"),
    };
    let world = World::new().await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let id = api.endpoint("default", &world.receiver.url("/all"), json!({})).await?;
    let webhook = Webhook::new(&api.secret("default", &id).await?)?;
    let url = world.config().amqp_url.context("a broker")?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/examples/publish.py");
    for form in ["raw", "envelope", "cloudevents"] {
        let mut command = Command::new(&python);
        command.args([script, &url, &format!("{}.events", world.prefix), "user.created", r#"{"by":"pika"}"#]);
        command.args(["--form", form, "--id", &format!("pika-{form}")]);
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        ensure!(output.status.success(), "{form}: {}", String::from_utf8_lossy(&output.stderr));
    }
    eventually("three events from pika", async || world.receiver.hits().len() == 3).await?;
    for hit in world.receiver.hits() {
        ensure!(&hit.body[..] == br#"{"by":"pika"}"#, "{:?}", hit.body);
        webhook.verify(&hit.body, &hit.headers)?;
    }
    running.drain().await;
    Ok(())
}

/// The interpreter `make test` prepared, or any that knows pika.
fn pika_python() -> Result<String> {
    let prepared = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/python/bin/python");
    for python in [prepared, "python3"] {
        if Command::new(python).args(["-c", "import pika"]).output().is_ok_and(|output| output.status.success()) {
            return Ok(python.to_owned());
        }
    }
    anyhow::bail!("none found")
}

async fn an_event_published_over_http_arrives_and_a_known_id_is_refused(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    api.endpoint("default", &world.receiver.url("/all"), json!({})).await?;
    let message = json!({"eventType": "user.created", "eventId": "once", "payload": {"id": 7}});
    let answer = api.post("/app/default/msg", &message).await?;
    let (status, again) = api.try_call(Method::POST, "/app/default/msg", Some(&message)).await?;
    ensure!(status == 409 && again["code"] == "conflict", "{status} {again}");
    eventually("the event", async || world.receiver.hits().len() == 1).await?;
    ensure!(world.receiver.hits()[0].id == answer["id"].as_str().context("an id")?);
    ensure!(&world.receiver.hits()[0].body[..] == br#"{"id":7}"#);
    running.drain().await;
    Ok(())
}

async fn an_event_published_after_a_change_is_routed_with_it(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    for round in 0..30 {
        let path = format!("/round-{round}");
        // A type of its own: an event of the round before may still be on its way to the router.
        let event_type = format!("round.{round}");
        let id = api.endpoint("default", &world.receiver.url(&path), json!({ "eventTypes": [event_type] })).await?;
        world.publish(&api, &event_type, &format!("with-{round}"), "{}").await?;
        eventually("the new endpoint's event", async || world.receiver.at(&path).len() == 1).await?;
        api.call(Method::DELETE, &format!("/app/default/endpoint/{id}"), None).await?;
        world.publish(&api, &event_type, &format!("without-{round}"), "{}").await?;
    }
    eventually("the queues are empty", async || world.is_drained().await.unwrap_or(false)).await?;
    ensure!(world.receiver.hits().len() == 30, "a deleted endpoint got an event published after its deletion");
    running.drain().await;
    Ok(())
}

async fn one_event_for_5000_endpoints_reaches_each_once(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let mut creations = tokio::task::JoinSet::new();
    for part in 0..8 {
        let (api, receiver) = (api.clone(), world.receiver.clone());
        creations.spawn(async move {
            for number in (part..5_000).step_by(8) {
                api.endpoint("default", &receiver.url(&format!("/n/{number}")), json!({})).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(created) = creations.join_next().await {
        created??;
    }
    world.publish(&api, "wide", "one", r#"{"wide":true}"#).await?;
    eventually("5,000 deliveries", async || world.receiver.counts().len() == 5_000).await?;
    ensure!(world.receiver.hits().len() == 5_000, "each once");
    running.drain().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_is_suppressed_and_another_content_rejected() -> Result<()> {
    let world = World::new().await?;
    let running = world.start().await?;
    let (api, amqp) = (Api::of(&running)?, world.amqp().await?);
    api.endpoint("default", &world.receiver.url("/all"), json!({})).await?;
    for _ in 0..20 {
        amqp.raw("a", "same", &[], b"{}").await?;
    }
    amqp.raw("a", "same", &[], b"{\"other\":1}").await?;
    amqp.raw("a", "last", &[], b"{}").await?;
    eventually("the last", async || world.receiver.counts().len() == 2).await?;
    eventually("the conflict is rejected", async || amqp.depth("rejected").await.is_ok_and(|depth| depth == 1)).await?;
    ensure!(world.receiver.hits().len() == 2, "{} requests", world.receiver.hits().len());
    let rejected = amqp.take_all("rejected").await?;
    ensure!(rejected[0].header("hookyard-reason") == Some("id_conflict") && &rejected[0].body[..] == b"{\"other\":1}");
    running.drain().await;
    Ok(())
}
