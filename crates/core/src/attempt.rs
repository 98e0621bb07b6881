//! An attempt: one HTTP exchange of a delivery, and what the receiver did.

use std::time::Duration;

use bytes::Bytes;

use crate::clock::Timestamp;

/// What happened, from a closed set: it is a metric label, a log field and a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttemptClass {
    /// Any 2xx.
    Success,
    /// Any 3xx: redirects are never followed.
    Http3xx,
    /// Any 4xx that has no class of its own.
    Http4xx,
    /// 410 Gone: the receiver wants no more.
    Http410,
    /// 429 Too Many Requests.
    Http429,
    /// Any 5xx, and codes outside 100 to 599.
    Http5xx,
    /// The budget ran out, in whatever phase.
    Timeout,
    /// The host name did not resolve.
    Dns,
    /// No connection.
    Connect,
    /// No TLS session, or a certificate that is not good.
    Tls,
    /// Outbound safety refused the address.
    Blocked,
    /// The receiver did not speak HTTP.
    Protocol,
    /// We gave up before an answer: the process was stopping. Not the receiver's doing.
    Canceled,
}

impl AttemptClass {
    /// Every class.
    pub const ALL: [Self; 13] = [
        Self::Success,
        Self::Http3xx,
        Self::Http4xx,
        Self::Http410,
        Self::Http429,
        Self::Http5xx,
        Self::Timeout,
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Blocked,
        Self::Protocol,
        Self::Canceled,
    ];

    /// Its name everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Http3xx => "http_3xx",
            Self::Http4xx => "http_4xx",
            Self::Http410 => "http_410",
            Self::Http429 => "http_429",
            Self::Http5xx => "http_5xx",
            Self::Timeout => "timeout",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Blocked => "blocked",
            Self::Protocol => "protocol",
            Self::Canceled => "canceled",
        }
    }

    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }

    /// What a response with this status is.
    pub const fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Success,
            300..=399 => Self::Http3xx,
            410 => Self::Http410,
            429 => Self::Http429,
            400..=499 => Self::Http4xx,
            _ => Self::Http5xx,
        }
    }
}

/// When a receiver asked to be called again (RFC 9110 §10.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// After this long.
    Delay(Duration),
    /// Not before this moment.
    At(Timestamp),
}

impl RetryAfter {
    /// Reads the header's value: seconds, or an HTTP date.
    pub fn parse(value: &str) -> Option<Self> {
        if let Ok(seconds) = value.trim().parse() {
            return Some(Self::Delay(Duration::from_secs(seconds)));
        }
        let moment = httpdate::parse_http_date(value.trim()).ok()?;
        let since_epoch = moment.duration_since(std::time::UNIX_EPOCH).ok()?;
        i64::try_from(since_epoch.as_millis()).ok().map(|ms| Self::At(Timestamp::from_millis(ms)))
    }
}

/// What a receiver may ask for with the response header `webhook-delivery`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directive {
    /// Stop retrying this delivery.
    AbortMessage,
    /// Disable this endpoint.
    Disable,
}

impl Directive {
    /// Reads the header's value.
    pub fn parse(value: &str) -> Option<Self> {
        match value.trim() {
            "abort-message" => Some(Self::AbortMessage),
            "disable" => Some(Self::Disable),
            _ => None,
        }
    }
}

/// What the receiver did with one request. A result, never an error: its failure is its own.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptResult {
    /// What happened.
    pub class: AttemptClass,
    /// The response's status code, if there was a response.
    pub status: Option<u16>,
    /// The first [`crate::limits::RESPONSE_KEPT_BYTES`] of the response.
    pub response: Bytes,
    /// When the request left.
    pub started_at: Timestamp,
    /// From the request's start to the end of the response, or to giving up.
    pub duration: Duration,
    /// What `Retry-After` said.
    pub retry_after: Option<RetryAfter>,
    /// What `webhook-delivery` said.
    pub directive: Option<Directive>,
}

impl AttemptResult {
    /// A result without a response.
    pub fn without_response(class: AttemptClass, started_at: Timestamp, duration: Duration) -> Self {
        Self { class, status: None, response: Bytes::new(), started_at, duration, retry_after: None, directive: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_fall_into_their_classes() {
        let classes =
            [(200, "success"), (204, "success"), (302, "http_3xx"), (404, "http_4xx"), (410, "http_410"), (429, "http_429")];
        for (status, name) in classes.into_iter().chain([(500, "http_5xx"), (599, "http_5xx"), (999, "http_5xx")]) {
            assert_eq!(AttemptClass::of_status(status).as_str(), name);
            assert_eq!(AttemptClass::from_name(name), Some(AttemptClass::of_status(status)));
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(RetryAfter::parse(" 120 "), Some(RetryAfter::Delay(Duration::from_secs(120))));
        let date = RetryAfter::parse("Thu, 01 Jan 1970 00:01:00 GMT");
        assert_eq!(date, Some(RetryAfter::At(Timestamp::from_millis(60_000))));
        assert_eq!(RetryAfter::parse("soon"), None);
        assert_eq!(RetryAfter::parse("-5"), None);
    }
}
