//! Which of a host's addresses to call: the first that takes a connection, tried one after another a quarter second apart (RFC 8305).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hookyard_core::limits;
use lru::LruCache;
use tokio::net::TcpStream;

/// The pause before the next address is tried too: the recommended one (RFC 8305 §5).
const NEXT_AFTER: Duration = Duration::from_millis(250);
/// An address that took a connection is called first for so long, and then found out anew.
const BELIEVED: Duration = Duration::from_secs(30);
/// Addresses that are remembered.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// Addresses that won.
pub struct Race(Mutex<LruCache<(String, u16), (SocketAddr, Instant)>>);

impl Race {
    pub fn new() -> Self {
        Self(Mutex::new(LruCache::new(REMEMBERED)))
    }

    /// A host's addresses, the one to call first.
    pub async fn order(&self, host: &str, port: u16, addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
        if addresses.len() < 2 {
            return addresses;
        }
        let mut ordered = alternating(&addresses);
        let host = (host.to_owned(), port);
        let mut winner = self.known(&host).filter(|winner| ordered.contains(winner));
        if winner.is_none() {
            winner = tokio::time::timeout(limits::CONNECT_TIMEOUT, run(&ordered, port)).await.ok().flatten();
            if let Some(winner) = winner {
                self.0.lock().unwrap_or_else(PoisonError::into_inner).push(host, (winner, Instant::now()));
            }
        }
        if let Some(winner) = winner {
            ordered.retain(|address| *address != winner);
            ordered.insert(0, winner);
        }
        ordered
    }

    fn known(&self, host: &(String, u16)) -> Option<SocketAddr> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(host).filter(|(_, since)| since.elapsed() < BELIEVED).map(|(winner, _)| *winner)
    }

    /// A host took no connection: which of its addresses does is to be found out anew.
    pub fn forget(&self, host: &str, port: u16) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop(&(host.to_owned(), port));
    }
}

/// Families in turn, beginning with the first address's (RFC 8305 §4).
fn alternating(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut first, mut second): (VecDeque<SocketAddr>, VecDeque<SocketAddr>) =
        addresses.iter().partition(|address| address.is_ipv6() == is_v6);
    let mut ordered = Vec::with_capacity(addresses.len());
    while !first.is_empty() || !second.is_empty() {
        ordered.extend(first.pop_front());
        ordered.extend(second.pop_front());
    }
    ordered
}

/// The first address that takes a connection.
async fn run(addresses: &[SocketAddr], port: u16) -> Option<SocketAddr> {
    let mut waiting = addresses.iter().copied();
    let mut running = FuturesUnordered::new();
    let connect = |address: SocketAddr| async move {
        let connected = TcpStream::connect(SocketAddr::new(address.ip(), port)).await;
        connected.is_ok().then_some(address)
    };
    running.push(connect(waiting.next()?));
    loop {
        tokio::select! {
            ended = running.next() => match ended {
                Some(Some(winner)) => return Some(winner),
                // It failed, or all did: the next one's turn is now.
                Some(None) | None => match waiting.next() {
                    Some(address) => running.push(connect(address)),
                    None if running.is_empty() => return None,
                    None => {}
                },
            },
            () = tokio::time::sleep(NEXT_AFTER) => running.extend(waiting.next().map(connect)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let addresses = ["[::1]:0", "[::2]:0", "[::3]:0", "1.1.1.1:0"].map(|address| address.parse().expect("an address"));
        assert_eq!(
            alternating(&addresses).iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["[::1]:0", "1.1.1.1:0", "[::2]:0", "[::3]:0"]
        );
    }
}
