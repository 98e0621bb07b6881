//! Journal records as bytes, for stores that keep them whole.

use bytes::Bytes;
use hookyard_core::journal::{AttemptRecord, MessageRecord};
use hookyard_core::{AppId, DeadLetter, MessageId};
use prost::Message as _;

use crate::convert::{
    Unreadable, attempt_record_from_proto, attempt_record_to_proto, dead_letter_from_proto, dead_letter_to_proto,
    message_record_from_proto, message_record_to_proto,
};
use crate::v1;

/// Writes a message record.
pub fn write_message(record: &MessageRecord) -> Vec<u8> {
    message_record_to_proto(record).encode_to_vec()
}

/// Reads what [`write_message`] wrote.
pub fn read_message(bytes: Bytes) -> Result<MessageRecord, Unreadable> {
    message_record_from_proto(v1::MessageRecord::decode(bytes)?)
}

/// Writes an attempt record.
pub fn write_attempt(record: &AttemptRecord) -> Vec<u8> {
    attempt_record_to_proto(record).encode_to_vec()
}

/// Reads what [`write_attempt`] wrote.
pub fn read_attempt(bytes: Bytes) -> Result<AttemptRecord, Unreadable> {
    attempt_record_from_proto(v1::AttemptRecord::decode(bytes)?)
}

/// Writes an attempt record to a place that says which application and message it is of.
pub fn write_attempt_of(record: &AttemptRecord) -> Vec<u8> {
    v1::AttemptRecord { app: Bytes::new(), message: Bytes::new(), ..attempt_record_to_proto(record) }.encode_to_vec()
}

/// Reads what [`write_attempt_of`] wrote, from the place of this application and message.
pub fn read_attempt_of(app: AppId, message: MessageId, bytes: Bytes) -> Result<AttemptRecord, Unreadable> {
    let (app, message) = (Bytes::copy_from_slice(app.as_bytes()), Bytes::copy_from_slice(message.as_bytes()));
    attempt_record_from_proto(v1::AttemptRecord { app, message, ..v1::AttemptRecord::decode(bytes)? })
}

/// Writes attempts for those who watch, without request headers and responses, and how many more there were.
pub fn write_attempts(records: &[&AttemptRecord], missed: usize) -> Vec<u8> {
    let attempt = |record: &&AttemptRecord| v1::AttemptRecord {
        response: Bytes::new(),
        sent_headers: None,
        ..attempt_record_to_proto(record)
    };
    let missed = u64::try_from(missed).unwrap_or(u64::MAX);
    v1::Activity { attempts: records.iter().map(attempt).collect(), missed }.encode_to_vec()
}

/// Reads what [`write_attempts`] wrote.
pub fn read_attempts(bytes: Bytes) -> Result<(Vec<AttemptRecord>, u64), Unreadable> {
    let activity = v1::Activity::decode(bytes)?;
    let attempts = activity.attempts.into_iter().map(attempt_record_from_proto).collect::<Result<_, _>>()?;
    Ok((attempts, activity.missed))
}

/// Writes a dead letter.
pub fn write_dead_letter(letter: &DeadLetter) -> Vec<u8> {
    dead_letter_to_proto(letter).encode_to_vec()
}

/// Reads what [`write_dead_letter`] wrote.
pub fn read_dead_letter(bytes: &[u8]) -> Result<DeadLetter, Unreadable> {
    dead_letter_from_proto(&v1::DeadLetter::decode(bytes)?)
}
