//! The directory's Redis is restored from a copy while roles run, and endpoints are created again: from then on every event reaches exactly
//! the endpoints that are there, whatever a router remembers of the history that was lost.

use anyhow::{Context as _, Result, ensure};
use hookyard_core::Clock as _;
use hookyard_e2e::world::redis_at;
use hookyard_e2e::{Api, World, eventually};
use hookyard_node::seams::SystemClock;
use hookyard_node::{Running, tools};
use redis::aio::MultiplexedConnection;
use reqwest::Method;
use serde_json::json;

/// Every key of a store, as it was.
struct Copy(Vec<(Vec<u8>, Vec<u8>)>);

impl Copy {
    async fn of(store: &mut MultiplexedConnection) -> Result<Self> {
        let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query_async(store).await?;
        let mut copy = Vec::new();
        for key in keys {
            let value: Option<Vec<u8>> = redis::cmd("DUMP").arg(&key).query_async(store).await?;
            copy.extend(value.map(|value| (key, value)));
        }
        Ok(Self(copy))
    }

    /// At once: roles see the store before, or as the copy has it.
    async fn restore(&self, store: &mut MultiplexedConnection) -> Result<()> {
        let mut pipeline = redis::pipe();
        pipeline.atomic().cmd("FLUSHALL").ignore();
        for (key, value) in &self.0 {
            pipeline.cmd("RESTORE").arg(key).arg(0).arg(value).ignore();
        }
        Ok(pipeline.query_async(store).await?)
    }
}

/// The event that those who are created again missed.
const MISSED: usize = 100;

fn body(event: usize) -> String {
    json!({"event": event}).to_string()
}

async fn publish(api: &Api, world: &World, event: usize, at: &[&str]) -> Result<()> {
    api.call(Method::POST, "/app/default/msg", Some(&json!({"eventType": "a", "payload": {"event": event}}))).await?;
    arrived(world, event, at).await
}

async fn arrived(world: &World, event: usize, at: &[&str]) -> Result<()> {
    eventually(&format!("event {event} at {at:?}"), async || {
        at.iter().all(|path| world.receiver.at(path).iter().any(|hit| hit.body == body(event)))
    })
    .await
}

fn regressions(running: &Running) -> u64 {
    let text = String::from_utf8_lossy(&running.metrics.render()).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("hookyard_directory_regressions_total "));
    line.and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// As many endpoints are created again as `again` says; a router knew of three that were lost. If `is_seen`, the router finds the store as the
/// copy has it before they are created.
async fn what_is_there_gets_every_event(again: usize, is_seen: bool) -> Result<()> {
    let world = World::new().await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let mut store = redis_at(&world.redis.as_ref().context("a store")?.url()).await?;
    api.endpoint("default", &world.receiver.url("/kept"), json!({})).await?;
    publish(&api, &world, 0, &["/kept"]).await?;
    let since = SystemClock.now().to_string();
    let copy = Copy::of(&mut store).await?;
    for path in ["/lost/1", "/lost/2", "/lost/3"] {
        api.endpoint("default", &world.receiver.url(path), json!({})).await?;
    }
    publish(&api, &world, 1, &["/kept", "/lost/1", "/lost/2", "/lost/3"]).await?;
    copy.restore(&mut store).await?;
    if is_seen {
        publish(&api, &world, MISSED, &["/kept"]).await?;
    }
    let paths: Vec<String> = (1..=again).map(|number| format!("/again/{number}")).collect();
    for path in &paths {
        api.endpoint("default", &world.receiver.url(path), json!({})).await?;
    }
    let mut there: Vec<&str> = paths.iter().map(String::as_str).collect();
    there.push("/kept");
    for event in 2..8 {
        publish(&api, &world, event, &there).await?;
    }
    ensure!(regressions(&running) == 1, "{} regressions", regressions(&running));
    let report = tools::show_dataset(&world.settings()?).await?;
    ensure!(report.good && report.regressions.len() == 1, "{report:?}");
    if is_seen {
        let begun = api.command_line(&["endpoint", "replay-missing", "--since", &since, "--output", "json"]).await?.data()?;
        ensure!(begun["data"].as_array().is_some_and(|tasks| tasks.len() == there.len()), "{begun}");
        arrived(&world, MISSED, &there).await?;
    }
    running.drain().await;
    let twice = world.receiver.at("/kept").iter().filter(|hit| hit.body == body(MISSED)).count();
    ensure!(twice == usize::from(is_seen), "/kept got the event {twice} times");
    for path in ["/lost/1", "/lost/2", "/lost/3"] {
        ensure!(world.receiver.at(path).len() == 1, "{path} is not there any more");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_fewer_changes_than_were_lost() -> Result<()> {
    what_is_there_gets_every_event(1, false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_as_many_changes_as_were_lost() -> Result<()> {
    what_is_there_gets_every_event(3, false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_more_changes_than_were_lost() -> Result<()> {
    what_is_there_gets_every_event(6, false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_meanwhile_is_made_good_by_one_command() -> Result<()> {
    what_is_there_gets_every_event(2, true).await
}

/// The steps of `docs/operations.md`.
#[tokio::test(flavor = "multi_thread")]
async fn restored_from_its_file_as_the_document_says() -> Result<()> {
    let mut world = World::new().await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let url = world.redis.as_ref().context("a store")?.url();
    api.endpoint("default", &world.receiver.url("/kept"), json!({})).await?;
    redis::cmd("SAVE").query_async::<()>(&mut redis_at(&url).await?).await?;
    let copy = tempfile::NamedTempFile::new()?;
    std::fs::copy(world.redis.as_ref().context("a store")?.snapshot(), copy.path())?;
    api.endpoint("default", &world.receiver.url("/lost"), json!({})).await?;
    publish(&api, &world, 0, &["/kept", "/lost"]).await?;
    world.redis.as_mut().context("a store")?.restore(copy.path())?;
    let mut store = redis_at(&url).await?;
    redis::cmd("CONFIG").arg("SET").arg("appendonly").arg("yes").query_async::<()>(&mut store).await?;
    eventually("ready again", async || running.is_ready().await).await?;
    let again = json!({"url": world.receiver.url("/again")});
    eventually("created again", async || api.post("/app/default/endpoint", &again).await.is_ok()).await?;
    for event in 1..6 {
        publish(&api, &world, event, &["/kept", "/again"]).await?;
    }
    ensure!(world.receiver.at("/lost").len() == 1, "/lost is not there any more");
    eventually("it appends again", async || {
        let info: String = redis::cmd("INFO").arg("persistence").query_async(&mut store.clone()).await.unwrap_or_default();
        info.contains("aof_enabled:1") && info.contains("aof_rewrite_in_progress:0")
    })
    .await?;
    world.redis.as_mut().context("a store")?.restart()?;
    eventually("ready with what it appended", async || running.is_ready().await).await?;
    publish(&api, &world, 6, &["/kept", "/again"]).await?;
    running.drain().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_is_deleted_is_no_alarm() -> Result<()> {
    let world = World::new().await?;
    let running = world.start().await?;
    let (api, amqp) = (Api::of(&running)?, world.amqp().await?);
    let id = api.post("/app", &json!({"name": "Acme", "uid": "acme"})).await?["id"].as_str().context("an id")?.to_owned();
    api.endpoint("acme", &world.receiver.url("/a"), json!({})).await?;
    amqp.raw("a", "evt-0", &[("hookyard-app", &id)], body(0).as_bytes()).await?;
    arrived(&world, 0, &["/a"]).await?;
    api.call(Method::DELETE, "/app/acme", None).await?;
    amqp.raw("a", "evt-1", &[("hookyard-app", &id)], body(1).as_bytes()).await?;
    eventually("the event is rejected", async || amqp.depth("rejected").await.is_ok_and(|depth| depth == 1)).await?;
    ensure!(regressions(&running) == 0, "a deletion was taken for a loss");
    running.drain().await;
    Ok(())
}

/// The names' counter of the lost history may be where that of the new one comes to be.
#[tokio::test(flavor = "multi_thread")]
async fn an_application_created_again_under_its_name_gets_its_events() -> Result<()> {
    let world = World::new().await?;
    let running = world.start().await?;
    let (api, amqp) = (Api::of(&running)?, world.amqp().await?);
    let mut store = redis_at(&world.redis.as_ref().context("a store")?.url()).await?;
    let copy = Copy::of(&mut store).await?;
    for (event, path) in [(0, "/lost"), (1, "/again")] {
        api.post("/app", &json!({"name": "Acme", "uid": "acme"})).await?;
        api.endpoint("acme", &world.receiver.url(path), json!({})).await?;
        amqp.raw("a", &format!("evt-{event}"), &[("hookyard-app", "acme")], body(event).as_bytes()).await?;
        arrived(&world, event, &[path]).await?;
        if event == 0 {
            copy.restore(&mut store).await?;
        }
    }
    running.drain().await;
    Ok(())
}
