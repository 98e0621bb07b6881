//! The one door outward: vetted addresses, bounded time, bounded responses.

mod classify;
mod client;
mod connections;
mod proxy;
mod resolve;

pub use client::{Authorities, Egress, EgressConfig, install_crypto};
pub use proxy::EgressProxy;
pub use resolve::{LookUp, SystemLookUp};
