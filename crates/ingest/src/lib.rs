//! Intake over HTTP: an event is durable before it is answered.

mod accept;
mod application;
mod body;
mod http;

pub use accept::{Intake, NotAccepted, Seams};
pub use http::routes;
