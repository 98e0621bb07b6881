//! One address in front of several servers, as a load balancer is: a connection goes to the first that takes it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Listens until it is dropped.
pub struct Balancer {
    /// Where it listens.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Balancer {
    /// In front of these; the next connection begins with the next of them.
    ///
    /// # Errors
    /// When there is no address left.
    pub async fn start(servers: Vec<SocketAddr>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("an address")?;
        let address = listener.local_addr()?;
        let (servers, turn) = (Arc::new(servers), AtomicUsize::new(0));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let first = turn.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(carry(client, Arc::clone(&servers), first));
            }
        });
        Ok(Self { address, task })
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(mut client: TcpStream, servers: Arc<Vec<SocketAddr>>, first: usize) {
    for number in 0..servers.len() {
        let Ok(mut server) = TcpStream::connect(servers[(first + number) % servers.len()]).await else { continue };
        // A connection that breaks is what the other side sees.
        tokio::io::copy_bidirectional(&mut client, &mut server).await.ok();
        return;
    }
}
