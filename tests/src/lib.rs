//! What the end-to-end tests stand on: private servers, a world with everything in it, receivers, publishers, and roles as
//! processes that can be killed.

#![expect(clippy::disallowed_methods, reason = "tests start what they like: what panics fails them")]

pub mod amqp;
pub mod aside;
pub mod balancer;
pub mod process;
pub mod raw_amqp;
pub mod receiver;
pub mod services;
pub mod world;

pub use world::{Api, Backend, World, eventually, or_more};
