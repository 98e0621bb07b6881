//! One delivery, from its claim to its outcome.

use std::sync::Arc;
use std::time::Duration;

use hookyard_core::journal::{AttemptRecord, EndRecord, Entry};
use hookyard_core::outcome::{expired_before_sending, judge};
use hookyard_core::port::{EndpointRef, Expect, Request, Written};
use hookyard_core::step::Step;
use hookyard_core::{
    AttemptClass, AttemptResult, Claim, DeadReason, Delivery, DiscardReason, Endpoint, Fault, Outcome, PastAttempt, Policy,
    Timestamp,
};
use hookyard_telemetry::label::{AttemptNumber, Completed, Parked, Success};
use hookyard_wire::request::{build, shown_url};
use tokio::sync::Semaphore;

use crate::dispatcher::Dispatcher;
use crate::view::Seen;

/// The rest of a delay that is waited for in memory rather than in another tier.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// How long a delivery waits whose endpoint nobody can name now.
const UNKNOWN_WAIT: Duration = Duration::from_secs(4);
/// Tries to write an endpoint that somebody else changes at the same time.
const DISABLE_TRIES: usize = 5;

/// What a claimed delivery is ready for.
enum Ready {
    /// It ends without an attempt.
    Over(Outcome),
    /// Its moment has not come, or nobody knows its endpoint now. Not an attempt.
    NotBefore(Timestamp, Parked),
    /// The fence: this attempt was already made.
    Recorded(Box<AttemptRecord>),
    /// The request may leave.
    Send(Box<Prepared>),
}

struct Prepared {
    request: Request,
    url: String,
    policy: Policy,
    endpoint: Arc<Endpoint>,
}

impl Dispatcher {
    /// Sees one delivery to its outcome. On a fault of ours the claim is dropped: the delivery comes again, without an attempt used.
    pub(crate) async fn deliver(&self, claim: Claim<Delivery>, permits: &Semaphore) -> Result<(), Fault> {
        let seams = &self.seams;
        if let Some(at) = claim.item.not_before {
            let rest = at.since(seams.clock.now());
            if rest > LAST_WAIT {
                return self.park(claim, at, Parked::NotDue).await;
            }
            tokio::time::sleep(rest).await;
        }
        let (_held, repeated) = self.in_flight.hold(claim.item.attempt_id()).await;
        // The semaphore is never closed.
        let Ok(_permit) = permits.acquire().await else { return Ok(()) };
        match self.prepare(&claim, repeated).await? {
            Ready::Over(outcome) => self.end(claim, outcome).await,
            Ready::NotBefore(at, why) => self.park(claim, at, why).await,
            Ready::Recorded(record) => {
                seams.metrics.delivery_repeats_prevented_total.inc();
                self.settle(claim, &record.result, record.outcome).await
            }
            Ready::Send(prepared) => {
                seams.metrics.delivery_inflight.inc();
                let result = seams.sender.send(prepared.request).await;
                seams.metrics.delivery_inflight.dec();
                seams.tripwire.reached(Step::AttemptSent);
                // The request has left: from here on only `settle` may cause another.
                let judgement = judge(&claim.item, &result, &prepared.policy, seams.clock.now(), seams.entropy.fraction());
                self.count_attempt(&claim.item, &result);
                let record = AttemptRecord::new(&claim.item, prepared.url, result, judgement.outcome);
                let result = record.result.clone();
                seams.journal.record(Arc::from([Entry::Attempt(record)])).await?;
                seams.tripwire.reached(Step::AttemptRecorded);
                self.settle(claim, &result, judgement.outcome).await?;
                if judgement.disable_endpoint {
                    self.disable(&prepared.endpoint).await;
                }
                Ok(())
            }
        }
    }

    async fn prepare(&self, claim: &Claim<Delivery>, repeated: bool) -> Result<Ready, Fault> {
        let (seams, delivery) = (&self.seams, &claim.item);
        if repeated || delivery.may_be_recorded(claim.redelivered) {
            match seams.journal.recorded(delivery.key(), delivery.attempt_id()).await {
                Ok(Some(record)) => return Ok(Ready::Recorded(Box::new(record))),
                Ok(None) => {}
                // A duplicate is better than a stop.
                Err(fault) => tracing::debug!(error = fault.chain(), "the journal cannot say whether this attempt was made"),
            }
        }
        let key = (delivery.message.app, delivery.endpoint);
        let seen = self.view.get(std::iter::once(key)).await?.remove(&key).unwrap_or(Seen::Unknown);
        let now = seams.clock.now();
        let (endpoint, active) = match seen {
            Seen::Known { endpoint, active } => (endpoint, active),
            Seen::Deleted => return Ok(Ready::Over(Outcome::Discarded(DiscardReason::EndpointDeleted))),
            Seen::Unknown => return Ok(Ready::NotBefore(now.plus(UNKNOWN_WAIT), Parked::EndpointUnknown)),
        };
        if !active {
            return Ok(Ready::Over(Outcome::Dead(DeadReason::EndpointInactive)));
        }
        let policy = self.config.policy.of(&endpoint);
        if expired_before_sending(delivery, &policy, now) {
            return Ok(Ready::Over(Outcome::Dead(DeadReason::Expired)));
        }
        let request = build(delivery, &endpoint, &policy, self.config.signature_headers, &self.config.user_agent, now)?;
        let url = shown_url(&request.url);
        Ok(Ready::Send(Box::new(Prepared { request, url, policy, endpoint })))
    }

    async fn park(&self, claim: Claim<Delivery>, at: Timestamp, why: Parked) -> Result<(), Fault> {
        // The hops of one delay count as one park.
        if claim.item.not_before != Some(at) {
            self.seams.metrics.deliveries_parked_total.inc(why);
        }
        self.seams.deliveries.defer(claim, at).await
    }

    /// Ends a delivery without an attempt.
    async fn end(&self, claim: Claim<Delivery>, outcome: Outcome) -> Result<(), Fault> {
        let (delivery, at) = (&claim.item, self.seams.clock.now());
        let (event_type, number) = (delivery.message.event.event_type.clone(), delivery.attempt);
        let record = EndRecord { delivery: delivery.key(), run: delivery.run, number, event_type, outcome, at };
        self.seams.journal.record(Arc::from([Entry::End(record)])).await?;
        let delivery = claim.item.clone();
        self.seams.deliveries.settle(claim, outcome).await?;
        self.count_outcome(&delivery, outcome);
        Ok(())
    }

    async fn settle(&self, claim: Claim<Delivery>, result: &AttemptResult, outcome: Outcome) -> Result<(), Fault> {
        let made = PastAttempt { class: result.class, status: result.status, at: result.started_at };
        let delivery = claim.item.clone();
        self.seams.deliveries.settle(claim.map(|delivery| delivery.after(made)), outcome).await?;
        // Not before: a settlement that fails is done again from the record, and would be counted again.
        self.count_outcome(&delivery, outcome);
        Ok(())
    }

    fn count_attempt(&self, delivery: &Delivery, result: &AttemptResult) {
        let metrics = &self.seams.metrics;
        metrics.delivery_attempts_total.inc((result.class, AttemptNumber::of(delivery.attempt)));
        let success = if result.class == AttemptClass::Success { Success::Ok } else { Success::Failed };
        metrics.delivery_attempt_duration_seconds.observe(success, result.duration);
    }

    fn count_outcome(&self, delivery: &Delivery, outcome: Outcome) {
        let metrics = &self.seams.metrics;
        let completed = match outcome {
            Outcome::Retry { .. } => {
                metrics.delivery_retries_total.inc();
                return;
            }
            Outcome::Delivered => Completed::Delivered,
            Outcome::Discarded(_) => Completed::Discarded,
            Outcome::Dead(reason) => {
                metrics.dead_letters_total.inc(reason);
                tracing::info!(message = %delivery.message.id, endpoint = %delivery.endpoint, reason = reason.as_str(), "dead letter");
                Completed::Dead
            }
        };
        metrics.deliveries_completed_total.inc(completed);
        let age = self.seams.clock.now().since(delivery.message.event.accepted_at);
        metrics.delivery_end_to_end_seconds.observe(completed, age);
        tracing::debug!(message = %delivery.message.id, endpoint = %delivery.endpoint, ?outcome, "delivery ended");
    }

    /// Switches an endpoint off because its receiver asked for it. If that fails, the next answer asks again.
    async fn disable(&self, endpoint: &Endpoint) {
        let directory = &self.seams.directory;
        for _ in 0..DISABLE_TRIES {
            let current = directory.endpoint(endpoint.app, &EndpointRef::Id(endpoint.id)).await;
            let written = match current {
                Ok(Some(current)) if !current.disabled => {
                    let changed = Endpoint { disabled: true, updated_at: self.seams.clock.now(), ..current.clone() };
                    directory.put_endpoint(&changed, Expect::Revision(current.revision)).await
                }
                Ok(_) => return,
                Err(fault) => Err(fault),
            };
            match written {
                Ok(Written::Conflict) => {}
                Ok(_) => {
                    tracing::info!(endpoint = %endpoint.id, "endpoint disabled at its receiver's request");
                    return;
                }
                Err(fault) => {
                    tracing::warn!(endpoint = %endpoint.id, error = fault.chain(), "an endpoint could not be disabled");
                    return;
                }
            }
        }
    }
}
