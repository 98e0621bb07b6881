//! One delivery, from its claim to one of its endings.

use std::sync::Arc;
use std::time::Duration;

use hookyard_core::admission::{Deferral, Reason, Reservation};
use hookyard_core::journal::AttemptRecord;
use hookyard_core::outcome::{expired_before_sending, wait_for_missing};
use hookyard_core::{Claim, DeadReason, Delivery, DiscardReason, Endpoint, Fault, Lane, Outcome, Policy, Timestamp};
use hookyard_telemetry::label::{Label as _, Parked};

use crate::admission::{Admitted, Limits};
use crate::dispatcher::Dispatcher;
use crate::in_flight::Held;
use crate::ticket::Ticket;
use crate::view::Seen;

/// How long a delivery waits while the directory cannot say which endpoint it is for.
const UNKNOWN_WAIT: Duration = Duration::from_secs(4);

/// What a claimed delivery finds at the other end.
enum Found {
    /// It ends without an attempt.
    Over(Outcome),
    /// The directory does not know its endpoint now. Not an attempt.
    NotBefore(Timestamp),
    /// An endpoint that wants it.
    Endpoint(Arc<Endpoint>, Policy, Limits),
}

/// What becomes of a claimed delivery now.
enum Ending<'a> {
    /// It ends without an attempt.
    Over(Outcome),
    /// It is given up without an attempt: its endpoint did not take it for too long.
    GivenUp(Arc<Endpoint>),
    /// This attempt was made before, and recorded.
    Made(Box<AttemptRecord>),
    /// It is put aside.
    Later(Aside),
    /// It makes an attempt.
    Attempt(Attempt<'a>),
}

/// How a delivery is put aside.
pub struct Aside {
    pub until: Timestamp,
    pub lane: Lane,
    /// Not there for one that only takes the slow lane.
    pub why: Option<Parked>,
    pub keep: Reservation,
}

/// An attempt that may be made.
pub struct Attempt<'a> {
    pub lane: Lane,
    pub endpoint: Arc<Endpoint>,
    pub policy: Policy,
    pub ticket: Box<Ticket<'a>>,
}

impl Dispatcher {
    /// Sees one delivery to its ending. On a fault of ours the claim is dropped: the delivery comes again, without an attempt used.
    pub(crate) async fn deliver(&self, mut claim: Claim<Delivery>, lane: Lane) -> Result<(), Fault> {
        // No copy of this attempt goes on before it is over with this one.
        let (ending, _held) = self.ending_of(&mut claim, lane).await?;
        match ending {
            Ending::Over(outcome) => self.end(claim, outcome).await,
            Ending::GivenUp(endpoint) => {
                self.end(claim, Outcome::Dead(DeadReason::EndpointUnavailable)).await?;
                self.lose(&endpoint).await;
                Ok(())
            }
            Ending::Made(record) => self.settle(claim, &record.result, record.outcome).await,
            Ending::Later(aside) => self.put_aside(claim, aside).await,
            Ending::Attempt(attempt) => self.attempt(claim, attempt).await,
        }
    }

    async fn ending_of(&self, claim: &mut Claim<Delivery>, lane: Lane) -> Result<(Ending<'_>, Option<Held<'_>>), Fault> {
        if let Some(until) = claim.item.not_before
            && !self.permits.wait_here(claim.item.rest(self.seams.clock.now())).await
        {
            // What is left of it, also if the clock was set back meanwhile.
            let now = self.seams.clock.now();
            let until = until.min(now.plus(claim.item.rest(now)));
            let aside = Aside { until, lane, why: Some(Parked::NotDue), keep: claim.item.reserved };
            return Ok((Ending::Later(aside), None));
        }
        let found = self.find(&claim.item).await?;
        // Before the journal is asked about it: most of what comes back for an endpoint that is left alone goes aside again.
        if let Found::Endpoint(_, _, limits) = found
            && !self.is_unavailable(&claim.item)
            && let Some(deferral) = self.admission.turn_away(&claim.item, limits).await
        {
            return Ok((Ending::Later(Aside::of(deferral, lane)), None));
        }
        let (held, repeated) = self.in_flight.hold(claim.item.attempt_id()).await;
        if let Some(record) = self.recorded(claim, repeated).await {
            self.seams.metrics.delivery_repeats_prevented_total.inc();
            return Ok((Ending::Made(Box::new(record)), Some(held)));
        }
        let ending = match found {
            Found::Over(outcome) => Ending::Over(outcome),
            // What has no known endpoint does not wait among what can be delivered.
            Found::NotBefore(until) => {
                let keep = Reservation::default();
                Ending::Later(Aside { until, lane: Lane::Slow, why: Some(Parked::EndpointUnknown), keep })
            }
            Found::Endpoint(endpoint, policy, limits) => match self.admit(claim, lane, limits).await {
                Admitted::In(ticket) => Ending::Attempt(Attempt { lane, endpoint, policy, ticket }),
                Admitted::Divert => {
                    let until = self.seams.clock.now();
                    Ending::Later(Aside { until, lane: Lane::Slow, why: None, keep: claim.item.reserved })
                }
                Admitted::Defer(deferral) if deferral.reason == Reason::BreakerOpen && self.is_unavailable(&claim.item) => {
                    Ending::GivenUp(endpoint)
                }
                Admitted::Defer(deferral) => Ending::Later(Aside::of(deferral, lane)),
            },
        };
        Ok((ending, Some(held)))
    }

    /// Lets it in, if it may; what has a slot soon waits for it where it is, if not too many do.
    async fn admit(&self, claim: &mut Claim<Delivery>, lane: Lane, limits: Limits) -> Admitted<'_> {
        loop {
            let admitted = self.admission.admit(&claim.item, lane, limits).await;
            let Admitted::Defer(Deferral { until, keep, .. }) = admitted else { return admitted };
            if !keep.is_some() || !self.permits.wait_here(until.since(self.seams.clock.now())).await {
                return admitted;
            }
            (claim.item.not_before, claim.item.reserved) = (Some(until), keep);
        }
    }

    /// Whether it has waited for its endpoint as long as anything does.
    pub(crate) fn is_unavailable(&self, delivery: &Delivery) -> bool {
        self.seams.clock.now().since(delivery.due) >= self.config.unavailable_after
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
                let wait = wait_for_missing(now.since(delivery.due), seams.clock.monotonic().saturating_sub(since));
                let dead = Found::Over(Outcome::Dead(DeadReason::EndpointUnavailable));
                return Ok(wait.map_or(dead, |wait| Found::NotBefore(now.plus(wait))));
            }
            Seen::Unknown => return Ok(Found::NotBefore(now.plus(UNKNOWN_WAIT))),
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

    pub(crate) async fn put_aside(&self, claim: Claim<Delivery>, aside: Aside) -> Result<(), Fault> {
        let Aside { until, lane, why, keep } = aside;
        match why {
            None => self.seams.metrics.deliveries_diverted_total.inc(),
            // The hops of one delay count as one.
            Some(_) if claim.item.not_before == Some(until) => {}
            Some(why) => {
                self.seams.metrics.deliveries_parked_total.inc(why);
                let (message_id, endpoint) = (claim.item.message.id, claim.item.endpoint);
                tracing::debug!(%message_id, %endpoint, %until, why = why.value(), "put aside");
            }
        }
        self.seams.deliveries.defer(claim.map(|delivery| Delivery { reserved: keep, ..delivery }), until, lane).await
    }
}

impl Aside {
    /// As was decided at the gates. What waits for an endpoint that is silent, or may be, does so in the slow lane.
    fn of(deferral: Deferral, lane: Lane) -> Self {
        let Deferral { until, reason, keep } = deferral;
        let lane = if matches!(reason, Reason::BreakerOpen | Reason::InDoubt) { Lane::Slow } else { lane };
        Self { until, lane, why: Some(reason.into()), keep }
    }
}
