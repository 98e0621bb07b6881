//! The yardstick of the embedded mode: a client that POSTs the same bodies to the same receiver, and nothing else.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use tokio::sync::Semaphore;

use crate::event;
use crate::relay::{CONCURRENCY, READY, client, input};
use crate::report::say;

/// Run the bare client: it says when it is ready, begins at a line on standard input, and ends with it.
#[derive(Args, Clone, Debug)]
pub struct Bare {
    /// What the endpoints' URLs begin with: their number follows.
    #[arg(long)]
    pub url: String,
    /// How many endpoints each event goes to.
    #[arg(long)]
    pub endpoints: usize,
    #[arg(long)]
    pub events: usize,
    #[arg(long)]
    pub round: u32,
}

impl Bare {
    /// POSTs everything once.
    pub async fn run(self) -> Result<()> {
        let (client, permits) = (client()?, Arc::new(Semaphore::new(CONCURRENCY)));
        let mut lines = input();
        say(READY);
        lines.recv().await.context("nobody began")?;
        for number in 0..self.events {
            let data = bytes::Bytes::from(event::data(self.round, number));
            for endpoint in 0..self.endpoints {
                let permit = Arc::clone(&permits).acquire_owned().await?;
                let request = client.post(format!("{}{endpoint}", self.url)).header("content-type", "application/json");
                let request = request.body(data.clone());
                tokio::spawn(async move {
                    let answered = request.send().await;
                    drop(permit);
                    let response = answered.context("a POST failed")?;
                    ensure!(response.status().is_success(), "a POST was answered with {}", response.status());
                    anyhow::Ok(())
                });
            }
        }
        // What is missing at the receiver is found there.
        lines.recv().await;
        Ok(())
    }
}
