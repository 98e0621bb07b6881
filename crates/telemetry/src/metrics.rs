//! Every metric, declared once; its doc comment is its help text.

use hookyard_core::delay::Tier;
use hookyard_core::fleet::QueueKind;
use hookyard_core::{AttemptClass, DeadReason, RefusalReason};
use prometheus::{Encoder, Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry, TextEncoder};

use crate::label::{
    AttemptNumber, BreakerMove, Completed, Connection, Exchange, LetterAction, Lookup, Method, NotClosed, Parked, Phase, Pool,
    Reused, Route, Routed, Source, StatusClass, StoreOp, Success, Warned,
};
use crate::typed::{CounterBy, GaugeBy, HistogramBy};

/// Seconds, for things that take a round trip to a broker or a receiver: 0.5 ms to 30 s.
const LATENCY: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0];
/// Seconds, for things that include retries and queues: 1 ms to a day.
const DELAY: &[f64] = &[0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0];
/// Bytes, from a ping to the largest event.
const SIZE: &[f64] = &[64.0, 256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 8_388_608.0];
/// Endpoints one event goes to.
const FANOUT: &[f64] = &[0.0, 1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1000.0, 5000.0, 10_000.0, 100_000.0];

macro_rules! metrics {
    ($($(#[doc = $doc:literal])* $field:ident: $kind:ty = $make:expr;)*) => {
        /// Every metric of a process. One registry, given by whoever starts the process.
        #[derive(Clone, Debug)]
        pub struct Metrics {
            registry: Registry,
            $($(#[doc = $doc])* pub $field: $kind,)*
        }

        impl Metrics {
            /// Declares every metric in `registry`, all series at zero.
            ///
            /// # Errors
            /// When the registry already holds one of the names.
            pub fn declare(registry: Registry) -> prometheus::Result<Self> {
                $(
                    let $field = {
                        let make: fn(&Registry, &str, &str) -> prometheus::Result<$kind> = $make;
                        make(&registry, concat!("hookyard_", stringify!($field)), concat!($($doc),*).trim())?
                    };
                )*
                // Of the process itself, where the system tells: `process_cpu_seconds_total` and its like.
                #[cfg(target_os = "linux")]
                registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
                Ok(Self { registry, $($field),* })
            }
        }
    };
}

metrics! {
    /// 1; its label says which version this is.
    build_info: IntGauge = build_info;
    /// 1 while this process is ready for work.
    ready: IntGauge = gauge;
    /// 1 while the store is not the one this installation was using.
    dataset_wrong: IntGauge = gauge;
    /// Times a router found that the store knows less of an application than before: it was restored from a copy, or failed over and lost
    /// writes.
    directory_regressions_total: IntCounter = counter;
    /// Events received, before they are judged.
    events_received_total: CounterBy<Source> = CounterBy::new;
    /// Events refused, with the reason.
    events_rejected_total: CounterBy<(Source, RefusalReason)> = CounterBy::new;
    /// Events delivered although the catalog has something against them, with what that is.
    events_warned_total: CounterBy<(Source, Warned)> = CounterBy::new;
    /// Event types seen for the first time that the catalog had no room for.
    event_types_undiscovered_total: IntCounter = counter;
    /// Events suppressed as duplicates of a known event id.
    events_duplicate_total: CounterBy<Source> = CounterBy::new;
    /// Events that came without an id of their own.
    events_without_id_total: IntCounter = counter;
    /// Bytes of data per event.
    event_payload_bytes: Histogram = |r, n, h| histogram(r, n, h, SIZE);
    /// HTTP requests answered.
    http_requests_total: CounterBy<(Method, Route, StatusClass)> = CounterBy::new;
    /// Seconds from an HTTP request to its answer.
    http_request_duration_seconds: Histogram = |r, n, h| histogram(r, n, h, LATENCY);
    /// Events the router is done with, by what became of them.
    router_events_total: CounterBy<Routed> = CounterBy::new;
    /// Deliveries the router made.
    router_deliveries_total: IntCounter = counter;
    /// Deliveries per routed event.
    router_fanout_deliveries: Histogram = |r, n, h| histogram(r, n, h, FANOUT);
    /// Seconds from an event's claim to its end in the router.
    router_duration_seconds: Histogram = |r, n, h| histogram(r, n, h, LATENCY);
    /// Seconds from an event's acceptance to its claim by the router.
    router_event_lag_seconds: Histogram = |r, n, h| histogram(r, n, h, DELAY);
    /// Uses of a routing snapshot, by how fresh it was.
    subscriptions_lookups_total: CounterBy<Lookup> = CounterBy::new;
    /// Attempts made, by outcome class and attempt number.
    delivery_attempts_total: CounterBy<(AttemptClass, AttemptNumber)> = CounterBy::new;
    /// Seconds an attempt took, response included.
    delivery_attempt_duration_seconds: HistogramBy<Success> = |r, n, h| HistogramBy::new(r, n, h, LATENCY);
    /// Seconds from the moment a delivery was due to its claim.
    delivery_queue_delay_seconds: Histogram = |r, n, h| histogram(r, n, h, DELAY);
    /// Seconds from an event's acceptance to the end of one of its deliveries.
    delivery_end_to_end_seconds: HistogramBy<Completed> = |r, n, h| HistogramBy::new(r, n, h, DELAY);
    /// Deliveries that ended, by how.
    deliveries_completed_total: CounterBy<Completed> = CounterBy::new;
    /// Attempts that will be followed by another.
    delivery_retries_total: IntCounter = counter;
    /// Attempts not repeated because the journal already had them.
    delivery_repeats_prevented_total: IntCounter = counter;
    /// Deliveries that became dead letters, by reason.
    dead_letters_total: CounterBy<DeadReason> = CounterBy::new;
    /// Dead letters that something was done with, by what.
    dead_letter_actions_total: CounterBy<LetterAction> = CounterBy::new;
    /// Requests to receivers, by whether their connection had carried one before.
    delivery_connections_total: CounterBy<Reused> = CounterBy::new;
    /// Requests to receivers in flight.
    delivery_inflight: GaugeBy<Pool> = GaugeBy::new;
    /// Most requests to receivers that may be in flight.
    delivery_inflight_limit: GaugeBy<Pool> = GaugeBy::new;
    /// Endpoints whose breaker is not closed, as this process knows them.
    endpoint_breakers: GaugeBy<NotClosed> = GaugeBy::new;
    /// Deliveries put aside without an attempt, by reason.
    deliveries_parked_total: CounterBy<Parked> = CounterBy::new;
    /// Deliveries that left the fast lane because their endpoint is slow.
    deliveries_diverted_total: IntCounter = counter;
    /// Breakers of endpoints that changed, by where they went, as this process saw it.
    endpoint_breaker_transitions_total: CounterBy<BreakerMove> = CounterBy::new;
    /// 1 while the connection to the broker is open.
    amqp_connected: GaugeBy<Connection> = GaugeBy::new;
    /// 1 while the broker blocks publishing.
    amqp_blocked: IntGauge = gauge;
    /// Sessions with the broker begun after the first.
    amqp_reconnects_total: IntCounter = counter;
    /// Messages published, by exchange and whether the broker confirmed.
    amqp_publishes_total: CounterBy<(Exchange, Success)> = CounterBy::new;
    /// Seconds from a publish to its confirm.
    amqp_confirm_duration_seconds: Histogram = |r, n, h| histogram(r, n, h, LATENCY);
    /// Messages that wait in the queues of a kind, as this process last counted them.
    queue_messages: GaugeBy<QueueKind> = GaugeBy::new;
    /// Consumers of the queues of a kind, as this process last counted them.
    consumers_active: GaugeBy<QueueKind> = GaugeBy::new;
    /// Seconds beyond its time that the last message through a delay tier came, or that one is missing.
    delay_canary_late_seconds: GaugeBy<Tier> = GaugeBy::new;
    /// Commands sent to the store, by operation and whether they were answered.
    redis_commands_total: CounterBy<(StoreOp, Success)> = CounterBy::new;
    /// Seconds a round trip to the store took.
    redis_command_duration_seconds: HistogramBy<StoreOp> = |r, n, h| HistogramBy::new(r, n, h, LATENCY);
    /// Journal entries spilled to the broker because the journal was away.
    journal_spilled_total: IntCounter = counter;
    /// Attempts that somebody who watches was not told of.
    activity_dropped_total: IntCounter = counter;
    /// Claims given back unsettled.
    claims_dropped_total: IntCounter = counter;
    /// Seconds shutting down took, by phase.
    shutdown_seconds: HistogramBy<Phase> = |r, n, h| HistogramBy::new(r, n, h, LATENCY);
}

impl Metrics {
    /// Metrics in a registry of their own: for tests and tools.
    ///
    /// # Panics
    /// Never: the names are distinct, which the test below checks.
    pub fn unregistered() -> Self {
        Self::declare(Registry::new()).expect("distinct metric names")
    }

    /// Sets whether a connection is open.
    pub fn set_connected(&self, connection: Connection, open: bool) {
        self.amqp_connected.set(connection, usize::from(open));
    }

    /// Everything, in Prometheus' text format.
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics cannot be written");
        }
        text
    }
}

/// A gauge that is 1, with the version as its label.
fn build_info(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    let gauge = IntGauge::with_opts(Opts::new(name, help).const_label("version", env!("CARGO_PKG_VERSION")))?;
    gauge.set(1);
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    let gauge = IntGauge::new(name, help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn counter(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    let counter = IntCounter::new(name, help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn histogram(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> prometheus::Result<Histogram> {
    let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_exists_from_the_start_and_they_are_few() {
        let text = String::from_utf8(Metrics::unregistered().render()).expect("text");
        let series = text.lines().filter(|line| !line.starts_with('#')).count();
        assert!((100..2000).contains(&series), "{series} series");
        assert!(text.contains(r#"hookyard_delivery_attempts_total{attempt="3+",outcome="http_5xx"} 0"#));
        assert!(text.contains("# HELP hookyard_ready 1 while this process is ready for work."));
    }
}
