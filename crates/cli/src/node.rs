//! Everything in this process, ready and with a token at hand: for trying it out.

use std::time::Duration;

use anyhow::Context as _;
use hookyard_node::seams::{SystemClock, SystemEntropy};
use hookyard_node::{Config, Roles, Running, Seams, local, token};

use crate::client::Server;

/// Time for broker and store to be ready.
const PATIENCE: Duration = Duration::from_secs(60);
const TOKEN_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// What was started.
pub struct Started {
    pub running: Running,
    /// The API, as an administrator calls it.
    pub server: Server,
}

/// Starts every role and waits until they are ready. Receivers on loopback are allowed, and what is not configured and must be is
/// made up: for trying it out and never for anything that matters.
pub async fn start(mut config: Config) -> anyhow::Result<Started> {
    if config.log == Config::default().log {
        "error".clone_into(&mut config.log);
    }
    hookyard_telemetry::logs::begin(&config.log);
    if config.is_embedded() {
        local::create(&mut config, &SystemEntropy::default())?;
    } else {
        // Fixed, so that the next time what was stored can be read.
        config.secret_key.get_or_insert_with(|| "ZGVtb25zdHJhdGlvbi1rZXktbm90LWZvci1yZWFsISE=".to_owned());
        config.jwt_secret.get_or_insert_with(|| "demonstration-secret-not-for-real-use".to_owned());
    }
    config.delivery.allow_networks.push("127.0.0.0/8".to_owned());
    // Its receivers fail on purpose, and what follows is to be seen within seconds.
    config.delivery.breaker.clear();
    let secret = config.jwt_secret.clone().unwrap_or_default();
    let settings = config.judge().context("the configuration is wrong")?;
    let running = hookyard_node::start(&settings, Roles::ALL, Seams::default()).await?;
    let api = running.api.context("the API does not listen")?;
    let ready = async {
        while !running.is_ready().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ready).await.context("broker or store is not ready; are the URLs right?")?;
    let token = token::create(&secret, &"admin".parse()?, TOKEN_LIFETIME, &SystemClock, &SystemEntropy::default())?;
    Ok(Started { server: Server { url: format!("http://{api}"), token: Some(token) }, running })
}

impl Started {
    /// Where everything is, and a line that publishes an event to `app`.
    pub fn directions(&self, app: &str) -> String {
        let (url, token) = (&self.server.url, self.server.token.as_deref().unwrap_or_default());
        format!(
            "console  {url}/#token={token}\nAPI      {url}\nmetrics  http://{}/metrics\ntoken    {token}\n\n\
             Publish an event and see it delivered here:\n\n  \
             curl -sS {url}/api/v1/app/{app}/msg -H 'authorization: Bearer {token}' -H 'content-type: application/json' \
             -d '{{\"eventType\": \"user.created\", \"payload\": {{\"id\": 1}}}}'\n",
            self.running.ops
        )
    }
}
