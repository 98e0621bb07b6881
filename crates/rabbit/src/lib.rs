//! Events, deliveries and the journal's spill on AMQP 0-9-1, for RabbitMQ 3.10 to 4.x with quorum queues and no plugin.
//!
//! There is one allowed move: publish the successor, persistent and mandatory → its confirm is a plain ack → ack the predecessor.
//! A session with the broker is disposable: after any error everything of it is dropped and begun again.

mod ack;
mod acker;
mod beside;
mod canary;
mod config;
mod consume;
mod dataset;
mod dead;
mod deliveries;
mod depth;
mod events;
mod inspect;
mod intake;
mod look;
mod message;
mod names;
mod publish;
mod receipt;
mod reconnect;
mod rejections;
mod session;
mod spill;
mod together;
pub mod topology;

pub use canary::CanaryRound;
pub use config::{Consumes, RabbitConfig, Shards};
pub use dataset::Anchor;
pub use inspect::{Inspection, QueueStanding};
pub use names::Names;
pub use session::Rabbit;
pub use topology::Topology;
