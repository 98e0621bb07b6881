//! `hookyard listen`.

use std::net::SocketAddr;

use clap::Args;

use crate::output::{print, talk};
use crate::receiver;

/// Receive webhooks here, verify and print them.
#[derive(Args)]
pub struct Listen {
    /// Port on loopback.
    #[arg(default_value_t = 9000)]
    port: u16,
    /// The endpoint's secret, to verify signatures with.
    #[arg(long, env = "HOOKYARD_ENDPOINT_SECRET", hide_env_values = true)]
    secret: Option<String>,
}

impl Listen {
    pub async fn run(self) -> anyhow::Result<()> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let (address, mut inbox) = receiver::start(address, self.secret.as_deref()).await?;
        talk(&format!("listening on http://{address}/; end with Ctrl-C"));
        loop {
            tokio::select! {
                received = inbox.recv() => match received {
                    Some(received) => print(&received.line()),
                    None => return Ok(()),
                },
                _ = tokio::signal::ctrl_c() => return Ok(()),
            }
        }
    }
}
