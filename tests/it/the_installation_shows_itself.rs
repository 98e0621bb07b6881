//! What administrators see of the installation itself: its processes, its queues, and what it set aside.

use anyhow::{Context as _, Result, ensure};
use hookyard_e2e::amqp::raw_properties;
use hookyard_e2e::{Api, Backend, World, eventually};
use hookyard_node::roles::{Role, Roles};
use lapin::BasicProperties;
use reqwest::Method;
use serde_json::{Value, json};

on_both_backends! {
    the_system_names_its_processes_and_what_waits;
}

async fn the_system_names_its_processes_and_what_waits(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let system = async || api.get("/system").await;
    eventually("this process is in it", async || {
        system().await.is_ok_and(|system| system["members"].as_array().is_some_and(|members| members.len() == 1))
    })
    .await?;
    let found = system().await?;
    ensure!(found["version"] == env!("CARGO_PKG_VERSION"), "{found}");
    let member = &found["members"][0];
    ensure!(member["roles"] == json!(["ingest", "admin", "router", "dispatcher"]) && member["startedAt"].is_string());
    let depth = |found: &Value, name: &str| {
        let queues = found["queues"].as_array().cloned().unwrap_or_default();
        queues.iter().find(|queue| queue["name"].as_str().is_some_and(|n| n.ends_with(name)))?["messages"].as_u64()
    };
    ensure!(depth(&found, "dead") == Some(0) && depth(&found, "rejected") == Some(0), "{found}");
    if backend == Backend::Cluster {
        ensure!(found["mode"] == "cluster" && depth(&found, "dispatch.0") == Some(0), "{found}");
        let more = world.start_roles(Roles::of(&[Role::Dispatcher])).await?;
        eventually("another process is in it", async || {
            system().await.is_ok_and(|system| system["members"].as_array().is_some_and(|members| members.len() == 2))
        })
        .await?;
        more.drain().await;
        eventually("it left", async || {
            system().await.is_ok_and(|system| system["members"].as_array().is_some_and(|members| members.len() == 1))
        })
        .await?;
    } else {
        ensure!(found["mode"] == "embedded" && depth(&found, "deliveries") == Some(0), "{found}");
    }
    running.drain().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_intake_refused_is_shown_tried_again_and_let_go() -> Result<()> {
    let world = World::new().await?;
    let running = world.start().await?;
    let (api, amqp) = (Api::of(&running)?, world.amqp().await?);
    api.endpoint("default", &world.receiver.url("/hook"), json!({})).await?;
    amqp.raw("late", "evt-1", &[("hookyard-app", "acme"), ("my-own", "kept")], br#"{"a": 1}"#).await?;
    amqp.publish("x", BasicProperties::default(), b"\xff\xfe{not json").await?;
    // No queue is bound for this: it goes round by the alternate exchange.
    amqp.publish_to("dispatch", "nowhere", raw_properties("odd", "evt-2", &[]), b"odd").await?;
    eventually("all three are set aside", async || amqp.depth("rejected").await.is_ok_and(|depth| depth == 3)).await?;
    let list = async || -> Result<Vec<Value>> { Ok(api.get("/rejected").await?["data"].as_array().context("a list")?.clone()) };
    let found = list().await?;
    let by = |reason: &str| found.iter().find(|found| found["reason"] == reason).cloned().unwrap_or_default();
    let late = by("unknown_app");
    ensure!(late["routingKey"] == "late" && late["exchange"] == format!("{}.events", world.prefix), "{late}");
    ensure!(late["body"] == r#"{"a": 1}"# && late["bytes"] == 8 && late["timestamp"].is_string(), "{late}");
    ensure!(late["headers"].to_string().contains("my-own") && !late["headers"].to_string().contains("hookyard-reason"));
    ensure!(by("unreadable")["bodyBase64"].is_string() && by("unroutable")["routingKey"] == "nowhere", "{found:?}");
    ensure!(list().await? == found, "looking changes nothing");
    let page = api.get("/rejected?limit=2").await?;
    let next = page["iterator"].as_str().context("an iterator")?;
    ensure!(page["done"] == false && api.get(&format!("/rejected?iterator={next}")).await?["data"][0] == found[2]);
    // What was wrong is mended: it goes its way as if it were published now.
    api.post("/app", &json!({"name": "Acme", "uid": "acme"})).await?;
    api.endpoint("acme", &world.receiver.url("/acme"), json!({})).await?;
    let ids = |of: &[&Value]| json!({"ids": of.iter().map(|found| found["id"].clone()).collect::<Vec<_>>()});
    ensure!(api.post("/rejected/retry", &ids(&[&late])).await?["count"] == 1);
    eventually("it arrives", async || world.receiver.at("/acme").len() == 1).await?;
    ensure!(world.receiver.at("/acme")[0].body == br#"{"a": 1}"#[..]);
    ensure!(api.post("/rejected/retry", &ids(&[&late])).await?["count"] == 0, "it is there no longer");
    ensure!(api.post("/rejected/discard", &ids(&[&by("unreadable"), &by("unroutable")])).await?["count"] == 2);
    ensure!(list().await?.is_empty() && amqp.depth("rejected").await? == 0);
    for (body, place) in [(json!({}), "ids"), (json!({"ids": ["x"]}), "ids"), (json!({"ids": [], "x": 1}), "ids")] {
        let (status, answer) = api.try_call(Method::POST, "/rejected/retry", Some(&body)).await?;
        ensure!(status == 422 && answer["detail"][0]["loc"][1] == place, "{body}: {status} {answer}");
    }
    running.drain().await;
    Ok(())
}
