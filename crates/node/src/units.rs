//! Human durations and sizes in configuration, read and written: `15s`, `256KiB`.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de};

/// Text, or what is read as something else where text is wanted: an environment variable may look like a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Word {
    Flag(bool),
    Number(i64),
    Fraction(f64),
    Text(String),
}

impl Word {
    fn text(self) -> String {
        match self {
            Self::Flag(flag) => flag.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Fraction(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

/// `15s`, `10m`, `7d`.
pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_duration(&Word::deserialize(deserializer)?.text()).map_err(de::Error::custom)
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && text != "0" {
        return Err(format!("{text} has no unit: {text}s is in seconds"));
    }
    humantime::parse_duration(text).map_err(|error| format!("{text:?} is not a duration like 15s: {error}"))
}

/// `127.0.0.1:8080`.
pub fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = Word::deserialize(deserializer)?.text();
    text.trim().parse().map_err(|_| de::Error::custom(format!("{text:?} is no address with a port, like 127.0.0.1:8080")))
}

/// `30s,10m` or a list of such.
pub fn durations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Duration>, D::Error> {
    list(deserializer)?.iter().map(|part| parse_duration(part).map_err(de::Error::custom)).collect()
}

/// `a,b` or a list; empty text is an empty list.
pub fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        One(Word),
        List(Vec<Word>),
    }
    let parts: Vec<String> = match Either::deserialize(deserializer)? {
        Either::One(word) => word.text().split(',').map(str::to_owned).collect(),
        Either::List(list) => list.into_iter().map(Word::text).collect(),
    };
    Ok(parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect())
}

/// `256KiB`, `8MiB`, or a number of bytes.
pub fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(usize),
        Text(String),
    }
    let text = match Either::deserialize(deserializer)? {
        Either::Number(bytes) => return Ok(bytes),
        Either::Text(text) => text,
    };
    parse_size(&text).ok_or_else(|| de::Error::custom(format!("{text:?} is not a size like 256KiB")))
}

/// As [`duration`] reads it.
pub fn write_duration<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text_of(*duration))
}

/// As [`durations`] reads them.
pub fn write_durations<S: Serializer>(durations: &[Duration], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&durations.iter().map(|duration| text_of(*duration)).collect::<Vec<_>>().join(","))
}

/// As [`size`] reads it.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
pub fn write_size<S: Serializer>(bytes: &usize, serializer: S) -> Result<S::Ok, S::Error> {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let whole = units.into_iter().find(|(_, unit)| *bytes > 0 && bytes.is_multiple_of(*unit));
    match whole {
        Some((name, unit)) => serializer.collect_str(&format_args!("{}{name}", bytes / unit)),
        None => serializer.collect_str(bytes),
    }
}

fn text_of(duration: Duration) -> String {
    // `7days` and `1h 30m` in its own words; shorter ones are usual here, and read the same.
    humantime::format_duration(duration).to_string().replace("days", "d").replace("day", "d").replace(' ', "")
}

fn parse_size(text: &str) -> Option<usize> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: usize = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let cases = [("256KiB", Some(262_144)), ("8 MiB", Some(8 << 20)), ("12", Some(12)), ("1kb", None), ("", None)];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
    }

    #[test]
    fn a_number_alone_is_no_duration() {
        assert_eq!(parse_duration("5").err().as_deref(), Some("5 has no unit: 5s is in seconds"));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        assert_eq!(parse_duration(" 5s "), Ok(Duration::from_secs(5)));
    }

    #[test]
    fn what_is_written_reads_the_same() {
        for seconds in [0, 1, 90, 600, 3_600, 5_400, 86_400, 604_800, 700_000] {
            let duration = Duration::from_secs(seconds);
            assert_eq!(humantime::parse_duration(&text_of(duration)).ok(), Some(duration), "{}", text_of(duration));
        }
        assert_eq!(text_of(Duration::from_secs(604_800)), "7d");
    }
}
