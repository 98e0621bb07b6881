use amq_protocol::frame::{AMQPFrame, parse_frame};
use amq_protocol::protocol::{AMQPClass, basic};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::unreadable::Unreadable;

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(kind, channel, payload, &mut bytes);
    bytes
}

fn short(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).expect("a short text")], text].concat()
}

fn deliver(channel: u16, exchange: &[u8], key: &[u8]) -> Vec<u8> {
    let payload = [&[0, 60, 0, 60][..], &short(b"ctag"), &[0, 0, 0, 0, 0, 0, 0, 1], &[0], &short(exchange), &short(key)].concat();
    frame(METHOD, channel, &payload)
}

fn returned(channel: u16, key: &[u8]) -> Vec<u8> {
    frame(METHOD, channel, &[&[0, 60, 0, 50, 1, 56][..], &short(b"NO_ROUTE"), &short(b"x"), &short(key)].concat())
}

fn got(channel: u16, key: &[u8]) -> Vec<u8> {
    let payload = [&[0, 60, 0, 71, 0, 0, 0, 0, 0, 0, 0, 1, 0][..], &short(b"x"), &short(key), &[0, 0, 0, 0]].concat();
    frame(METHOD, channel, &payload)
}

/// With only a type.
fn content_header(channel: u16, kind: &[u8]) -> Vec<u8> {
    frame(HEADER, channel, &[&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0x20][..], &short(kind)].concat())
}

fn body(channel: u16) -> Vec<u8> {
    frame(3, channel, b"{}")
}

fn fed(frames: &mut Frames, input: &[u8], piece: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in input.chunks(piece) {
        frames.feed(piece, &mut out);
    }
    out
}

/// Every frame, as the library reads them.
fn parsed(mut bytes: &[u8]) -> Vec<AMQPFrame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (rest, frame) = parse_frame(bytes).expect("the library can read it");
        frames.push(frame);
        bytes = rest;
    }
    frames
}

#[test]
fn what_is_right_passes_in_whatever_pieces_it_comes() {
    let stream =
        [deliver(1, b"events", b"order.paid"), content_header(1, b"a"), body(1), frame(8, 0, b""), got(2, b"k")].concat();
    for piece in [1, 2, 3, 7, 8, 13, 1000] {
        assert_eq!(fed(&mut Frames::new(None), &stream, piece), stream, "in pieces of {piece}");
    }
}

#[test]
fn a_bad_key_is_shown_with_marks_and_told_with_its_own_content_header() {
    for method in [deliver(1, b"events", b"caf\xe9"), returned(1, b"caf\xe9"), got(1, b"caf\xe9")] {
        // Another channel's content comes in between.
        let stream = [method, deliver(2, b"events", b"good"), content_header(2, b"b"), content_header(1, b"a"), body(1)].concat();
        let read = parsed(&fed(&mut Frames::new(None), &stream, 5));
        let key = match &read[0] {
            AMQPFrame::Method(1, AMQPClass::Basic(basic::AMQPMethod::Deliver(method))) => method.routing_key.clone(),
            AMQPFrame::Method(1, AMQPClass::Basic(basic::AMQPMethod::Return(method))) => method.routing_key.clone(),
            AMQPFrame::Method(1, AMQPClass::Basic(basic::AMQPMethod::GetOk(method))) => method.routing_key.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(key.as_str(), "caf\u{fffd}");
        let unreadable = |index: usize| match &read[index] {
            AMQPFrame::Header(_, header) => Unreadable::of(&header.properties),
            other => panic!("{other:?}"),
        };
        assert!(!unreadable(2).has("routing_key"), "the other channel's");
        assert!(unreadable(3).has("routing_key") && !unreadable(3).has("exchange"));
    }
}

#[test]
fn a_key_of_nothing_but_bad_bytes_still_fits() {
    let read = parsed(&fed(&mut Frames::new(None), &deliver(1, b"events", &[0xff; 255]), 64));
    let [AMQPFrame::Method(1, AMQPClass::Basic(basic::AMQPMethod::Deliver(method)))] = &read[..] else { panic!("{read:?}") };
    assert_eq!(method.routing_key.as_str().len(), 255);
}

#[test]
fn a_header_too_large_to_be_held_is_stood_in_for() {
    let huge = [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0xff, 0xff][..], &vec![b'x'; 2 * HELD_MOST]].concat();
    let stream = [frame(HEADER, 1, &huge), body(1)].concat();
    let mut frames = Frames::new(None);
    let read = parsed(&fed(&mut frames, &stream, 9_999));
    let [AMQPFrame::Header(1, header), AMQPFrame::Body(1, _)] = &read[..] else { panic!("{read:?}") };
    assert_eq!(header.body_size, 2);
    assert!(Unreadable::of(&header.properties).has("type"));
    assert!(frames.held.capacity() < HELD_MOST, "it was never held");
}

#[test]
fn headers_are_held_to_the_frame_that_was_agreed() {
    let tune = frame(METHOD, 0, &[0, 10, 0, 30, 0, 0, 0, 0, 0x20, 0, 0, 0]);
    let large =
        [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x20, 0, 0, 0, 0x40, 9, 1, b'a', b'S', 0, 0, 0x40, 2][..], &vec![b'x'; 0x4002]]
            .concat();
    let out = fed(&mut Frames::new(None), &[tune.clone(), frame(HEADER, 1, &large)].concat(), 64);
    assert!(out.len() - tune.len() <= 0x2000, "{}", out.len());
    assert_eq!(parsed(&out).len(), 2);
}

#[test]
fn a_broker_of_another_protocol_is_heard() {
    assert_eq!(fed(&mut Frames::new(None), b"AMQP\0\x01\0\0", 3), b"AMQP\0\x01\0\0");
}

proptest! {
    /// However the stream is cut, the same comes out.
    #[test]
    fn pieces_make_no_difference(
        contents in vec((any::<u16>(), vec(any::<u8>(), 0..20), vec(any::<u8>(), 0..20), vec(any::<u8>(), 0..60)), 0..6),
        piece in 1_usize..50,
    ) {
        let mut stream = Vec::new();
        for (channel, key, kind, header) in &contents {
            stream.extend(deliver(*channel, b"events", key));
            stream.extend(content_header(*channel, kind));
            stream.extend(frame(HEADER, *channel, header));
            stream.extend(body(*channel));
        }
        let whole = fed(&mut Frames::new(None), &stream, stream.len().max(1));
        prop_assert_eq!(parsed(&whole).len(), contents.len() * 4);
        prop_assert_eq!(fed(&mut Frames::new(None), &stream, piece), whole);
    }
}
