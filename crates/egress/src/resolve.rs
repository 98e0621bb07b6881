//! Resolving host names, and judging what they resolve to, in the one place every connection passes: a name that resolves
//! differently the second time cannot win.

use std::net::SocketAddr;
use std::sync::Arc;

use hookyard_core::address::{AllowList, Refused};
use hookyard_core::limits;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::connections::port;
use crate::look_up::BoundedLookUp;
use crate::race::Race;

/// The host name did not resolve in time or at all.
#[derive(Debug, thiserror::Error)]
#[error("the host name does not resolve")]
pub struct DnsFailed;

/// A resolver that hands on only addresses that may be called.
pub struct Vetting {
    pub look_up: Arc<BoundedLookUp>,
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
            let Ok(Some(addresses)) = found else { return Err(DnsFailed.into()) };
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
