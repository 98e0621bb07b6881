//! The journal's spill: a durable queue where entries wait while the journal is away.

use async_trait::async_trait;
use hookyard_core::journal::Entry;
use hookyard_core::port::Spill;
use hookyard_core::{Claim, Fault};
use hookyard_telemetry::label::Exchange;
use hookyard_wire::queue::{ENTRIES_CONTENT_TYPE, read_entries, write_entries};

use crate::events::foreign;
use crate::message;
use crate::publish::Outgoing;
use crate::receipt::Receipt;
use crate::session::{From, Rabbit};
use crate::topology::short;

#[async_trait]
impl Spill for Rabbit {
    async fn keep(&self, entries: &[Entry]) -> Result<(), Fault> {
        let session = self.session("spill the journal")?;
        let outgoing = Outgoing {
            kind: Exchange::Journal,
            exchange: short(&session.names.journal()),
            routing_key: short(""),
            properties: message::properties(ENTRIES_CONTENT_TYPE, "", self.clock.now()),
            body: write_entries(entries),
        };
        session.returns.publish(outgoing).await?;
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
