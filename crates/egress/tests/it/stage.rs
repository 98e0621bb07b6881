//! A door, receivers, and names that resolve as they are told to.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hookyard_core::address::AllowList;
use hookyard_core::port::{Request, Sender};
use hookyard_core::{AttemptResult, Clock, Fault, Timestamp};
use hookyard_egress::{Egress, EgressConfig, LookUp, install_crypto};
use hookyard_telemetry::Metrics;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

pub struct FixedClock;
#[async_trait]
impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// Answers each look-up with the next of its addresses, the last one for ever.
#[derive(Default)]
pub struct Scripted {
    answers: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
    pub asked: AtomicUsize,
}

impl Scripted {
    /// The answers to look-ups of `host`, one after another.
    pub fn of(&self, host: &str, answers: &[&[IpAddr]]) {
        let answers = answers.iter().map(|addresses| addresses.to_vec()).collect();
        self.answers.lock().expect("unpoisoned").insert(host.to_owned(), answers);
    }
}

#[async_trait]
impl LookUp for Scripted {
    async fn look_up(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().expect("unpoisoned");
        let queue = answers.get_mut(host).ok_or(io::ErrorKind::NotFound)?;
        Ok(if queue.len() > 1 { queue.remove(0) } else { queue[0].clone() })
    }
}

pub fn loopback_allowed() -> AllowList {
    AllowList { networks: vec!["127.0.0.0/8".parse().expect("a network")], hosts: vec![] }
}

pub fn door(allow: AllowList, look_up: Arc<Scripted>) -> Egress {
    door_of(EgressConfig { allow, ..EgressConfig::default() }, look_up)
}

pub fn door_of(config: EgressConfig, look_up: Arc<Scripted>) -> Egress {
    door_counted(config, look_up, &Metrics::unregistered())
}

/// A door whose requests are counted in `metrics`.
pub fn door_counted(config: EgressConfig, look_up: Arc<Scripted>, metrics: &Metrics) -> Egress {
    install_crypto();
    Egress::new(config, look_up, Arc::new(FixedClock), metrics).expect("a client")
}

/// A receiver that writes these bytes to everybody who connects, and then keeps the connection open.
pub async fn receiver(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                if stream.read(&mut request).await.is_ok_and(|read| read > 0) && stream.write_all(answer).await.is_ok() {
                    // Held open until the other side lets go.
                    while stream.read(&mut request).await.is_ok_and(|read| read > 0) {}
                }
            });
        }
    });
    address
}

pub async fn post(door: &Egress, url: &str) -> AttemptResult {
    post_within(door, url, Duration::from_secs(5)).await
}

pub async fn post_within(door: &Egress, url: &str, timeout: Duration) -> AttemptResult {
    try_post(door, url, timeout).await.expect("nothing of ours failed")
}

pub async fn try_post(door: &Egress, url: &str, timeout: Duration) -> Result<AttemptResult, Fault> {
    let url = url.parse().expect("a URL");
    door.send(Request { url, headers: vec![("x-a".into(), "b".into())], body: Bytes::from_static(b"{}"), timeout }).await
}
