//! The router: claims events, fixes their message ids, and makes one delivery per endpoint that wants them.
//!
//! `claim → validate (one round trip) → route → fan out and record side by side → mark routed → finish`.

mod batch;
mod identify;
mod resolve;
mod router;
mod snapshots;
mod trouble;
mod types;

pub use router::{Router, Seams};
