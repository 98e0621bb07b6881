//! The door against real sockets.

mod as_they_are;
mod misbehaving;
mod proxy;
mod receivers;
mod stage;
mod tls;
