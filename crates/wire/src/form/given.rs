//! A property or header of a message as its publisher gave it. What is given and cannot be read is never taken for absent.

use hookyard_core::{Refusal, RefusalReason, Timestamp};

/// What stands in a property or header that is there.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// Text, or bytes that are UTF-8.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// An AMQP timestamp: seconds since 1970.
    Seconds(u64),
    /// AMQP's void.
    Null,
    /// Something else: an article and what it is, such as "a list".
    Other(&'static str),
}

/// Numbers from here on count milliseconds: as seconds they are of the year 5138 and later, as milliseconds of 1973 and later.
const MILLISECONDS_FROM: u64 = 100_000_000_000;

impl Given {
    /// As the text that a field of an event is read from; `name` is what it is called in a refusal.
    pub(super) fn text(&self, name: &str, reason: RefusalReason) -> Result<String, Refusal> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::Integer(number) => Ok(number.to_string()),
            Self::Seconds(seconds) => moment(*seconds).ok_or_else(|| not_text(name, "an AMQP timestamp far away", reason)),
            Self::Null => Err(not_text(name, "null", reason)),
            Self::Other(what) => Err(not_text(name, what, reason)),
        }
    }

    /// As the time of an event: RFC 3339 text, or a number of seconds or milliseconds.
    pub(super) fn time(&self, name: &str) -> Result<String, Refusal> {
        let far = || Refusal::new(RefusalReason::InvalidTime, format!("{name}: no time that can be told"));
        match self {
            Self::Integer(number) => u64::try_from(*number).ok().and_then(moment).ok_or_else(far),
            Self::Seconds(seconds) => moment(*seconds).ok_or_else(far),
            other => other.text(name, RefusalReason::InvalidTime),
        }
    }
}

/// RFC 3339 text of a number of seconds or, where it is too large for that, milliseconds.
fn moment(number: u64) -> Option<String> {
    let ms = if number < MILLISECONDS_FROM { number.checked_mul(1000)? } else { number };
    let text = Timestamp::from_millis(i64::try_from(ms).ok()?).to_string();
    Timestamp::parse_rfc3339(&text).map(|_| text)
}

fn not_text(name: &str, what: &str, reason: RefusalReason) -> Refusal {
    Refusal::new(reason, format!("{name} is {what}; it must be text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_time_in_seconds_or_milliseconds() {
        let read = |number: i64| Given::Integer(number).time("time").ok();
        assert_eq!(read(1_769_860_800).as_deref(), Some("2026-01-31T12:00:00.000Z"));
        assert_eq!(read(1_769_860_800_123).as_deref(), Some("2026-01-31T12:00:00.123Z"));
        assert_eq!(read(0).as_deref(), Some("1970-01-01T00:00:00.000Z"));
        assert_eq!(read(-1), None);
        assert_eq!(read(i64::MAX), None);
        assert_eq!(Given::Seconds(u64::MAX).time("time").ok(), None);
    }

    #[test]
    fn what_is_no_text_is_refused_by_name() {
        for (given, said) in [(Given::Null, "x is null"), (Given::Other("a list"), "x is a list")] {
            let refusal = given.text("x", RefusalReason::UnknownApp).expect_err("refused");
            assert_eq!(refusal.reason, RefusalReason::UnknownApp);
            assert!(refusal.detail.starts_with(said), "{}", refusal.detail);
        }
    }
}
