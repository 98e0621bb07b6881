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
    /// Words to find it by; they do not change who receives it.
    #[schema(max_items = 10)]
    tags: Option<Vec<String>>,
    /// Creates the application the event is published to, if there is none under that uid and the token may.
    application: Option<ApplicationIn>,
    /// An older name for `payload`.
    data: Option<Value>,
    /// For a payload that is to be sent as it is, whatever it is: `rawPayload`, and its content type in `headers`.
    transformations_params: Option<TransformationsParams>,
    /// Days after which the payload is forgotten, if the deployment keeps it that long.
    #[schema(minimum = 5, maximum = 90)]
    payload_retention_period: Option<u32>,
}

/// How the official clients publish a payload that is to be sent as it is.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"rawPayload": "<order/>", "headers": {"content-type": "text/xml"}}))]
pub struct TransformationsParams {
    /// What is sent, in UTF-8.
    raw_payload: Option<String>,
    /// `content-type`, and nothing else.
    headers: Option<std::collections::BTreeMap<String, String>>,
}

/// An application that comes along with its first event.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"name": "Acme"}))]
pub struct ApplicationIn {
    /// For people.
    name: String,
    /// The uid that is published to.
    uid: Option<String>,
    /// Most deliveries per second to all its endpoints together.
    throttle_rate: Option<u16>,
    /// An older name for `throttleRate`.
    rate_limit: Option<u16>,
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
