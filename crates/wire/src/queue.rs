//! Messages between our own roles: accepted events, deliveries, spilled journal entries.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use hookyard_core::journal::Entry;
use hookyard_core::{DeadReason, Delivery, Event, Message, MessageId, Submission, Timestamp};
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};

use crate::convert::{
    Unreadable, delivery_from_proto, delivery_of, delivery_without_message, entry_from_proto, entry_to_proto, event_to_proto,
    kept_from_ms, kept_to_ms, message_from_proto, message_to_proto, parts_of_id,
};
use crate::form::submission_of;
use crate::v1;

/// Content type of an accepted event on its way to the router.
pub const ACCEPTED_CONTENT_TYPE: &str = "application/vnd.hookyard.accepted.v1+protobuf";
/// Content type of a delivery.
pub const DELIVERY_CONTENT_TYPE: &str = "application/vnd.hookyard.delivery.v1+protobuf";
/// Content type of deliveries that wait as one.
pub const DELIVERIES_CONTENT_TYPE: &str = "application/vnd.hookyard.deliveries.v1+protobuf";
/// Content type of spilled journal entries.
pub const ENTRIES_CONTENT_TYPE: &str = "application/vnd.hookyard.entries.v1+protobuf";

/// Writes an event that intake has accepted.
pub fn write_accepted(event: &Event) -> Bytes {
    let accepted = v1::AcceptedEvent {
        event: Some(event_to_proto(event)),
        message_id: event.message_id.map(|id| Bytes::copy_from_slice(id.as_bytes())).unwrap_or_default(),
        accepted_at_ms: event.accepted_at.as_millis(),
        data_kept_ms: kept_to_ms(event.data_kept),
    };
    accepted.encode_to_vec().into()
}

/// Reads what [`write_accepted`] wrote.
pub fn read_accepted(body: Bytes) -> Result<Submission, Unreadable> {
    let accepted = v1::AcceptedEvent::decode(body)?;
    let event = accepted.event.ok_or(Unreadable::Field("event"))?;
    let message_id = match &accepted.message_id[..] {
        [] => None,
        bytes => Some(MessageId::from_slice(bytes).ok_or(Unreadable::Field("message_id"))?),
    };
    let accepted_at = Some(Timestamp::from_millis(accepted.accepted_at_ms));
    let data_kept = kept_from_ms(accepted.data_kept_ms);
    let (source, id) = parts_of_id(&event)?;
    let (source, event_id) = (source.map(str::to_owned), Some(id.to_owned()).filter(|id| !id.is_empty()));
    Ok(Submission { source, event_id, message_id, accepted_at, data_kept, ..submission_of(event) })
}

/// Writes the deliveries of one message: the message, which they share, is encoded once.
#[derive(Clone, Debug)]
pub struct DeliveryWriter {
    message: Bytes,
}

impl DeliveryWriter {
    /// For deliveries of this message.
    pub fn new(message: &Message) -> Self {
        let inner = message_to_proto(message);
        let mut bytes = BytesMut::with_capacity(inner.encoded_len() + 12);
        // Field 1 of `Delivery`, length-delimited; fields may stand in any order and the rest follows in `write`.
        encode_key(1, WireType::LengthDelimited, &mut bytes);
        encode_varint(u64::try_from(inner.encoded_len()).unwrap_or(u64::MAX), &mut bytes);
        // A buffer that grows cannot run out of room.
        inner.encode_raw(&mut bytes);
        Self { message: bytes.freeze() }
    }

    /// The message alone, for [`read_message_part`].
    pub fn message(&self) -> &Bytes {
        &self.message
    }

    /// Writes one delivery of this writer's message.
    pub fn write(&self, delivery: &Delivery, dead: Option<DeadReason>) -> Bytes {
        let rest = without_message(delivery, dead);
        let mut bytes = BytesMut::with_capacity(self.message.len() + rest.encoded_len());
        bytes.put_slice(&self.message);
        rest.encode_raw(&mut bytes);
        bytes.freeze()
    }
}

/// Writes everything of a delivery but its message, for a store that keeps that once.
pub fn write_progress(delivery: &Delivery, dead: Option<DeadReason>) -> Vec<u8> {
    without_message(delivery, dead).encode_to_vec()
}

/// Reads what [`DeliveryWriter::message`] holds.
pub fn read_message_part(part: Bytes) -> Result<Message, Unreadable> {
    message_from_proto(v1::Delivery::decode(part)?.message)
}

/// Reads what [`write_progress`] wrote of a delivery of `message`.
pub fn read_progress(message: Arc<Message>, progress: &[u8]) -> Result<(Delivery, Option<DeadReason>), Unreadable> {
    let proto = v1::Delivery::decode(progress)?;
    let dead = DeadReason::from_name(&proto.dead_reason);
    delivery_of(message, proto).map(|delivery| (delivery, dead))
}

fn without_message(delivery: &Delivery, dead: Option<DeadReason>) -> v1::Delivery {
    let dead_reason = dead.map(|reason| reason.as_str().to_owned()).unwrap_or_default();
    v1::Delivery { dead_reason, ..delivery_without_message(delivery) }
}

/// Writes one delivery, alone.
pub fn write_delivery(delivery: &Delivery, dead: Option<DeadReason>) -> Bytes {
    DeliveryWriter::new(&delivery.message).write(delivery, dead)
}

/// Reads a delivery, and its reason if it is a dead letter.
pub fn read_delivery(body: Bytes) -> Result<(Delivery, Option<DeadReason>), Unreadable> {
    let proto = v1::Delivery::decode(body)?;
    let dead = DeadReason::from_name(&proto.dead_reason);
    delivery_from_proto(proto).map(|delivery| (delivery, dead))
}

/// Writes deliveries, each as [`write_delivery`] wrote it, as one.
pub fn write_deliveries(deliveries: Vec<Bytes>) -> Bytes {
    v1::Deliveries { deliveries }.encode_to_vec().into()
}

/// Reads what [`write_deliveries`] wrote, for [`read_delivery`].
pub fn read_deliveries(body: Bytes) -> Result<Vec<Bytes>, Unreadable> {
    Ok(v1::Deliveries::decode(body)?.deliveries)
}

/// Writes journal entries.
pub fn write_entries(entries: &[Entry]) -> Bytes {
    v1::Entries { entries: entries.iter().map(entry_to_proto).collect() }.encode_to_vec().into()
}

/// Reads what [`write_entries`] wrote.
pub fn read_entries(body: Bytes) -> Result<Vec<Entry>, Unreadable> {
    v1::Entries::decode(body)?.entries.into_iter().map(entry_from_proto).collect()
}
