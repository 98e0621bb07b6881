//! The last release before 2.0.

pub use svix_before as svix;

names! { EndpointUpdate, EventTypeUpdate, "rust-before", filter_types, update, update_headers }

#[path = "scenario.rs"]
pub mod scenario;
