//! What a list's member says of its item behind its ids: enough for a filter to leave most of what it leaves out unread.
//!
//! A summary may let pass what the item itself does not; it never leaves out what does. A member without one lets everything pass.

use hookyard_core::journal::{AttemptFilter, AttemptRecord, MessageFilter};
use hookyard_core::{AttemptClass, Channel, Event, EventType};

/// Bytes of the type and of the channels.
const TYPE: usize = 4;
const CHANNELS: usize = 4;
/// Bits of the last byte of an attempt's: the class of its status, whether it was a success, whether it is a message's first.
const STATUS_CLASS: u8 = 0b0111;
const SUCCESS: u8 = 0b1000;
const FIRST: u8 = 0b1_0000;

/// Of a message.
pub fn of_message(event: &Event) -> [u8; TYPE + CHANNELS] {
    of(&event.event_type, &event.channels)
}

/// Of an attempt.
pub fn of_attempt(record: &AttemptRecord) -> [u8; TYPE + CHANNELS + 1] {
    let class = record.result.status.and_then(|status| u8::try_from(status / 100).ok()).unwrap_or(0) & STATUS_CLASS;
    let success = if record.result.class == AttemptClass::Success { SUCCESS } else { 0 };
    let first = if (record.run, record.number) == (0, 1) { FIRST } else { 0 };
    let mut summary = [0; TYPE + CHANNELS + 1];
    summary[..TYPE + CHANNELS].copy_from_slice(&of(&record.event_type, &record.channels));
    summary[TYPE + CHANNELS] = class | success | first;
    summary
}

fn of(event_type: &EventType, channels: &[Channel]) -> [u8; TYPE + CHANNELS] {
    let set = channels.iter().fold(0, |set, channel| set | bit(channel));
    let mut summary = [0; TYPE + CHANNELS];
    summary[..TYPE].copy_from_slice(&hash(event_type.as_str()).to_be_bytes());
    summary[TYPE..].copy_from_slice(&u32::to_be_bytes(set));
    summary
}

/// What a filter asks of summaries.
#[derive(Default)]
pub struct Wanted {
    types: Vec<[u8; TYPE]>,
    channel: u32,
    /// Bits that count of the last byte, and what they must be.
    mask: u8,
    bits: u8,
}

impl Wanted {
    pub fn of_messages(filter: &MessageFilter) -> Self {
        Self::of(&filter.event_types, filter.channel.as_ref())
    }

    pub fn of_attempts(filter: &AttemptFilter) -> Self {
        let mut wanted = Self::of(&filter.event_types, filter.channel.as_ref());
        if let Some(success) = filter.success {
            wanted.ask(SUCCESS, if success { SUCCESS } else { 0 });
        }
        if let Some(class) = filter.status_class.and_then(|class| u8::try_from(class).ok()) {
            wanted.ask(STATUS_CLASS, class & STATUS_CLASS);
        }
        if filter.first_only {
            wanted.ask(FIRST, FIRST);
        }
        wanted
    }

    fn of(types: &[EventType], channel: Option<&Channel>) -> Self {
        let types = types.iter().map(|name| hash(name.as_str()).to_be_bytes()).collect();
        Self { types, channel: channel.map_or(0, bit), ..Self::default() }
    }

    fn ask(&mut self, mask: u8, bits: u8) {
        self.mask |= mask;
        self.bits |= bits;
    }

    /// Whether an item of this summary may pass.
    pub fn may_pass(&self, summary: &[u8]) -> bool {
        let Some((name, rest)) = summary.split_first_chunk::<TYPE>() else { return true };
        let Some((channels, rest)) = rest.split_first_chunk::<CHANNELS>() else { return true };
        (self.types.is_empty() || self.types.contains(name))
            && u32::from_be_bytes(*channels) & self.channel == self.channel
            && rest.first().is_none_or(|bits| bits & self.mask == self.bits)
    }
}

/// One of 32 bits.
fn bit(channel: &Channel) -> u32 {
    1 << (hash(channel.as_str()) % 32)
}

/// FNV-1a, 32 bits: stored, so it must stay what it is.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(names: &[&str]) -> Vec<EventType> {
        names.iter().map(|name| name.parse().expect("an event type")).collect()
    }

    fn channels(names: &[&str]) -> Vec<Channel> {
        names.iter().map(|name| name.parse().expect("a channel")).collect()
    }

    #[test]
    fn what_passes_the_filter_passes_by_its_summary_and_most_of_the_rest_does_not() {
        let summary = of(&types(&["order.paid"])[0], &channels(&["eu", "vip"]));
        let filter = |event_types: &[&str], channel: Option<&str>| MessageFilter {
            event_types: types(event_types),
            channel: channel.map(|name| name.parse().expect("a channel")),
            ..MessageFilter::default()
        };
        let may_pass = |filter: MessageFilter| Wanted::of_messages(&filter).may_pass(&summary);
        assert!(may_pass(filter(&[], None)) && may_pass(filter(&["order.paid"], Some("vip"))));
        assert!(may_pass(filter(&["other", "order.paid"], None)));
        assert!(!may_pass(filter(&["order.refunded"], None)) && !may_pass(filter(&["order.paid"], Some("us"))));
        assert!(Wanted::of_messages(&filter(&["x"], Some("y"))).may_pass(&[]), "nothing is known of it");
    }

    #[test]
    fn the_bits_of_an_attempt_are_judged_each_alone() {
        let wanted = |success, status_class, first_only| {
            Wanted::of_attempts(&AttemptFilter { success, status_class, first_only, ..AttemptFilter::default() })
        };
        let summary = |bits: u8| [&[0; TYPE + CHANNELS][..], &[bits]].concat();
        let (ok, failed_again) = (summary(2 | SUCCESS | FIRST), summary(5));
        assert!(wanted(Some(true), Some(2), true).may_pass(&ok) && wanted(None, None, false).may_pass(&ok));
        assert!(!wanted(Some(false), None, false).may_pass(&ok) && !wanted(None, Some(5), false).may_pass(&ok));
        assert!(wanted(Some(false), Some(5), false).may_pass(&failed_again));
        assert!(!wanted(None, None, true).may_pass(&failed_again));
    }
}
