//! The life of a process: start, run, drain, stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use hookyard_admin::{Api, Style, System};
use hookyard_core::port::Sender;
use hookyard_core::{Fault, limits};
use hookyard_dispatcher::{Dispatcher, DispatcherConfig};
use hookyard_egress::{Egress, install_crypto};
use hookyard_ingest::Intake;
use hookyard_operations::Operations;
use hookyard_telemetry::Metrics;
use hookyard_telemetry::label::Phase;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backend::{Backend, Cluster, Ports};
use crate::dataset::Guard;
use crate::docs;
use crate::http::{self, Front};
use crate::idempotency::Once;
use crate::ops::{self, Ops};
use crate::quota::Quota;
use crate::roles::Roles;
use crate::seams::Seams;
use crate::serve::serve;
use crate::settings::Settings;
use crate::supervisor::Supervisor;
use crate::survey;
use crate::system::Installation;
use crate::token::{Issuer, Verifier};

/// A connection without a request ends after so many times the longest request: clients keep theirs for a minute and a half, and must
/// not find them closed.
const SILENCE: u32 = 4;
/// Time to finish what is in flight: the longest attempt, and a little.
const GRACE: Duration = Duration::from_secs(limits::ATTEMPT_TIMEOUT_MOST.as_secs() + 5);

/// A process at work.
pub struct Running {
    /// Where the API listens, if a role serves it.
    pub api: Option<SocketAddr>,
    /// Where the operators' listener is.
    pub ops: SocketAddr,
    /// Metrics.
    pub metrics: Metrics,
    state: Arc<Ops>,
    backend: Backend,
    /// Ends claiming and accepting.
    stop: CancellationToken,
    /// Ends everything else, when the services are done.
    close: CancellationToken,
    services: TaskTracker,
    background: TaskTracker,
    supervisor: Supervisor,
}

/// Starts the roles of this configuration. Broker and store need not be there yet: what needs them waits. One file must be usable.
pub async fn start(settings: &Settings, roles: Roles, seams: Seams) -> anyhow::Result<Running> {
    install_crypto();
    let metrics = Metrics::declare(seams.registry.clone()).context("metrics were declared twice")?;
    let backend = Backend::build(settings, roles, &metrics, &seams)?;
    let ports = backend.ports();
    let (stop, close) = (CancellationToken::new(), CancellationToken::new());
    let (services, background) = (TaskTracker::new(), TaskTracker::new());
    let supervisor = Supervisor::new(Arc::clone(&seams.tripwire));
    let roots = Roots { supervisor: &supervisor, services: &services, background: &background, stop: &stop, close: &close };
    let writing = backend.clone().write_journal(close.clone());
    supervisor.root_that_fails(&background, "journal writer", &close, writing);
    match &backend {
        Backend::Cluster(cluster) => keep_cluster(cluster, &seams, &roots),
        Backend::Embedded(embedded) => {
            embedded.establish(&seams).await.context("the file cannot be prepared")?;
            supervisor.root_that_fails(&background, "guard", &close, embedded.clone().keep_house(close.clone()));
        }
    }
    if roles.router {
        roots.service("router", router(&ports, &metrics, &seams).run(stop.clone()));
    }
    let style =
        Style { signature_headers: settings.signature_headers, user_agent: format!("Hookyard/{}", env!("CARGO_PKG_VERSION")) };
    let egress = Egress::new(settings.egress.clone(), Arc::clone(&seams.look_up), Arc::clone(&seams.clock), &metrics);
    let sender: Arc<dyn Sender> = Arc::new(egress.context("the HTTP client cannot be built")?);
    let installation = Installation::new(backend.clone(), roles, &settings.config, Arc::clone(&seams.clock), &*seams.entropy);
    if roles.dispatcher {
        let dispatcher = dispatcher(settings, &ports, &style, Arc::clone(&sender), &installation, &metrics, &seams);
        roots.service("dispatcher", dispatcher.run(stop.clone(), services.clone()));
    }
    roots.behind("heartbeat", Arc::clone(&installation).beat(close.clone()));
    roots.behind("survey of queues", survey::count_queues(backend.clone(), metrics.clone(), close.clone()));
    if let (Backend::Cluster(cluster), true) = (&backend, roles.router) {
        let (cluster, clock) = (Arc::clone(cluster), Arc::clone(&seams.clock));
        let canaries = survey::send_canaries(cluster, installation.id(), clock, metrics.clone(), stop.clone());
        supervisor.root(&background, "canaries", &stop, canaries);
    }
    let (metrics_of, backend_of, draining) = (metrics.clone(), backend.clone(), AtomicBool::new(false));
    let state = Arc::new(Ops { metrics: metrics_of, backend: backend_of, draining, supervisor: supervisor.clone() });
    let silence = settings.config.api.timeout * SILENCE;
    let api = if roles.serves_http() {
        let around = Around { metrics: &metrics, system: Arc::clone(&installation) as _, stop: stop.clone() };
        let admin = roles.admin.then(|| admin(settings, &ports, style, sender, &seams, around));
        if let Some(admin) = &admin {
            roots.service("worker of tasks", hookyard_admin::work(Arc::clone(admin), stop.clone()));
            roots.service("forgetting", hookyard_admin::forget(Arc::clone(admin), stop.clone()));
            roots.service("daily sweep", hookyard_admin::sweep_daily(Arc::clone(admin), stop.clone()));
        }
        let verifier = Arc::new(Verifier::new(&settings.jwt_secret));
        let follow = Arc::clone(&verifier).follow(Arc::clone(&ports.revocations), Arc::clone(&seams.clock), close.clone());
        roots.behind("revocations", follow);
        let app = api(settings, admin, verifier, &ports, Arc::clone(&state), &seams);
        let (listener, address) = bind(settings.config.listen).await?;
        roots.service("api listener", serve(listener, app, silence, stop.clone()));
        Some(address)
    } else {
        None
    };
    // Last: whoever is told that this is ready finds the API.
    let (listener, ops) = bind(settings.config.ops_listen).await?;
    roots.behind("operations listener", serve(listener, ops::routes(Arc::clone(&state)), silence, close.clone()));
    Ok(Running { api, ops, metrics, state, backend, stop, close, services, background, supervisor })
}

impl Running {
    /// Whether everything needed is there.
    pub async fn is_ready(&self) -> bool {
        self.state.readiness().await.is_ready()
    }

    /// Waits for a fault that no waiting mends: a sealing key that is not this installation's, or a root task that ended.
    pub async fn failed(&self) -> Arc<Fault> {
        self.supervisor.failed().await
    }

    /// The soft stop: no longer ready, nothing more claimed or accepted, what is in flight finished, the rest given back.
    pub async fn drain(self) {
        let begun = Instant::now();
        self.state.draining.store(true, Ordering::Relaxed);
        self.backend.stop_claiming();
        self.stop.cancel();
        self.services.close();
        if tokio::time::timeout(GRACE, self.services.wait()).await.is_err() {
            tracing::warn!("the grace is over; what is still in flight is given back");
        }
        self.metrics.shutdown_seconds.observe(Phase::Drain, begun.elapsed());
        self.close().await;
    }

    /// The hard stop: whatever is in flight is left as it is, and given back by the broker.
    pub async fn close(self) {
        let begun = Instant::now();
        self.stop.cancel();
        self.close.cancel();
        self.backend.stop().await;
        self.background.close();
        if tokio::time::timeout(Duration::from_secs(2), self.background.wait()).await.is_err() {
            tracing::debug!("left some background work behind");
        }
        self.metrics.shutdown_seconds.observe(Phase::Close, begun.elapsed());
    }
}

/// Where root tasks begin: services end with the soft stop, what is behind them when they are done.
struct Roots<'a> {
    supervisor: &'a Supervisor,
    services: &'a TaskTracker,
    background: &'a TaskTracker,
    stop: &'a CancellationToken,
    close: &'a CancellationToken,
}

impl Roots<'_> {
    fn service(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.supervisor.root(self.services, name, self.stop, task);
    }

    fn behind(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.supervisor.root(self.background, name, self.close, task);
    }
}

/// What goes on beside the roles of a cluster: the guard of the dataset, and the journal's way back from its spill.
fn keep_cluster(cluster: &Arc<Cluster>, seams: &Seams, roots: &Roots<'_>) {
    let Roots { supervisor, background, stop, close, .. } = *roots;
    roots.behind("journal watch", Arc::clone(&cluster.journal).watch(close.clone()));
    if cluster.rabbit_config.consumes.spill {
        supervisor.root(background, "journal spill", stop, Arc::clone(&cluster.journal).drain(stop.clone()));
    }
    let guard = Guard {
        store: cluster.store.clone(),
        broker: cluster.rabbit_config.clone(),
        rabbit: Arc::clone(&cluster.rabbit),
        clock: Arc::clone(&seams.clock),
        entropy: Arc::clone(&seams.entropy),
        established: Arc::clone(&cluster.established),
    };
    supervisor.root_that_fails(background, "guard", close, guard.run(close.clone()));
}

fn router(ports: &Ports, metrics: &Metrics, seams: &Seams) -> hookyard_router::Router {
    hookyard_router::Router::new(hookyard_router::Seams {
        events: Arc::clone(&ports.events),
        directory: Arc::clone(&ports.directory),
        catalog: Arc::clone(&ports.catalog),
        gates: Arc::clone(&ports.gates),
        journal: Arc::clone(&ports.journal),
        clock: Arc::clone(&seams.clock),
        entropy: Arc::clone(&seams.entropy),
        metrics: metrics.clone(),
        traces: seams.traces.clone(),
        tripwire: Arc::clone(&seams.tripwire),
    })
}

fn dispatcher(
    settings: &Settings,
    ports: &Ports,
    style: &Style,
    sender: Arc<dyn Sender>,
    installation: &Installation,
    metrics: &Metrics,
    seams: &Seams,
) -> Arc<Dispatcher> {
    let config = DispatcherConfig {
        policy: settings.policy.clone(),
        concurrency: settings.config.delivery.concurrency,
        per_endpoint_concurrency: settings.config.delivery.per_endpoint_concurrency,
        signature_headers: style.signature_headers,
        user_agent: style.user_agent.clone(),
        endpoint_memory: settings.config.delivery.endpoint_memory,
        breaker: settings.breaker,
        unavailable_after: settings.config.delivery.unavailable_after,
        disable_after: Some(settings.config.delivery.disable_after).filter(|after| !after.is_zero()),
    };
    let seams = hookyard_dispatcher::Seams {
        deliveries: Arc::clone(&ports.deliveries),
        gates: Arc::clone(&ports.gates),
        directory: Arc::clone(&ports.directory),
        journal: Arc::clone(&ports.journal),
        operations: operations(ports, seams),
        sender,
        dispatchers: installation.dispatchers(),
        longest_wait: installation.longest_wait(),
        clock: Arc::clone(&seams.clock),
        entropy: Arc::clone(&seams.entropy),
        metrics: metrics.clone(),
        traces: seams.traces.clone(),
        tripwire: Arc::clone(&seams.tripwire),
    };
    Dispatcher::new(seams, config)
}

fn operations(ports: &Ports, seams: &Seams) -> Arc<Operations> {
    let (events, directory) = (Arc::clone(&ports.events), Arc::clone(&ports.directory));
    Arc::new(Operations::new(events, directory, Arc::clone(&seams.clock), Arc::clone(&seams.entropy)))
}

/// What the API knows of the process around it.
struct Around<'a> {
    metrics: &'a Metrics,
    system: Arc<dyn System>,
    stop: CancellationToken,
}

fn admin(
    settings: &Settings,
    ports: &Ports,
    style: Style,
    sender: Arc<dyn Sender>,
    seams: &Seams,
    around: Around<'_>,
) -> Arc<Api> {
    let default_url = || format!("http://{}", settings.config.listen);
    let issuer = Issuer {
        secret: settings.jwt_secret.clone(),
        public_url: settings.config.public_url.as_ref().map_or_else(default_url, |url| url.trim_end_matches('/').to_owned()),
        clock: Arc::clone(&seams.clock),
        entropy: Arc::clone(&seams.entropy),
    };
    Api::new(
        hookyard_admin::Seams {
            directory: Arc::clone(&ports.directory),
            catalog: Arc::clone(&ports.catalog),
            deliveries: Arc::clone(&ports.deliveries),
            journal: Arc::clone(&ports.journal),
            log: Arc::clone(&ports.log),
            tasks: Arc::clone(&ports.tasks),
            gates: Arc::clone(&ports.gates),
            activity: Arc::clone(&ports.activity),
            rejections: Arc::clone(&ports.rejections),
            dead_letters: Arc::clone(&ports.dead_letters),
            retention: settings.config.journal.retention,
            system: around.system,
            operations: operations(ports, seams),
            revocations: Arc::clone(&ports.revocations),
            tokens: Arc::new(issuer),
            metrics: around.metrics.clone(),
            sender,
            policy: settings.policy.clone(),
            style,
            clock: Arc::clone(&seams.clock),
            entropy: Arc::clone(&seams.entropy),
            allow: Arc::new(settings.egress.allow.clone()),
        },
        around.stop,
    )
}

fn api(
    settings: &Settings,
    admin: Option<Arc<Api>>,
    verifier: Arc<Verifier>,
    ports: &Ports,
    ops: Arc<Ops>,
    seams: &Seams,
) -> Router {
    let metrics = ops.metrics.clone();
    let intake = hookyard_ingest::Seams {
        events: Arc::clone(&ports.events),
        directory: Arc::clone(&ports.directory),
        catalog: Arc::clone(&ports.catalog),
        journal: Arc::clone(&ports.journal),
        clock: Arc::clone(&seams.clock),
        entropy: Arc::clone(&seams.entropy),
        metrics: metrics.clone(),
        traces: seams.traces.clone(),
        tripwire: Arc::clone(&seams.tripwire),
    };
    let mut routes = hookyard_ingest::routes(Intake::new(intake, settings.admission));
    let mut open = Router::new();
    if let Some(admin) = admin {
        routes = routes.merge(hookyard_admin::routes(admin));
        open = docs::routes().merge(hookyard_admin::console());
    }
    let front = Front {
        verifier,
        once: Arc::new(Once {
            answers: Arc::clone(&ports.answers),
            directory: Arc::clone(&ports.directory),
            most_bytes: settings.admission.max_bytes + http::BODY_MARGIN,
        }),
        clock: Arc::clone(&seams.clock),
        entropy: Arc::clone(&seams.entropy),
        metrics,
        ops,
        max_event_bytes: settings.admission.max_bytes,
        quota: settings.config.api.rate_limit.map(Quota::new),
        timeout: settings.config.api.timeout,
        cors: settings.cors.clone(),
        is_secure: settings.config.public_url.as_ref().is_some_and(|url| url.starts_with("https:")),
    };
    http::without_trailing_slash(http::app(routes, open, front))
}

async fn bind(address: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr().context("a listener without an address")?;
    Ok((listener, address))
}
