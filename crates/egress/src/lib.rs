//! The one door outward: vetted addresses, bounded time, bounded responses.

mod body;
mod classify;
mod client;
mod connections;
mod idle;
mod look_up;
mod proxy;
mod race;
mod resolve;
mod tls;

pub use client::{Egress, EgressConfig, install_crypto};
pub use look_up::{LookUp, SystemLookUp};
pub use proxy::EgressProxy;
pub use tls::Authorities;
