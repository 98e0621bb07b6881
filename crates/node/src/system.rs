//! This process among the others of its installation, and what waits in the queues.

use std::sync::Arc;

use async_trait::async_trait;
use hookyard_admin::{Mode, System};
use hookyard_core::fleet::BEAT_EVERY;
use hookyard_core::{Clock, Entropy, Fault, Member, QueueDepth};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::backend::Backend;
use crate::roles::{self, Roles};

/// The installation as this process sees it.
pub struct Installation {
    backend: Backend,
    this: Member,
    clock: Arc<dyn Clock>,
    dispatchers: watch::Sender<usize>,
}

impl Installation {
    /// With this process in it.
    pub fn new(backend: Backend, roles: Roles, clock: Arc<dyn Clock>, entropy: &dyn Entropy) -> Arc<Self> {
        let mut id = [0; 8];
        entropy.fill(&mut id);
        let now = clock.now();
        let this = Member {
            id: id.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}")),
            roles: roles.names().into_iter().map(str::to_owned).collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: host_name(),
            started_at: now,
            seen_at: now,
        };
        Arc::new(Self { backend, this, clock, dispatchers: watch::Sender::new(1) })
    }

    /// Dispatchers alive, as last heard.
    pub fn dispatchers(&self) -> watch::Receiver<usize> {
        self.dispatchers.subscribe()
    }

    /// Tells the others every few seconds, and hears of them, until `stop`.
    pub async fn beat(self: Arc<Self>, stop: CancellationToken) {
        let Backend::Cluster(cluster) = &self.backend else { return };
        let mut beats = tokio::time::interval(BEAT_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = beats.tick() => {}
            }
            let now = Member { seen_at: self.clock.now(), ..self.this.clone() };
            if let Err(fault) = cluster.store.beat(&now).await {
                tracing::debug!(error = fault.chain(), "the others were not told that this process is there");
            }
            match cluster.store.members().await {
                Ok(members) => {
                    let dispatches = |member: &&Member| member.roles.iter().any(|role| role == roles::DISPATCHER);
                    self.dispatchers.send_replace(members.iter().filter(dispatches).count().max(1));
                }
                Err(fault) => tracing::debug!(error = fault.chain(), "nobody can say how many dispatchers there are"),
            }
        }
        if let Err(fault) = cluster.store.leave(&self.this.id).await {
            tracing::debug!(error = fault.chain(), "the others find out by themselves that this process is gone");
        }
    }
}

#[async_trait]
impl System for Installation {
    fn mode(&self) -> Mode {
        match &self.backend {
            Backend::Cluster(_) => Mode::Cluster,
            Backend::Embedded(_) => Mode::Embedded,
        }
    }

    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    async fn members(&self) -> Result<Vec<Member>, Fault> {
        match &self.backend {
            Backend::Cluster(cluster) => cluster.store.members().await,
            Backend::Embedded(_) => Ok(vec![Member { seen_at: self.clock.now(), ..self.this.clone() }]),
        }
    }

    async fn queues(&self) -> Result<Vec<QueueDepth>, Fault> {
        match &self.backend {
            Backend::Cluster(cluster) => cluster.rabbit.depths().await,
            Backend::Embedded(embedded) => embedded.store.depths().await,
        }
    }
}

/// The machine's name, where Linux tells it; containers have theirs.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.map(|name| name.trim().to_owned()).unwrap_or_default()
}
