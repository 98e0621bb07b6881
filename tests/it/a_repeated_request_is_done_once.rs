//! A POST with an `Idempotency-Key` is answered as it was the first time, and done once.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use hookyard_e2e::{Api, Backend, World, eventually};
use reqwest::Method;
use serde_json::{Value, json};

on_both_backends! {
    a_key_is_answered_once_however_often_and_at_once_it_comes;
    a_key_of_another_application_of_the_same_name_is_refused;
}

async fn a_key_is_answered_once_however_often_and_at_once_it_comes(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    api.endpoint("default", &world.receiver.url("/all"), json!({})).await?;
    let message = json!({"eventType": "a", "payload": {"n": 1}});
    let publish = async |api: &Api, key: &str, body: &Value| api.post_with_key("/app/default/msg", key, body).await;

    let at_once = join_all((0..10).map(|_| publish(&api, "one", &message))).await;
    let mut ids = BTreeSet::new();
    for answered in at_once {
        let (status, answer) = answered?;
        ensure!(status == 202 && answer["payload"] == json!({"n": 1}), "{status} {answer}");
        ids.insert(answer["id"].to_string());
    }
    ensure!(ids.len() == 1, "{ids:?}");
    let (_, other) = publish(&api, "two", &message).await?;
    ensure!(!ids.contains(&other["id"].to_string()), "another key is another request");
    let (_, foreign) = publish(&api.scoped("publish")?, "one", &message).await?;
    ensure!(!ids.contains(&foreign["id"].to_string()), "somebody else's key is another");
    eventually("three deliveries", async || world.receiver.hits().len() == 3).await?;

    let wrong = json!({"eventType": "a b", "payload": {}});
    let (status, first) = publish(&api, "wrong", &wrong).await?;
    ensure!(status == 422, "{status}");
    let (status, again) = publish(&api, "wrong", &wrong).await?;
    ensure!(status == 422 && first == again, "a refusal is an answer too: {status} {again}");
    for key in ["one", "wrong"] {
        let (status, refused) = publish(&api, key, &json!({"eventType": "a", "payload": {"n": 2}})).await?;
        ensure!(status == 422 && refused["detail"][0]["loc"][0] == "header", "another request under a key: {status} {refused}");
    }
    let (status, answer) = publish(&api, &"x".repeat(257), &message).await?;
    ensure!(status == 400, "{status} {answer}");
    eventually("nothing waits", async || world.is_drained().await.unwrap_or(false)).await?;
    ensure!(world.receiver.hits().len() == 3, "{} deliveries", world.receiver.hits().len());
    running.drain().await;
    Ok(())
}

/// An application that was deleted and made again under its name is another one.
async fn a_key_of_another_application_of_the_same_name_is_refused(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let message = json!({"eventType": "a", "payload": {}, "application": {"name": "Acme"}});
    let publish = async || api.post_with_key("/app/acme/msg", "one", &message).await;
    let (status, first) = publish().await?;
    ensure!(status == 202, "{status} {first}");
    let (status, again) = publish().await?;
    ensure!(status == 202 && again == first, "the application that came with it is no other: {status} {again}");
    let (status, third) = publish().await?;
    ensure!(status == 202 && third == first, "{status} {third}");
    api.call(Method::DELETE, "/app/acme", None).await?;
    api.post("/app", &json!({"name": "Another", "uid": "acme"})).await?;
    let later = json!({"eventType": "a", "payload": {}});
    let (status, _) = api.post_with_key("/app/acme/msg", "two", &later).await?;
    ensure!(status == 202, "{status}");
    api.call(Method::DELETE, "/app/acme", None).await?;
    api.post("/app", &json!({"name": "A third", "uid": "acme"})).await?;
    let (status, refused) = api.post_with_key("/app/acme/msg", "two", &later).await?;
    ensure!(status == 422, "another application: {status} {refused}");
    running.drain().await;
    Ok(())
}
