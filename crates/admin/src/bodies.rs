//! What the bodies of requests may hold, for the reference. They are read field by field, with [`crate::fields::Fields`]; a test
//! holds what is read against what is said here.

// Read by nobody: their fields are what the reference shows.
#![expect(dead_code, reason = "descriptions, not values")]

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;

/// An application.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"name": "Acme", "uid": "acme"}))]
pub struct AppIn {
    /// For people.
    #[schema(min_length = 1, max_length = 1024)]
    name: String,
    /// Your own name for it, unique.
    #[schema(pattern = "^[A-Za-z0-9._-]{1,256}$")]
    uid: Option<String>,
    /// Most deliveries per second to all its endpoints together, over all processes; a second's worth at once.
    #[schema(minimum = 1)]
    throttle_rate: Option<u16>,
    /// An older name for `throttleRate`.
    #[schema(minimum = 1)]
    rate_limit: Option<u16>,
    /// Your own notes, at most 16 KiB.
    metadata: Option<BTreeMap<String, String>>,
    /// Webhooks are switched off for the whole application.
    disabled: Option<bool>,
}

/// What to change of an application.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"disabled": true}))]
pub struct AppPatch {
    /// For people.
    #[schema(min_length = 1, max_length = 1024)]
    name: Option<String>,
    /// Your own name for it, unique.
    #[schema(pattern = "^[A-Za-z0-9._-]{1,256}$")]
    uid: Option<String>,
    /// Most deliveries per second to all its endpoints together, over all processes; a second's worth at once.
    #[schema(minimum = 1)]
    throttle_rate: Option<u16>,
    /// An older name for `throttleRate`.
    #[schema(minimum = 1)]
    rate_limit: Option<u16>,
    /// Your own notes, at most 16 KiB.
    metadata: Option<BTreeMap<String, String>>,
    /// Webhooks are switched off for the whole application.
    disabled: Option<bool>,
}

macro_rules! endpoint_bodies {
    ($($(#[$doc:meta])* $name:ident { url: $url:ty, $($(#[$more_doc:meta])* $more:ident: $kind:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(ToSchema)]
        #[schema(rename_all = "camelCase", example = json!({
            "url": "https://example.com/hooks", "name": "Orders", "eventTypes": ["order.*"], "channels": ["client_42"]
        }))]
        pub struct $name {
            /// Where to POST: http or https, and no private address.
            #[schema(max_length = 2048)]
            url: $url,
            /// Your own name for it, unique in the application.
            #[schema(pattern = "^[A-Za-z0-9._-]{1,256}$")]
            uid: Option<String>,
            /// For people.
            #[schema(max_length = 8192)]
            name: Option<String>,
            /// For people.
            #[schema(max_length = 8192)]
            description: Option<String>,
            /// Event types it wants, `user.*` for all that begin so; left out, it gets all.
            #[schema(min_items = 1)]
            event_types: Option<Vec<String>>,
            /// An older name for `eventTypes`.
            #[schema(min_items = 1)]
            filter_types: Option<Vec<String>>,
            /// Channels it is narrowed to; left out, it gets everything.
            #[schema(min_items = 1, max_items = 10)]
            channels: Option<Vec<String>>,
            /// Switched off.
            disabled: Option<bool>,
            /// Your own notes, at most 16 KiB.
            metadata: Option<BTreeMap<String, String>>,
            /// Most deliveries per second, over all processes; a second's worth at once.
            #[schema(minimum = 1)]
            throttle_rate: Option<u16>,
            /// An older name for `throttleRate`.
            #[schema(minimum = 1)]
            rate_limit: Option<u16>,
            /// Request headers of your own; shown again by name only where they look like secrets.
            headers: Option<BTreeMap<String, String>>,
            /// The header the receiver knows us by.
            api_key: Option<ApiKeyIn>,
            /// How bodies are written; the deployment's default unless given.
            #[schema(value_type = Option<String>, pattern = "^(payload|envelope|standard|cloudevents)$")]
            body_format: Option<String>,
            /// Seconds between attempts; one attempt more than its length is made. At most seven days in all.
            #[schema(max_items = 19)]
            retry_schedule: Option<Vec<u32>>,
            /// An attempt's whole budget.
            #[schema(minimum = 1000, maximum = 30000)]
            timeout_ms: Option<u32>,
            /// Most requests at once, shared evenly by the dispatchers; each has at least one.
            #[schema(minimum = 1)]
            max_in_flight: Option<u16>,
            /// From which share of attempts without any answer, in hundredths, it is left alone for a while: 75 to 100, or 0 for never.
            #[schema(minimum = 0, maximum = 100)]
            breaker_percent: Option<u8>,
            /// Deliveries older than so many seconds are dead.
            #[schema(minimum = 1, maximum = 2592000)]
            max_age: Option<u32>,
            $($(#[$more_doc])* $more: $kind,)*
        }
    )*};
}

endpoint_bodies! {
    /// An endpoint.
    EndpointIn {
        url: String,
        /// What to sign with: `whsec_…` or `whsk_…`; made if left out.
        secret: Option<String>,
        /// The kind of secret to make: `hmac256` or `ed25519`.
        #[schema(pattern = "^(hmac256|ed25519)$")]
        signature: Option<String>,
    }
    /// An endpoint, replaced. Its secret changes by rotation only.
    EndpointUpdate {
        url: String,
    }
    /// What to change of an endpoint.
    EndpointPatch {
        url: Option<String>,
    }
    /// An endpoint to be tested before it is saved.
    UnsavedTestIn {
        url: String,
        /// What to sign with: `whsec_…` or `whsk_…`; made if left out.
        secret: Option<String>,
        /// The kind of secret to make: `hmac256` or `ed25519`.
        #[schema(pattern = "^(hmac256|ed25519)$")]
        signature: Option<String>,
        /// The event type whose sample is sent.
        test_event_type: Option<String>,
    }
    /// What to test with: changes of the endpoint to be tried before they are saved, all of them optional.
    TestIn {
        url: Option<String>,
        /// The event type whose sample is sent.
        test_event_type: Option<String>,
    }
}

/// A header the receiver knows us by.
#[derive(ToSchema)]
#[schema(example = json!({"header": "x-api-key", "value": "a secret"}))]
pub struct ApiKeyIn {
    /// Its name.
    header: String,
    /// Its value; `****` keeps the one that is stored.
    value: String,
}

/// Headers, all of them.
#[derive(ToSchema)]
#[schema(example = json!({"headers": {"x-tenant": "acme"}}))]
pub struct HeadersIn {
    /// By name.
    headers: BTreeMap<String, String>,
}

/// Headers to change.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"headers": {"x-tenant": null}}))]
pub struct HeadersPatch {
    /// By name; null removes one.
    headers: BTreeMap<String, Option<String>>,
    /// Names of more to remove, as newer official clients say it.
    delete_headers: Option<Vec<String>>,
}

/// How to rotate a secret.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"gracePeriodSeconds": 3600}))]
pub struct RotateIn {
    /// The new secret; made if left out.
    key: Option<String>,
    /// How long the old one is good beside it; a day unless given.
    #[schema(maximum = 604_800)]
    grace_period_seconds: Option<u32>,
}

/// Of messages accepted when.
#[derive(ToSchema)]
#[schema(example = json!({"since": "2026-01-31T12:00:00Z"}))]
pub struct RecoverIn {
    /// From then on.
    #[schema(format = DateTime)]
    since: String,
    /// Until then; until now unless given.
    #[schema(format = DateTime)]
    until: Option<String>,
}

/// What to send as an example.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"eventType": "user.created"}))]
pub struct ExampleIn {
    /// The event type whose sample is sent.
    event_type: String,
    /// Which of the examples in its newest schema is sent instead, from 0.
    example_index: Option<u16>,
    /// What is sent instead, byte for byte.
    payload: Option<Value>,
}

macro_rules! event_type_bodies {
    ($($(#[$doc:meta])* $name:ident ($example:expr) { description: $description:ty, $($(#[$more_doc:meta])* $more:ident: $kind:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(ToSchema)]
        #[schema(rename_all = "camelCase", example = $example)]
        pub struct $name {
            /// For people.
            #[schema(max_length = 8192)]
            description: $description,
            /// Currently unavailable: not to be published over HTTP any more.
            archived: Option<bool>,
            /// Still there, and better not used.
            deprecated: Option<bool>,
            /// Your own switch; kept and shown, not judged.
            #[schema(min_length = 1, max_length = 256)]
            feature_flag: Option<String>,
            /// JSON Schemas by version.
            schemas: Option<BTreeMap<String, Value>>,
            /// What it is listed under.
            #[schema(min_length = 1, max_length = 8192)]
            group_name: Option<String>,
            /// A payload as an example.
            sample: Option<Value>,
            /// What happens to data that does not fit the newest schema: `off`, `warn` or `reject`.
            #[schema(pattern = "^(off|warn|reject)$")]
            validation: Option<String>,
            $($(#[$more_doc])* $more: $kind,)*
        }
    )*};
}

event_type_bodies! {
    /// An event type.
    EventTypeIn (json!({"name": "user.created", "description": "Somebody signed up", "groupName": "Users", "sample": {"id": 7}})) {
        description: String,
        /// Its name.
        #[schema(pattern = "^[A-Za-z0-9._-]{1,256}$")]
        name: String,
    }
    /// An event type, replaced.
    EventTypeUpdate (json!({"description": "Somebody signed up", "groupName": "Users", "sample": {"id": 7}})) {
        description: String,
    }
    /// What to change of an event type.
    EventTypePatch (json!({"archived": true})) {
        description: Option<String>,
    }
}

/// The way into a portal.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({}))]
pub struct PortalIn {
    /// Creates the application, if there is none under this uid.
    application: Option<AppIn>,
    /// Read, and not used.
    feature_flags: Option<Vec<String>>,
    /// How many seconds the token is good; a day unless given.
    #[schema(minimum = 1, maximum = 604_800)]
    expiry: Option<u32>,
    /// Portals can do everything that an application's token can: true is refused.
    read_only: Option<bool>,
}

/// Which dead letters: either by their ids or by a filter, of which an empty one means all.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"filter": {"reason": "attempts_exhausted"}, "dryRun": true}))]
pub struct SelectionIn {
    /// Their ids.
    #[schema(min_items = 1, max_items = 250)]
    ids: Option<Vec<String>>,
    /// Those that pass.
    filter: Option<SelectionFilter>,
    /// Only say how many.
    dry_run: Option<bool>,
}

/// A filter on dead letters.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"eventType": "user.created"}))]
pub struct SelectionFilter {
    /// Of this endpoint.
    endpoint_id: Option<String>,
    /// Of this kind of event.
    event_type: Option<String>,
    /// For this reason.
    reason: Option<String>,
    /// That died before.
    #[schema(format = DateTime)]
    before: Option<String>,
    /// That died after.
    #[schema(format = DateTime)]
    after: Option<String>,
}

/// Some of what was set aside.
#[derive(ToSchema)]
#[schema(example = json!({"ids": ["rej_2ZfnJ7QUnSeP2Zs1R8wS0zC5E8N"]}))]
pub struct IdsIn {
    /// Their ids.
    #[schema(min_items = 1, max_items = 250)]
    ids: Vec<String>,
}
