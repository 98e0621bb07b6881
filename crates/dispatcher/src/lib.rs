//! The dispatcher: claims deliveries and sees each to its outcome.
//!
//! `claim → prepare → send → judge → record → settle`.

mod admission;
mod attempt;
mod concurrency;
mod dispatcher;
mod endpoint_state;
mod in_flight;
mod newcomers;
mod notices;
mod pace;
mod shared_gates;
mod step;
mod ticket;
mod turns;
mod view;

pub use dispatcher::{Dispatcher, DispatcherConfig, Seams};
