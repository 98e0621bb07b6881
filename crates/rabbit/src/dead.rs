//! Sweeping the queue of dead letters. What is kept is published again before it is acked: it goes to the end, and the next look begins
//! with what this one did not see.

use async_trait::async_trait;
use bytes::Bytes;
use hookyard_core::port::{DeadJudge, DeadLetterQueue, Swept};
use hookyard_core::{Fault, FaultKind, Timestamp};
use hookyard_telemetry::label::Exchange;
use hookyard_wire::queue::read_delivery;
use lapin::message::Delivery as Taken;

use crate::copied::with_headers;
use crate::look::Look;
use crate::publish::Outgoing;
use crate::rabbit::Rabbit;
use crate::topology::short;

const OPERATION: &str = "sweep the dead letters";

#[async_trait]
impl DeadLetterQueue for Rabbit {
    async fn sweep(&self, most: usize, judge: &dyn DeadJudge) -> Result<Swept, Fault> {
        let _one_at_a_time = self.looking.lock().await;
        let mut look = Look::open(self, self.names.dead(), OPERATION).await?;
        let waiting = usize::try_from(look.ready).unwrap_or(usize::MAX);
        let mut swept = Swept { waiting, ..Swept::default() };
        let done = self.sweep_some(&mut look, most, judge, &mut swept).await;
        // Kept ones were put back by then.
        look.close(swept.removed).await;
        done.map(|()| swept)
    }
}

impl Rabbit {
    async fn sweep_some(&self, look: &mut Look, most: usize, judge: &dyn DeadJudge, swept: &mut Swept) -> Result<(), Fault> {
        let session = self.session(OPERATION)?;
        let (mut dead, mut gone) = (Vec::new(), Vec::new());
        // All are judged before anything is done.
        while dead.len() + gone.len() < most {
            let Some(taken) = look.next(OPERATION).await? else { break };
            if is_dead(&taken, judge).await? {
                dead.push(taken);
            } else {
                gone.push(taken.delivery_tag);
            }
        }
        swept.examined = dead.len() + gone.len();
        for tag in gone {
            look.ack(OPERATION, tag).await?;
            swept.removed += 1;
        }
        let mut kept = Vec::with_capacity(dead.len());
        for taken in dead {
            kept.push((taken.delivery_tag, session.returns.begin(self.kept(taken, session.header_room)).await?));
        }
        for (tag, confirm) in kept {
            confirm.confirmed().await?;
            look.ack(OPERATION, tag).await?;
        }
        Ok(())
    }

    fn kept(&self, taken: Taken, room: usize) -> Outgoing {
        Outgoing {
            kind: Exchange::Dead,
            exchange: short(&self.names.dead()),
            routing_key: taken.routing_key,
            properties: with_headers(&taken.properties, Vec::new(), room),
            body: Bytes::from(taken.data),
        }
    }
}

/// What cannot be read stays, for somebody to look at.
async fn is_dead(taken: &Taken, judge: &dyn DeadJudge) -> Result<bool, Fault> {
    let seconds = taken.properties.timestamp().and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or_default();
    let at = Timestamp::from_millis(seconds.saturating_mul(1_000));
    match read_delivery(Bytes::from(taken.data.clone())) {
        Ok((delivery, Some(reason))) => match judge.is_dead(&delivery, reason, at).await {
            // One of which something else cannot be read does not stop the others.
            Err(fault) if fault.kind == FaultKind::Corrupt => {
                tracing::warn!(error = fault.chain(), "nobody can say whether a dead letter is dead");
                Ok(true)
            }
            judged => judged,
        },
        Ok((_, None)) => Ok(true),
        Err(error) => {
            tracing::warn!(%error, "a dead letter cannot be read");
            Ok(true)
        }
    }
}
