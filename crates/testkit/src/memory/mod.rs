//! The ports in memory: small and honest. What they promise is what the conformance suites check; what they leave out is said here.
//!
//! Nothing is durable, tombstones and markers do not expire, and no list of changes is ever too long. Everything else a service may
//! rely on is here: claims come again, states merge, versions move, markers do not go back.

mod answers;
mod broker;
mod catalog;
mod directory;
mod gates;
mod journal;
mod owned;
mod page;
mod revocations;
mod shelf;
mod tasks;

pub use answers::MemoryAnswers;
pub use broker::{DeadLetter, MemoryBroker, Rejected};
pub use directory::MemoryDirectory;
pub use gates::MemoryGates;
pub use journal::MemoryJournal;
pub use revocations::MemoryRevocations;
pub use tasks::MemoryTasks;
