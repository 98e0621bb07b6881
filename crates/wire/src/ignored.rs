//! Fields of a request's body that nobody knows: named in the answer, or refused where ignoring one could do more than was asked for.

use http::{HeaderMap, HeaderValue};

/// The header.
const IGNORED_HEADER: &str = "hookyard-ignored";
/// The header for event types.
const UNKNOWN_TYPES_HEADER: &str = "hookyard-unknown-types";
/// Most fields named.
const IGNORED_MOST: usize = 10;

/// Longest name told: clients read no header of any length.
const NAME_BYTES: usize = 100;

/// How words begin that narrow, limit, protect or end something.
const BEGINNINGS: [&str; 21] = [
    "capabilit",
    "certificate",
    "channel",
    "cidr",
    "deliver",
    "disab",
    "enab",
    "exclu",
    "expir",
    "filter",
    "hidden",
    "include",
    "lifetime",
    "limit",
    "permission",
    "quota",
    "restrict",
    "retention",
    "schedul",
    "scope",
    "throttl",
];
/// Whole words that do, and begin others that do not.
const WORDS: [&str; 28] = [
    "after", "allow", "allowed", "auth", "before", "block", "blocked", "delay", "deny", "ip", "ips", "max", "min", "mtls",
    "oauth", "only", "pause", "paused", "rate", "rates", "secret", "since", "tag", "tags", "ttl", "type", "types", "until",
];

/// Why a field that nobody knows cannot be ignored: it is nearly one that is known, or says by its name that it restricts something. A
/// sender that means a restriction must not get everything.
pub fn objection<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    if let Some(meant) = nearly(name, known) {
        return Some(format!("there is no such field; do you mean {meant}?"));
    }
    let restricts = |word: &String| BEGINNINGS.iter().any(|begin| word.starts_with(begin)) || WORDS.contains(&word.as_str());
    words(name).iter().any(restricts).then(|| "there is no such field, and what may restrict something is not ignored".to_owned())
}

/// The known name that this nearly is: most likely a typing mistake, or another way of writing it.
pub fn nearly<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = plain(name);
    known.into_iter().find(|known| is_nearly(&plain, &self::plain(known)))
}

/// Whether a request wants mistakes instead of silence: `Prefer: handling=strict` (RFC 7240 §4.4).
pub fn is_strict(headers: &HeaderMap) -> bool {
    let preferences =
        headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split([',', ';']));
    preferences
        .map(|preference| preference.replace([' ', '"'], ""))
        .any(|preference| preference.eq_ignore_ascii_case("handling=strict"))
}

/// Names the fields of a body that nobody knows; those that cannot stand in a header are left out.
pub fn name_ignored(headers: &mut HeaderMap, fields: impl IntoIterator<Item = String>) {
    name(headers, IGNORED_HEADER, fields);
}

/// Names the event types of an endpoint that the catalog does not know.
pub fn name_unknown_types(headers: &mut HeaderMap, types: impl IntoIterator<Item = String>) {
    name(headers, UNKNOWN_TYPES_HEADER, types);
}

fn name(headers: &mut HeaderMap, header: &'static str, fields: impl IntoIterator<Item = String>) {
    let fits = |name: &String| name.len() <= NAME_BYTES && name.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let names: Vec<String> = fields.into_iter().filter(fits).take(IGNORED_MOST).collect();
    if !names.is_empty()
        && let Ok(value) = HeaderValue::from_str(&names.join(", "))
    {
        headers.insert(header, value);
    }
}

/// A name without what is written in more than one way.
fn plain(name: &str) -> String {
    name.chars().filter(|letter| letter.is_alphanumeric()).take(NAME_BYTES).flat_map(char::to_lowercase).collect()
}

/// One letter may differ, in longer names two; short names are each other's neighbours (`date`, `data`).
fn is_nearly(name: &str, known: &str) -> bool {
    let most = match known.chars().count() {
        0..=4 => 0,
        5..=7 => 1,
        _ => 2,
    };
    strsim::osa_distance(name, known) <= most
}

/// The words of a name in camel case, or with marks between them.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for letter in name.chars().take(NAME_BYTES) {
        if letter.is_uppercase() || !letter.is_alphanumeric() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.extend(letter.to_lowercase().filter(|letter| letter.is_alphanumeric()));
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_restrict_is_not_ignored_and_the_rest_is() {
        let known = ["url", "eventTypes", "channels", "uid", "disabled"];
        let objects = |name| objection(name, known);
        for meant in ["chanels", "event_types", "EventTypes", "channel", "disable"] {
            assert!(objects(meant).is_some_and(|said| said.contains("do you mean")), "{meant}");
        }
        for restricts in ["expiry", "readOnly", "capabilities", "rateLimit", "payloadRetentionHours", "deliverAt", "ipAllowList"]
        {
            assert!(objects(restricts).is_some(), "{restricts}");
        }
        for harmless in [
            "version",
            "description",
            "note",
            "colour",
            "x",
            "",
            "ur",
            "script",
            "sessionId",
            "date",
            "author",
            "minutes",
            "readAt",
        ] {
            assert_eq!(objects(harmless), None, "{harmless}");
        }
    }

    #[test]
    fn strictness_is_asked_for_as_the_standard_says() {
        let strict = |value: &'static str| {
            is_strict(&HeaderMap::from_iter([(http::header::HeaderName::from_static("prefer"), HeaderValue::from_static(value))]))
        };
        assert!(strict("handling=strict") && strict("respond-async, Handling=strict") && strict("handling = \"strict\""));
        assert!(!strict("handling=lenient") && !is_strict(&HeaderMap::new()));
    }
}
