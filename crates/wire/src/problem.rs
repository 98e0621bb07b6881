//! Errors of the HTTP API: `{code, detail}`, and for 422 `{detail: [{loc, msg, type}]}`.

use axum_core::response::{IntoResponse, Response};
use hookyard_core::{Fault, FaultKind, MessageId, Refusal, RefusalReason};
use http::{HeaderValue, StatusCode, header};
use serde::{Serialize, Serializer};

/// One thing wrong with a request.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Invalid {
    /// Where: `["body", "url"]`, `["query", "limit"]`.
    pub loc: Vec<String>,
    /// What, for people.
    pub msg: String,
    /// What, for programs.
    pub r#type: String,
}

/// An answer that is an error. Every code is stable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// `{code, detail}` with this status.
    Plain {
        /// The status.
        status: StatusCode,
        /// Stable, for programs.
        code: &'static str,
        /// For people.
        detail: String,
    },
    /// 422.
    Invalid(Vec<Invalid>),
    /// 409: an event id is known.
    Known {
        /// The message it stands for.
        message: MessageId,
        /// Whether that has the same content.
        is_same: bool,
    },
}

impl Problem {
    /// Its status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Plain { status, .. } => *status,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Known { .. } => StatusCode::CONFLICT,
        }
    }

    /// An error of this status and code.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self::Plain { status, code, detail: detail.into() }
    }

    /// 422 with one mistake in the body.
    pub fn invalid(field: &str, msg: impl Into<String>) -> Self {
        Self::Invalid(vec![Invalid { loc: vec!["body".into(), field.into()], msg: msg.into(), r#type: "value_error".into() }])
    }

    /// 422 with one mistake in the query.
    pub fn invalid_query(field: &str, msg: impl Into<String>) -> Self {
        Self::Invalid(vec![Invalid { loc: vec!["query".into(), field.into()], msg: msg.into(), r#type: "value_error".into() }])
    }

    /// 404.
    pub fn not_found(detail: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// 401.
    pub fn unauthenticated(detail: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "authentication_failed", detail)
    }

    /// 403.
    pub fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "permission_denied", "this token's scope does not allow this")
    }

    /// 409.
    pub fn conflict(detail: &str) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
    }
}

impl From<&Fault> for Problem {
    /// Says nothing of the backend: that is for the log.
    fn from(fault: &Fault) -> Self {
        match fault.kind {
            FaultKind::Unavailable | FaultKind::WrongDataset => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "temporarily unavailable; try again")
            }
            FaultKind::Contended => Self::conflict("somebody else changed this at the same time; try again"),
            FaultKind::Corrupt | FaultKind::Refused => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "an internal error; it is in the log")
            }
        }
    }
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Self {
        let detail = refusal.detail.as_str();
        match refusal.reason {
            RefusalReason::TooLarge => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail),
            RefusalReason::UnknownApp => Self::not_found("there is no such application"),
            RefusalReason::IdConflict => Self::conflict(detail),
            RefusalReason::Unreadable => Self::new(StatusCode::BAD_REQUEST, "unreadable", detail),
            RefusalReason::InvalidType | RefusalReason::ArchivedType => Self::invalid("eventType", detail),
            RefusalReason::InvalidChannel => Self::invalid("channels", detail),
            RefusalReason::InvalidId | RefusalReason::MissingId => Self::invalid("eventId", detail),
            RefusalReason::SchemaViolation => Self::invalid("payload", detail),
            RefusalReason::InvalidTime => Self::invalid("timestamp", detail),
            RefusalReason::CrashLoop => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail),
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Shape<'a> {
    Plain {
        code: &'a str,
        detail: &'a str,
    },
    Invalid {
        detail: &'a [Invalid],
    },
    #[serde(rename_all = "camelCase")]
    Known {
        code: &'a str,
        detail: &'a str,
        message_id: MessageId,
        same_content: bool,
    },
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shape = match self {
            Self::Plain { code, detail, .. } => Shape::Plain { code, detail },
            Self::Invalid(detail) => Shape::Invalid { detail },
            Self::Known { message, is_same } => {
                let detail = if *is_same {
                    "a message with this eventId and the same content already exists"
                } else {
                    "a message with this eventId already exists, with other content"
                };
                Shape::Known { code: "conflict", detail, message_id: *message, same_content: *is_same }
            }
        };
        shape.serialize(serializer)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        // Text always serialises.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // A store that fails over is back within seconds; rates are per second.
        let retry_after = match status {
            StatusCode::SERVICE_UNAVAILABLE => Some("5"),
            StatusCode::TOO_MANY_REQUESTS => Some("1"),
            _ => None,
        };
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        response
    }
}
