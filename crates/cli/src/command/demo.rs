//! `hookyard demo`: the whole way of one event, checked.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use hookyard_node::seams::{SystemClock, SystemEntropy};
use hookyard_node::{Config, Roles, Running, Seams, local, token};
use reqwest::Method;
use serde_json::json;
use tokio::sync::mpsc;

use crate::client::Server;
use crate::command::run::until_told;
use crate::output::{print, talk};
use crate::receiver::{self, Received};

/// Time for broker and store to be ready, and for one event to arrive.
const PATIENCE: Duration = Duration::from_secs(60);
const TOKEN_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// Start everything with a built-in receiver, deliver one event, and check that it arrived, signed.
#[derive(Args)]
pub struct Demo {
    /// Keep running afterwards, and print what the receiver gets.
    #[arg(long)]
    keep: bool,
    /// The broker; without it and the store everything is in this process and one file.
    #[arg(long, env = "HOOKYARD_AMQP_URL", hide_env_values = true, requires = "redis")]
    amqp: Option<String>,
    /// The store.
    #[arg(long, env = "HOOKYARD_REDIS_URL", hide_env_values = true, requires = "amqp")]
    redis: Option<String>,
}

impl Demo {
    pub async fn run(self, config: Config) -> anyhow::Result<()> {
        let mut config = Config { amqp_url: self.amqp.clone(), redis_url: self.redis.clone(), ..config };
        if config.log == Config::default().log {
            "error".clone_into(&mut config.log);
        }
        hookyard_telemetry::logs::begin(&config.log);
        if config.is_embedded() {
            local::create(&mut config, &SystemEntropy::default())?;
        } else {
            // Fixed, so that a second demonstration can read what the first one stored. Never for anything that matters.
            config.secret_key.get_or_insert_with(|| "ZGVtb25zdHJhdGlvbi1rZXktbm90LWZvci1yZWFsISE=".to_owned());
            config.jwt_secret.get_or_insert_with(|| "demonstration-secret-not-for-real-use".to_owned());
        }
        config.delivery.allow_networks.push("127.0.0.0/8".to_owned());
        let secret = config.jwt_secret.clone().unwrap_or_default();
        let settings = config.judge().context("the configuration is wrong")?;
        let running = hookyard_node::start(&settings, Roles::ALL, Seams::default()).await?;
        let api = running.api.context("the API does not listen")?;
        wait_until_ready(&running).await?;
        let token = token::create(&secret, &"admin".parse()?, TOKEN_LIFETIME, &SystemClock, &SystemEntropy::default())?;
        let server = Server { url: format!("http://{api}"), token: Some(token.clone()) };
        let mut inbox = set_up(&server).await?;
        let sent = server
            .call(Method::POST, "/app/demo/msg", Some(&json!({"eventType": "demo.begun", "payload": {"works": true}})))
            .await?;
        let received = expect_next(&mut inbox).await?;
        ensure!(received.verified == Some(true), "the signature is not good");
        ensure!(sent["id"].as_str() == Some(&received.id), "another message arrived");
        talk(&format!("ready: published {} and received it, signature good", received.id));
        if !self.keep {
            running.drain().await;
            return Ok(());
        }
        print(&format!("API      http://{api}\nmetrics  http://{}/metrics\ntoken    {token}", running.ops));
        print(&format!(
            "\nPublish an event and see it delivered here:\n\n  curl -sS http://{api}/api/v1/app/demo/msg -H 'authorization: Bearer {token}' \
             -H 'content-type: application/json' -d '{{\"eventType\": \"user.created\", \"payload\": {{\"id\": 1}}}}'\n"
        ));
        tokio::spawn(async move {
            while let Some(received) = inbox.recv().await {
                print(&received.line());
            }
        });
        until_told(running).await
    }
}

async fn wait_until_ready(running: &Running) -> anyhow::Result<()> {
    let ready = async {
        while !running.is_ready().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ready).await.context("broker or store is not ready; are the URLs right?")
}

/// The application `demo` with one endpoint at a receiver of ours.
async fn set_up(server: &Server) -> anyhow::Result<mpsc::Receiver<Received>> {
    const SECRET: &str = "whsec_aG9va3lhcmQtZGVtb25zdHJhdGlvbi1rZXk=";
    let (address, inbox) = receiver::start(SocketAddr::from(([127, 0, 0, 1], 0)), Some(SECRET)).await?;
    server.call(Method::PUT, "/app/demo", Some(&json!({"name": "Demonstration"}))).await?;
    let endpoint =
        json!({"url": format!("http://{address}/hook"), "name": "built-in receiver", "secret": SECRET, "disabled": false});
    server.call(Method::PUT, "/app/demo/endpoint/built-in", Some(&endpoint)).await?;
    Ok(inbox)
}

async fn expect_next(inbox: &mut mpsc::Receiver<Received>) -> anyhow::Result<Received> {
    match tokio::time::timeout(PATIENCE, inbox.recv()).await {
        Ok(Some(received)) => Ok(received),
        _ => bail!("the event did not arrive within {} s", PATIENCE.as_secs()),
    }
}
