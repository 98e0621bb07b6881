//! Bad input: a clear error or a rejected message each; nothing lost, nothing requeued for ever.

use anyhow::{Context, Result, ensure};
use hookyard_e2e::amqp::raw_properties;
use hookyard_e2e::{Api, Backend, World, eventually};
use lapin::BasicProperties;
use reqwest::Method;
use serde_json::{Value, json};

on_both_backends! {
    bad_requests_get_errors_that_say_what_to_do;
    unknown_fields_are_named_and_on_operations_of_ours_refused;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_messages_are_rejected_with_reason_and_original_bytes() -> Result<()> {
    let world = World::new().await?;
    let running = world.start().await?;
    let (api, amqp) = (Api::of(&running)?, world.amqp().await?);
    api.endpoint("default", &world.receiver.url("/all"), json!({})).await?;
    let plain = BasicProperties::default;
    let oversize = vec![b'x'; 300 * 1024];
    let cases: Vec<(&str, &str, BasicProperties, &[u8])> = vec![
        ("unreadable", "a", plain(), b"{not json"),
        ("unreadable", "a", plain(), b"{\"no\": \"data\"}"),
        ("unreadable", "a", plain().with_content_type("application/vnd.hookyard.event.v1+protobuf".into()), b"\xff\xff\xff"),
        ("unreadable", "a", plain().with_content_type("application/vnd.hookyard.accepted.v1+protobuf".into()), b"\xff"),
        ("unreadable", "a", plain().with_content_type("application/cloudevents+json".into()), b"{\"specversion\":\"0.3\"}"),
        ("invalid_type", "a b", raw_properties("a b", "1", &[]), b"{}"),
        ("invalid_type", "x", raw_properties("a\r\nb", "2", &[]), b"{}"),
        ("invalid_channel", "a", raw_properties("a", "3", &[("hookyard-channels", "ok,not ok")]), b"{}"),
        ("unknown_app", "a", raw_properties("a", "4", &[("hookyard-app", "nobody")]), b"{}"),
        ("unknown_app", "a", raw_properties("a", "5", &[("hookyard-app", "app_000000000000000000000000000")]), b"{}"),
        ("unreadable", "a", raw_properties("a", "6", &[]).with_content_type("text/plain\r\nx-evil: 1".into()), b"{}"),
        ("too_large", "a", raw_properties("a", "7", &[]), &oversize),
    ];
    for (_, key, properties, body) in &cases {
        amqp.publish(key, properties.clone(), body).await?;
    }
    amqp.raw("fine", "fine", &[], b"{}").await?;
    let count = u32::try_from(cases.len())?;
    eventually("all are rejected", async || amqp.depth("rejected").await.is_ok_and(|depth| depth == count)).await?;
    eventually("the good one arrives", async || world.receiver.hits().len() == 1).await?;
    let mut found: Vec<(String, Vec<u8>)> = Vec::new();
    for rejected in amqp.take_all("rejected").await? {
        ensure!(rejected.header("hookyard-detail").is_some_and(|detail| !detail.is_empty()));
        ensure!(rejected.header("hookyard-exchange") == Some(format!("{}.events", world.prefix).as_str()));
        ensure!(rejected.header("hookyard-routing-key").is_some());
        found.push((rejected.header("hookyard-reason").context("a reason")?.to_owned(), rejected.body.to_vec()));
    }
    let mut expected: Vec<(String, Vec<u8>)> =
        cases.iter().map(|(reason, _, _, body)| ((*reason).to_owned(), body.to_vec())).collect();
    found.sort();
    expected.sort();
    ensure!(found == expected, "{:?}", found.iter().map(|(reason, _)| reason).collect::<Vec<_>>());
    ensure!(amqp.depth("ingest").await? == 0, "nothing is requeued");
    running.drain().await;
    Ok(())
}

async fn bad_requests_get_errors_that_say_what_to_do(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let endpoint = "/app/default/endpoint";
    let good = "https://example.com/";
    let cases: Vec<(&str, Value, u16)> = vec![
        ("/app/nobody/msg", json!({"eventType": "a", "payload": {}}), 404),
        ("/app/default/msg", json!({"eventType": "a b", "payload": {}}), 422),
        ("/app/default/msg", json!({"eventType": "a"}), 422),
        ("/app/default/msg", json!({"eventType": "a", "payload": {}, "channels": ["1", "2", "3", "4", "5", "6"]}), 422),
        ("/app/default/msg", json!({"eventType": "a", "eventId": "line\nbreak", "payload": {}}), 422),
        (endpoint, json!({}), 422),
        (endpoint, json!({"url": "not a url"}), 422),
        (endpoint, json!({"url": "ftp://example.com/"}), 422),
        (endpoint, json!({"url": "http://169.254.169.254/"}), 422),
        (endpoint, json!({"url": "http://example.com:22/"}), 422),
        (endpoint, json!({"url": good, "eventTypes": ["us*er"]}), 422),
        (endpoint, json!({"url": good, "eventTypes": []}), 422),
        (endpoint, json!({"url": good, "channels": ["a", "a"]}), 422),
        (endpoint, json!({"url": good, "headers": {"x": "a\r\nevil: 1"}}), 422),
        (endpoint, json!({"url": good, "headers": {"Webhook-Id": "x"}}), 422),
        (endpoint, json!({"url": good, "secret": "whsec_short"}), 422),
        (endpoint, json!({"url": good, "retrySchedule": [0]}), 422),
        (endpoint, json!({"url": good, "throttleRate": 0}), 422),
        ("/app", json!({"name": ""}), 422),
        ("/app", json!({"name": "x", "uid": "a/b"}), 422),
    ];
    for (path, body, expected) in cases {
        let (status, answer) = api.try_call(Method::POST, path, Some(&body)).await?;
        ensure!(status == expected, "{path} {body}: {status} {answer}");
        if expected == 422 {
            let mistake = &answer["detail"][0];
            ensure!(mistake["loc"].is_array() && mistake["msg"].is_string() && mistake["type"].is_string(), "{answer}");
        } else {
            ensure!(answer["code"].is_string() && answer["detail"].is_string(), "{answer}");
        }
    }
    let (status, answer) = api.send_raw("/app/default/msg", b"{broken".to_vec()).await?;
    ensure!(status == 400 && answer["code"] == "invalid_json", "{status} {answer}");
    let large = format!("{{\"eventType\": \"a\", \"payload\": \"{}\"}}", "x".repeat(260 * 1024));
    let (status, answer) = api.send_raw("/app/default/msg", large.into_bytes()).await?;
    ensure!(status == 413 && answer["code"] == "too_large", "{status} {answer}");
    let (status, answer) = api.send_raw("/app/default/msg", vec![b'x'; 1024 * 1024]).await?;
    ensure!(status == 413 && answer["code"] == "too_large", "{status} {answer}");
    let (status, answer) = api.try_call(Method::GET, "/nothing/here", None).await?;
    ensure!(status == 404 && answer["code"] == "not_found", "{status} {answer}");
    let (status, answer) = api.try_call(Method::PATCH, "/app", Some(&json!({}))).await?;
    ensure!(status == 405 && answer["code"] == "method_not_allowed", "{status} {answer}");
    let (status, answer) = api.try_call(Method::GET, "/app?limit=0", None).await?;
    ensure!(status == 422, "{status} {answer}");
    running.drain().await;
    Ok(())
}

async fn unknown_fields_are_named_and_on_operations_of_ours_refused(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let app = json!({"name": "Acme", "uid": "acme", "colour": "red", "a b": 1});
    let created = api.respond(Method::POST, "/app", Some(&app)).await?;
    ensure!(created.status() == 201 && created.headers()["hookyard-ignored"] == "a b, colour", "{:?}", created.headers());
    let plain = api.respond(Method::GET, "/app/acme", None).await?;
    ensure!(!plain.headers().contains_key("hookyard-ignored"));
    api.endpoint("acme", &world.receiver.url("/ok"), json!({"uid": "ok"})).await?;
    let message = json!({"eventType": "a", "payload": {}, "colour": ["a"]});
    let published = api.respond(Method::POST, "/app/acme/msg", Some(&message)).await?;
    ensure!(published.status() == 202 && published.headers()["hookyard-ignored"] == "colour", "{:?}", published.headers());
    let batch = api.post("/app/acme/msg/batch", &json!({"messages": [message]})).await?;
    let result = &batch["results"][0];
    ensure!(result["status"] == 422 && result["error"]["detail"][0]["loc"][1] == "colour", "{batch}");
    for (path, body) in [
        ("/app/acme/endpoint/test", json!({"url": world.receiver.url("/ok"), "colour": "red"})),
        ("/app/acme/endpoint/ok/test", json!({"colour": "red"})),
        ("/app/acme/endpoint/ok/replay-missing", json!({"since": "2020-01-01T00:00:00Z", "colour": "red"})),
        ("/app/acme/dead-letter/replay", json!({"filter": {}, "colour": "red"})),
    ] {
        let (status, answer) = api.try_call(Method::POST, path, Some(&body)).await?;
        let place = &answer["detail"][0]["loc"][1];
        ensure!(status == 422 && place == "colour", "{path}: {status} {answer}");
    }
    running.drain().await;
    Ok(())
}
