//! What a Redis server says of itself: its number, its version, and how many commands it has run.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// A Redis that does not answer within this is not well.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// An answer to `INFO`.
#[derive(Clone, Debug, Default)]
pub struct Info(BTreeMap<String, String>);

impl Info {
    /// Asks the server on a port of this machine.
    pub async fn ask(port: u16) -> Result<Self> {
        let asking = tokio::time::timeout(ANSWERS_WITHIN, ask(port)).await;
        let text = asking.context("Redis does not answer")?.context("cannot ask Redis")?;
        Ok(Self(text.lines().filter_map(|line| line.split_once(':')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()))
    }

    /// The server's version.
    pub fn version(&self) -> &str {
        self.0.get("redis_version").map_or("?", String::as_str)
    }

    /// The server's process.
    pub fn process(&self) -> Result<u32> {
        self.0.get("process_id").and_then(|text| text.parse().ok()).context("INFO has no process_id")
    }

    /// Bytes in use.
    pub fn used_memory(&self) -> Result<u64> {
        self.0.get("used_memory").and_then(|text| text.parse().ok()).context("INFO has no used_memory")
    }

    /// Commands run so far, those inside scripts included.
    pub fn commands(&self) -> Result<f64> {
        self.0.get("total_commands_processed").and_then(|text| text.parse().ok()).context("INFO has no total_commands_processed")
    }

    /// Calls so far of each command, those inside scripts included.
    pub fn calls(&self) -> BTreeMap<String, f64> {
        let calls = self.0.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix("cmdstat_")?;
            Some((name.to_owned(), value.strip_prefix("calls=")?.split(',').next()?.parse().ok()?))
        });
        calls.collect()
    }
}

async fn ask(port: u16) -> std::io::Result<String> {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?);
    stream.write_all(b"INFO everything\r\n").await?;
    // A bulk string: its length in a line of its own, and then it.
    let mut head = String::new();
    stream.read_line(&mut head).await?;
    let length = head.trim().trim_start_matches('$').parse().map_err(std::io::Error::other)?;
    let mut text = vec![0; length];
    stream.read_exact(&mut text).await?;
    String::from_utf8(text).map_err(std::io::Error::other)
}
