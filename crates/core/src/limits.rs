//! Every limit in one place, each with its reason.

use std::time::Duration;

/// Longest event type: what the compatible API's grammar allows, and an AMQP routing key holds 255 bytes and one more.
pub const EVENT_TYPE_CHARS: usize = 256;
/// Longest channel: the compatible API's grammar.
pub const CHANNEL_CHARS: usize = 128;
/// Longest uid or event id: the compatible API's grammar.
pub const UID_CHARS: usize = 256;

/// Channels on one event: a publisher's header stays below a kilobyte or so for ordinary names.
pub const EVENT_CHANNELS: usize = 32;
/// Tags on an event: as many channels as the compatible API allows, and as many again.
pub const EVENT_TAGS: usize = 10;
/// Bytes of a tag: those of a channel.
pub const TAG_BYTES: usize = 128;
/// Channels on an event published by the compatible HTTP API: its own limit.
pub const HTTP_EVENT_CHANNELS: usize = 5;
/// Channels on one endpoint: the compatible API's limit.
pub const ENDPOINT_CHANNELS: usize = 10;
/// Event types on one endpoint: each adds one index entry per channel, and a longer list wants a wildcard.
pub const ENDPOINT_EVENT_TYPES: usize = 500;
/// Custom headers on one endpoint, and the length of one value: receivers commonly refuse heads above 8 KiB in all.
pub const ENDPOINT_HEADERS: usize = 20;
/// Longest value of one custom header, in bytes.
pub const HEADER_VALUE_BYTES: usize = 1024;
/// Metadata of one application or endpoint, names and values together: every reader of an endpoint reads it too.
pub const METADATA_BYTES: usize = 16 * 1024;
/// Longest endpoint URL: the compatible API's limit is 64 KiB; proxies refuse request lines far below it.
pub const URL_BYTES: usize = 8 * 1024;

/// Largest event by default, in bytes of data: webhooks are notifications; receivers limit bodies, some at 256 KiB.
pub const EVENT_BYTES: usize = 256 * 1024;
/// Largest event that configuration may allow: several copies live in memory during a fan-out.
pub const EVENT_BYTES_MOST: usize = 8 * 1024 * 1024;

/// Messages published in one request.
pub const BATCH_MESSAGES: usize = 100;
/// Largest request of several messages: some of the largest default size, or a hundred of a usual one.
pub const BATCH_BYTES: usize = 16 * 1024 * 1024;

/// An attempt's whole budget by default, response included: the field's usual 15 s.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest attempt an endpoint may ask for: a claim must be held for seconds, not minutes.
pub const ATTEMPT_TIMEOUT_MOST: Duration = Duration::from_secs(30);
/// Shortest attempt an endpoint may ask for: below, a TLS handshake across an ocean fails.
pub const ATTEMPT_TIMEOUT_LEAST: Duration = Duration::from_secs(1);
/// Resolving the host name: part of the budget.
pub const DNS_TIMEOUT: Duration = Duration::from_secs(3);
/// Connecting, TLS included: part of the budget.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Response bytes read before the connection is dropped: enough to reuse connections of ordinary receivers.
pub const RESPONSE_READ_BYTES: usize = 16 * 1024;
/// Response bytes kept for the log.
pub const RESPONSE_KEPT_BYTES: usize = 4 * 1024;

/// Delays after the first attempt by default: three attempts in all.
pub const RETRY_SCHEDULE: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(600)];
/// Most attempts a schedule may hold.
pub const ATTEMPTS_MOST: usize = 20;
/// Longest delay between two attempts.
pub const RETRY_DELAY_MOST: Duration = Duration::from_secs(24 * 3600);
/// Jitter lengthens a delay by at most this part of it, so that one outage's retries do not return as one wave.
pub const RETRY_JITTER: f64 = 0.2;
/// Furthest a receiver's `Retry-After` may push an attempt.
pub const RETRY_AFTER_MOST: Duration = Duration::from_secs(6 * 3600);
/// Attempts remembered in the delivery message itself, so that a dead letter explains itself.
pub const HISTORY_KEPT: usize = 20;

/// How long a rotated secret stays valid by default.
pub const SECRET_GRACE: Duration = Duration::from_secs(24 * 3600);
/// Longest a rotated secret may stay valid.
pub const SECRET_GRACE_MOST: Duration = Duration::from_secs(7 * 24 * 3600);
/// Secrets that sign at once: the current one and ten in their grace, as the compatible API has it. Their signatures take a kilobyte at
/// most, where common receivers read eight of all headers.
pub const SECRETS_LIVE: usize = 11;

/// How long an event id is remembered for duplicates.
pub const MARKER_TTL: Duration = Duration::from_secs(24 * 3600);
/// How long a deleted endpoint's tombstone stays: longer than any delivery can wait.
pub const TOMBSTONE_TTL: Duration = Duration::from_secs(45 * 24 * 3600);
/// How long messages and attempts are kept by default.
pub const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// Event types seen in traffic that wait to be saved: a publisher whose types are data must not fill the catalog.
pub const DISCOVERED_MOST: usize = 5_000;

/// Tasks in a list that goes on over pages: more than are asked for in the week for which they are kept.
pub const TASKS_LISTED: usize = 1_000;

/// Unfinished tasks in a list: a screenful, of which an installation rarely has more than a few.
pub const TASKS_SHOWN: usize = 100;

/// How long a finished task can be asked for.
pub const TASK_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Failures to *handle* one queue message (ours, not the receiver's) before it is quarantined. As many as a store that fails for a moment
/// may cause.
pub const CRASH_LOOP: u32 = 20;
/// So many failures of a delivery is a panic: a defect, which a further try seldom mends. The third one is the last.
pub const PANIC_COUNTS: u32 = 7;
