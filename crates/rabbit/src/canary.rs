//! Canaries: messages that go through every delay tier, so that a tier that does not let go of what is in it is noticed.

use hookyard_core::delay::Tier;
use hookyard_core::{Fault, Timestamp};
use hookyard_telemetry::label::Exchange;
use lapin::options::BasicGetOptions;
use lapin::types::{AMQPValue, FieldTable};

use crate::message::properties;
use crate::names::CANARY_KEY;
use crate::publish::Outgoing;
use crate::session::{Rabbit, close};
use crate::topology::short;

/// Header with the exponent of the tier a canary went through.
const TIER_HEADER: &str = "hookyard-tier";
/// Header with the moment it was sent, in ms.
const SENT_HEADER: &str = "hookyard-sent-at";
/// Canaries taken at once: more than a quarter of an hour of all tiers.
const TAKEN_MOST: usize = 256;

impl Rabbit {
    /// Sends a canary into every tier.
    pub async fn send_canaries(&self, now: Timestamp) -> Result<(), Fault> {
        let session = self.session("send canaries")?;
        for tier in Tier::all() {
            let mut headers = FieldTable::default();
            headers.insert(TIER_HEADER.into(), AMQPValue::LongLongInt(i64::try_from(tier.seconds()).unwrap_or(0)));
            headers.insert(SENT_HEADER.into(), AMQPValue::LongLongInt(now.as_millis()));
            let canary = Outgoing {
                kind: Exchange::Delay,
                exchange: short(&self.names.delay(tier)),
                routing_key: short(CANARY_KEY),
                properties: properties("application/octet-stream", "canary", now).with_headers(headers),
                body: bytes::Bytes::new(),
            };
            session.returns.publish(canary).await?;
        }
        Ok(())
    }

    /// Takes what came out: the tier, and when it was sent.
    pub async fn take_canaries(&self) -> Result<Vec<(Tier, Timestamp)>, Fault> {
        const OPERATION: &str = "take canaries";
        let connection = Self::connect_once(&self.config).await?;
        let taken = async {
            let channel = connection.create_channel().await?;
            let mut canaries = Vec::new();
            while canaries.len() < TAKEN_MOST {
                let options = BasicGetOptions { no_ack: true };
                let Some(message) = channel.basic_get(short(&self.names.canary()), options).await? else { break };
                canaries.extend(read(message.properties.headers().as_ref()));
            }
            Ok(canaries)
        };
        let taken = taken.await.map_err(|error: lapin::Error| Fault::unavailable(OPERATION, error));
        close(connection).await;
        taken
    }
}

fn read(headers: Option<&FieldTable>) -> Option<(Tier, Timestamp)> {
    let number = |name: &str| match headers?.inner().get(name) {
        Some(AMQPValue::LongLongInt(number)) => Some(*number),
        _ => None,
    };
    let seconds = u64::try_from(number(TIER_HEADER)?).ok()?;
    let tier = Tier::all().find(|tier| tier.seconds() == seconds)?;
    Some((tier, Timestamp::from_millis(number(SENT_HEADER)?)))
}
