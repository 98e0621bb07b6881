//! The dispatcher: claims deliveries and sees each to its outcome.
//!
//! `claim → prepare → send → judge → record → settle`.

mod dispatcher;
mod flow;
mod gatekeeper;
mod health;
mod in_flight;
mod newcomers;
mod notices;
mod permits;
mod turns;
mod view;

pub use dispatcher::{Dispatcher, DispatcherConfig, Seams};
