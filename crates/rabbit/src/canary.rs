//! Canaries: messages that go through every delay tier, so that a tier that does not let go of what is in it is noticed. They have a
//! connection of their own: whatever is wrong with a tier, the flow's session does not hear of it from them.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use hookyard_core::delay::Tier;
use hookyard_core::{Fault, FaultKind, Timestamp};
use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Confirmation, Connection};

use crate::connection::{close, connect};
use crate::message::properties;
use crate::names::{CANARY_KEY, Names};
use crate::rabbit::Rabbit;
use crate::topology::short;

/// Header with the seconds of the tier a canary went through.
const TIER_HEADER: &str = "hookyard-tier";
/// Header with the moment it was sent, in ms.
const SENT_HEADER: &str = "hookyard-sent-at";
/// Canaries taken at once: more than a quarter of an hour of all tiers.
const TAKEN_MOST: usize = 256;
/// A tier that confirms nothing for so long took none: that one is not waited for, and the others are.
const CONFIRM_WITHIN: Duration = Duration::from_secs(3);

/// What a look at the canaries saw.
#[derive(Clone, Debug, Default)]
pub struct CanaryRound {
    /// Tiers that took one, if any were sent.
    pub sent: Vec<Tier>,
    /// What came out: the tier, and when it was sent.
    pub came: Vec<(Tier, Timestamp)>,
}

impl Rabbit {
    /// Sends a canary into every tier, if it is time for that, and takes what came out.
    ///
    /// # Errors
    /// When the broker does not answer, or has no queue for them: nothing is sent then.
    pub async fn canaries(&self, send: Option<Timestamp>) -> Result<CanaryRound, Fault> {
        const OPERATION: &str = "send and take canaries";
        let connection = connect(&self.config, "canary").await?;
        let round = round(&connection, &self.names, send).await;
        close(connection).await;
        round.map_err(|error| Fault::caused(FaultKind::Unavailable, OPERATION, error))
    }
}

async fn round(connection: &Connection, names: &Names, now: Option<Timestamp>) -> lapin::Result<CanaryRound> {
    let channel = connection.create_channel().await?;
    // Without the queue they would end among the rejected messages.
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(short(&names.canary()), passive, FieldTable::default()).await?;
    let sent = match now {
        Some(now) => send_all(&channel, names, now).await?,
        None => Vec::new(),
    };
    let mut came = Vec::new();
    while came.len() < TAKEN_MOST {
        let options = BasicGetOptions { no_ack: true };
        let Some(message) = channel.basic_get(short(&names.canary()), options).await? else { break };
        came.extend(read(message.properties.headers().as_ref()));
    }
    Ok(CanaryRound { sent, came })
}

/// The tiers that confirmed theirs.
async fn send_all(channel: &Channel, names: &Names, now: Timestamp) -> lapin::Result<Vec<Tier>> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut confirms = Vec::new();
    for tier in Tier::all() {
        let mut headers = FieldTable::default();
        headers.insert(TIER_HEADER.into(), AMQPValue::LongLongInt(i64::try_from(tier.seconds()).unwrap_or(0)));
        headers.insert(SENT_HEADER.into(), AMQPValue::LongLongInt(now.as_millis()));
        let properties = properties("application/octet-stream", "canary", now).with_headers(headers);
        let (exchange, options) = (names.delay(tier), BasicPublishOptions::default());
        let confirm = channel.basic_publish(short(&exchange), short(CANARY_KEY), options, &Bytes::new(), properties).await?;
        confirms.push(async move {
            let confirmed = tokio::time::timeout(CONFIRM_WITHIN, confirm).await;
            matches!(confirmed, Ok(Ok(Confirmation::Ack(None)))).then_some(tier)
        });
    }
    Ok(join_all(confirms).await.into_iter().flatten().collect())
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
