//! The flow of deliveries, stepped: hours of it in moments, by seed.

#![expect(clippy::disallowed_methods, reason = "tests start what they like: what panics fails them")]

mod breaker;
mod clock;
mod limits;
mod simulation;
mod stage;
mod tenants;
