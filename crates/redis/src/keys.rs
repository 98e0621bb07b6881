//! Every key, with its type, lifetime and meaning. Keys of one application share a hash tag, so that a Redis Cluster keeps them
//! together.

use hookyard_core::event::EventId;
use hookyard_core::{AppId, EndpointId, MessageId, Timestamp};
use ring::digest;

/// Hash, no TTL. The sentinel and what the whole installation shares: `dataset`, `epoch`, `schema`, `fast_shards`, `slow_shards`,
/// `names` (moves with every change of an application's uid), `catalog` (moves with every change of it), `seal_check`.
pub const META: &str = "hookyard:meta";

/// Sorted set by text, no TTL. The ids of all applications.
pub const APPS: &str = "hookyard:apps";

/// Hash, no TTL. Application uid → id.
pub const UIDS: &str = "hookyard:uids";

/// Sorted set by moment in ms, no TTL, trimmed to 30 days and 10,000. Applications of which the store was found to know less than before.
pub const REGRESSIONS: &str = "hookyard:regressions";

/// Hash, no TTL. Event type → its entry in the catalog.
pub const CATALOG: &str = "hookyard:catalog";

/// Sorted set by text, no TTL. The names in [`CATALOG`].
pub const CATALOG_NAMES: &str = "hookyard:catalog:names";

/// Set, no TTL. The names in [`CATALOG`] that were only seen in traffic.
pub const CATALOG_DISCOVERED: &str = "hookyard:catalog:discovered";

/// String, minutes to hours. The answer to a request that may be repeated; empty while the first of them is at work.
pub fn answer(key: [u8; 16]) -> Vec<u8> {
    [&b"hookyard:answer:"[..], &key].concat()
}

/// Sorted set by moment of expiry in ms, no TTL, trimmed. Ids of revoked tokens.
pub const REVOKED: &str = "hookyard:revoked";

/// String, seconds. The process that has the lease of this name.
pub fn lease(name: &str) -> String {
    format!("hookyard:lease:{name}")
}

/// Hash, no TTL, trimmed. Task id → its record.
pub const TASKS: &str = "hookyard:tasks";

/// Sorted set by end of lease in ms, no TTL. Ids of unfinished tasks.
pub const TASKS_UNFINISHED: &str = "hookyard:tasks:unfinished";

/// Sorted set by moment in ms, no TTL, trimmed. Ids of finished tasks.
pub const TASKS_FINISHED: &str = "hookyard:tasks:finished";

/// Hash, no TTL, trimmed. 20 bytes of endpoint id → its gate, of endpoints that are not ordinary.
pub const GATES: &str = "hookyard:{gates}";

/// Sorted set by count of changes, no TTL, trimmed. Ids of the gates that changed last.
pub const GATES_CHANGED: &str = "hookyard:{gates}:changed";

/// Hash, no TTL, trimmed. Process id → what it tells of itself.
pub const FLEET: &str = "hookyard:fleet";

/// Sorted set by moment in ms, no TTL, trimmed. 20 bytes of application id and 20 of message id, of messages whose data is to be
/// forgotten then.
pub const DATA_KEPT: &str = "hookyard:data_kept";

/// Channel of pub/sub. Attempts as they are written down, while somebody listens.
pub const ACTIVITY: &str = "hookyard:activity";

/// Hash, no TTL. Everything one application owns: `v` its version, `app` its record, `rev` that record's revision, `uid`, `d` when
/// it was deleted, `floor` (the version from which [`changes`] is complete), `e:<endpoint id>` endpoints and tombstones,
/// `u:<uid>` endpoint uid → id.
pub fn directory(app: AppId) -> String {
    format!("hookyard:{{{app}}}:directory")
}

/// Field of [`directory`] that holds an endpoint.
pub fn endpoint_field(endpoint: EndpointId) -> String {
    format!("e:{endpoint}")
}

/// Sorted set by text, no TTL. The ids of an application's endpoints.
pub fn endpoints(app: AppId) -> String {
    format!("hookyard:{{{app}}}:endpoints")
}

/// Sorted set by version counter, no TTL, trimmed. Endpoint ids by their last change.
pub fn changes(app: AppId) -> String {
    format!("hookyard:{{{app}}}:changes")
}

/// Sorted set by version counter, no TTL, trimmed. The last versions of what an application owns, each `<counter>.<random>`.
pub fn history(app: AppId) -> String {
    format!("hookyard:{{{app}}}:history")
}

/// Sorted set by moment of deletion in ms, no TTL, trimmed. Endpoints of which a tombstone stands in [`directory`].
pub fn tombstones(app: AppId) -> String {
    format!("hookyard:{{{app}}}:tombstones")
}

/// String, 24 h. What became of an event id: a state byte, 16 bytes of content hash, 20 of message id.
pub fn marker(app: AppId, event: &EventId) -> Vec<u8> {
    let hash = digest::digest(&digest::SHA256, event.as_str().as_bytes());
    let mut key = format!("hookyard:{{{app}}}:marker:").into_bytes();
    key.extend_from_slice(&hash.as_ref()[..16]);
    key
}

/// Hash, the retention from its last terminal state on. One message: `m` its record, `n` deliveries routed, `t` of them ended,
/// `d` of them dead, `a` + 20 bytes: an attempt, `s` + 20 bytes: a delivery's state, `l` + 20 bytes: its entry in [`dead_letters`],
/// `x`: its data was made forgotten.
pub fn message(app: AppId, message: MessageId) -> Vec<u8> {
    let mut key = format!("hookyard:{{{app}}}:msg:").into_bytes();
    key.extend_from_slice(message.as_bytes());
    key
}

/// Sorted set by bytes, per day. 20 bytes of message id, and its summary.
pub fn messages(app: AppId, day: i64) -> String {
    format!("hookyard:{{{app}}}:messages:{day}")
}

/// Sorted set by bytes, per day. Every attempt of an application: 20 bytes of attempt id, 20 of message id, and its
/// summary.
pub fn attempts(app: AppId, day: i64) -> String {
    format!("hookyard:{{{app}}}:attempts:{day}")
}

/// Sorted set by bytes, per day. Attempts to one endpoint: 20 bytes of attempt id, 20 of message id, and its
/// summary.
pub fn attempts_to(app: AppId, endpoint: EndpointId, day: i64) -> String {
    format!("hookyard:{{{app}}}:attempts:{endpoint}:{day}")
}

/// Hash, per hour counted from 1970. What happened in an application: `<minute>:<code>` → how often; see
/// [`hookyard_core::stats::Counted`].
pub fn stats(app: AppId, hour: i64) -> String {
    format!("hookyard:{{{app}}}:stats:{hour}")
}

/// Sorted set by bytes, no TTL. An application's dead letters: 20 bytes of id, then the record.
pub fn dead_letters(app: AppId) -> String {
    format!("hookyard:{{{app}}}:dead")
}

/// Hash, per day of acceptance. `<hour of day>:<standing>` → deliveries to an endpoint that stand so.
pub fn standings(app: AppId, endpoint: EndpointId, day: i64) -> String {
    format!("hookyard:{{{app}}}:standings:{endpoint}:{day}")
}

/// Hash, per day of acceptance. `<hour of day>:<event type>` → events of an application that were routed.
pub fn volumes(app: AppId, day: i64) -> String {
    format!("hookyard:{{{app}}}:volumes:{day}")
}

/// The bucket of a list that holds items of this moment.
pub fn day_of(moment: Timestamp) -> i64 {
    moment.as_millis().div_euclid(24 * 3600 * 1000)
}
