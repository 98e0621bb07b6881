//! Every durable port on one SQLite file, for a process that runs whole.
//!
//! One thread writes: whatever waits for it goes into one transaction (`synchronous = FULL`), and nobody hears of success before
//! that is on disk. A step of a port is a part of one transaction. Claims are leases in memory: the next process claims everything
//! again that this one did not settle.

mod activity;
mod answers;
mod catalog;
mod dead;
mod deliveries;
mod directory;
mod events;
mod fault;
mod freshness;
mod gates;
mod journal;
mod lease;
mod opening;
mod pages;
mod queue_clock;
mod rejections;
mod revocations;
mod store;
mod tasks;
mod writer;

pub use opening::make_folder;
pub use store::{FILE, OpenError, Seams, Store};
