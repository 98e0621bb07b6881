//! What AMQP 1.0 publishers send, as RabbitMQ hands it on to consumers of AMQP 0-9-1: bodies with their framing, marked
//! `type = amqp-1.0`, unless they are one data section; and, from the plugin of 3.10 to 3.12, properties and annotations as encoded
//! sections in headers `x-amqp-1.0-…`.
//!
//! The encoding is that of AMQP 1.0 part 1 (types) and part 3, §3.2 (sections).

use std::collections::BTreeMap;

use bytes::Bytes;
use hookyard_core::{Refusal, RefusalReason};

use super::given::Given;

/// The property `type` with which RabbitMQ marks a frame.
const MARK: &str = "amqp-1.0";
/// Descriptors of sections (part 3, §3.2).
const ANNOTATIONS: u64 = 0x72;
const APPLICATION_PROPERTIES: u64 = 0x74;
const DATA: u64 = 0x75;
const SEQUENCE: u64 = 0x76;
const VALUE: u64 = 0x77;

/// A value, as far as a field of an event may be read from it.
#[derive(Debug, PartialEq)]
enum Value<'a> {
    /// Text, symbol or binary.
    Bytes(&'a [u8]),
    Integer(i64),
    Boolean(bool),
    Null,
    Other(&'static str),
}

/// Whether a body has AMQP 1.0 framing: the mark alone could be an event type.
pub(super) fn is_framed(message_type: Option<&str>, body: &[u8]) -> bool {
    let section = descriptor(body).map(|(section, _)| section);
    message_type == Some(MARK) && section.is_some_and(|section| [DATA, SEQUENCE, VALUE].contains(&section))
}

/// What stands in the frame, if it is one text or one binary.
pub(super) fn unwrap(body: &Bytes) -> Result<Bytes, Refusal> {
    let refused = |what: &str| {
        let advice = "send the body as a data section (binary), or as a text";
        Refusal::new(RefusalReason::Unreadable, format!("an AMQP 1.0 body that is {what}: {advice}"))
    };
    match descriptor(body) {
        Some((SEQUENCE, _)) => Err(refused("a sequence")),
        Some((_, rest)) => match value(rest) {
            Some((Value::Bytes(content), [])) => Ok(body.slice_ref(content)),
            Some((Value::Other(what), _)) => Err(refused(what)),
            Some((Value::Integer(_) | Value::Boolean(_) | Value::Null, _)) => Err(refused("neither text nor binary")),
            Some((Value::Bytes(_), _)) => Err(refused("of several sections")),
            None => Err(refused("cut off")),
        },
        None => Err(refused("cut off")),
    }
}

/// The application properties in their encoded section; `None` where they cannot be told apart.
pub(super) fn application_properties(section: &[u8]) -> Option<BTreeMap<String, Given>> {
    map(section, APPLICATION_PROPERTIES)
}

/// The message annotations in their encoded section; `None` where they cannot be told apart.
pub(super) fn annotations(section: &[u8]) -> Option<BTreeMap<String, Given>> {
    map(section, ANNOTATIONS)
}

fn map(section: &[u8], expected: u64) -> Option<BTreeMap<String, Given>> {
    let (found, rest) = descriptor(section)?;
    let (&code, rest) = rest.split_first()?;
    let width = match code {
        0xc1 => 1,
        0xd1 => 4,
        _ => return None,
    };
    let (size, rest) = rest.split_at_checked(width)?;
    let (count, mut rest) = rest.get(..number(size))?.split_at_checked(width)?;
    let mut entries = BTreeMap::new();
    for _ in 0..number(count) / 2 {
        let (name, after_name) = value(rest)?;
        let (content, after) = value(after_name)?;
        rest = after;
        // A name that is no text is no name of ours.
        if let Value::Bytes(name) = name
            && let Ok(name) = std::str::from_utf8(name)
        {
            let twice = Given::Other("there twice");
            entries.entry(name.to_owned()).and_modify(|entry| *entry = twice).or_insert_with(|| given(&content));
        }
    }
    (found == expected && rest.is_empty()).then_some(entries)
}

fn given(value: &Value<'_>) -> Given {
    match value {
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Given::Text(text.to_owned()),
            Err(_) => Given::Other("bytes that are not UTF-8"),
        },
        Value::Integer(number) => Given::Integer(*number),
        Value::Boolean(value) => Given::Text(value.to_string()),
        Value::Null => Given::Null,
        Value::Other(what) => Given::Other(what),
    }
}

/// The value at the front, and what follows it. Which bytes belong to a value follows from the first half of its code (part 1, §1.3).
fn value(bytes: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let (&code, rest) = bytes.split_first()?;
    let fixed = |width: usize| rest.split_at_checked(width);
    let variable = |width: usize| {
        let (length, rest) = rest.split_at_checked(width)?;
        rest.split_at_checked(number(length))
    };
    let (content, rest) = match code >> 4 {
        0x4 => fixed(0)?,
        0x5 => fixed(1)?,
        0x6 => fixed(2)?,
        0x7 => fixed(4)?,
        0x8 => fixed(8)?,
        0x9 => fixed(16)?,
        0xa | 0xc | 0xe => variable(1)?,
        0xb | 0xd | 0xf => variable(4)?,
        _ => return None,
    };
    let unsigned = || i64::try_from(content.iter().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte)));
    let signed = || {
        let first = i64::from(i8::from_be_bytes([*content.first().unwrap_or(&0)]));
        content.iter().skip(1).fold(first, |number, byte| (number << 8) | i64::from(*byte))
    };
    let value = match code {
        0xa0 | 0xa1 | 0xa3 | 0xb0 | 0xb1 | 0xb3 => Value::Bytes(content),
        0x40 => Value::Null,
        0x43 | 0x44 => Value::Integer(0),
        // Unsigned ones.
        0x50 | 0x52 | 0x53 | 0x60 | 0x70 | 0x80 => unsigned().map_or(Value::Other("a very large number"), Value::Integer),
        // Signed ones, and times in milliseconds.
        0x51 | 0x54 | 0x55 | 0x61 | 0x71 | 0x81 | 0x83 => Value::Integer(signed()),
        0x98 => Value::Other("a UUID"),
        0x41 => Value::Boolean(true),
        0x42 => Value::Boolean(false),
        0x56 => Value::Boolean(*content != [0]),
        0x45 | 0xc0 | 0xc1 | 0xd0 | 0xd1 | 0xe0 | 0xf0 => Value::Other("a list or a map"),
        _ => Value::Other("neither text nor binary"),
    };
    Some((value, rest))
}

/// The descriptor of the section at the front, as a small or an ordinary unsigned long (part 1, §1.6.10), and what follows it.
fn descriptor(body: &[u8]) -> Option<(u64, &[u8])> {
    match body {
        [0x00, 0x53, small, rest @ ..] => Some((u64::from(*small), rest)),
        [0x00, 0x80, long @ ..] => {
            let (long, rest) = long.split_at_checked(8)?;
            Some((long.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte)), rest))
        }
        _ => None,
    }
}

/// A length or a count, of one byte or four.
fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, byte| (number << 8) | usize::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &[u8]) -> Result<Vec<u8>, String> {
        assert!(is_framed(Some("amqp-1.0"), body));
        unwrap(&Bytes::copy_from_slice(body)).map(|data| data.to_vec()).map_err(|refusal| refusal.detail)
    }

    #[test]
    fn texts_and_binaries_are_unwrapped() {
        assert_eq!(read(b"\x00\x53\x77\xa1\x02{}"), Ok(b"{}".to_vec()));
        assert_eq!(read(b"\x00\x53\x77\xb1\x00\x00\x00\x02{}"), Ok(b"{}".to_vec()));
        assert_eq!(read(b"\x00\x53\x77\xa0\x01\xff"), Ok(b"\xff".to_vec()));
        assert_eq!(read(b"\x00\x80\x00\x00\x00\x00\x00\x00\x00\x77\xa1\x00"), Ok(Vec::new()));
        assert_eq!(read(b"\x00\x53\x75\xb0\x00\x00\x00\x01x"), Ok(b"x".to_vec()));
    }

    #[test]
    fn everything_else_is_refused_with_what_to_do() {
        for body in [
            &b"\x00\x53\x77\xc1\x01\x00"[..],
            b"\x00\x53\x77\x45",
            b"\x00\x53\x77\x40",
            b"\x00\x53\x77\x55\x05",
            b"\x00\x53\x77\xa1\x05{}",
            b"\x00\x53\x77\xa1\x02{}\x00\x53\x77\xa1\x02{}",
            b"\x00\x53\x76\x45",
            b"\x00\x53\x77",
        ] {
            let refused = read(body).expect_err("refused");
            assert!(refused.ends_with("send the body as a data section (binary), or as a text"), "{refused}");
        }
    }

    /// As RabbitMQ 3.10.8 hands on what rhea 3.0.5 sent.
    #[test]
    fn application_properties_are_read_from_their_section() {
        let section = b"\x00\x53\x74\xd1\x00\x00\x00\x21\x00\x00\x00\x04\xa1\x0chookyard-app\xa1\x04acme\xa1\x01k\xa1\x04text";
        let read = application_properties(section).expect("readable");
        let text = |name: &str, text: &str| (name.to_owned(), Given::Text(text.into()));
        assert_eq!(read, BTreeMap::from([text("hookyard-app", "acme"), text("k", "text")]));
        assert_eq!(annotations(section), None, "it is another section");
        for cut in 0..section.len() {
            assert_eq!(application_properties(&section[..cut]), None, "cut off at {cut}");
        }
    }

    #[test]
    fn what_is_there_twice_is_neither() {
        let section = b"\x00\x53\x74\xc1\x0d\x04\xa1\x01k\xa1\x01a\xa1\x01k\xa1\x01b";
        let read = application_properties(section).expect("readable");
        assert_eq!(read, BTreeMap::from([("k".to_owned(), Given::Other("there twice"))]));
    }

    #[test]
    fn every_kind_of_value_is_read_or_named() {
        let read = |bytes: &[u8]| value(bytes).map(|(value, rest)| (given(&value), rest.len()));
        for (bytes, expected) in [
            (&b"\x40"[..], Given::Null),
            (b"\x43", Given::Integer(0)),
            (b"\x53\xff", Given::Integer(255)),
            (b"\x54\xff", Given::Integer(-1)),
            (b"\x71\xff\xff\xff\xfe", Given::Integer(-2)),
            (b"\x83\x00\x00\x01\x9c\x14\x14\x84\x7b", Given::Integer(1_769_863_414_907)),
            (b"\x80\xff\xff\xff\xff\xff\xff\xff\xff", Given::Other("a very large number")),
            (b"\xa3\x01s", Given::Text("s".into())),
            (b"\xb0\x00\x00\x00\x01\xff", Given::Other("bytes that are not UTF-8")),
            (b"\x98\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", Given::Other("a UUID")),
            (b"\x41", Given::Text("true".into())),
            (b"\x42", Given::Text("false".into())),
            (b"\x56\x01", Given::Text("true".into())),
            (b"\x56\x00", Given::Text("false".into())),
            (b"\x82\0\0\0\0\0\0\0\0", Given::Other("neither text nor binary")),
            (b"\xd1\x00\x00\x00\x04\x00\x00\x00\x00", Given::Other("a list or a map")),
        ] {
            assert_eq!(read(bytes), Some((expected, 0)), "{bytes:?}");
        }
        assert_eq!(read(b"\x00"), None);
        assert_eq!(read(b"\xb1\xff\xff\xff\xff"), None);
    }

    #[test]
    fn other_bodies_are_what_they_are() {
        for body in [&b"{}"[..], b"", b"\x00\x53", b"\x00\x53\x70\x40", b"\x00\x80\x00"] {
            assert!(!is_framed(Some("amqp-1.0"), body));
        }
        assert!(!is_framed(Some("order.paid"), b"\x00\x53\x77\xa1\x02{}"));
        assert!(!is_framed(None, b"\x00\x53\x77\xa1\x02{}"));
    }
}
