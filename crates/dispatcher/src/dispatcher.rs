//! The loops: one per lane, each spawning what it claims.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use hookyard_core::admission::BreakerRule;
use hookyard_core::fault::panic_text;
use hookyard_core::fleet::LongestWait;
use hookyard_core::port::{Deliveries, Directory, Gates, Journal, Sender};
use hookyard_core::step::Tripwire;
use hookyard_core::{Claim, Clock, Delivery, Entropy, Fault, FaultKind, Lane, Policy};
use hookyard_operations::Operations;
use hookyard_telemetry::label::Pool;
use hookyard_telemetry::{Metrics, Traces};
use hookyard_wire::request::SignatureHeaders;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::admission::Admission;
use crate::concurrency::Permits;
use crate::in_flight::InFlight;
use crate::view::View;

/// Deliveries taken at once.
const BATCH: usize = 256;
/// Pause before asking again what could not be answered.
const PAUSE: Duration = Duration::from_millis(500);

/// A deployment's choices.
#[derive(Clone, Debug)]
pub struct DispatcherConfig {
    /// How deliveries are attempted unless their endpoint says otherwise.
    pub policy: Policy,
    /// Most requests in flight.
    pub concurrency: u16,
    /// Requests at once to one endpoint that is not known to be quick.
    pub per_endpoint_concurrency: u16,
    /// Names of the signature headers.
    pub signature_headers: SignatureHeaders,
    /// Value of `user-agent`.
    pub user_agent: String,
    /// How long the last known copy of an endpoint serves while the directory is away.
    pub endpoint_memory: Duration,
    /// When an endpoint's breaker opens, and for how long, unless the endpoint says otherwise.
    pub breaker: BreakerRule,
    /// How long a delivery waits for an endpoint that is left alone, from the moment its attempt first became due.
    pub unavailable_after: Duration,
    /// How long an endpoint may take nothing before it is disabled, if it ever is.
    pub disable_after: Option<Duration>,
}

/// What the dispatcher works with.
#[derive(Clone)]
pub struct Seams {
    /// Deliveries in, outcomes out.
    pub deliveries: Arc<dyn Deliveries>,
    /// The gates of endpoints.
    pub gates: Arc<dyn Gates>,
    /// Endpoints.
    pub directory: Arc<dyn Directory>,
    /// The record of attempts, and the fence.
    pub journal: Arc<dyn Journal>,
    /// Where what happens here is told.
    pub operations: Arc<Operations>,
    /// The door outward.
    pub sender: Arc<dyn Sender>,
    /// Dispatchers alive, this one included.
    pub dispatchers: watch::Receiver<usize>,
    /// Where this process tells how long deliveries waited.
    pub longest_wait: Arc<LongestWait>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for jitter.
    pub entropy: Arc<dyn Entropy>,
    /// Metrics.
    pub metrics: Metrics,
    /// Traces.
    pub traces: Traces,
    /// Told of every step.
    pub tripwire: Arc<dyn Tripwire>,
}

/// The dispatcher.
pub struct Dispatcher {
    pub(crate) seams: Seams,
    pub(crate) config: DispatcherConfig,
    pub(crate) view: View,
    pub(crate) in_flight: InFlight,
    pub(crate) admission: Admission,
    pub(crate) permits: Arc<Permits>,
}

impl Dispatcher {
    /// A dispatcher that has not begun.
    pub fn new(seams: Seams, config: DispatcherConfig) -> Arc<Self> {
        let view = View::new(Arc::clone(&seams.directory), Arc::clone(&seams.clock), config.endpoint_memory);
        let permits = Arc::new(Permits::new(usize::from(config.concurrency), Arc::clone(&seams.clock)));
        let admission = Admission::new(&seams, Arc::clone(&permits), &config);
        for lane in [Lane::Fast, Lane::Slow] {
            seams.metrics.delivery_inflight_limit.set(Pool::of(lane), permits.most(lane));
        }
        Arc::new(Self { seams, config, view, in_flight: InFlight::default(), admission, permits })
    }

    /// Dispatches until `stop`. What is in flight then goes on in `tasks`, and also if this should panic.
    pub async fn run(self: Arc<Self>, stop: CancellationToken, tasks: TaskTracker) {
        tokio::select! {
            () = stop.cancelled() => return,
            () = self.wait_for_directory() => {}
        }
        let lanes = async { tokio::join!(self.lane(Lane::Fast, &stop, &tasks), self.lane(Lane::Slow, &stop, &tasks)) };
        tokio::join!(lanes, self.admission.gates().follow(&stop));
    }

    /// A dispatcher that has never read the sentinel does not claim.
    async fn wait_for_directory(&self) {
        while let Err(fault) = self.seams.directory.resolve(&[]).await {
            tracing::warn!(error = fault.chain(), "the directory cannot be read; not claiming");
            self.seams.clock.sleep(PAUSE).await;
        }
    }

    async fn lane(self: &Arc<Self>, lane: Lane, stop: &CancellationToken, tasks: &TaskTracker) {
        loop {
            let claimed = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                claimed = self.seams.deliveries.claim(lane, BATCH) => claimed,
            };
            match claimed {
                Ok(claims) => {
                    let ready = tokio::select! {
                        () = stop.cancelled() => return,
                        ready = self.look_ahead(&claims) => ready,
                    };
                    match ready {
                        Ok(()) => self.begin(lane, claims, tasks),
                        Err(fault) => tracing::error!(error = fault.chain(), "deliveries were given back"),
                    }
                }
                Err(fault) => {
                    tracing::debug!(error = fault.chain(), "nothing to claim from");
                    self.seams.clock.sleep(PAUSE).await;
                }
            }
        }
    }

    /// Reads the batch's endpoints in one round trip. While the store is the wrong one, nothing goes on.
    async fn look_ahead(&self, claims: &[Claim<Delivery>]) -> Result<(), Fault> {
        loop {
            match self.view.get(claims.iter().map(|claim| &claim.item)).await {
                Err(fault) if fault.kind == FaultKind::WrongDataset => {
                    tracing::error!(error = fault.chain(), "not dispatching");
                    self.seams.clock.sleep(PAUSE).await;
                }
                looked => return looked.map(drop),
            }
        }
    }

    fn begin(self: &Arc<Self>, lane: Lane, claims: Vec<Claim<Delivery>>, tasks: &TaskTracker) {
        let now = self.seams.clock.now();
        for claim in claims {
            let due = claim.item.not_before.unwrap_or(claim.item.due);
            let waited = now.since(due);
            self.seams.metrics.delivery_queue_delay_seconds.observe(waited.as_secs_f64());
            self.seams.longest_wait.note(waited);
            let this = Arc::clone(self);
            let (message_id, endpoint, attempt) = (claim.item.message.id, claim.item.endpoint, claim.item.attempt);
            // Whatever is logged within has these.
            let span = tracing::info_span!("delivery", %message_id, %endpoint, attempt);
            let delivered = async move {
                let delivered = AssertUnwindSafe(this.deliver(claim, lane)).catch_unwind().await;
                // Also of one that panicked: what it had is given back.
                this.admission.gates().flush().await;
                match delivered {
                    Ok(Ok(())) => {}
                    Ok(Err(fault)) => tracing::warn!(error = fault.chain(), "a delivery was given back"),
                    Err(panic) => tracing::error!(panic = panic_text(&*panic), "a delivery panicked, and was given back"),
                }
            };
            tasks.spawn(delivered.instrument(span));
        }
    }
}
