//! The flow of deliveries, stepped: hours of it in moments, by seed.

mod breaker;
mod clock;
mod limits;
mod simulation;
mod stage;
mod tenants;
