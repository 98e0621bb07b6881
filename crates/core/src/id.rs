//! Identifiers: 20 bytes (6 of time, 14 random or derived), written as a prefix and 27 base62 characters that sort by time.

use std::fmt;
use std::str::FromStr;

use ring::digest;

use crate::clock::{Entropy, Timestamp};

/// Bytes in an identifier: 48 bits of milliseconds, then 112 bits that make it unique.
pub const ID_BYTES: usize = 20;
/// Characters after the prefix: 160 bits need ⌈160 / log2 62⌉ = 27 base62 digits.
const ID_CHARS: usize = 27;
/// In ASCII order, so that text sorts as the bytes do.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Text that is not an identifier of the kind asked for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not an identifier of the form {prefix}… with 27 base62 characters")]
pub struct BadId {
    prefix: &'static str,
}

macro_rules! identifiers {
    ($($(#[$doc:meta])* $name:ident $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; ID_BYTES]);

        impl $name {
            /// What its text starts with.
            pub const PREFIX: &'static str = $prefix;

            /// A new identifier of this moment.
            pub fn new(now: Timestamp, entropy: &dyn Entropy) -> Self {
                let mut unique = [0_u8; ID_BYTES - 6];
                entropy.fill(&mut unique);
                Self(assemble(now, unique))
            }

            /// The lowest identifier of a moment: a place in a list, and nobody's.
            pub fn at(moment: Timestamp) -> Self {
                Self(assemble(moment, [0; ID_BYTES - 6]))
            }

            /// From its 20 bytes.
            pub const fn from_bytes(bytes: [u8; ID_BYTES]) -> Self {
                Self(bytes)
            }

            /// From a slice that must be 20 bytes long.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// From the first 20 bytes of a longer slice.
            pub fn from_prefix(bytes: &[u8]) -> Option<Self> {
                bytes.first_chunk().copied().map(Self)
            }

            /// Its 20 bytes; they sort by time.
            pub const fn as_bytes(&self) -> &[u8; ID_BYTES] {
                &self.0
            }

            /// The moment it carries.
            pub fn time(&self) -> Timestamp {
                time_of(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                write_base62(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                text.strip_prefix($prefix).and_then(read_base62).map(Self).ok_or(BadId { prefix: $prefix })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

identifiers! {
    /// An application: a tenant that owns endpoints and messages.
    AppId "app_";
    /// An endpoint: a customer's URL and how to call it.
    EndpointId "ep_";
    /// A message: one event as Hookyard keeps it. Fixed once, the same for every endpoint, attempt and replay.
    MessageId "msg_";
    /// One attempt of a delivery. Derived, so that doing a step twice repeats the same id.
    AttemptId "atmpt_";
    /// A dead letter: the end of one run of a delivery. Derived, so that writing it down twice repeats the same id.
    DeadLetterId "dl_";
    /// A task.
    TaskId "task_";
    /// A message set aside. Derived, or of the row that holds it.
    RejectionId "rej_";
}

impl AttemptId {
    /// The id of attempt `number` of run `run` of the delivery of `message` to `endpoint`, due at `due`.
    ///
    /// Derived from what travels in the delivery, so a repeated step names the same attempt; its time is the due time, so lists
    /// sorted by id are sorted by when the attempt should have been made.
    pub fn derive(due: Timestamp, message: MessageId, endpoint: EndpointId, run: u32, number: u32) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(message.as_bytes());
        hash.update(endpoint.as_bytes());
        hash.update(&run.to_be_bytes());
        hash.update(&number.to_be_bytes());
        let mut unique = [0_u8; ID_BYTES - 6];
        unique.copy_from_slice(&hash.finish().as_ref()[..ID_BYTES - 6]);
        Self(assemble(due, unique))
    }
}

impl DeadLetterId {
    /// The id of the end of run `run` of the delivery of `message` to `endpoint`, at `ended`: lists sorted by id are sorted by when
    /// it died.
    pub fn derive(ended: Timestamp, message: MessageId, endpoint: EndpointId, run: u32) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(message.as_bytes());
        hash.update(endpoint.as_bytes());
        hash.update(&run.to_be_bytes());
        let mut unique = [0_u8; ID_BYTES - 6];
        unique.copy_from_slice(&hash.finish().as_ref()[..ID_BYTES - 6]);
        Self(assemble(ended, unique))
    }
}

fn assemble(time: Timestamp, unique: [u8; ID_BYTES - 6]) -> [u8; ID_BYTES] {
    let millis = u64::try_from(time.as_millis()).unwrap_or(0);
    let mut bytes = [0_u8; ID_BYTES];
    bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&unique);
    bytes
}

fn time_of(bytes: &[u8; ID_BYTES]) -> Timestamp {
    let millis = bytes[..6].iter().fold(0_i64, |value, byte| (value << 8) | i64::from(*byte));
    Timestamp::from_millis(millis)
}

/// Digits that one pass over the words finds: as many as a word holds. Ids are written several times per delivery.
const DIGITS_AT_ONCE: usize = 5;
const SIXTY_TWO_TO_THE_FIFTH: u64 = 62_u64.pow(5);

fn write_base62(bytes: &[u8; ID_BYTES], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut words = [0_u32; 5];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = chunk.iter().fold(0, |value, byte| (value << 8) | u32::from(*byte));
    }
    let mut text = [b'0'; ID_CHARS];
    for digits in text.rchunks_mut(DIGITS_AT_ONCE) {
        let mut remainder = 0_u64;
        for word in &mut words {
            let value = (remainder << 32) | u64::from(*word);
            *word = u32::try_from(value / SIXTY_TWO_TO_THE_FIFTH).unwrap_or(u32::MAX);
            remainder = value % SIXTY_TWO_TO_THE_FIFTH;
        }
        for character in digits.iter_mut().rev() {
            *character = ALPHABET[usize::try_from(remainder % 62).unwrap_or(0)];
            remainder /= 62;
        }
    }
    f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
}

fn read_base62(text: &str) -> Option<[u8; ID_BYTES]> {
    if text.len() != ID_CHARS {
        return None;
    }
    let mut words = [0_u32; 5];
    for character in text.bytes() {
        let mut carry = match character {
            b'0'..=b'9' => u64::from(character - b'0'),
            b'A'..=b'Z' => u64::from(character - b'A') + 10,
            b'a'..=b'z' => u64::from(character - b'a') + 36,
            _ => return None,
        };
        for word in words.iter_mut().rev() {
            let value = u64::from(*word) * 62 + carry;
            *word = u32::try_from(value & 0xffff_ffff).unwrap_or(0);
            carry = value >> 32;
        }
        if carry != 0 {
            return None;
        }
    }
    let mut bytes = [0_u8; ID_BYTES];
    for (chunk, word) in bytes.chunks_exact_mut(4).zip(words) {
        chunk.copy_from_slice(&word.to_be_bytes());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_round_trips_and_sorts_as_bytes(a: [u8; ID_BYTES], b: [u8; ID_BYTES]) {
            let (a, b) = (MessageId::from_bytes(a), MessageId::from_bytes(b));
            prop_assert_eq!(a.to_string().parse::<MessageId>(), Ok(a));
            prop_assert_eq!(a.to_string().cmp(&b.to_string()), a.cmp(&b));
        }

        #[test]
        fn foreign_text_is_refused_or_round_trips(text in "(msg_)?[0-9A-Za-z]{25,29}") {
            if let Ok(id) = text.parse::<MessageId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }

    #[test]
    fn the_time_comes_back() {
        let id = AttemptId::derive(
            Timestamp::from_millis(1_700_000_000_123),
            MessageId::from_bytes([1; 20]),
            EndpointId::from_bytes([2; 20]),
            0,
            1,
        );
        assert_eq!(id.time(), Timestamp::from_millis(1_700_000_000_123));
        assert_eq!(id.to_string().len(), "atmpt_".len() + 27);
    }

    #[test]
    fn a_derived_id_depends_on_every_part() {
        let at = Timestamp::from_millis(7);
        let (m, e) = (MessageId::from_bytes([1; 20]), EndpointId::from_bytes([2; 20]));
        let base = AttemptId::derive(at, m, e, 0, 1);
        assert_eq!(base, AttemptId::derive(at, m, e, 0, 1));
        for other in [
            AttemptId::derive(at, MessageId::from_bytes([3; 20]), e, 0, 1),
            AttemptId::derive(at, m, EndpointId::from_bytes([3; 20]), 0, 1),
            AttemptId::derive(at, m, e, 1, 1),
            AttemptId::derive(at, m, e, 0, 2),
        ] {
            assert_ne!(base, other);
        }
    }
}
