//! What the bodies of publishing hold, for the reference.

// Read by nobody: their fields are what the reference shows.
#![expect(dead_code, reason = "descriptions, not values")]

use serde_json::Value;
use utoipa::ToSchema;

/// An event.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"eventType": "user.created", "eventId": "evt-7", "payload": {"id": 7}}))]
pub struct MessageIn {
    /// The kind of event.
    #[schema(pattern = "^[A-Za-z0-9._-]{1,256}$")]
    event_type: String,
    /// The data: any JSON, delivered byte for byte.
    payload: Value,
    /// Your own id for it: a second event with it within a day is refused.
    #[schema(min_length = 1, max_length = 1024)]
    event_id: Option<String>,
    /// Its channels.
    #[schema(max_items = 5)]
    channels: Option<Vec<String>>,
    /// Creates the application the event is published to, if there is none under that uid and the token may.
    application: Option<ApplicationIn>,
    /// Days after which the payload is forgotten, if the deployment keeps it that long.
    #[schema(minimum = 5, maximum = 90)]
    payload_retention_period: Option<u32>,
}

/// An application that comes along with its first event.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"name": "Acme"}))]
pub struct ApplicationIn {
    /// For people.
    name: String,
    /// The uid that is published to.
    uid: Option<String>,
    /// Most deliveries per second to its endpoints; stored, not yet enforced.
    throttle_rate: Option<u16>,
    /// Your own notes, at most 16 KiB.
    metadata: Option<std::collections::BTreeMap<String, String>>,
}

/// Several events.
#[derive(ToSchema)]
#[schema(example = json!({"messages": [{"eventType": "user.created", "payload": {"id": 7}}]}))]
pub struct BatchIn {
    /// The events. Unknown fields are errors here.
    #[schema(max_items = 100)]
    messages: Vec<MessageIn>,
}
