//! Operators restart, add and lose things under load: nothing is lost, and nothing that was not in flight comes twice.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hookyard_e2e::balancer::Balancer;
use hookyard_e2e::process::{RoleProcess, await_ready, free_address};
use hookyard_e2e::receiver::Answer;
use hookyard_e2e::services::RabbitCluster;
use hookyard_e2e::{Api, World, eventually, or_more};
use hookyard_node::{Role, Roles};
use reqwest::Method;
use serde_json::json;

const ENDPOINTS: [&str; 3] = ["/a", "/b", "/c"];
/// What is allowed to be in flight may take so long: the grace (35 s) less what nobody needs here.
const GRACE: Duration = Duration::from_secs(35);

/// Publishes over HTTP, as an upstream service with retries would, until told to stop: how many events were accepted.
async fn publish_until(apis: Vec<Api>, stop: Arc<AtomicBool>, refused: Arc<AtomicUsize>) -> Result<usize> {
    let mut accepted = 0;
    while !stop.load(Ordering::Relaxed) {
        let body = json!({"eventType": "stream", "eventId": format!("event-{accepted}"), "payload": {"number": accepted}});
        let mut tries = 0;
        loop {
            let api = &apis[tries % apis.len()];
            match api.try_call(Method::POST, "/app/default/msg", Some(&body)).await {
                // Known already: the answer to an earlier try was lost.
                Ok((status, _)) if status.is_success() || status.as_u16() == 409 => break,
                // A process that goes may say so; anything else is a refusal.
                Ok((status, answer)) if status.as_u16() != 503 => {
                    refused.fetch_add(1, Ordering::Relaxed);
                    anyhow::bail!("{status} {answer}");
                }
                Ok(_) | Err(_) => {}
            }
            tries += 1;
            ensure!(tries < 400, "nobody takes events");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        accepted += 1;
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    Ok(accepted)
}

/// Requests per endpoint and event.
fn requests(world: &World) -> HashMap<(String, Vec<u8>), usize> {
    let mut pairs = HashMap::new();
    for hit in world.receiver.hits() {
        *pairs.entry((hit.path, hit.body.to_vec())).or_default() += 1;
    }
    pairs
}

async fn set_up(world: &World) -> Result<()> {
    let running = world.start_roles(Roles::of(&[Role::Admin])).await?;
    let api = Api::of(&running)?;
    for path in ENDPOINTS {
        api.endpoint("default", &world.receiver.url(path), json!({})).await?;
    }
    running.drain().await;
    Ok(())
}

/// A process with a role that is ready for its work; the API, if it has one, at this address.
async fn ready(world: &World, role: &str, listen: Option<SocketAddr>) -> Result<RoleProcess> {
    let ops = free_address()?;
    let mut environment = world.environment();
    // The last of a name counts.
    environment.push(("HOOKYARD_OPS_LISTEN", ops.to_string()));
    environment.extend(listen.map(|address| ("HOOKYARD_LISTEN", address.to_string())));
    let process = RoleProcess::start_with(&environment, &[role], None)?;
    await_ready(ops).await?;
    Ok(process)
}

/// Ends a process softly; how long that took.
async fn end(process: RoleProcess) -> Result<Duration> {
    let begun = Instant::now();
    let ended = tokio::task::spawn_blocking(move || process.stop()).await??;
    ensure!(ended, "a process did not end well");
    Ok(begun.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_of_every_role_loses_nothing_repeats_nothing_and_refuses_nobody() -> Result<()> {
    let mut world = World::with(|_, _| Answer::Late(200, Duration::from_millis(30))).await?;
    world.concurrency = 64;
    set_up(&world).await?;
    let addresses = [free_address()?, free_address()?];
    let (mut ingests, mut routers, mut dispatchers) = (Vec::new(), Vec::new(), Vec::new());
    for address in addresses {
        ingests.push(ready(&world, "ingest", Some(address)).await?);
        routers.push(ready(&world, "router", None).await?);
        dispatchers.push(ready(&world, "dispatcher", None).await?);
    }
    let apis = addresses.map(|address| Api::at(&format!("http://{address}"), "publish"));
    let apis: Vec<Api> = apis.into_iter().collect::<Result<_>>()?;
    let (stop, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let publisher = tokio::spawn(publish_until(apis, Arc::clone(&stop), Arc::clone(&refused)));
    eventually("events arrive", async || world.receiver.hits().len() > 100).await?;

    let mut longest = Duration::ZERO;
    for address in addresses {
        for (role, replicas) in [("dispatcher", &mut dispatchers), ("router", &mut routers)] {
            replicas.push(ready(&world, role, None).await?);
            longest = longest.max(end(replicas.remove(0)).await?);
        }
        // Its successor listens where it did, so it goes first.
        longest = longest.max(end(ingests.remove(0)).await?);
        ingests.push(ready(&world, "ingest", Some(address)).await?);
    }
    stop.store(true, Ordering::Relaxed);
    let accepted = publisher.await??;
    eventually("every pair", async || requests(&world).len() == accepted * ENDPOINTS.len()).await?;
    eventually("nothing waits", async || world.is_drained().await.unwrap_or(false)).await?;
    let repeated = requests(&world).values().filter(|times| **times > 1).count();
    ensure!(repeated == 0, "{repeated} of {} deliveries came twice", accepted * ENDPOINTS.len());
    ensure!(refused.load(Ordering::Relaxed) == 0 && longest < GRACE, "{longest:?}");
    Ok(())
}

/// Three nodes on this machine; each in turn is killed and comes back, while events are published and delivered.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_three_brokers_loses_a_node_and_no_event() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().to_owned();
    let mut cluster = tokio::task::spawn_blocking(move || RabbitCluster::start(&path, 3)).await??;
    let servers = cluster.nodes.iter().map(|node| SocketAddr::from(([127, 0, 0, 1], node.port()))).collect();
    let balancer = Balancer::start(servers).await?;
    let url = format!("amqp://guest:guest@{}/%2f", balancer.address);
    let mut world =
        World::at(url, |hit, earlier| Answer::Status(if hit.path == "/b" && earlier == 0 { 503 } else { 204 })).await?;
    world.concurrency = 64;
    set_up(&world).await?;
    let address = free_address()?;
    let _ingest = ready(&world, "ingest", Some(address)).await?;
    let _routers = [RoleProcess::start(&world, &["router"], None)?, RoleProcess::start(&world, &["router"], None)?];
    let _dispatchers = [RoleProcess::start(&world, &["dispatcher"], None)?, RoleProcess::start(&world, &["dispatcher"], None)?];
    let apis = vec![Api::at(&format!("http://{address}"), "publish")?];
    let (stop, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let publisher = tokio::spawn(publish_until(apis, Arc::clone(&stop), Arc::clone(&refused)));
    for round in 0..or_more("HOOKYARD_TEST_NODE_KILLS", 3) {
        let before = world.receiver.counts().len();
        eventually("the stream goes on", async || world.receiver.counts().len() > before + 200).await?;
        let node = round % cluster.nodes.len();
        cluster.nodes[node].kill9();
        let before = world.receiver.counts().len();
        eventually("it goes on with two nodes", async || world.receiver.counts().len() > before + 200).await?;
        cluster = tokio::task::spawn_blocking(move || cluster.nodes[node].restart().map(|()| cluster)).await??;
    }
    stop.store(true, Ordering::Relaxed);
    let accepted = publisher.await??;
    eventually("every pair", async || world.receiver.counts().len() == accepted * ENDPOINTS.len()).await?;
    let all = async || world.receiver.hits().len() >= accepted * (ENDPOINTS.len() + 1);
    if let Err(error) = eventually("each event costs /b two attempts", all).await {
        let queues = cluster.nodes[0].ctl(&["list_queues", "name", "messages", "messages_unacknowledged", "leader"])?;
        let hits = world.receiver.hits().len();
        anyhow::bail!("{error:#}: {hits} requests of {accepted} events; what waits: {queues}");
    }
    eventually("nothing waits", async || world.is_drained().await.unwrap_or(false)).await?;
    let letters = world.dead_letters(0).await.context("dead letters")?;
    ensure!(letters.is_empty(), "{} dead letters", letters.len());
    Ok(())
}
