//! Bodies of AMQP 1.0 publishers that RabbitMQ hands on with their framing, marked `type = amqp-1.0`: everything but data sections.
//!
//! The encoding is that of AMQP 1.0 part 1 (types) and part 3, §3.2 (sections).

use bytes::Bytes;
use hookyard_core::{Refusal, RefusalReason};

/// The property `type` with which RabbitMQ marks them.
const MARK: &str = "amqp-1.0";
/// Descriptors of body sections, as small and as ordinary unsigned longs (§1.6.10).
const DATA: u64 = 0x75;
const SEQUENCE: u64 = 0x76;
const VALUE: u64 = 0x77;

/// Whether a body has AMQP 1.0 framing: the mark alone could be an event type.
pub(super) fn is_framed(message_type: Option<&str>, body: &[u8]) -> bool {
    message_type == Some(MARK) && descriptor(body).is_some()
}

/// What stands in the frame, if it is one text or one binary.
pub(super) fn unwrap(body: &Bytes) -> Result<Bytes, Refusal> {
    let refused = |what: &str| {
        let advice = "send the body as a data section (binary), or as a text";
        Refusal::new(RefusalReason::Unreadable, format!("an AMQP 1.0 body that is {what}: {advice}"))
    };
    let (section, rest) = descriptor(body).ok_or_else(|| refused("cut off"))?;
    if section == SEQUENCE {
        return Err(refused("a sequence"));
    }
    let (&code, rest) = rest.split_first().ok_or_else(|| refused("cut off"))?;
    let length_bytes = match code {
        // vbin8, str8-utf8, sym8; vbin32, str32-utf8, sym32 (§1.6.19 to §1.6.21).
        0xa0 | 0xa1 | 0xa3 => 1,
        0xb0 | 0xb1 | 0xb3 => 4,
        0x40 => return Err(refused("null")),
        0xc0 | 0xd0 | 0x45 | 0xc1 | 0xd1 => return Err(refused("a list or a map")),
        _ => return Err(refused("neither text nor binary")),
    };
    let (length, content) = rest.split_at_checked(length_bytes).ok_or_else(|| refused("cut off"))?;
    let length = length.iter().fold(0_usize, |length, byte| (length << 8) | usize::from(*byte));
    match content.len() {
        found if found < length => Err(refused("cut off")),
        found if found > length => Err(refused("of several sections")),
        _ => Ok(body.slice_ref(content)),
    }
}

/// The section at the front of a body, and what follows its descriptor.
fn descriptor(body: &[u8]) -> Option<(u64, &[u8])> {
    let (section, rest) = match body {
        [0x00, 0x53, small, rest @ ..] => (u64::from(*small), rest),
        [0x00, 0x80, long @ ..] => {
            let (long, rest) = long.split_at_checked(8)?;
            (long.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte)), rest)
        }
        _ => return None,
    };
    [DATA, SEQUENCE, VALUE].contains(&section).then_some((section, rest))
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

    #[test]
    fn other_bodies_are_what_they_are() {
        for body in [&b"{}"[..], b"", b"\x00\x53", b"\x00\x53\x70\x40", b"\x00\x80\x00"] {
            assert!(!is_framed(Some("amqp-1.0"), body));
        }
        assert!(!is_framed(Some("order.paid"), b"\x00\x53\x77\xa1\x02{}"));
        assert!(!is_framed(None, b"\x00\x53\x77\xa1\x02{}"));
    }
}
