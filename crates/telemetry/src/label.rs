//! Metric labels: closed sets only. A label's value is never an endpoint, a URL, an id or the text of an error.

use hookyard_core::admission::Reason;
use hookyard_core::delay::Tier;
use hookyard_core::fleet::QueueKind;
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
        /// The same, and its endpoint has not answered for a while.
        InDoubt "in_doubt",
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
    /// A method of HTTP requests.
    Method "method" {
        /// GET, and HEAD.
        Get "GET",
        /// POST.
        Post "POST",
        /// PUT.
        Put "PUT",
        /// PATCH.
        Patch "PATCH",
        /// DELETE.
        Delete "DELETE",
        /// Any other.
        Other "other",
    }
    /// A part of the HTTP API: what its paths are about.
    Route "route" {
        /// Publishing events, and messages.
        Message "message",
        /// Attempts, and their stream.
        Attempt "attempt",
        /// Applications.
        Application "application",
        /// Endpoints.
        Endpoint "endpoint",
        /// Event types.
        EventType "event_type",
        /// Dead letters and what was rejected.
        DeadLetter "dead_letter",
        /// Counts over time.
        Statistics "statistics",
        /// Tasks and the installation.
        System "system",
        /// Tokens and sessions.
        Authentication "authentication",
        /// The console's files, the reference, and health.
        Page "page",
        /// Nothing there is.
        Other "other",
    }
    /// What was done with dead letters.
    LetterAction "action" {
        /// Another run was begun.
        Replayed "replayed",
        /// They were let go of.
        Discarded "discarded",
        /// They left the queue, because they were dead no longer.
        Swept "swept",
        /// They came back into the list, which had lost them.
        Restored "restored",
    }
    /// Whether a request went over a connection that had carried one before.
    Reused "reused" {
        /// It did.
        Yes "true",
        /// A connection was opened.
        No "false",
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

impl Method {
    /// Of this name.
    pub fn of(name: &str) -> Self {
        match name {
            "GET" | "HEAD" => Self::Get,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            _ => Self::Other,
        }
    }
}

impl From<Reason> for Parked {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::BreakerOpen => Self::BreakerOpen,
            Reason::Held => Self::Held,
            Reason::RateLimited => Self::RateLimited,
            Reason::Busy => Self::Busy,
            Reason::InDoubt => Self::InDoubt,
        }
    }
}

impl Route {
    /// Of a path as it was declared, with names for its parts; `None` for what matched nothing.
    pub fn of(declared: Option<&str>) -> Self {
        let Some(path) = declared else { return Self::Other };
        let has = |part: &str| path.split('/').any(|one| one == part);
        match path.strip_prefix("/api/v1") {
            None if path.starts_with("/console/session") => Self::Authentication,
            Some(_) if has("attempt") || has("activity") => Self::Attempt,
            Some(_) if has("stats") => Self::Statistics,
            Some(_) if has("dead-letter") || has("rejected") => Self::DeadLetter,
            Some(_) if has("event-type") => Self::EventType,
            Some(_) if has("msg") => Self::Message,
            Some(_) if has("endpoint") => Self::Endpoint,
            Some(_) if has("app") => Self::Application,
            Some(_) if has("task") || has("system") => Self::System,
            Some(_) if has("auth") => Self::Authentication,
            None | Some(_) => Self::Page,
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

impl Label for Tier {
    const NAME: &'static str = "tier";
    fn all() -> Vec<Self> {
        Self::all().collect()
    }
    fn value(self) -> &'static str {
        self.name()
    }
}

impl Label for QueueKind {
    const NAME: &'static str = "queue";
    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }
    fn value(self) -> &'static str {
        self.as_str()
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
