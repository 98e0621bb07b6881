//! This process among the others of its installation, and what waits in the queues.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use hookyard_admin::{Mode, SettingOut, System};
use hookyard_core::fleet::{BEAT_EVERY, LongestWait};
use hookyard_core::{Clock, Entropy, Fault, Member, QueueDepth};
use hookyard_redis::RedisStore;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::backend::Backend;
use crate::config::Config;
use crate::roles::{self, Roles};
use crate::shown::Row;

/// The installation as this process sees it.
pub struct Installation {
    backend: Backend,
    this: Member,
    configuration: Vec<SettingOut>,
    clock: Arc<dyn Clock>,
    dispatchers: watch::Sender<usize>,
    longest_wait: Arc<LongestWait>,
    /// Of the last while between two beats.
    waited_ms: AtomicU64,
}

impl Installation {
    /// With this process in it.
    pub fn new(backend: Backend, roles: Roles, config: &Config, clock: Arc<dyn Clock>, entropy: &dyn Entropy) -> Arc<Self> {
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
            longest_wait_ms: None,
        };
        Arc::new(Self {
            backend,
            this,
            configuration: config.rows().into_iter().map(setting).collect(),
            clock,
            dispatchers: watch::Sender::new(1),
            longest_wait: Arc::default(),
            waited_ms: AtomicU64::new(0),
        })
    }

    /// This process's name among the others.
    pub fn id(&self) -> String {
        self.this.id.clone()
    }

    /// Dispatchers alive, as last heard.
    pub fn dispatchers(&self) -> watch::Receiver<usize> {
        self.dispatchers.subscribe()
    }

    /// Where a dispatcher of this process tells how long deliveries waited.
    pub fn longest_wait(&self) -> Arc<LongestWait> {
        Arc::clone(&self.longest_wait)
    }

    /// Tells the others every few seconds, and hears of them, until `stop`.
    pub async fn beat(self: Arc<Self>, stop: CancellationToken) {
        let mut beats = tokio::time::interval(BEAT_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = beats.tick() => {}
            }
            self.waited_ms.store(self.longest_wait.take(), Ordering::Relaxed);
            if let Backend::Cluster(cluster) = &self.backend {
                self.meet_the_others(&cluster.store).await;
            }
        }
        if let Backend::Cluster(cluster) = &self.backend
            && let Err(fault) = cluster.store.leave(&self.this.id).await
        {
            tracing::debug!(error = fault.chain(), "the others find out by themselves that this process is gone");
        }
    }

    async fn meet_the_others(&self, store: &RedisStore) {
        if let Err(fault) = store.beat(&self.now()).await {
            tracing::debug!(error = fault.chain(), "the others were not told that this process is there");
        }
        match store.members().await {
            Ok(members) => {
                self.dispatchers.send_replace(members.iter().filter(|member| dispatches(member)).count().max(1));
            }
            Err(fault) => tracing::debug!(error = fault.chain(), "nobody can say how many dispatchers there are"),
        }
    }

    /// This process at this moment.
    fn now(&self) -> Member {
        let longest_wait_ms = dispatches(&self.this).then(|| self.waited_ms.load(Ordering::Relaxed));
        Member { seen_at: self.clock.now(), longest_wait_ms, ..self.this.clone() }
    }
}

#[async_trait]
impl System for Installation {
    fn configuration(&self) -> Vec<SettingOut> {
        self.configuration.clone()
    }

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
            Backend::Embedded(_) => Ok(vec![self.now()]),
        }
    }

    async fn queues(&self) -> Result<Vec<QueueDepth>, Fault> {
        self.backend.depths().await
    }
}

fn setting(Row { key, value, origin }: Row) -> SettingOut {
    SettingOut { key, value, origin: origin.to_string() }
}

fn dispatches(member: &Member) -> bool {
    member.roles.iter().any(|role| role == roles::DISPATCHER)
}

/// The machine's name, where Linux tells it; containers have theirs.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.map(|name| name.trim().to_owned()).unwrap_or_default()
}
