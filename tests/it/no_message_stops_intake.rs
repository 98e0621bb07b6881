//! No message stops intake: whatever a publisher wrote, with whatever library, it is delivered, or kept with its reason, and others go on.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hookyard_e2e::raw_amqp::{RawAmqp, RawProperties, long, nested, tagged};
use hookyard_e2e::{Api, World, eventually};
use hookyard_node::Running;
use lapin::options::QueueDeleteOptions;
use lapin::{Connection, ConnectionProperties};
use serde_json::{Value, json};

/// A message, and the reason for which it is refused; `None`: it is delivered.
struct Case {
    about: &'static str,
    key: &'static [u8],
    properties: RawProperties,
    refused: Option<&'static str>,
}

fn text(value: &[u8]) -> Vec<u8> {
    tagged(b'S', &long(value))
}

/// Of the raw form, with these headers.
fn raw(headers: &[(&[u8], Vec<u8>)]) -> RawProperties {
    RawProperties::new().headers(headers).persistent().kind(b"order.paid")
}

/// What valid clients and odd ones put on the wire; `pad` is a header that brings the content header to about the largest frame.
fn cases() -> Vec<Case> {
    let case = |about, properties, refused| Case { about, key: b"order.paid", properties, refused };
    let pad = |bytes: usize| (&b"pad"[..], text(&vec![b'x'; bytes]));
    let app = |value: Vec<u8>| raw(&[(b"hookyard-app", value)]);
    let channels = |value: Vec<u8>| raw(&[(b"hookyard-channels", value)]);
    let time = |id: &[u8], value: Vec<u8>| {
        let attributes: [(&[u8], &[u8]); 4] =
            [(b"specversion", b"1.0"), (b"id", id), (b"source", b"/s"), (b"type", b"order.paid")];
        let names = attributes.map(|(name, value)| ([&b"cloudEvents_"[..], name].concat(), text(value)));
        let mut headers: Vec<(&[u8], Vec<u8>)> = names.iter().map(|(name, value)| (&name[..], value.clone())).collect();
        headers.push((b"cloudEvents_time", value));
        RawProperties::new().headers(&headers).persistent()
    };
    let table = tagged(b'F', &long(b""));
    let with_key = |about, key, properties, refused| Case { about, key, properties, refused };
    vec![
        case("a type in Latin-1", RawProperties::new().persistent().kind(b"caf\xe9"), Some("invalid_type")),
        case(
            "an id that is no text",
            RawProperties::new().persistent().message_id(b"\xff\xfe").kind(b"order.paid"),
            Some("invalid_id"),
        ),
        case("a content type that is no text", RawProperties::new().content_type(b"\xff").persistent(), Some("unreadable")),
        case("a UUID in binary as correlation id", uuid_correlation(), None),
        case("a header's name that is no text", raw(&[(b"\xff", b"V".to_vec())]), None),
        case("a header nested deeper than is read", raw(&[(b"deep", nested(40))]), None),
        case("an application nested deeper than is read", app(nested(40)), Some("unknown_app")),
        case("headers near a frame's size", raw(&[pad(130_900)]), None),
        case(
            "a message that poses as one given back, with names no exchange has",
            raw(&[
                (b"hookyard-app", text(b"nobody")),
                (b"hookyard-failures", text(b"1")),
                (b"hookyard-exchange", text(&vec![b'e'; 65_400])),
                (b"hookyard-routing-key", text(&vec![b'k'; 65_400])),
            ]),
            Some("unknown_app"),
        ),
        case("a CloudEvent whose application is lost among unreadable headers", lost_application(), Some("unreadable")),
        case(
            "a refused message with headers near a frame's size",
            raw(&[(b"hookyard-app", text(b"nobody")), pad(130_800)]),
            Some("unknown_app"),
        ),
        case(
            "the same header twice",
            raw(&[(b"hookyard-app", text(b"nobody")), (b"hookyard-app", text(b"nobody-else"))]),
            Some("unknown_app"),
        ),
        with_key("a routing key that is no text, and a type", b"caf\xe9", raw(&[]), None),
        with_key(
            "a routing key that is no text, and no type",
            b"caf\xe9",
            RawProperties::new().persistent(),
            Some("invalid_type"),
        ),
        case("an application in bytes that are UTF-8", app(tagged(b'x', &long(b"default"))), None),
        case("an application in bytes that are not", app(tagged(b'x', &long(b"\xff"))), Some("unknown_app")),
        case("an application in text that is not UTF-8", app(text(b"\xff")), Some("unknown_app")),
        case("an application that is a list", app(tagged(b'A', &long(&text(b"default")))), Some("unknown_app")),
        case("an application that is a table", app(table.clone()), Some("unknown_app")),
        case("an application that is a decimal", app(b"D\0\0\0\0\x01".to_vec()), Some("unknown_app")),
        case("an application that is null", app(b"V".to_vec()), Some("unknown_app")),
        case("an application with a fraction", app(b"d\0\0\0\0\0\0\0\0".to_vec()), Some("unknown_app")),
        case("an empty application", app(text(b"")), Some("unknown_app")),
        case("channels that are a list", channels(tagged(b'A', &long(&text(b"eu")))), Some("invalid_channel")),
        case("channels that are null", channels(b"V".to_vec()), Some("invalid_channel")),
        case("a CloudEvent's time in milliseconds", time(b"1", b"l\0\0\x01\x9c\x12\x34\x56\x78".to_vec()), None),
        case("a CloudEvent's time that is null", time(b"2", b"V".to_vec()), None),
        case("a CloudEvent's time that is a table", time(b"3", table), Some("invalid_time")),
    ]
}

/// So many headers are nested deeper than is read that their names are not listed.
fn lost_application() -> RawProperties {
    let names: Vec<Vec<u8>> = (0..6).map(|number| format!("{number}{}", "n".repeat(240)).into_bytes()).collect();
    let attributes: [(&[u8], &[u8]); 4] =
        [(b"specversion", b"1.0"), (b"id", b"lost"), (b"source", b"/s"), (b"type", b"order.paid")];
    let attributes = attributes.map(|(name, value)| ([&b"cloudEvents_"[..], name].concat(), text(value)));
    let mut headers: Vec<(&[u8], Vec<u8>)> = attributes.iter().map(|(name, value)| (&name[..], value.clone())).collect();
    headers.push((b"cloudEvents_hookyardapp", nested(40)));
    headers.extend(names.iter().map(|name| (&name[..], nested(40))));
    RawProperties::new().headers(&headers).persistent()
}

/// As an AMQP 1.0 client sends it, which may: the type there is a UUID, and here a text.
fn uuid_correlation() -> RawProperties {
    RawProperties::new()
        .persistent()
        .correlation_id(b"\x8f\x14\xe4\x5f\xce\xea\x46\x7a\xb2\x71\x96\x2f\xd0\x01\xd3\xb5")
        .kind(b"order.paid")
}

async fn publisher(world: &World) -> Result<RawAmqp> {
    RawAmqp::connect(&world.config().amqp_url.context("a broker")?, &world.prefix).await
}

async fn listed(api: &Api) -> Result<Vec<Value>> {
    Ok(api.get("/rejected?limit=250").await?["data"].as_array().context("a list")?.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_published_is_delivered_or_kept_with_its_reason() -> Result<()> {
    let world = World::new().await?;
    let running = world.start().await?;
    let (api, amqp) = (Api::of(&running)?, world.amqp().await?);
    api.endpoint("default", &world.receiver.url("/all"), json!({})).await?;
    let mut raw = publisher(&world).await?;
    let cases = cases();
    let mut expected_hits = 0;
    for (number, Case { about, key, properties, refused }) in cases.iter().enumerate() {
        let body = format!("{{\"data\": {number}}}");
        raw.publish(key, properties, body.as_bytes()).await.with_context(|| format!("publishing {about}"))?;
        amqp.raw("good", &format!("good-{number}"), &[], b"{}").await?;
        expected_hits += 1 + usize::from(refused.is_none());
        // Each is dealt with before the next: none hides behind another.
        let begun = Instant::now();
        eventually(about, async || world.receiver.hits().len() == expected_hits).await?;
        ensure!(begun.elapsed() < Duration::from_secs(5), "{about}: others waited for {:?}", begun.elapsed());
    }
    let refused: Vec<(String, &Case)> = cases
        .iter()
        .enumerate()
        .filter(|(_, case)| case.refused.is_some())
        .map(|(number, case)| (format!("{{\"data\": {number}}}"), case))
        .collect();
    eventually("the refused ones are listed", async || listed(&api).await.is_ok_and(|all| all.len() == refused.len())).await?;
    let all = listed(&api).await?;
    for (body, case) in &refused {
        let found = all.iter().find(|one| one["body"] == body.as_str());
        let found = found.with_context(|| format!("{}: not in the list", case.about))?;
        ensure!(found["reason"].as_str() == case.refused, "{}: {found}", case.about);
    }
    ensure!(amqp.depth("ingest").await? == 0, "nothing is requeued");
    ensure!(running.metrics.amqp_reconnects_total.get() == 0, "no session ended");
    running.drain().await;
    Ok(())
}

/// What another tool may publish to: each queue's messages are taken, moved or shown, and the flow goes on.
#[tokio::test(flavor = "multi_thread")]
async fn no_queue_is_stopped_by_what_another_tool_puts_there() -> Result<()> {
    let world = World::new().await?;
    let running = world.start().await?;
    let (api, amqp) = (Api::of(&running)?, world.amqp().await?);
    api.endpoint("default", &world.receiver.url("/all"), json!({})).await?;
    let mut raw_amqp = publisher(&world).await?;
    let properties = raw(&[(b"hookyard-routing-key", text(&[b'k'; 300])), (b"\xff", b"V".to_vec()), (b"deep", nested(40))]);
    let properties = [properties, RawProperties::new().persistent().kind(b"\xff"), uuid_correlation()];
    let places: [(&str, &[u8]); 6] = [
        ("dispatch", b"f.0"),
        ("dispatch", b"s.0"),
        ("journal", b""),
        ("rejected", b"\xff"),
        ("dead", b""),
        ("delay.1s", b"f.0"),
    ];
    for (exchange, key) in places {
        for properties in &properties {
            raw_amqp.publish_to(exchange, key, properties, b"no delivery").await?;
        }
    }
    // All but the dead letters, which stay where they are.
    let expected = (places.len() - 1) * properties.len();
    eventually("all are listed", async || listed(&api).await.is_ok_and(|all| all.len() == expected)).await?;
    ensure!(amqp.depth("dead").await? == 3);
    api.post("/app/default/msg", &json!({"eventType": "good", "payload": {}})).await?;
    eventually("a good one arrives", async || world.receiver.hits().len() == 1).await?;
    let swept = api.post("/dead-letter/sweep", &json!({})).await?;
    ensure!(swept["examined"] == 3 && swept["removed"] == 0, "{swept}");
    // Tried again, what could be read as an event is one; the others are refused again.
    let ids: Vec<Value> = listed(&api).await?.iter().map(|one| one["id"].clone()).collect();
    let again = api.post("/rejected/retry", &json!({ "ids": ids })).await?;
    ensure!(again["count"].as_u64().is_some_and(|count| count > 0), "{again}");
    let accounted = async || listed(&api).await.is_ok_and(|all| all.len() + world.receiver.hits().len() == expected + 1);
    eventually("each is back, or was delivered", accounted).await?;
    ensure!(listed(&api).await?.len() >= places.len() - 1, "a type that cannot be read is never an event");
    ensure!(running.metrics.amqp_reconnects_total.get() == 0, "no session ended");
    running.drain().await;
    Ok(())
}

/// What an unreadable header was is not forgotten where a message is published again: it never goes to another application.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_unreadable_stays_so_when_it_is_tried_again() -> Result<()> {
    let world = World::new().await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    api.endpoint("default", &world.receiver.url("/all"), json!({})).await?;
    let mut raw_amqp = publisher(&world).await?;
    for value in [tagged(b'A', &long(&text(b"acme"))), nested(40)] {
        raw_amqp.publish(b"order.paid", &raw(&[(b"hookyard-app", value)]), b"{}").await?;
    }
    for _ in 0..2 {
        eventually("both are refused", async || listed(&api).await.is_ok_and(|all| all.len() == 2)).await?;
        for one in listed(&api).await? {
            ensure!(one["reason"] == "unknown_app", "{one}");
            let retried = api.post("/rejected/retry", &json!({ "ids": [one["id"]] })).await?;
            ensure!(retried["count"] == 1, "{retried}");
        }
    }
    eventually("both are refused again", async || listed(&api).await.is_ok_and(|all| all.len() == 2)).await?;
    ensure!(world.receiver.hits().is_empty(), "nothing went to the default application");
    running.drain().await;
    Ok(())
}

/// One role's queue is gone and its session cannot begin: the others of the process do not notice.
#[tokio::test(flavor = "multi_thread")]
async fn roles_of_one_process_do_not_share_a_sessions_fate() -> Result<()> {
    let world = World::new().await?;
    world.start().await?.drain().await;
    let mut config = world.config();
    config.amqp.declare = false;
    let running: Running = world.start_unready(hookyard_node::Roles::ALL, config.clone()).await?;
    eventually("it is ready", || running.is_ready()).await?;
    let api = Api::of(&running)?;
    api.endpoint("default", &world.receiver.url("/all"), json!({})).await?;
    let connection = Connection::connect(&config.amqp_url.context("a broker")?, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.queue_delete(format!("{}.journal", world.prefix).into(), QueueDeleteOptions::default()).await?;
    eventually("it is not ready", async || !running.is_ready().await).await?;
    for number in 1..=50_usize {
        api.post("/app/default/msg", &json!({"eventType": "good", "payload": {}})).await?;
        eventually("it arrives", async || world.receiver.hits().len() == number).await?;
    }
    running.drain().await;
    Ok(())
}
