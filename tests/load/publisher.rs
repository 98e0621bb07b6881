//! Publishers over HTTP: as little HTTP/1.1 as they need, so that they cost the machine as little as possible.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::event;
use crate::latency::percentile;
use crate::throughput::number;

/// What the publishers saw.
#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    /// Events accepted per second.
    pub rate: f64,
    /// Milliseconds from a request to its answer.
    pub median: f64,
    pub p99: f64,
}

/// What is published, and how.
#[derive(Clone)]
pub struct Publishers {
    /// The API's address.
    pub address: SocketAddr,
    /// The application.
    pub app: String,
    pub token: String,
    /// Connections, each with one request at a time.
    pub connections: usize,
    /// Events in one request.
    pub batch: usize,
}

impl Publishers {
    /// Publishes the events 0 to `events` of a round; every one must be accepted.
    pub async fn publish(&self, round: u32, events: usize) -> Result<Accepted> {
        let (next, begun) = (Arc::new(AtomicUsize::new(0)), Instant::now());
        let mut publishing = JoinSet::new();
        for _ in 0..self.connections {
            let (this, next) = (self.clone(), Arc::clone(&next));
            publishing.spawn(async move { this.run(round, events, &next).await });
        }
        let mut took = Vec::with_capacity(events / self.batch + 1);
        while let Some(done) = publishing.join_next().await {
            took.extend(done??);
        }
        let rate = number(events) / begun.elapsed().as_secs_f64();
        took.sort_by(f64::total_cmp);
        Ok(Accepted { rate, median: percentile(&took, 50), p99: percentile(&took, 99) })
    }

    /// One connection's part: how long each request took, in ms.
    async fn run(&self, round: u32, events: usize, next: &AtomicUsize) -> Result<Vec<f64>> {
        let mut stream = TcpStream::connect(self.address).await.context("cannot reach the API")?;
        stream.set_nodelay(true)?;
        let (mut buffer, mut took) = (BytesMut::with_capacity(4096), Vec::new());
        loop {
            let first = next.fetch_add(self.batch, Ordering::Relaxed);
            if first >= events {
                return Ok(took);
            }
            let request = self.request(round, first..events.min(first + self.batch));
            let begun = Instant::now();
            stream.write_all(request.as_bytes()).await.context("cannot publish")?;
            let answer = answer(&mut stream, &mut buffer).await?;
            took.push(begun.elapsed().as_secs_f64() * 1e3);
            // In a batch, each event has an answer of its own.
            ensure!(self.batch == 1 || !answer.contains("\"error\":{"), "an event was not accepted: {answer}");
        }
    }

    fn request(&self, round: u32, numbers: std::ops::Range<usize>) -> String {
        let message = |number| {
            let data = event::data(round, number);
            format!(r#"{{"eventType":"{}","eventId":"{round}-{number}","payload":{data}}}"#, event::TYPE)
        };
        let (path, body) = if self.batch == 1 {
            ("msg", message(numbers.start))
        } else {
            ("msg/batch", format!(r#"{{"messages":[{}]}}"#, numbers.map(message).collect::<Vec<_>>().join(",")))
        };
        format!(
            "POST /api/v1/app/{}/{path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.app,
            self.address,
            self.token,
            body.len()
        )
    }
}

/// The body of one answer, which must be a success.
async fn answer(stream: &mut TcpStream, buffer: &mut BytesMut) -> Result<String> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = std::str::from_utf8(&buffer[..end]).context("an odd answer")?.to_ascii_lowercase();
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length:")).context("an answer without a length")?;
            let (from, length): (usize, usize) = (end + 4, length.trim().parse().context("an odd length")?);
            if buffer.len() >= from + length {
                let body = String::from_utf8_lossy(&buffer[from..from + length]).into_owned();
                ensure!(head.starts_with("http/1.1 20"), "{}: {body}", head.lines().next().unwrap_or_default());
                buffer.advance(from + length);
                return Ok(body);
            }
        }
        if stream.read_buf(buffer).await.context("no answer")? == 0 {
            bail!("the connection was closed");
        }
    }
}
