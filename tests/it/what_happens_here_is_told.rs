//! What happens in the installation itself is told as events of an application of its own; an endpoint that takes nothing for long is
//! disabled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hookyard_e2e::receiver::{Answer, Hit};
use hookyard_e2e::{Api, Backend, World, eventually};
use hookyard_node::roles::Roles;
use http::Method;
use serde_json::{Value, json};

on_both_backends! {
    endpoints_and_their_dead_letters_are_told_of_and_never_those_who_listen;
    one_that_takes_nothing_is_warned_of_and_disabled;
}

/// What was told, by type: data alone.
fn told(world: &World) -> BTreeMap<String, Vec<Value>> {
    let mut told: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for hit in world.receiver.at("/operations") {
        let body: Value = serde_json::from_slice(&hit.body).unwrap_or_default();
        told.entry(body["type"].as_str().unwrap_or_default().to_owned()).or_default().push(body["data"].clone());
    }
    told
}

fn count(world: &World, event_type: &str) -> usize {
    told(world).get(event_type).map_or(0, Vec::len)
}

async fn endpoints_and_their_dead_letters_are_told_of_and_never_those_who_listen(backend: Backend) -> Result<()> {
    let is_mended = Arc::new(AtomicBool::new(false));
    let mended = Arc::clone(&is_mended);
    let script = move |hit: &Hit, _: usize| match hit.path.as_str() {
        "/operations" => Answer::Status(200),
        "/gone" => Answer::Status(410),
        "/deaf" => Answer::Status(500),
        _ => Answer::Late(200, if mended.load(Ordering::SeqCst) { Duration::ZERO } else { Duration::from_secs(60) }),
    };
    let world = World::on_with(backend, script).await?;
    let mut config = world.config();
    (config.delivery.breaker, config.delivery.timeout) = (vec![Duration::from_secs(1)], Duration::from_secs(1));
    let running = world.start_unready(Roles::ALL, config).await?;
    eventually("ready", || running.is_ready()).await?;
    let api = Api::of(&running)?;
    // Nobody listens yet: nothing is published.
    let before = api.endpoint("default", &world.receiver.url("/before"), json!({"eventTypes": ["none"]})).await?;
    let standard = json!({"bodyFormat": "standard"});
    api.endpoint("hookyard-operations", &world.receiver.url("/operations"), standard).await?;
    // It fails at whatever it is told, and dies of it: that is told to nobody.
    let never = json!({"retrySchedule": [], "eventTypes": ["delivery.dead_lettered"]});
    let deaf = api.endpoint("hookyard-operations", &world.receiver.url("/deaf"), never).await?;
    eventually("somebody listens", async || {
        let renamed = api.call(Method::PATCH, &format!("/app/default/endpoint/{before}"), Some(&json!({"name": "x"}))).await;
        renamed.is_ok() && count(&world, "webhook.updated") > 0
    })
    .await?;

    let more = json!({"uid": "fails", "retrySchedule": [], "eventTypes": ["fails"], "channels": ["client_1"]});
    let fails = api.endpoint("default", &world.receiver.url("/fails?token=hidden"), more).await?;
    let gone = api.endpoint("default", &world.receiver.url("/gone"), json!({"eventTypes": ["gone"]})).await?;
    world.publish(&api, "gone", "evt-gone", "{}").await?;
    // As many as it takes to see that it is silent.
    let published = AtomicUsize::new(0);
    eventually("it fails and dies", async || {
        let id = format!("evt-{}", published.fetch_add(1, Ordering::SeqCst));
        let is_published = world.publish_on(&api, "fails", &id, &["client_1"], "{}").await.is_ok();
        is_published && count(&world, "endpoint.failing") == 1 && count(&world, "delivery.dead_lettered") >= 6
    })
    .await?;
    is_mended.store(true, Ordering::SeqCst);
    for number in 0..2 {
        world.publish_on(&api, "fails", &format!("mended-{number}"), &["client_1"], "{}").await?;
    }
    eventually("it recovers", async || count(&world, "endpoint.recovered") == 1).await?;
    eventually("the other is disabled", async || count(&world, "endpoint.disabled") == 1).await?;
    api.call(Method::DELETE, &format!("/app/default/endpoint/{fails}"), None).await?;
    eventually("it is deleted", async || count(&world, "webhook.deleted") == 1).await?;

    let told = told(&world);
    let created = &told["webhook.created"];
    ensure!(
        created.len() == 2 && created[0]["endpointId"] == fails.as_str() && created[0]["endpointUid"] == "fails",
        "{created:?}"
    );
    ensure!(created[0]["eventTypes"] == json!(["fails"]) && created[0]["channels"] == json!(["client_1"]), "{created:?}");
    ensure!(
        told["endpoint.failing"][0]["reason"] == "breaker_open" && told["endpoint.failing"][0]["endpointId"] == fails.as_str()
    );
    ensure!(told["endpoint.disabled"][0]["reason"] == "gone" && told["endpoint.disabled"][0]["endpointId"] == gone.as_str());
    let is_of_those = |dead: &Value| dead["endpointId"] == if dead["reason"] == "gone" { gone.as_str() } else { fails.as_str() };
    ensure!(told["delivery.dead_lettered"].iter().all(is_of_those), "{told:?}");
    let letters = api.get(&format!("/app/default/dead-letter?endpoint_id={gone}")).await?;
    let letter = told["delivery.dead_lettered"].iter().find(|dead| dead["reason"] == "gone").context("told")?;
    ensure!(letters["data"][0]["msgId"] == letter["messageId"] && letter["run"] == 0, "{letters} {letter}");
    let all = serde_json::to_string(&told)?;
    ensure!(!all.contains("hidden") && !all.contains("http"), "{all}");
    // The deaf one died as often as it was told of others.
    let deaf_letters = api.get(&format!("/app/hookyard-operations/dead-letter?endpoint_id={deaf}&limit=100")).await?;
    let died = deaf_letters["data"].as_array().map_or(0, Vec::len);
    ensure!(died > 0 && died <= told["delivery.dead_lettered"].len(), "{died}");
    let (status, _) = api.try_call(Method::DELETE, "/app/hookyard-operations", None).await?;
    ensure!(status == 409, "{status}");
    running.drain().await;
    Ok(())
}

async fn one_that_takes_nothing_is_warned_of_and_disabled(backend: Backend) -> Result<()> {
    let script = |hit: &Hit, _: usize| Answer::Status(if hit.path == "/operations" { 200 } else { 500 });
    let world = World::on_with(backend, script).await?;
    let mut config = world.config();
    config.delivery.disable_after = Duration::from_secs(3);
    let running = world.start_unready(Roles::ALL, config).await?;
    eventually("ready", || running.is_ready()).await?;
    let api = Api::of(&running)?;
    api.endpoint("hookyard-operations", &world.receiver.url("/operations"), json!({"bodyFormat": "standard"})).await?;
    let endpoint = api.endpoint("default", &world.receiver.url("/fails"), json!({"retrySchedule": []})).await?;
    let mut published = 0;
    eventually("it is disabled", async || {
        published += 1;
        let more = world.publish(&api, "a", &format!("evt-{published}"), "{}").await;
        more.is_ok() && count(&world, "endpoint.disabled") == 1
    })
    .await?;
    let told = told(&world);
    let (failing, disabled) = (&told["endpoint.failing"], &told["endpoint.disabled"]);
    ensure!(failing.len() == 2 && failing.iter().all(|one| one["reason"] == "no_success"), "{failing:?}");
    ensure!(disabled[0]["reason"] == "no_success" && disabled[0]["failingSince"] == failing[0]["failingSince"], "{disabled:?}");
    ensure!(failing[0]["disabledAt"].is_string());
    let shown = api.get(&format!("/app/default/endpoint/{endpoint}")).await?;
    ensure!(shown["disabled"] == true && shown["state"] == "inactive", "{shown}");
    running.drain().await;
    Ok(())
}
