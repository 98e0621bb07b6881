//! The one door outward: vetted addresses, bounded time, bounded responses.

mod classify;
mod client;
mod resolve;

pub use client::{Egress, install_crypto};
pub use resolve::{LookUp, SystemLookUp};
