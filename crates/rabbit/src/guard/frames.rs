//! Frames (AMQP 0-9-1 §4.2.3) on their way from the broker, in whatever pieces they come: content headers and the texts of publishers
//! in methods are held until they are whole, and repaired; everything else passes. Pure.

use std::collections::BTreeMap;

use super::header::{self, Replaced};
use crate::message::cut;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
/// Type, channel, size.
const HEAD_BYTES: usize = 7;
const END: u8 = 0xce;
/// What a broker answers instead of frames when it speaks another protocol.
const PROTOCOL: u8 = b'A';
/// The largest frame held. RabbitMQ's default for the largest there are is 128 KiB; a header may be somewhat larger, because the broker
/// adds its own after it has checked.
const HELD_MOST: usize = 1024 * 1024;
/// How much of a larger header is kept: its beginning holds the body's size.
const BEGINNING_BYTES: usize = 16 * 1024;
/// RabbitMQ's default, until the broker says another: the library refuses larger frames than agreed.
const FRAME_MAX: usize = 128 * 1024;

/// What every peer takes (AMQP 0-9-1 §4.2.3).
const FRAME_MIN: usize = 4096;

const CLASS_CONNECTION: u16 = 10;
const CONNECTION_TUNE: u16 = 30;
const CLASS_BASIC: u16 = 60;
const BASIC_RETURN: u16 = 50;
const BASIC_DELIVER: u16 = 60;
const BASIC_GET_OK: u16 = 71;

/// The frames of one connection.
#[derive(Debug)]
pub struct Frames {
    /// The frame that is being held.
    held: Vec<u8>,
    /// Bytes of a frame that passes as it is.
    passing: usize,
    /// Bytes of a frame too large to be held, but for its beginning.
    dropping: usize,
    is_foreign: bool,
    /// The largest frame both sides agree on.
    frame_max: usize,
    /// Of each channel, what was replaced in the method whose content header comes next.
    replaced: BTreeMap<u16, Replaced>,
}

impl Frames {
    /// Of a new connection whose client wants no larger frames than these, if it says so.
    pub fn new(frame_max: Option<u32>) -> Self {
        let frame_max = frame_max.and_then(|bytes| usize::try_from(bytes).ok()).filter(|bytes| *bytes > 0);
        Self {
            held: Vec::new(),
            passing: 0,
            dropping: 0,
            is_foreign: false,
            frame_max: frame_max.unwrap_or(FRAME_MAX).clamp(FRAME_MIN, FRAME_MAX),
            replaced: BTreeMap::new(),
        }
    }

    /// Takes what came, and appends to `out` what may be read now.
    pub fn feed(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        while !input.is_empty() {
            if self.is_foreign {
                return out.extend_from_slice(input);
            }
            if self.passing > 0 {
                let passed = take(&mut input, self.passing);
                self.passing -= passed.len();
                out.extend_from_slice(passed);
            } else if self.dropping > 0 {
                self.drop_some(&mut input, out);
            } else if let Some(length) = whole(input).filter(|_| self.held.is_empty()) {
                // As it mostly is: nothing need be held.
                let frame = take(&mut input, length);
                self.finish(frame, out);
            } else {
                self.hold(&mut input, out);
            }
        }
    }

    /// Holds more of a frame, until its kind is known, or until it is whole.
    fn hold(&mut self, input: &mut &[u8], out: &mut Vec<u8>) {
        if self.held.len() < HEAD_BYTES {
            if self.held.is_empty() && input[0] == PROTOCOL {
                self.is_foreign = true;
                return;
            }
            self.held.extend_from_slice(take(input, HEAD_BYTES - self.held.len()));
            if self.held.len() < HEAD_BYTES {
                return;
            }
            let total = total(&self.held);
            if self.held[0] != METHOD && self.held[0] != HEADER || (self.held[0] == METHOD && total > HELD_MOST) {
                out.append(&mut self.held);
                self.passing = total - HEAD_BYTES;
                return;
            }
            if total > HELD_MOST {
                self.dropping = total - HEAD_BYTES;
                return;
            }
        }
        let total = total(&self.held);
        self.held.extend_from_slice(take(input, total - self.held.len()));
        if self.held.len() == total {
            let frame = std::mem::take(&mut self.held);
            self.finish(&frame, out);
            self.held = frame;
            self.held.clear();
        }
    }

    /// A header too large to be held: its beginning stands for it.
    fn drop_some(&mut self, input: &mut &[u8], out: &mut Vec<u8>) {
        let dropped = take(input, self.dropping);
        self.dropping -= dropped.len();
        let room = (HEAD_BYTES + BEGINNING_BYTES).saturating_sub(self.held.len());
        self.held.extend_from_slice(&dropped[..room.min(dropped.len())]);
        if self.dropping == 0 {
            let held = std::mem::take(&mut self.held);
            self.replaced.remove(&channel(&held));
            write(HEADER, channel(&held), &header::stand_in(&held[HEAD_BYTES..], self.room()), out);
        }
    }

    /// A whole frame: as it is, or repaired.
    fn finish(&mut self, frame: &[u8], out: &mut Vec<u8>) {
        let (kind, channel, payload) = (frame[0], channel(frame), &frame[HEAD_BYTES..frame.len() - 1]);
        let repaired = match kind {
            // A broken frame is the library's to complain of.
            _ if frame[frame.len() - 1] != END => None,
            METHOD => self.method(channel, payload),
            HEADER => {
                let replaced = self.replaced.remove(&channel);
                header::repaired(payload, self.room(), replaced)
            }
            _ => None,
        };
        match repaired {
            Some(payload) => write(kind, channel, &payload, out),
            None => out.extend_from_slice(frame),
        }
    }

    /// What a publisher wrote stands in three methods: exchange and routing key of a message.
    fn method(&mut self, channel: u16, payload: &[u8]) -> Option<Vec<u8>> {
        let number = |at: usize| Some(u16::from_be_bytes([*payload.get(at)?, *payload.get(at + 1)?]));
        let texts_at = match (number(0)?, number(2)?) {
            (CLASS_CONNECTION, CONNECTION_TUNE) => {
                self.tune(payload);
                return None;
            }
            (CLASS_BASIC, BASIC_DELIVER) => 4 + 1 + usize::from(*payload.get(4)?) + 8 + 1,
            (CLASS_BASIC, BASIC_GET_OK) => 4 + 8 + 1,
            (CLASS_BASIC, BASIC_RETURN) => 4 + 2 + 1 + usize::from(*payload.get(6)?),
            _ => return None,
        };
        let exchange_ends = texts_at + 1 + usize::from(*payload.get(texts_at)?);
        let key_ends = exchange_ends + 1 + usize::from(*payload.get(exchange_ends)?);
        let (exchange, key) = (payload.get(texts_at + 1..exchange_ends)?, payload.get(exchange_ends + 1..key_ends)?);
        if std::str::from_utf8(exchange).is_ok() && std::str::from_utf8(key).is_ok() {
            self.replaced.remove(&channel);
            return None;
        }
        let mut lines = Vec::new();
        let mut repaired = payload[..texts_at].to_vec();
        for (name, text) in [("exchange", exchange), ("routing_key", key)] {
            if std::str::from_utf8(text).is_err() {
                lines.push(name.to_owned());
            }
            let text = shown(text);
            repaired.push(u8::try_from(text.len()).unwrap_or_default());
            repaired.extend_from_slice(text.as_bytes());
        }
        repaired.extend_from_slice(&payload[key_ends..]);
        self.replaced.insert(channel, Replaced { lines });
        Some(repaired)
    }

    /// The broker proposes a largest frame; zero is none.
    fn tune(&mut self, payload: &[u8]) {
        let proposed = payload.get(6..10).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        if let Some(proposed) = proposed.and_then(|bytes| usize::try_from(bytes).ok()).filter(|bytes| *bytes > 0) {
            self.frame_max = self.frame_max.min(proposed).max(FRAME_MIN);
        }
    }

    /// Bytes that the payload of a frame may have.
    fn room(&self) -> usize {
        self.frame_max - HEAD_BYTES - 1
    }
}

/// At most `count` bytes of the front of `input`, which goes on after them.
fn take<'a>(input: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(count.min(input.len()));
    *input = rest;
    taken
}

/// The length of the frame at the front, if all of it is there.
fn whole(input: &[u8]) -> Option<usize> {
    let has_head = input.len() >= HEAD_BYTES && input[0] != PROTOCOL;
    has_head.then(|| total(input)).filter(|total| input.len() >= *total)
}

/// The length of a frame by its head.
fn total(head: &[u8]) -> usize {
    let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
    HEAD_BYTES + usize::try_from(size).unwrap_or(usize::MAX - HEAD_BYTES - 1) + 1
}

fn channel(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[1], frame[2]])
}

fn write(kind: u8, channel: u16, payload: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or_default().to_be_bytes());
    out.extend_from_slice(payload);
    out.push(END);
}

/// For people: what is no text with marks in its place, in as many bytes as a short string has.
fn shown(text: &[u8]) -> String {
    cut(&String::from_utf8_lossy(text), usize::from(u8::MAX)).to_owned()
}

#[cfg(test)]
#[path = "frames_tests.rs"]
mod tests;
