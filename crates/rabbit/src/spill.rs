//! The journal's spill: a durable queue where entries wait while the journal is away.

use async_trait::async_trait;
use bytes::Bytes;
use hookyard_core::journal::Entry;
use hookyard_core::port::Spill;
use hookyard_core::{Claim, Fault};
use hookyard_telemetry::label::Exchange;
use hookyard_wire::queue::{ENTRIES_CONTENT_TYPE, read_entries, write_entries};

use crate::events::foreign;
use crate::message;
use crate::publish::Outgoing;
use crate::rabbit::{From, Rabbit};
use crate::receipt::Receipt;
use crate::topology::short;

/// Largest message of several entries. RabbitMQ 4 refuses messages over 16 MiB and closes the channel; one entry is far below.
const GROUP_BYTES: usize = 1024 * 1024;

#[async_trait]
impl Spill for Rabbit {
    async fn keep(&self, entries: &[Entry]) -> Result<(), Fault> {
        let session = self.session("spill the journal")?;
        for body in bodies(entries) {
            let outgoing = Outgoing {
                kind: Exchange::Journal,
                exchange: short(&session.names.journal()),
                routing_key: short(""),
                properties: message::properties(ENTRIES_CONTENT_TYPE, "", self.clock.now()),
                body,
            };
            session.returns.publish(outgoing).await?;
        }
        self.metrics.journal_spilled_total.inc_by(u64::try_from(entries.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    async fn drain(&self) -> Result<Claim<Vec<Entry>>, Fault> {
        loop {
            for receipt in self.take(From::Spill, 1).await? {
                match read_entries(receipt.taken.body.clone()) {
                    Ok(entries) => return Ok(Claim::new(entries, receipt.taken.redelivered, receipt)),
                    Err(error) => {
                        tracing::error!(%error, "a spilled journal entry cannot be read; it is quarantined");
                        let session = receipt.live_session("quarantine")?;
                        session.quarantine(&receipt.taken, error.to_string()).await?;
                        receipt.settle("quarantine")?;
                    }
                }
            }
        }
    }

    async fn written(&self, claim: Claim<()>) -> Result<(), Fault> {
        let ((), receipt) = claim.split::<Box<Receipt>>();
        receipt.ok_or_else(foreign)?.settle("let go of spilled entries")
    }
}

/// The messages for these entries: halved until each is small enough.
fn bodies(entries: &[Entry]) -> Vec<Bytes> {
    let body = write_entries(entries);
    if body.len() <= GROUP_BYTES || entries.len() < 2 {
        return vec![body];
    }
    let (first, second) = entries.split_at(entries.len() / 2);
    [bodies(first), bodies(second)].concat()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hookyard_core::journal::MessageRecord;
    use hookyard_core::{Event, Timestamp};
    use hookyard_testkit::StepClock;
    use hookyard_testkit::builders::Builders;

    use super::*;

    #[test]
    fn large_groups_are_split_and_nothing_is_left_out() {
        let make = Builders::new(Arc::new(StepClock::at(Timestamp::from_millis(1))), 1);
        let entry = |bytes: usize| {
            let event = Event { data: Bytes::from(vec![b'x'; bytes]), ..make.event() };
            let message = Arc::new(make.message_of(make.app().id, event));
            Entry::Message(MessageRecord { message, routed_to: None })
        };
        let entries: Vec<Entry> = [400, 300_000, 900_000, 2_000_000, 10, 20].map(entry).into();
        let bodies = bodies(&entries);
        let read: Vec<Vec<Entry>> = bodies.iter().map(|body| read_entries(body.clone()).expect("entries")).collect();
        assert!(bodies.iter().zip(&read).all(|(body, group)| body.len() <= GROUP_BYTES || group.len() == 1));
        assert_eq!(read.concat(), entries);
    }
}
