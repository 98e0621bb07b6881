//! What tests are made of: builders, in-memory ports, scripted receivers, and one conformance suite per port.
//!
//! A suite is written once and run on every backend. A promise that a backend breaks is a bug of the backend, never of the suite.

pub mod builders;
pub mod conformance;
pub mod memory;
pub mod receivers;

pub use builders::{Builders, PausedClock, SeededEntropy, StepClock};
pub use receivers::{Answer, Asked, Receivers};
