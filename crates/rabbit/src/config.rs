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

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Accepting events, enqueuing deliveries, spilling the journal: what begins here and not with a claim.
    Publish,
    /// Claiming events.
    Route,
    /// Claiming deliveries.
    Dispatch,
    /// Claiming what the journal spilled.
    Drain,
}

impl Consumes {
    /// Every purpose of a process that consumes these.
    pub(crate) fn purposes(self) -> Vec<Purpose> {
        let consuming = [(self.events, Purpose::Route), (self.deliveries, Purpose::Dispatch), (self.spill, Purpose::Drain)];
        let consuming = consuming.into_iter().filter_map(|(does, purpose)| does.then_some(purpose));
        std::iter::once(Purpose::Publish).chain(consuming).collect()
    }
}

impl Purpose {
    /// Its name, in the broker's list of connections and in the log.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "intake",
            Self::Route => "router",
            Self::Dispatch => "dispatcher",
            Self::Drain => "journal",
        }
    }

    /// The largest frame of its connections, where that is not the broker's usual one, 128 KiB: what costs memory in every process, and
    /// carries little.
    pub(crate) const fn frame_max(self) -> Option<u32> {
        match self {
            // Headers of what is tried again have to fit, beside bodies of any length.
            Self::Publish => Some(64 * 1024),
            // Nothing but our own groups of entries.
            Self::Drain => Some(16 * 1024),
            Self::Route | Self::Dispatch => None,
        }
    }

    pub(crate) fn consumes(self) -> bool {
        self != Self::Publish
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
