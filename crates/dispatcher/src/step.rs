//! One delivery, from its claim to its outcome.

use std::sync::Arc;
use std::time::Duration;

use hookyard_core::journal::{AttemptRecord, EndRecord, Entry as Recorded, Shown};
use hookyard_core::outcome::{UNAVAILABLE_AFTER, asked_for, expired_before_sending, judge, wait_for_missing};
use hookyard_core::port::Request;
use hookyard_core::step::Step;
use hookyard_core::{
    AttemptClass, AttemptResult, Claim, DeadReason, Delivery, DiscardReason, Endpoint, Fault, Lane, Outcome, PastAttempt, Policy,
    Timestamp,
};
use hookyard_operations::DisabledBecause;
use hookyard_telemetry::label::{AttemptNumber, Completed, Label as _, Parked, Pool, Success};
use hookyard_telemetry::traces::Stage;
use hookyard_wire::request::{build, shown};

use crate::dispatcher::Dispatcher;
use crate::gatekeeper::{Entry, Inside, Limits, Wait};
use crate::view::Seen;

/// How long a delivery waits that did not leave through a fault of ours.
const NOT_SENT_WAIT: Duration = Duration::from_secs(4);
/// How long a delivery waits whose endpoint nobody can name now.
const UNKNOWN_WAIT: Duration = Duration::from_secs(4);

/// What a claimed delivery finds at the other end.
enum Found {
    /// It ends without an attempt.
    Over(Outcome),
    /// Nobody knows its endpoint now. Not an attempt.
    NotBefore(Timestamp, Parked),
    /// Somebody who wants it.
    Endpoint(Arc<Endpoint>, Policy, Limits),
}

/// A request that may leave.
struct Prepared {
    request: Request,
    shown: Shown,
}

impl Dispatcher {
    /// Sees one delivery to its outcome. On a fault of ours the claim is dropped: the delivery comes again, without an attempt used.
    pub(crate) async fn deliver(&self, claim: Claim<Delivery>, lane: Lane) -> Result<(), Fault> {
        if let Some(at) = claim.item.not_before
            && !self.permits.wait_here(at.since(self.seams.clock.now())).await
        {
            return self.park(claim, at, lane, Parked::NotDue).await;
        }
        let found = self.find(&claim.item).await?;
        // Before the journal is asked about it: most of what comes back for an endpoint that is left alone goes aside again.
        if let Found::Endpoint(_, _, limits) = found
            && !self.is_unavailable(&claim.item)
            && let Some(at) = self.gatekeeper.turn_away(&claim.item, limits).await
        {
            // A slot is the past's, if it had one.
            let claim = claim.map(|delivery| Delivery { has_slot: false, has_app_slot: false, ..delivery });
            return self.park(claim, at, Lane::Slow, Parked::BreakerOpen).await;
        }
        self.go_on(claim, found, lane).await
    }

    /// Sees one delivery to its outcome that is due and was not turned away.
    async fn go_on(&self, mut claim: Claim<Delivery>, found: Found, lane: Lane) -> Result<(), Fault> {
        let seams = &self.seams;
        let (_held, repeated) = self.in_flight.hold(claim.item.attempt_id()).await;
        if let Some(record) = self.recorded(&claim, repeated).await {
            seams.metrics.delivery_repeats_prevented_total.inc();
            return self.settle(claim, &record.result, record.outcome).await;
        }
        match found {
            Found::Over(outcome) => self.end(claim, outcome).await,
            // What nobody can name has no place beside what can be delivered.
            Found::NotBefore(at, why) => self.park(claim, at, Lane::Slow, why).await,
            Found::Endpoint(endpoint, policy, limits) => match self.enter(&mut claim, lane, limits).await {
                Entry::Divert => {
                    seams.metrics.deliveries_diverted_total.inc();
                    seams.deliveries.defer(claim, seams.clock.now(), Lane::Slow).await
                }
                Entry::Park(wait) => self.wait_at_the_gate(claim, &endpoint, lane, wait).await,
                Entry::In(inside) => self.attempt(claim, lane, &endpoint, &policy, inside).await,
            },
        }
    }

    /// Enters by the gate, and waits where it is for a slot that comes soon, if not too many do.
    async fn enter(&self, claim: &mut Claim<Delivery>, lane: Lane, limits: Limits) -> Entry<'_> {
        loop {
            let entry = self.gatekeeper.enter(&claim.item, lane, limits).await;
            let Entry::Park(wait) = entry else { return entry };
            let is_slot = wait.has_slot || wait.has_app_slot;
            if !is_slot || !self.permits.wait_here(wait.at.since(self.seams.clock.now())).await {
                return entry;
            }
            let Wait { at, has_slot, has_app_slot, .. } = wait;
            let delivery = &mut claim.item;
            (delivery.not_before, delivery.has_slot, delivery.has_app_slot) = (Some(at), has_slot, has_app_slot);
        }
    }

    /// Makes the attempt.
    async fn attempt(
        &self,
        claim: Claim<Delivery>,
        lane: Lane,
        endpoint: &Endpoint,
        policy: &Policy,
        mut inside: Inside<'_>,
    ) -> Result<(), Fault> {
        let seams = &self.seams;
        let permit = self.permits.take(lane).await;
        let prepared = self.prepare(&claim.item, endpoint, policy)?;
        inside.leaves();
        seams.metrics.delivery_inflight.add(Pool::of(lane), 1);
        let sent = seams.sender.send(prepared.request).await;
        seams.metrics.delivery_inflight.add(Pool::of(lane), -1);
        drop(permit);
        let is_probe = inside.ends();
        let result = match sent {
            Ok(result) => result,
            Err(fault) => return self.not_sent(claim, lane, is_probe, &fault).await,
        };
        seams.tripwire.reached(Step::AttemptSent);
        // The request has left: from here on only `settle` may cause another.
        let now = seams.clock.now();
        // First of all: what a probe found out is not to be lost because something of ours fails.
        let hold_until = Some(asked_for(&result, now)).filter(|until| *until > now);
        let alarm = self.gatekeeper.observe(claim.item.endpoint, &result, is_probe, hold_until).await;
        let judgement = judge(&claim.item, &result, policy, now, seams.entropy.fraction());
        self.count_attempt(&claim.item, &result);
        self.trace_attempt(&claim.item, &result);
        let record = AttemptRecord::new(&claim.item, prepared.shown, result, judgement.outcome);
        let result = record.result.clone();
        seams.journal.record(Arc::from([Recorded::Attempt(record)])).await?;
        seams.tripwire.reached(Step::AttemptRecorded);
        let settled = self.settle(claim, &result, judgement.outcome).await;
        // Not before: what stands between a request and its record may cause another.
        self.heed(endpoint, alarm).await;
        settled?;
        if judgement.outcome == Outcome::Dead(DeadReason::AttemptsExhausted) {
            self.lose(endpoint).await;
        }
        if judgement.disable_endpoint {
            let is_gone = result.class == AttemptClass::Http410;
            self.disable(endpoint, if is_gone { DisabledBecause::Gone } else { DisabledBecause::Asked }).await;
        }
        Ok(())
    }

    /// Puts a delivery aside that did not leave through a fault of ours. Not an attempt; but for ever it does not wait: over plain
    /// HTTP a receiver can pass for a proxy.
    async fn not_sent(&self, claim: Claim<Delivery>, lane: Lane, is_probe: bool, fault: &Fault) -> Result<(), Fault> {
        tracing::debug!(error = fault.chain(), "a request did not leave");
        if is_probe {
            self.gatekeeper.found_nothing_out(claim.item.endpoint).await;
        }
        if self.is_unavailable(&claim.item) {
            return self.end(claim, Outcome::Dead(DeadReason::EndpointUnavailable)).await;
        }
        let at = self.seams.clock.now().plus(NOT_SENT_WAIT);
        self.park(claim, at, lane, Parked::ProxyAway).await
    }

    /// Puts a delivery aside that its endpoint's gate does not let pass; for ever it does not wait for one that receives nothing.
    async fn wait_at_the_gate(&self, claim: Claim<Delivery>, endpoint: &Endpoint, lane: Lane, wait: Wait) -> Result<(), Fault> {
        let Wait { at, why, has_slot, has_app_slot } = wait;
        let claim = claim.map(|delivery| Delivery { has_slot, has_app_slot, ..delivery });
        if why == Parked::BreakerOpen && self.is_unavailable(&claim.item) {
            self.end(claim, Outcome::Dead(DeadReason::EndpointUnavailable)).await?;
            self.lose(endpoint).await;
            return Ok(());
        }
        let lane = if why == Parked::BreakerOpen { Lane::Slow } else { lane };
        self.park(claim, at, lane, why).await
    }

    /// A delivery was given up because its endpoint did not take it.
    async fn lose(&self, endpoint: &Endpoint) {
        let alarm = self.gatekeeper.lose(endpoint.id).await;
        self.heed(endpoint, alarm).await;
    }

    /// Whether it has waited for its endpoint as long as anything does.
    fn is_unavailable(&self, delivery: &Delivery) -> bool {
        self.seams.clock.now().since(delivery.due) >= UNAVAILABLE_AFTER
    }

    /// The fence: the record of this attempt, if it was already made.
    async fn recorded(&self, claim: &Claim<Delivery>, repeated: bool) -> Option<AttemptRecord> {
        let delivery = &claim.item;
        if !repeated && !delivery.may_be_recorded(claim.redelivered) {
            return None;
        }
        self.seams.journal.recorded(delivery.key(), delivery.attempt_id()).await.unwrap_or_else(|fault| {
            // A duplicate is better than a stop.
            tracing::debug!(error = fault.chain(), "the journal cannot say whether this attempt was made");
            None
        })
    }

    async fn find(&self, delivery: &Delivery) -> Result<Found, Fault> {
        let seams = &self.seams;
        let key = (delivery.message.app, delivery.endpoint);
        let seen = self.view.get(std::iter::once(delivery)).await?.remove(&key).unwrap_or(Seen::Unknown);
        let now = seams.clock.now();
        let (endpoint, active, app_rate, host) = match seen {
            Seen::Known { endpoint, active, app_rate, host } => (endpoint, active, app_rate, host),
            Seen::Deleted => return Ok(Found::Over(Outcome::Discarded(DiscardReason::EndpointDeleted))),
            Seen::Missing(since) => {
                let wait = wait_for_missing(now.since(delivery.due), now.since(since));
                let dead = Found::Over(Outcome::Dead(DeadReason::EndpointUnavailable));
                return Ok(wait.map_or(dead, |wait| Found::NotBefore(now.plus(wait), Parked::EndpointUnknown)));
            }
            Seen::Unknown => return Ok(Found::NotBefore(now.plus(UNKNOWN_WAIT), Parked::EndpointUnknown)),
        };
        if !active {
            return Ok(Found::Over(Outcome::Dead(DeadReason::EndpointInactive)));
        }
        let policy = self.config.policy.of(&endpoint);
        if expired_before_sending(delivery, &policy, now) {
            return Ok(Found::Over(Outcome::Dead(DeadReason::Expired)));
        }
        let interval = |rate: u16| Duration::from_secs(1) / u32::from(rate.max(1));
        let limits = Limits {
            interval: endpoint.throttle_rate.map(interval),
            app_interval: app_rate.map(interval),
            in_flight: endpoint.max_in_flight,
            host,
        };
        Ok(Found::Endpoint(endpoint, policy, limits))
    }

    fn prepare(&self, delivery: &Delivery, endpoint: &Endpoint, policy: &Policy) -> Result<Prepared, Fault> {
        let (config, now) = (&self.config, self.seams.clock.now());
        let request = build(delivery, endpoint, policy, config.signature_headers, &config.user_agent, now)?;
        let shown = shown(&request, endpoint);
        Ok(Prepared { request, shown })
    }

    async fn park(&self, claim: Claim<Delivery>, at: Timestamp, lane: Lane, why: Parked) -> Result<(), Fault> {
        // The hops of one delay count as one park.
        if claim.item.not_before != Some(at) {
            self.seams.metrics.deliveries_parked_total.inc(why);
            let (message_id, endpoint) = (claim.item.message.id, claim.item.endpoint);
            tracing::debug!(%message_id, %endpoint, %at, why = why.value(), "put aside");
        }
        self.seams.deliveries.defer(claim, at, lane).await
    }

    /// Ends a delivery without an attempt.
    async fn end(&self, claim: Claim<Delivery>, outcome: Outcome) -> Result<(), Fault> {
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

    async fn settle(&self, claim: Claim<Delivery>, result: &AttemptResult, outcome: Outcome) -> Result<(), Fault> {
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
