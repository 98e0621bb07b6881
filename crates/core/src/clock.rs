//! Time and randomness as seams: nothing in this crate reads a wall clock or a global generator.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// A moment, in milliseconds since the Unix epoch (UTC).
///
/// Milliseconds are what identifiers, queues and indexes need; an event's own time is kept as it was published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, as `webhook-timestamp` wants them.
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment moved later by `by`, saturating.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This moment moved earlier by `by`, saturating.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this moment is; zero if it is not after.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Reads an RFC 3339 date-time: `date T time`, seconds included, with `Z` or an offset. Fractions of any length are read.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let (head, rest) = text.split_at_checked("2026-01-31T12:00:00".len())?;
        if !has_shape(head, "dddd-dd-ddTdd:dd:dd") {
            return None;
        }
        let digits = rest.strip_prefix('.').map_or(0, |fraction| fraction.bytes().take_while(u8::is_ascii_digit).count());
        if digits == 0 && rest.starts_with('.') {
            return None;
        }
        let (fraction, offset) = if digits == 0 { ("", rest) } else { rest.split_at(digits + 1) };
        if !(offset.eq_ignore_ascii_case("Z") || has_shape(offset, "+dd:dd") || has_shape(offset, "-dd:dd")) {
            return None;
        }
        // The parser reads nanoseconds; RFC 3339 knows no such bound.
        let fraction = &fraction[..fraction.len().min(10)];
        let moment: jiff::Timestamp = format!("{head}{fraction}{offset}").parse().ok()?;
        Some(Self(moment.as_millisecond()))
    }
}

/// Whether `text` is the pattern, in which `d` stands for any digit and `T` for `T` or `t`.
fn has_shape(text: &str, pattern: &str) -> bool {
    text.len() == pattern.len()
        && text.bytes().zip(pattern.bytes()).all(|(byte, wanted)| match wanted {
            b'd' => byte.is_ascii_digit(),
            b'T' => byte.eq_ignore_ascii_case(&b'T'),
            _ => byte == wanted,
        })
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds, `2026-01-31T12:00:00.000Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => write!(f, "{moment:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// Where time comes from, whole: which moment it is, how long something takes, and waiting.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The present moment. A correction of the machine's clock moves it, back too: ages and waits are not measured by it.
    fn now(&self) -> Timestamp;

    /// How long this process has been there, or longer by the same at all times. Never goes back, and no correction moves it.
    fn monotonic(&self) -> Duration;

    /// Waits so long, by [`Self::monotonic`].
    async fn sleep(&self, time: Duration);
}

/// What `work` brings, if it does within `time`.
pub async fn within<T>(clock: &dyn Clock, time: Duration, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut over) = (pin!(work), clock.sleep(time));
    let first = poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => over.as_mut().poll(context).map(|()| None),
    });
    first.await
}

/// Where randomness comes from.
pub trait Entropy: Send + Sync {
    /// Fills `buffer` with random bytes, good enough for secrets.
    fn fill(&self, buffer: &mut [u8]);

    /// A number spread evenly over `0.0 ..= 1.0`, for jitter.
    fn fraction(&self) -> f64 {
        let mut bytes = [0_u8; 4];
        self.fill(&mut bytes);
        f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_round_trips_to_the_millisecond() {
        let moment = Timestamp::from_millis(1_614_265_330_123);
        assert_eq!(moment.to_string(), "2021-02-25T15:02:10.123Z");
        assert_eq!(Timestamp::parse_rfc3339("2021-02-25T16:02:10.123+01:00"), Some(moment));
        for bad in [
            "yesterday",
            "2026-01-31",
            "2026-01-31T12+00",
            "20260131T120000Z",
            "2026-01-31T12:00:00",
            "2026-01-31T12:00:00+01:00[Europe/Berlin]",
            "2026-01-31T12:00:00,5Z",
            "2026-01-31T12:00:00.Z",
            "2026-13-31T12:00:00Z",
            "2026-01-31T12:00:00é",
        ] {
            assert_eq!(Timestamp::parse_rfc3339(bad), None, "{bad}");
        }
        assert_eq!(Timestamp::parse_rfc3339("2021-02-25t15:02:10.12345678901234z"), Some(moment));
    }

    #[test]
    fn since_never_goes_below_zero() {
        let earlier = Timestamp::from_millis(5);
        assert_eq!(earlier.since(Timestamp::from_millis(9)), Duration::ZERO);
        assert_eq!(earlier.plus(Duration::from_secs(1)).since(earlier), Duration::from_secs(1));
    }
}
