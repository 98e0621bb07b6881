//! An egress proxy: requests leave through it, and while it is away deliveries wait, with no attempt used up.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use hookyard_e2e::{Api, Backend, World, eventually};
use hookyard_node::roles::Roles;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

on_both_backends! {
    while_the_proxy_is_away_deliveries_wait;
}

/// A proxy as far as plain HTTP needs one: whatever comes goes to the one receiver there is.
async fn serve_as_proxy(address: SocketAddr, receiver: String) -> Result<()> {
    let listener = TcpListener::bind(address).await.context("the proxy's port")?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let receiver = receiver.clone();
            tokio::spawn(async move {
                let mut onward = TcpStream::connect(receiver).await?;
                tokio::io::copy_bidirectional(&mut stream, &mut onward).await
            });
        }
    });
    Ok(())
}

async fn while_the_proxy_is_away_deliveries_wait(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let proxy = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let mut config = world.config();
    config.delivery.proxy = Some(format!("http://user:hidden@{proxy}"));
    let running = world.start_unready(Roles::ALL, config).await?;
    eventually("ready", || running.is_ready()).await?;
    let api = Api::of(&running)?;
    // A name that only the proxy can resolve, and a schedule that would be over soon.
    api.endpoint("default", "http://receiver.example/hook", json!({"retrySchedule": []})).await?;
    world.publish(&api, "a", "evt-1", "{}").await?;
    let parked = || String::from_utf8_lossy(&running.metrics.render()).into_owned();
    eventually("it waits", async || {
        parked()
            .lines()
            .any(|line| line.starts_with(r#"hookyard_deliveries_parked_total{reason="proxy_away"} "#) && !line.ends_with(" 0"))
    })
    .await?;
    ensure!(api.get("/app/default/attempt").await?["data"] == json!([]), "no attempt is used up");
    let receiver = world.receiver.url("").trim_start_matches("http://").to_owned();
    serve_as_proxy(proxy, receiver).await?;
    eventually("it arrives", async || world.receiver.at("/hook").len() == 1).await?;
    let hit = world.receiver.at("/hook").remove(0);
    ensure!(hit.headers.get("host").is_some_and(|host| host == "receiver.example"), "{:?}", hit.headers);
    ensure!(hit.headers.contains_key("proxy-authorization"));
    running.drain().await;
    Ok(())
}
