//! Intake over HTTP: an event is durable before it is answered.

mod accept;
mod application;
mod batch;
mod body;
mod cloud_events;
mod http;
mod reference;

pub use accept::{Intake, NotAccepted, Seams};
pub use http::{operations, routes};
