//! What the adapter needs to know.

use hookyard_core::event::Admission;

/// How many queues a lane is spread over. Only ever grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shards {
    /// Queues `<prefix>.dispatch.<n>`.
    pub fast: u32,
    /// Queues `<prefix>.slow.<m>`.
    pub slow: u32,
}

/// Which queues this process consumes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Consumes {
    /// The router's queue.
    pub events: bool,
    /// The dispatcher's queues.
    pub deliveries: bool,
    /// The journal's spill.
    pub spill: bool,
}

impl Consumes {
    pub(crate) fn anything(self) -> bool {
        self.events || self.deliveries || self.spill
    }
}

/// How to reach the broker and what to do there.
#[derive(Clone)]
pub struct RabbitConfig {
    /// `amqp://user:password@host:port/vhost`, or `amqps://`.
    pub url: String,
    /// What every exchange and queue name begins with.
    pub prefix: String,
    /// Whether to declare exchanges and queues when a session begins.
    pub declare: bool,
    /// Which queues to consume.
    pub consumes: Consumes,
    /// How events are admitted.
    pub admission: Admission,
    /// Requests a dispatcher may have in flight: its prefetch follows from it.
    pub concurrency: u16,
    /// How this process calls itself in the broker's list of connections.
    pub name: String,
}
