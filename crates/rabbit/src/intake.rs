//! From a message in the ingest queue to an admitted event, and back into the queue or among the rejected ones.

use std::sync::Arc;

use hookyard_core::claim::failures_of_drop;
use hookyard_core::event::{Admission, admit};
use hookyard_core::{Fault, Intake, Refusal, RefusalReason, Timestamp, limits};
use hookyard_telemetry::label::Exchange;
use hookyard_wire::form::{self, AMQP1_ANNOTATIONS_HEADER, AMQP1_HEADERS, AMQP1_PROPERTIES_HEADER, Given, Published};
use lapin::types::{AMQPValue, ShortString};

use crate::copied::with_headers;
use crate::message::{self, AT_HEADER, DETAIL_HEADER, EXCHANGE_HEADER, FAILURES_HEADER, KEY_HEADER, REASON_HEADER};
use crate::publish::Outgoing;
use crate::receipt::{Hold, Taken};
use crate::session::Session;
use crate::topology::{short, text};
use crate::unreadable::Unreadable;

/// What the guard found of a property or the routing key.
const NO_TEXT: Given = Given::Other("bytes that are not UTF-8");
/// What the guard found of a header.
const TWICE_OR_DEEP: Given = Given::Other("given twice, too large, or too deep to be read");

/// Most bytes of a refusal's detail in a header: with everything else that is added it fits the smallest frame of AMQP, 4 KiB.
const DETAIL_MOST: usize = 500;

/// Reads and admits what was taken from the ingest queue.
pub fn read(taken: &Taken, admission: &Admission, now: Timestamp) -> Intake {
    let properties = &taken.properties;
    let most = admission.max_bytes.saturating_mul(2).saturating_add(64 * 1024);
    // A body far beyond the limit is refused before it is parsed; the form around the data may add some.
    if taken.body.len() > most {
        return Err(Refusal::new(RefusalReason::TooLarge, format!("a body of {} bytes", taken.body.len())));
    }
    let unreadable = Unreadable::of(properties);
    let property = |name: &str, text: Option<&ShortString>| match text {
        Some(text) => Some(Given::Text(text.as_str().to_owned())),
        None => unreadable.has(name).then_some(NO_TEXT),
    };
    let headers = properties.headers().iter().flat_map(|table| table.inner().iter());
    let readable = headers.map(|(name, value)| (name.to_string(), message::given(value)));
    let mut published = Published {
        content_type: property("content_type", properties.content_type().as_ref()),
        content_encoding: property("content_encoding", properties.content_encoding().as_ref()),
        message_id: property("message_id", properties.message_id().as_ref()),
        message_type: property("type", properties.kind().as_ref()),
        timestamp: match properties.timestamp() {
            Some(seconds) => Some(Given::Seconds(*seconds)),
            None => unreadable.has("timestamp").then_some(NO_TEXT),
        },
        headers: readable.chain(unreadable.headers().map(|name| (name.to_owned(), TWICE_OR_DEEP))).collect(),
        has_unreadable_headers: unreadable.has_any_header(),
        routing_key: if unreadable.has("routing_key") { Some(NO_TEXT) } else { Some(Given::Text(taken.routing_key.clone())) },
        body: taken.body.clone(),
    };
    let encoded = |name: &str| message::bytes(properties, name);
    if published.headers.keys().any(|name| name.starts_with(AMQP1_HEADERS)) {
        published.add_amqp1(encoded(AMQP1_PROPERTIES_HEADER), encoded(AMQP1_ANNOTATIONS_HEADER));
    }
    form::read(published, most).and_then(|submission| admit(submission, admission, now))
}

/// The message among the rejected ones: original bytes and properties, with the reason.
pub fn rejected(session: &Session, taken: &Taken, refusal: &Refusal) -> Outgoing {
    let added = vec![
        (REASON_HEADER, text(refusal.reason.as_str())),
        (DETAIL_HEADER, text(message::cut(&refusal.detail, DETAIL_MOST))),
        (AT_HEADER, text(&session.clock.now().to_string())),
        (EXCHANGE_HEADER, text(&taken.exchange)),
        (KEY_HEADER, text(&taken.routing_key)),
    ];
    Outgoing {
        kind: Exchange::Rejected,
        exchange: short(&session.names.rejected()),
        routing_key: message::clipped(&taken.routing_key),
        properties: with_headers(&taken.properties, added, session.header_room),
        body: taken.body.clone(),
    }
}

/// The message back into its queue, at the end. Where it was first published goes with it: its key may be all that tells its type.
pub fn given_back(session: &Session, taken: &Taken, failures: u32) -> Outgoing {
    let added = vec![
        (FAILURES_HEADER, AMQPValue::LongLongInt(i64::from(failures))),
        (EXCHANGE_HEADER, text(&taken.exchange)),
        (KEY_HEADER, text(&taken.routing_key)),
    ];
    Outgoing {
        kind: Exchange::Default,
        exchange: short(""),
        routing_key: short(&taken.queue),
        properties: with_headers(&taken.properties, added, session.header_room),
        body: taken.body.clone(),
    }
}

/// A claim that failed in our hands: back into its queue with its failures counted, or, after too many, among the rejected.
fn after_failure(session: &Session, taken: &Taken, more: u32) -> Outgoing {
    let failures = message::failures(&taken.properties).unwrap_or(0).saturating_add(more);
    if failures >= limits::CRASH_LOOP {
        return rejected(session, taken, &Refusal::crash_loop());
    }
    given_back(session, taken, failures)
}

impl Session {
    /// Gives a dropped claim back, counted, so that what fails for ever ends in quarantine and not in a loop.
    pub(crate) fn return_failed(&self, taken: &Taken, hold: Hold) {
        let more = if *taken.queue == *self.names.ingest() { 1 } else { failures_of_drop() };
        let again = after_failure(self, taken, more);
        let returns = self.returns.clone();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return hold.keep() };
        runtime.spawn(async move {
            if returns.publish(again).await.is_err() {
                hold.keep();
            }
        });
    }

    /// Moves a message that cannot be read to the rejected ones.
    pub(crate) async fn quarantine(self: &Arc<Self>, taken: &Taken, detail: String) -> Result<(), Fault> {
        self.returns.publish(rejected(self, taken, &Refusal::new(RefusalReason::Unreadable, detail))).await
    }
}
