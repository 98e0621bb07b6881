//! Metric labels: closed sets only. A label's value is never an endpoint, a URL, an id or the text of an error.

use hookyard_core::{AttemptClass, BreakerState, DeadReason, Lane, RefusalReason};

/// A closed set of label values.
pub trait Label: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;

    /// Every value, so that all series exist from the start.
    fn all() -> Vec<Self>;

    /// The value.
    fn value(self) -> &'static str;
}

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident $label:literal { $($(#[$vdoc:meta])* $variant:ident $value:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)*
        }

        impl Label for $name {
            const NAME: &'static str = $label;
            fn all() -> Vec<Self> {
                vec![$(Self::$variant),*]
            }
            fn value(self) -> &'static str {
                match self {
                    $(Self::$variant => $value,)*
                }
            }
        }
    )*};
}

labels! {
    /// By which door an event came.
    Source "source" {
        /// The exchange.
        Amqp "amqp",
        /// The HTTP API.
        Http "http",
    }
    /// What the router did with an event.
    Routed "outcome" {
        /// It went to at least one endpoint.
        Routed "routed",
        /// It matched nobody.
        Unmatched "unmatched",
        /// It was a duplicate.
        Duplicate "duplicate",
        /// It was refused.
        Rejected "rejected",
    }
    /// What the catalog has against an event that is delivered all the same.
    Warned "reason" {
        /// Its data does not fit the schema of its type.
        SchemaViolation "schema_violation",
        /// Its type is archived.
        ArchivedType "archived_type",
    }
    /// How the routing snapshot stood.
    Lookup "result" {
        /// Still current.
        Hit "hit",
        /// Some endpoints were read again.
        Changed "changed",
        /// Everything was read.
        Loaded "loaded",
    }
    /// Success or not.
    Success "result" {
        /// It went well.
        Ok "success",
        /// It did not.
        Failed "failure",
    }
    /// How a delivery ended.
    Completed "result" {
        /// It arrived.
        Delivered "delivered",
        /// It is a dead letter.
        Dead "dead",
        /// Its endpoint was deleted.
        Discarded "discarded",
    }
    /// Which attempt of a delivery, the third standing for all later ones.
    AttemptNumber "attempt" {
        /// The first.
        First "1",
        /// The second.
        Second "2",
        /// The third or a later one.
        Later "3+",
    }
    /// Why a delivery was put aside without an attempt.
    Parked "reason" {
        /// Its moment has not come.
        NotDue "not_due",
        /// Its endpoint's breaker is open.
        BreakerOpen "breaker_open",
        /// Its receiver asked to be left alone.
        Held "held",
        /// Its endpoint has a limit of its own.
        RateLimited "rate_limited",
        /// Its endpoint has as many requests in flight as it may.
        Busy "busy",
        /// Its endpoint is not known while the directory is away.
        EndpointUnknown "endpoint_unknown",
        /// The egress proxy is away.
        ProxyAway "proxy_away",
    }
    /// Where a breaker went.
    BreakerMove "to" {
        /// Deliveries go out.
        Closed "closed",
        /// None does.
        Open "open",
        /// One may, to see.
        HalfOpen "half_open",
    }
    /// A breaker that is not closed.
    NotClosed "state" {
        /// Nothing leaves.
        Open "open",
        /// One may, to see.
        HalfOpen "half_open",
    }
    /// Requests in flight are bounded apart for either lane.
    Pool "pool" {
        /// Endpoints that answer.
        Fast "fast",
        /// Endpoints that do not, or take long.
        Slow "slow",
    }
    /// A broker connection.
    Connection "connection" {
        /// Consumers.
        Consume "consume",
        /// Publishers.
        Publish "publish",
    }
    /// What a publish was for.
    Exchange "exchange" {
        /// Events.
        Events "events",
        /// Deliveries.
        Dispatch "dispatch",
        /// Delay tiers.
        Delay "delay",
        /// Dead letters.
        Dead "dead",
        /// Rejected messages.
        Rejected "rejected",
        /// The journal's spill.
        Journal "journal",
        /// A queue directly.
        Default "default",
    }
    /// A kind of call to the store.
    StoreOp "op" {
        /// The router's batch read.
        Validate "validate",
        /// Marker updates.
        Mark "mark",
        /// Looking endpoints up.
        LookUp "look_up",
        /// Journal writes.
        Record "record",
        /// The fence.
        Recorded "recorded",
        /// Reads for the API.
        Read "read",
        /// Changes to the directory.
        Write "write",
        /// The sentinel.
        Meta "meta",
    }
    /// A part of shutting down.
    Phase "phase" {
        /// Finishing what is in flight.
        Drain "drain",
        /// Closing connections.
        Close "close",
    }
    /// A class of HTTP status.
    StatusClass "status_class" {
        /// 2xx.
        Success "2xx",
        /// 3xx.
        Redirect "3xx",
        /// 4xx.
        Client "4xx",
        /// 5xx.
        Server "5xx",
    }
}

impl AttemptNumber {
    /// Of attempt `number`, from 1.
    pub const fn of(number: u32) -> Self {
        match number {
            0 | 1 => Self::First,
            2 => Self::Second,
            _ => Self::Later,
        }
    }
}

impl BreakerMove {
    /// To this state.
    pub const fn to(state: BreakerState) -> Self {
        match state {
            BreakerState::Closed => Self::Closed,
            BreakerState::Open => Self::Open,
            BreakerState::HalfOpen => Self::HalfOpen,
        }
    }
}

impl Pool {
    /// That of this lane.
    pub const fn of(lane: Lane) -> Self {
        match lane {
            Lane::Fast => Self::Fast,
            Lane::Slow => Self::Slow,
        }
    }
}

impl StatusClass {
    /// Of this status.
    pub const fn of(status: u16) -> Self {
        match status {
            300..=399 => Self::Redirect,
            400..=499 => Self::Client,
            500.. => Self::Server,
            _ => Self::Success,
        }
    }
}

impl Label for AttemptClass {
    const NAME: &'static str = "outcome";
    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }
    fn value(self) -> &'static str {
        self.as_str()
    }
}

impl Label for DeadReason {
    const NAME: &'static str = "reason";
    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }
    fn value(self) -> &'static str {
        self.as_str()
    }
}

impl Label for RefusalReason {
    const NAME: &'static str = "reason";
    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }
    fn value(self) -> &'static str {
        self.as_str()
    }
}
