//! A POST with an `Idempotency-Key` is answered as it was the first time, and done once.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use hookyard_e2e::{Api, Backend, World, eventually};
use serde_json::{Value, json};

on_both_backends! {
    a_key_is_answered_once_however_often_and_at_once_it_comes;
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
    let (status, again) = publish(&api, "wrong", &message).await?;
    ensure!(status == 422 && first == again, "a refusal is an answer too: {status} {again}");
    let (status, answer) = publish(&api, &"x".repeat(257), &message).await?;
    ensure!(status == 400, "{status} {answer}");
    eventually("nothing waits", async || world.is_drained().await.unwrap_or(false)).await?;
    ensure!(world.receiver.hits().len() == 3, "{} deliveries", world.receiver.hits().len());
    running.drain().await;
    Ok(())
}
