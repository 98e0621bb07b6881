//! The newest release.

pub use svix;

names! { EndpointUpsertIn, EventTypeUpsertIn, "rust-newest", event_types, upsert, set_headers }

#[path = "scenario.rs"]
pub mod scenario;
