//! What the dispatcher finds out about an endpoint and others want to know: told, and acted on.

use hookyard_core::admission::Alarm;
use hookyard_core::port::{EndpointRef, Expect, Written};
use hookyard_core::{DeadReason, Delivery, Endpoint, Fault};
use hookyard_operations::{DisabledBecause, Notice};

use crate::dispatcher::Dispatcher;

/// Tries to write an endpoint that somebody else changes at the same time.
const DISABLE_TRIES: usize = 5;

impl Dispatcher {
    /// Acts on what became of an endpoint.
    pub(crate) async fn heed(&self, endpoint: &Endpoint, alarm: Option<Alarm>) {
        let operations = &self.seams.operations;
        match alarm {
            None => {}
            Some(Alarm::Failing) => operations.mention(Notice::EndpointFailing(endpoint)).await,
            Some(Alarm::Recovered) => operations.mention(Notice::EndpointRecovered(endpoint)).await,
            Some(Alarm::Warning { since, disabled_at }) => {
                tracing::warn!(endpoint = %endpoint.id, %since, %disabled_at, "an endpoint takes nothing and will be disabled");
                operations.mention(Notice::EndpointWarned { endpoint, since, disabled_at }).await;
            }
            Some(Alarm::Disable { since }) => self.disable(endpoint, DisabledBecause::NoSuccess(since)).await,
        }
    }

    /// Tells of a delivery that dies now, before it does: who is told twice can see it.
    pub(crate) async fn tell_of_the_dead(&self, delivery: &Delivery, reason: DeadReason) -> Result<(), Fault> {
        self.seams.operations.tell(Notice::DeliveryDeadLettered { delivery, reason }).await
    }

    /// Switches an endpoint off. If that fails, the next occasion comes.
    pub(crate) async fn disable(&self, endpoint: &Endpoint, because: DisabledBecause) {
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
                    tracing::info!(endpoint = %endpoint.id, ?because, "endpoint disabled");
                    self.admission.forget(endpoint.id).await;
                    self.seams.operations.mention(Notice::EndpointDisabled(endpoint, because)).await;
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
