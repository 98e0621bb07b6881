//! How long receivers keep an idle connection, as far as they have shown: one that is older than that is not used again.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use reqwest::header::HeaderMap;
use url::Url;

/// Receivers that are remembered: as many as a process may deliver to within an hour, some hundred bytes each.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");
/// What a receiver has shown counts so long: it may be set up anew.
const BELIEVED: Duration = Duration::from_secs(3600);

/// No server keeps connections for less: a second is what can be set in most.
const LEAST_KEPT: Duration = Duration::from_millis(900);
/// Longer than ours are kept by any receiver's word: what is above says nothing.
const MOST_KEPT_S: u64 = 3600;

/// Receivers by scheme, host and port.
pub struct Idle(Mutex<LruCache<String, Receiver>>);

/// What is known of one.
#[derive(Clone, Copy)]
struct Receiver {
    /// When the last request ended.
    last: Instant,
    /// How long it keeps connections, and when it showed that.
    keeps: Option<(Duration, Instant)>,
}

impl Idle {
    pub fn new() -> Self {
        Self(Mutex::new(LruCache::new(REMEMBERED)))
    }

    /// Whether every idle connection to it may be closed, or about to be, by now. A fifth is left for the way there.
    pub fn is_over(&self, url: &Url, now: Instant) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(origin(url).as_str()).is_some_and(|receiver| match receiver.keeps {
            Some((keeps, since)) if now.duration_since(since) < BELIEVED => now.duration_since(receiver.last) >= keeps * 4 / 5,
            _ => false,
        })
    }

    /// A request ended with an answer, which may say how long the connection is kept.
    pub fn answered(&self, url: &Url, headers: &HeaderMap, now: Instant) {
        let said = keep_alive(headers);
        self.change(url, now, |receiver| {
            receiver.keeps = said.map(|keeps| (keeps, now)).or(receiver.keeps);
            receiver.last = now;
        });
    }

    /// A connection that was there turned out to be closed. After a shorter pause than servers keep connections, that was no end of
    /// patience but a restart.
    pub fn was_closed(&self, url: &Url, now: Instant) {
        self.change(url, now, |receiver| {
            let idle = now.duration_since(receiver.last);
            if idle >= LEAST_KEPT {
                let known = receiver.keeps.filter(|(_, since)| now.duration_since(*since) < BELIEVED);
                receiver.keeps = Some((known.map_or(idle, |(keeps, _)| keeps.min(idle)), now));
            }
        });
    }

    fn change(&self, url: &Url, now: Instant, change: impl FnOnce(&mut Receiver)) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(known.get_or_insert_mut(origin(url), || Receiver { last: now, keeps: None }));
    }
}

fn origin(url: &Url) -> String {
    url[..url::Position::BeforePath].to_owned()
}

/// `Keep-Alive: timeout=5`: seconds (RFC 2068 §19.7.1.1, and what servers still send).
fn keep_alive(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("keep-alive")?.to_str().ok()?;
    let parameters = value.split(',').filter_map(|parameter| parameter.trim().split_once('='));
    let mut timeouts = parameters.filter(|(name, _)| name.eq_ignore_ascii_case("timeout"));
    timeouts
        .find_map(|(_, seconds)| seconds.trim().parse::<u64>().ok())
        .map(|seconds| Duration::from_secs(seconds.min(MOST_KEPT_S)))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn a_connection_is_used_no_longer_than_its_receiver_has_shown_to_keep_it() {
        let (idle, url, begin) = (Idle::new(), Url::parse("https://example.com/a").expect("a URL"), Instant::now());
        let after = |ms| begin + Duration::from_millis(ms);
        assert!(!idle.is_over(&url, after(1_000_000)), "nothing is known");
        idle.answered(&url, &HeaderMap::new(), begin);
        assert!(!idle.is_over(&url, after(49_000)));
        idle.was_closed(&url, after(5_000));
        idle.answered(&url, &HeaderMap::new(), after(5_000));
        let elsewhere = Url::parse("https://example.com/b").expect("a URL");
        assert!(!idle.is_over(&elsewhere, after(8_900)) && idle.is_over(&elsewhere, after(9_100)));
        idle.was_closed(&url, after(7_000));
        assert!(idle.is_over(&url, after(6_700)) && !idle.is_over(&url, after(6_500)), "the shortest counts");
        idle.was_closed(&url, after(5_800));
        assert!(!idle.is_over(&url, after(6_500)), "a pause so short was no end of patience");
        assert!(!idle.is_over(&Url::parse("https://example.com:8443/").expect("a URL"), after(9_100)), "another receiver");
        assert!(!idle.is_over(&url, after(3_700_000)), "it may be set up anew");
    }

    #[test]
    fn a_receiver_may_say_how_long_it_keeps_connections() {
        let said = |value: &'static str| {
            keep_alive(&HeaderMap::from_iter([("keep-alive".parse().expect("a name"), HeaderValue::from_static(value))]))
        };
        assert_eq!(said("timeout=5, max=100"), Some(Duration::from_secs(5)));
        assert_eq!(said("max=100, Timeout = 7"), None);
        assert_eq!(said("max=100, Timeout=7"), Some(Duration::from_secs(7)));
        assert_eq!(said("timeout=soon"), None);
        assert_eq!(said("timeout=18446744073709551615"), Some(Duration::from_secs(3600)));
    }
}
