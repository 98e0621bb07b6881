//! The door against real sockets.

mod misbehaving;
mod proxy;
mod receivers;
mod stage;
mod tls;
