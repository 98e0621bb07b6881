use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, parse_frame};
use lapin::BasicProperties;
use lapin::types::ShortString;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::unreadable::Unreadable;

const ROOM: usize = 128 * 1024 - 8;

/// A table: entries of a name, a tag and the bytes of a value.
fn table(entries: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut table = Vec::new();
    for (name, value) in entries {
        table.push(u8::try_from(name.len()).expect("a short name"));
        table.extend_from_slice(name);
        table.extend_from_slice(value);
    }
    table
}

fn long(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    write_long(&mut bytes, value);
    bytes
}

fn short(value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(value.len()).expect("a short text")];
    bytes.extend_from_slice(value);
    bytes
}

/// A content header with these fields, given in their order.
fn content_header(fields: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut payload = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
    let mut flags = 0_u16;
    for (name, _) in fields {
        let index = FIELDS.iter().position(|(field, _)| field == name).expect("a field");
        flags |= 0x8000 >> index;
    }
    payload.extend_from_slice(&flags.to_be_bytes());
    for (_, value) in fields {
        payload.extend_from_slice(value);
    }
    payload
}

fn headers(entries: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_long(&mut bytes, &table(entries));
    bytes
}

/// As the library reads it.
fn parsed(payload: &[u8]) -> Option<AMQPContentHeader> {
    let mut frame = vec![2, 0, 1];
    write_long(&mut frame, payload);
    frame.push(0xce);
    match parse_frame(frame.as_slice()) {
        Ok((_, AMQPFrame::Header(_, header))) => Some(header),
        _ => None,
    }
}

/// What the library reads after the guard, and what the guard says of it.
fn read(payload: &[u8]) -> (BasicProperties, Unreadable) {
    let repaired = repaired(payload, ROOM, None);
    assert!(repaired.as_ref().is_none_or(|repaired| repaired.len() <= ROOM));
    let header = parsed(repaired.as_deref().unwrap_or(payload)).expect("the library can read it");
    let unreadable = Unreadable::of(&header.properties);
    (header.properties, unreadable)
}

fn names(unreadable: &Unreadable) -> Vec<&str> {
    unreadable.headers().collect()
}

#[test]
fn what_the_library_can_read_stays_as_it_is() {
    let nested = long(b'F', &table(&[(b"a", &long(b'A', b"V"))]));
    let fields = [
        ("content_type", short("application/json; Ü".as_bytes())),
        (
            HEADERS,
            headers(&[(b"a", b"t\x01"), (b"b", &nested), (b"c", &long(b'S', b"\xff")), (b"d", b"V"), (b"e", b"D\x02\0\0\0\x05")]),
        ),
        ("delivery_mode", vec![2]),
        ("message_id", short(b"1")),
        ("timestamp", vec![0; 8]),
        ("cluster_id", short(b"")),
    ];
    assert_eq!(repaired(&content_header(&fields), ROOM, None), None);
    assert_eq!(repaired(&content_header(&[]), ROOM, None), None);
}

#[test]
fn properties_that_are_no_text_are_left_out_and_named() {
    let fields = [
        ("content_type", short(b"text/plain")),
        ("correlation_id", short(b"\x80\x81")),
        ("message_id", short(b"\xff")),
        ("timestamp", vec![0, 0, 0, 0, 0, 0, 0, 9]),
        ("type", short(b"caf\xe9")),
        ("app_id", short(b"app")),
    ];
    let (properties, unreadable) = read(&content_header(&fields));
    assert_eq!(properties.content_type().as_ref().map(ShortString::as_str), Some("text/plain"));
    assert_eq!(properties.timestamp(), &Some(9));
    assert_eq!(properties.app_id().as_ref().map(ShortString::as_str), Some("app"));
    assert_eq!((properties.kind(), properties.message_id()), (&None, &None));
    assert!(unreadable.has("type") && unreadable.has("message_id") && unreadable.has("correlation_id"));
    assert!(!unreadable.has("content_type") && !unreadable.has_any_header());
}

fn nested() -> Vec<u8> {
    (0..40).fold(b"V".to_vec(), |inner, _| long(b'A', &inner))
}

#[test]
fn headers_that_cannot_be_read_are_named_and_the_others_stay() {
    let deep = nested();
    let inner = long(b'F', &table(&[(b"\xff", b"V")]));
    let entries: [(&[u8], &[u8]); 6] =
        [(b"\xff", b"V"), (b"deep", &deep), (b"inner", &inner), (b"good", b"t\x01"), (b"twice", b"V"), (b"twice", b"t\x01")];
    let (properties, unreadable) = read(&content_header(&[(HEADERS, headers(&entries)), ("type", short(b"a"))]));
    assert_eq!(names(&unreadable), ["deep", "inner", "twice"]);
    assert!(!unreadable.has_any_header());
    let table = properties.headers().clone().expect("headers");
    assert_eq!(table.inner().keys().map(ToString::to_string).collect::<Vec<_>>(), ["good", ORIGINAL_HEADER, UNREADABLE_HEADER]);
    assert_eq!(properties.kind().as_ref().map(ShortString::as_str), Some("a"));
}

#[test]
fn after_an_unknown_kind_of_value_any_header_may_have_come() {
    let entries: [(&[u8], &[u8]); 3] = [(b"good", b"t\x01"), (b"odd", b"?\x01"), (b"hookyard-app", &long(b'S', b"acme"))];
    let (properties, unreadable) = read(&content_header(&[(HEADERS, headers(&entries)), ("type", short(b"a"))]));
    assert!(unreadable.has_any_header() && !unreadable.has("type"));
    assert!(properties.headers().as_ref().is_some_and(|table| table.inner().contains_key("good")));
}

#[test]
fn what_is_cut_off_or_too_long_is_unreadable_as_a_whole() {
    let whole = content_header(&[("content_type", short(b"text/plain")), ("type", short(b"a"))]);
    for cut in [whole[..whole.len() - 1].to_vec(), whole[..13].to_vec(), whole[..3].to_vec(), Vec::new()] {
        let (_, unreadable) = read(&cut);
        assert!(unreadable.has("type") && unreadable.has_any_header(), "{cut:?}");
    }
    let (properties, unreadable) = read(&[whole.clone(), b"more".to_vec()].concat());
    assert_eq!(properties.kind().as_ref().map(ShortString::as_str), Some("a"));
    assert!(!unreadable.has("type"));
}

#[test]
fn a_header_larger_than_a_frame_loses_its_largest_values() {
    let large = long(b'S', &vec![b'x'; 130 * 1024]);
    let entries: [(&[u8], &[u8]); 2] = [(b"hookyard-app", &long(b'S', b"acme")), (b"large", &large)];
    let (properties, unreadable) = read(&content_header(&[(HEADERS, headers(&entries))]));
    assert_eq!(names(&unreadable), ["large"]);
    assert!(properties.headers().as_ref().is_some_and(|table| table.inner().contains_key("hookyard-app")));
}

#[test]
fn the_size_of_the_body_is_kept_whatever_else_is_lost() {
    let payload = content_header(&[("type", short(b"\xff"))]);
    let repaired = repaired(&payload, ROOM, None).expect("repaired");
    assert_eq!(parsed(&repaired).expect("readable").body_size, 2);
    assert_eq!(parsed(&stand_in(&payload[..12], ROOM)).expect("readable").body_size, 2);
}

#[test]
fn what_was_unreadable_before_stays_so_beside_what_is_now() {
    let entries: [(&[u8], &[u8]); 1] = [(UNREADABLE_HEADER.as_bytes(), &long(b'S', b"message_id"))];
    let (_, unreadable) = read(&content_header(&[(HEADERS, headers(&entries)), ("type", short(b"\xff"))]));
    assert!(unreadable.has("type") && unreadable.has("message_id"));
}

#[test]
fn however_many_headers_are_unreadable_properties_are_named() {
    let names: Vec<Vec<u8>> = (0..9).map(|number| format!("{number}{}", "n".repeat(200)).into_bytes()).collect();
    let deep = nested();
    let entries: Vec<(&[u8], &[u8])> = names.iter().map(|name| (&name[..], &deep[..])).collect();
    let (_, unreadable) = read(&content_header(&[("content_encoding", short(b"gzip\xe9")), (HEADERS, headers(&entries))]));
    assert!(unreadable.has_any_header() && unreadable.has("content_encoding") && !unreadable.has("type"));
}

#[test]
fn a_header_at_the_very_limit_fits() {
    let inner = long(b'F', &table(&[(b"\xff", b"V")]));
    for size in ROOM - 1_300..ROOM - 900 {
        let large = long(b'S', &vec![b'x'; size]);
        let entries: [(&[u8], &[u8]); 2] = [(&[b'n'; 240], &inner), (b"large", &large)];
        read(&content_header(&[(HEADERS, headers(&entries))]));
    }
}

/// Values right and wrong, in one another.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let flat = prop_oneof![
        Just(b"V".to_vec()),
        any::<u8>().prop_map(|byte| vec![b't', byte]),
        any::<[u8; 2]>().prop_map(|bytes| [&b"s"[..], &bytes].concat()),
        any::<[u8; 8]>().prop_map(|bytes| [&b"T"[..], &bytes].concat()),
        (select(&b"Sx"[..]), vec(any::<u8>(), 0..20)).prop_map(|(tag, bytes)| long(tag, &bytes)),
        vec(any::<u8>(), 0..6),
    ];
    flat.prop_recursive(6, 64, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|values| long(b'A', &values.concat())),
            vec((vec(any::<u8>(), 0..4), inner), 0..4).prop_map(|entries| {
                let entries: Vec<(&[u8], &[u8])> = entries.iter().map(|(name, value)| (&name[..], &value[..])).collect();
                long(b'F', &table(&entries))
            }),
        ]
    })
}

fn any_header() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![vec(any::<u8>(), 0..5), Just(b"hookyard-app".to_vec()), Just(UNREADABLE_HEADER.as_bytes().to_vec())];
    let entries = vec((name, value()), 0..6);
    let text = prop_oneof!["[a-z]{0,9}".prop_map(String::into_bytes), vec(any::<u8>(), 0..9)];
    let fields = (any::<u16>(), vec(text, 14), entries, any::<[u8; 8]>());
    let built = fields.prop_map(|(flags, texts, entries, numbers)| {
        let entries: Vec<(&[u8], &[u8])> = entries.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        let mut payload = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
        payload.extend_from_slice(&flags.to_be_bytes());
        for (index, (_, kind)) in FIELDS.into_iter().enumerate().filter(|(index, _)| flags & (0x8000 >> index) != 0) {
            match kind {
                Kind::Text => payload.extend_from_slice(&short(&texts[index])),
                Kind::Bytes(count) => payload.extend_from_slice(&numbers[..count]),
                Kind::Table => payload.extend_from_slice(&headers(&entries)),
            }
        }
        payload
    });
    let built = built.boxed();
    let mutated = (built.clone(), vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), any::<prop::sample::Index>());
    let mutated = mutated.prop_map(|(mut payload, changes, cut)| {
        for (at, byte) in changes {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        payload.truncate(cut.index(payload.len() + 1));
        payload
    });
    prop_oneof![6 => built, 3 => mutated, 1 => vec(any::<u8>(), 0..200)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// The one promise: whatever a publisher wrote, the library can read what the guard lets through, and what the guard leaves alone
    /// is what the library would have read.
    #[test]
    fn whatever_was_published_the_library_can_read_it(payload in any_header(), room in select(&[4096 - 8, ROOM][..])) {
        let repaired = repaired(&payload, room, None);
        let passed = repaired.as_deref().unwrap_or(&payload);
        let header = parsed(passed);
        prop_assert!(header.is_some(), "{passed:?}");
        if let Some(repaired) = &repaired {
            prop_assert!(repaired.len() <= room);
            // Twice changes nothing any more.
            prop_assert_eq!(super::repaired(repaired, room, None), None);
        }
    }
}
