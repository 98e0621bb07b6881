//! An attempt, and what follows from it.

use std::sync::Arc;
use std::time::Duration;

use hookyard_core::admission::Reservation;
use hookyard_core::journal::{AttemptRecord, EndRecord, Entry as Recorded, Shown};
use hookyard_core::outcome::{asked_for, judge};
use hookyard_core::port::Request;
use hookyard_core::step::Step;
use hookyard_core::{
    AttemptClass, AttemptResult, Claim, DeadReason, Delivery, Endpoint, Fault, Lane, Outcome, PastAttempt, Policy,
};
use hookyard_operations::DisabledBecause;
use hookyard_telemetry::Metrics;
use hookyard_telemetry::label::{AttemptNumber, Completed, Parked, Pool, Success};
use hookyard_telemetry::traces::Stage;
use hookyard_wire::request::{build, shown};

use crate::dispatcher::Dispatcher;
use crate::step::{Aside, Attempt};

/// How long a delivery waits that did not leave through a fault of ours.
const NOT_SENT_WAIT: Duration = Duration::from_secs(4);

/// A request that is out, as the gauge counts it, also if it ends by a panic.
struct CountedOut<'a>(&'a Metrics, Pool);

impl<'a> CountedOut<'a> {
    fn begin(metrics: &'a Metrics, pool: Pool) -> Self {
        metrics.delivery_inflight.add(pool, 1);
        Self(metrics, pool)
    }
}

impl Drop for CountedOut<'_> {
    fn drop(&mut self) {
        self.0.delivery_inflight.add(self.1, -1);
    }
}

/// A request that may leave.
struct Prepared {
    request: Request,
    shown: Shown,
}

impl Dispatcher {
    /// Makes the attempt.
    pub(crate) async fn attempt(&self, claim: Claim<Delivery>, attempt: Attempt<'_>) -> Result<(), Fault> {
        let Attempt { lane, endpoint, policy, mut ticket } = attempt;
        let seams = &self.seams;
        ticket.has_permit(self.permits.take(lane).await);
        let prepared = self.prepare(&claim.item, &endpoint, &policy)?;
        ticket.leaves(seams.clock.monotonic());
        let counted = CountedOut::begin(&seams.metrics, Pool::of(lane));
        let sent = seams.sender.send(prepared.request).await;
        drop(counted);
        let probe = ticket.ends();
        let result = match sent {
            Ok(result) => result,
            Err(fault) => return self.not_sent(claim, lane, &fault).await,
        };
        seams.tripwire.reached(Step::AttemptSent);
        // The request has left: from here on only `settle` may cause another.
        let now = seams.clock.now();
        // First of all: what a probe found out is not to be lost because something of ours fails.
        let hold_until = Some(asked_for(&result, now)).filter(|until| *until > now);
        let alarm = self.admission.observe(&endpoint, &result, probe, hold_until).await;
        let judgement = judge(&claim.item, &result, &policy, now, seams.entropy.fraction());
        self.count_attempt(&claim.item, &result);
        self.trace_attempt(&claim.item, &result);
        let record = AttemptRecord::new(&claim.item, prepared.shown, result, judgement.outcome);
        let result = record.result.clone();
        seams.journal.record(Arc::from([Recorded::Attempt(record)])).await?;
        seams.tripwire.reached(Step::AttemptRecorded);
        let settled = self.settle(claim, &result, judgement.outcome).await;
        // Not before: what stands between a request and its record may cause another.
        self.heed(&endpoint, alarm).await;
        settled?;
        if judgement.outcome == Outcome::Dead(DeadReason::AttemptsExhausted) {
            self.lose(&endpoint).await;
        }
        if judgement.disable_endpoint {
            let is_gone = result.class == AttemptClass::Http410;
            self.disable(&endpoint, if is_gone { DisabledBecause::Gone } else { DisabledBecause::Asked }).await;
        }
        Ok(())
    }

    /// Puts a delivery aside that did not leave through a fault of ours. Not an attempt; but for ever it does not wait: over plain
    /// HTTP a receiver can pass for a proxy.
    async fn not_sent(&self, claim: Claim<Delivery>, lane: Lane, fault: &Fault) -> Result<(), Fault> {
        tracing::debug!(error = fault.chain(), "a request did not leave");
        if self.is_unavailable(&claim.item) {
            return self.end(claim, Outcome::Dead(DeadReason::EndpointUnavailable)).await;
        }
        let until = self.seams.clock.now().plus(NOT_SENT_WAIT);
        self.put_aside(claim, Aside { until, lane, why: Some(Parked::ProxyAway), keep: Reservation::default() }).await
    }

    /// A delivery was given up because its endpoint did not take it.
    pub(crate) async fn lose(&self, endpoint: &Endpoint) {
        let alarm = self.admission.lose(endpoint.id).await;
        self.heed(endpoint, alarm).await;
    }

    fn prepare(&self, delivery: &Delivery, endpoint: &Endpoint, policy: &Policy) -> Result<Prepared, Fault> {
        let (config, now) = (&self.config, self.seams.clock.now());
        let request = build(delivery, endpoint, policy, config.signature_headers, &config.user_agent, now)?;
        let shown = shown(&request, endpoint);
        Ok(Prepared { request, shown })
    }

    /// Ends a delivery without an attempt.
    pub(crate) async fn end(&self, claim: Claim<Delivery>, outcome: Outcome) -> Result<(), Fault> {
        let (delivery, at) = (&claim.item, self.seams.clock.now());
        let (event_type, number) = (delivery.message.event.event_type.clone(), delivery.attempt);
        let record = EndRecord { delivery: delivery.key(), run: delivery.run, number, event_type, outcome, at };
        self.seams.journal.record(Arc::from([Recorded::End(record)])).await?;
        if let Outcome::Dead(reason) = outcome {
            self.tell_of_the_dead(delivery, reason).await?;
        }
        let delivery = claim.item.clone();
        self.seams.deliveries.settle(claim, outcome).await?;
        self.count_outcome(&delivery, outcome);
        Ok(())
    }

    pub(crate) async fn settle(&self, claim: Claim<Delivery>, result: &AttemptResult, outcome: Outcome) -> Result<(), Fault> {
        if let Outcome::Dead(reason) = outcome {
            self.tell_of_the_dead(&claim.item, reason).await?;
        }
        let made = PastAttempt { class: result.class, status: result.status, at: result.started_at };
        let delivery = claim.item.clone();
        self.seams.deliveries.settle(claim.map(|delivery| delivery.after(made)), outcome).await?;
        // Not before: a settlement that fails is done again from the record, and would be counted again.
        self.count_outcome(&delivery, outcome);
        Ok(())
    }

    fn trace_attempt(&self, delivery: &Delivery, result: &AttemptResult) {
        let parent = delivery.message.event.traceparent.as_deref();
        let mut span = self.seams.traces.begin(Stage::Attempt, parent, result.started_at);
        span.say("message_id", delivery.message.id);
        span.say("endpoint_id", delivery.endpoint);
        span.say("attempt", delivery.attempt);
        span.say("outcome", result.class.as_str());
        let wrong = (result.class != AttemptClass::Success).then_some(result.class.as_str());
        span.end(result.started_at.plus(result.duration), wrong);
    }

    fn count_attempt(&self, delivery: &Delivery, result: &AttemptResult) {
        let metrics = &self.seams.metrics;
        metrics.delivery_attempts_total.inc((result.class, AttemptNumber::of(delivery.attempt)));
        let success = if result.class == AttemptClass::Success { Success::Ok } else { Success::Failed };
        metrics.delivery_attempt_duration_seconds.observe(success, result.duration);
    }

    fn count_outcome(&self, delivery: &Delivery, outcome: Outcome) {
        let metrics = &self.seams.metrics;
        let (message_id, endpoint, attempt) = (delivery.message.id, delivery.endpoint, delivery.attempt);
        // One line per final outcome.
        let completed = match outcome {
            Outcome::Retry { .. } => {
                metrics.delivery_retries_total.inc();
                return;
            }
            Outcome::Delivered => {
                tracing::info!(%message_id, %endpoint, attempt, "delivered");
                Completed::Delivered
            }
            Outcome::Discarded(reason) => {
                tracing::info!(%message_id, %endpoint, attempt, reason = reason.as_str(), "discarded");
                Completed::Discarded
            }
            Outcome::Dead(reason) => {
                metrics.dead_letters_total.inc(reason);
                tracing::info!(%message_id, %endpoint, attempt, reason = reason.as_str(), "dead letter");
                Completed::Dead
            }
        };
        metrics.deliveries_completed_total.inc(completed);
        let age = self.seams.clock.now().since(delivery.message.event.accepted_at);
        metrics.delivery_end_to_end_seconds.observe(completed, age);
    }
}
