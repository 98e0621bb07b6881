//! Dead letters and rejected messages, looked at, tried again and let go by `hookyard`'s own commands.

use anyhow::{Context, Result, ensure};
use hookyard_core::{DeadLetterId, MessageId};
use hookyard_e2e::receiver::Answer;
use hookyard_e2e::world::redis_at;
use hookyard_e2e::{Api, Backend, World, eventually};
use serde_json::{Value, json};

on_both_backends! {
    dead_letters_are_listed_shown_replayed_and_discarded;
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("a text: {value}"))
}

async fn dead_letters_are_listed_shown_replayed_and_discarded(backend: Backend) -> Result<()> {
    let world = World::on_with(backend, |_, before| Answer::Status(if before < 1 { 500 } else { 204 })).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    for uid in ["one", "two"] {
        api.endpoint("default", &world.receiver.url(&format!("/{uid}")), json!({"uid": uid, "retrySchedule": []})).await?;
    }
    for id in ["first", "second", "third"] {
        world.publish(&api, "user.created", id, "{}").await?;
    }
    eventually("all six die", async || {
        api.get("/app/default/dead-letter").await.is_ok_and(|page| page["data"].as_array().is_some_and(|dead| dead.len() == 6))
    })
    .await?;
    let list = async |more: &[&str]| -> Result<Vec<Value>> {
        let answer = api.command_line(&[&["dead-letter", "list"], more].concat()).await?;
        Ok(answer.data()?["data"].as_array().context("a list")?.clone())
    };
    ensure!(list(&["--endpoint", "one", "--event-type", "user.created"]).await?.len() == 3);
    ensure!(list(&["--reason", "gone"]).await?.is_empty());

    let of_two = list(&["--endpoint", "two"]).await?;
    let letter = text(&of_two[0]["id"])?;
    let shown = api.command_line(&["dead-letter", "show", letter]).await?.data()?;
    ensure!(shown["deadLetter"] == of_two[0] && shown["attempts"].as_array().is_some_and(|all| all.len() == 1), "{shown}");
    ensure!(shown["event"]["eventType"] == "user.created", "{shown}");
    let missing = api.command_line(&["dead-letter", "show", "missing"]).await?;
    ensure!(!missing.worked && missing.talk.contains("no such dead letter"), "{}", missing.talk);

    let dry = api.command_line(&["dead-letter", "replay", "--endpoint", "one", "--dry-run"]).await?.data()?;
    ensure!(dry["count"] == 3 && world.receiver.hits().len() == 6, "{dry}");
    let replayed = api.command_line(&["dead-letter", "replay", "--endpoint", "one"]).await?;
    ensure!(replayed.data()?["begun"] == 3 && replayed.talk.contains("3 of 3"), "{}", replayed.talk);
    eventually("the three arrive", async || world.receiver.at("/one").len() == 6).await?;

    let unsure = api.command_line(&["dead-letter", "discard", letter]).await?;
    ensure!(!unsure.worked && unsure.talk.contains("--yes"), "{}", unsure.talk);
    for vague in [&["dead-letter", "discard", "--yes"][..], &["dead-letter", "replay", letter, "--endpoint", "one"]] {
        ensure!(!api.command_line(vague).await?.worked, "{vague:?}");
    }
    ensure!(api.command_line(&["dead-letter", "discard", letter, "--yes"]).await?.data()?["count"] == 1);
    ensure!(api.command_line(&["dead-letter", "discard", "--all", "--yes"]).await?.data()?["begun"] == 2);
    ensure!(list(&[]).await?.is_empty() && world.receiver.at("/two").len() == 3, "what was discarded is not sent");
    running.drain().await;
    Ok(())
}

/// Takes a dead letter, and all that is known of its message, out of the journal.
async fn forget(world: &World, app: &str, letter: &Value) -> Result<()> {
    let mut connection = redis_at(&world.redis.as_ref().context("the store")?.url()).await?;
    let message: MessageId = text(&letter["msgId"])?.parse()?;
    let key = [format!("hookyard:{{{app}}}:msg:").as_bytes(), message.as_bytes()].concat();
    let removed: usize = redis::cmd("DEL").arg(key).query_async(&mut connection).await?;
    let id: DeadLetterId = text(&letter["id"])?.parse()?;
    let from = [b"[", &id.as_bytes()[..]].concat();
    let to = [b"[", &id.as_bytes()[..], &[0xff]].concat();
    let listed = format!("hookyard:{{{app}}}:dead");
    let unlisted: usize = redis::cmd("ZREMRANGEBYLEX").arg(listed).arg(from).arg(to).query_async(&mut connection).await?;
    ensure!((removed, unlisted) == (1, 1), "{removed} {unlisted}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_takes_out_what_is_no_longer_dead_and_restores_what_the_list_lost() -> Result<()> {
    let world = World::with(|_, before| Answer::Status(if before < 1 { 500 } else { 204 })).await?;
    let running = world.start().await?;
    let (api, amqp) = (Api::of(&running)?, world.amqp().await?);
    let app = api.get("/app/default").await?["id"].clone();
    let endpoint = api.endpoint("default", &world.receiver.url("/hook"), json!({"retrySchedule": []})).await?;
    for id in ["replayed", "discarded", "dead", "lost"] {
        world.publish(&api, "user.created", id, "{}").await?;
    }
    let letters = async || -> Result<Vec<Value>> {
        let page = api.get("/app/default/dead-letter").await?;
        Ok(page["data"].as_array().context("a list")?.clone())
    };
    eventually("all die", async || letters().await.is_ok_and(|dead| dead.len() == 4)).await?;
    eventually("all are in the queue", async || amqp.depth("dead").await.is_ok_and(|depth| depth == 4)).await?;
    let first = letters().await?;
    ensure!(api.command_line(&["dead-letter", "replay", text(&first[0]["id"])?]).await?.worked);
    eventually("it arrives", async || world.receiver.hits().len() == 5).await?;
    ensure!(api.command_line(&["dead-letter", "discard", text(&first[1]["id"])?, "--yes"]).await?.worked);
    forget(&world, text(&app)?, &first[2]).await?;
    eventually("one is left", async || letters().await.is_ok_and(|dead| dead.len() == 1)).await?;

    let swept = api.command_line(&["dead-letter", "sweep"]).await?.data()?;
    ensure!(swept == json!({"examined": 4, "removed": 2, "restored": 1}), "{swept}");
    ensure!(amqp.depth("dead").await? == 2);
    let restored = letters().await?;
    let again = restored.iter().find(|letter| letter["msgId"] == first[2]["msgId"]).context("it is listed again")?;
    ensure!(restored.len() == 2 && again["reason"] == "attempts_exhausted" && again["endpointId"] == endpoint.as_str());
    ensure!(api.command_line(&["dead-letter", "replay", text(&again["id"])?]).await?.worked);
    eventually("it arrives whole", async || world.receiver.hits().len() == 6).await?;
    let swept = api.command_line(&["dead-letter", "sweep"]).await?.data()?;
    ensure!(swept == json!({"examined": 2, "removed": 1, "restored": 0}), "{swept}");
    running.drain().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_messages_are_listed_shown_retried_and_discarded() -> Result<()> {
    let world = World::new().await?;
    let running = world.start().await?;
    let (api, amqp) = (Api::of(&running)?, world.amqp().await?);
    for (kind, id) in [("mended", "evt-1"), ("hopeless", "evt-2")] {
        amqp.raw(kind, id, &[("hookyard-app", "acme")], br#"{"a": 1}"#).await?;
    }
    eventually("both are set aside", async || amqp.depth("rejected").await.is_ok_and(|depth| depth == 2)).await?;
    let listed = api.command_line(&["rejected", "list"]).await?.data()?;
    let by = |key: &str| listed["data"].as_array().and_then(|all| all.iter().find(|found| found["routingKey"] == key).cloned());
    let (mended, hopeless) = (by("mended").context("the one")?, by("hopeless").context("the other")?);
    ensure!(api.command_line(&["rejected", "show", text(&mended["id"])?]).await?.data()? == mended);

    api.post("/app", &json!({"name": "Acme", "uid": "acme"})).await?;
    api.endpoint("acme", &world.receiver.url("/acme"), json!({})).await?;
    ensure!(api.command_line(&["rejected", "retry", text(&mended["id"])?]).await?.data()?["count"] == 1);
    eventually("it arrives", async || world.receiver.at("/acme").len() == 1).await?;
    let unsure = api.command_line(&["rejected", "discard", text(&hopeless["id"])?]).await?;
    ensure!(!unsure.worked && unsure.talk.contains("--yes"), "{}", unsure.talk);
    ensure!(api.command_line(&["rejected", "discard", text(&hopeless["id"])?, "--yes"]).await?.data()?["count"] == 1);
    ensure!(amqp.depth("rejected").await? == 0);
    running.drain().await;
    Ok(())
}
