//! Resolving host names, and judging what they resolve to, in the one place every connection passes: a name that resolves
//! differently the second time cannot win.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use hookyard_core::address::{AllowList, Refused};
use hookyard_core::limits;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::connections::port;
use crate::race::Race;

/// Where addresses of a host name come from.
#[async_trait]
pub trait LookUp: Send + Sync {
    /// Every address of `host`.
    async fn look_up(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The operating system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemLookUp;

#[async_trait]
impl LookUp for SystemLookUp {
    async fn look_up(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// The host name did not resolve in time or at all.
#[derive(Debug, thiserror::Error)]
#[error("the host name does not resolve")]
pub struct DnsFailed;

/// A resolver that hands on only addresses that may be called.
pub struct Vetting {
    pub look_up: Arc<dyn LookUp>,
    pub allow: Arc<AllowList>,
    /// The operator's proxy, wherever it is.
    pub proxy_host: Option<String>,
    /// Which of several addresses is called.
    pub race: Arc<Race>,
}

impl Resolve for Vetting {
    fn resolve(&self, name: Name) -> Resolving {
        let (look_up, allow, race) = (Arc::clone(&self.look_up), Arc::clone(&self.allow), Arc::clone(&self.race));
        let host = name.as_str().to_owned();
        let is_proxy = self.proxy_host.as_deref() == Some(&*host);
        let vouched = allow.vouches_for(&host) || is_proxy;
        Box::pin(async move {
            let found = tokio::time::timeout(limits::DNS_TIMEOUT, look_up.look_up(&host)).await;
            let Ok(Ok(addresses)) = found else { return Err(DnsFailed.into()) };
            if addresses.is_empty() {
                return Err(DnsFailed.into());
            }
            let passed: Vec<SocketAddr> = addresses
                .into_iter()
                .filter(|address| vouched || allow.judge(*address).is_ok())
                .map(|address| SocketAddr::new(address, 0))
                .collect();
            if passed.is_empty() {
                return Err(Refused::Address.into());
            }
            let ordered = match port() {
                // The port is the receiver's.
                Some(port) if !is_proxy => race.order(&host, port, passed).await,
                // Or nobody waits for it any more.
                _ => passed,
            };
            Ok(Box::new(ordered.into_iter()) as Addrs)
        })
    }
}
