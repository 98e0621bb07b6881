//! The door against real sockets.

#![expect(clippy::disallowed_methods, reason = "tests start what they like: what panics fails them")]

mod as_they_are;
mod misbehaving;
mod proxy;
mod receivers;
mod stage;
mod tls;
