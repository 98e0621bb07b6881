//! What is true: the nouns, the decisions and the ports of Hookyard.
//!
//! One flow, one word per thing: `event → route → delivery → attempt → outcome`. Everything here is pure: time comes from a
//! [`Clock`], randomness from a [`Entropy`], and the outside world through the traits in [`port`].

pub mod address;
pub mod admission;
pub mod attempt;
pub mod canary;
pub mod catalog;
pub mod claim;
pub mod clock;
pub mod dead_letter;
pub mod delay;
pub mod delivery;
pub mod directory;
pub mod event;
pub mod fan_out;
pub mod fault;
pub mod fleet;
pub mod grant;
pub mod id;
pub mod journal;
pub mod json_text;
pub mod limits;
pub mod name;
pub mod outcome;
pub mod port;
pub mod rejection;
pub mod route;
pub mod rules;
pub mod schema;
pub mod seal;
pub mod signature;
pub mod stats;
pub mod step;
pub mod task;

pub use admission::{BreakerState, Gate, GateId};
pub use attempt::{AttemptClass, AttemptResult, Directive, RetryAfter};
pub use catalog::{CatalogEntry, CatalogFilter, Validation};
pub use claim::Claim;
pub use clock::{Clock, Entropy, Timestamp, within};
pub use dead_letter::{DeadLetter, DeadLetterFilter};
pub use delivery::{Delivery, DeliveryKey, Lane, PastAttempt, Trigger};
pub use directory::{ApiKey, Application, BodyFormat, Endpoint, EndpointSecret, Policy};
pub use event::{Event, EventId, Intake, Message, Refusal, RefusalReason, Submission};
pub use fan_out::FanOut;
pub use fault::{Fault, FaultKind};
pub use fleet::{Member, QueueDepth};
pub use id::{AppId, AttemptId, DeadLetterId, EndpointId, MessageId, RejectionId, TaskId};
pub use json_text::JsonText;
pub use name::{AppRef, Channel, EventPattern, EventType, Uid};
pub use outcome::{DeadReason, DiscardReason, Outcome};
pub use rejection::Rejection;
pub use route::{Subscription, Subscriptions};
