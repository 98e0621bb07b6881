//! Nobody holds the API up: requests per token, and the time one may take.

use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hookyard_core::grant::Scope;
use hookyard_e2e::world::JWT_SECRET;
use hookyard_e2e::{Api, Backend, World};
use hookyard_node::config::{ApiConfig, Config};
use hookyard_node::roles::Roles;
use hookyard_node::seams::{SystemClock, SystemEntropy};
use hookyard_node::token;
use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

on_both_backends! {
    a_token_that_asks_too_often_is_told_to_wait_and_others_are_not;
}

async fn a_token_that_asks_too_often_is_told_to_wait_and_others_are_not(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let api = ApiConfig { rate_limit: NonZeroU32::new(5), ..ApiConfig::default() };
    let running = world.start_unready(Roles::ALL, Config { api, ..world.config() }).await?;
    let (greedy, other) = (Api::of(&running)?, Api::of(&running)?.scoped("admin")?);
    let mut refused = None;
    for _ in 0..50 {
        let answer = greedy.respond(Method::GET, "/event-type", None).await?;
        if answer.status() == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.context("fifty requests at once pass a limit of five per second")?;
    ensure!(refused.headers()["retry-after"] == "1" && refused.headers().contains_key("hookyard-request-id"));
    let body: serde_json::Value = refused.json().await?;
    ensure!(body["code"] == "rate_limited", "{body}");
    ensure!(other.respond(Method::GET, "/event-type", None).await?.status() != 429, "another token has its own rate");
    running.drain().await;
    Ok(())
}

/// Sends `begin`, then nothing, and reads what comes until the connection ends.
async fn fall_silent(address: std::net::SocketAddr, begin: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(begin.as_bytes()).await?;
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut answer)).await.context("held for ever")??;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_does_not_go_on_is_not_waited_for() -> Result<()> {
    let world = World::on(Backend::Embedded).await?;
    let api = ApiConfig { timeout: Duration::from_secs(1), ..ApiConfig::default() };
    let running = world.start_unready(Roles::ALL, Config { api, ..world.config() }).await?;
    let address = running.api.context("an address")?;
    let token = token::create(JWT_SECRET, &Scope::Admin, Duration::from_secs(60), &SystemClock, &SystemEntropy::default())?;
    let head =
        "POST /api/v1/app/default/msg HTTP/1.1\r\nhost: hookyard\r\ncontent-type: application/json\r\nconnection: close\r\n";
    let whole_head = format!("{head}authorization: Bearer {token}\r\ncontent-length: 100\r\n\r\n{{\"eventType\":");
    let (half_a_head, half_a_body) = tokio::join!(fall_silent(address, head), fall_silent(address, &whole_head));
    ensure!(half_a_head.as_deref().unwrap_or("an error").is_empty(), "{half_a_head:?}");
    let half_a_body = half_a_body?;
    ensure!(half_a_body.starts_with("HTTP/1.1 503 ") && half_a_body.contains("unavailable"), "{half_a_body}");
    running.drain().await;
    Ok(())
}
