//! Events, deliveries and the journal's spill on AMQP 0-9-1, for RabbitMQ 3.10 to 4.x with quorum queues and no plugin.
//!
//! There is one allowed move: publish the successor, persistent and mandatory → its confirm is a plain ack → ack the predecessor.
//! A session with the broker is disposable: after any error everything of it is dropped and begun again. Publishing, routing,
//! dispatching and draining the journal's spill have one each, so that what breaks one does not end the others.

mod ack;
mod acker;
mod beside;
mod blocked;
mod canary;
mod config;
mod connection;
mod consume;
mod copied;
mod dataset;
mod dead;
mod deliveries;
mod depth;
mod events;
mod guard;
mod inspect;
mod intake;
mod look;
mod message;
mod names;
mod publish;
mod rabbit;
mod receipt;
mod reconnect;
mod rejections;
mod session;
mod spill;
mod together;
pub mod topology;
mod unreadable;

pub use canary::CanaryRound;
pub use config::{Consumes, RabbitConfig, Shards};
pub use connection::is_url;
pub use dataset::Anchor;
pub use inspect::{Inspection, QueueStanding};
pub use names::Names;
pub use rabbit::Rabbit;
pub use topology::Topology;
