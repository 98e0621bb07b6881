//! The one door outward: vetted addresses, bounded time, bounded responses.

mod body;
mod classify;
mod client;
mod connections;
mod idle;
mod proxy;
mod race;
mod resolve;
mod tls;

pub use client::{Egress, EgressConfig, install_crypto};
pub use proxy::EgressProxy;
pub use resolve::{LookUp, SystemLookUp};
pub use tls::Authorities;
