//! Rejections: what intake refused, or could not be handled, kept with its bytes until somebody looks.

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::id::RejectionId;

/// One message set aside.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    /// Its id. Two that are the same in everything have the same.
    pub id: RejectionId,
    /// When it was set aside, where that is known.
    pub at: Option<Timestamp>,
    /// Why: one of the reasons of [`crate::RefusalReason`], or what the broker says of what it gave up on.
    pub reason: String,
    /// What was wrong, in words; never payload.
    pub detail: String,
    /// The exchange it was published to, where there is one.
    pub exchange: Option<String>,
    /// The routing key it was published with.
    pub routing_key: Option<String>,
    /// Media type of the body.
    pub content_type: Option<String>,
    /// Properties and headers, as text, for whoever looks.
    pub headers: Vec<(String, String)>,
    /// The body, as it came.
    pub body: Bytes,
}
