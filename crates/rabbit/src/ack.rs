//! Which delivery tags of a channel may be acked, and how. Pure: time is passed in.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// An acknowledgement to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The delivery tag.
    pub tag: u64,
    /// Whether it covers every smaller tag too.
    pub multiple: bool,
}

/// How long the smallest unfinished tag may hold back the finished ones behind it. Acking singly costs the broker as much as a
/// message does: under load, the smallest is finished well within this, and one ack then covers hundreds.
const PATIENCE: Duration = Duration::from_millis(500);

/// Tracks finished tags of one channel. The broker hands out tags 1, 2, 3 …; a multiple ack never passes the smallest unfinished one.
#[derive(Debug)]
pub struct AckTracker {
    /// The smallest tag that is not finished.
    smallest: u64,
    since: Instant,
    /// Finished tags behind it that the broker was not told of.
    unacked: BTreeSet<u64>,
    /// Finished tags behind it that were acked by themselves.
    acked: BTreeSet<u64>,
    /// How many unacked finished tags behind the smallest are too many to wait with.
    half_window: usize,
}

impl AckTracker {
    /// For a channel with this prefetch window.
    pub fn new(window: usize, now: Instant) -> Self {
        Self { smallest: 1, since: now, unacked: BTreeSet::new(), acked: BTreeSet::new(), half_window: (window / 2).max(1) }
    }

    /// A tag is finished.
    pub fn finish(&mut self, tag: u64) {
        if tag >= self.smallest && !self.acked.contains(&tag) {
            self.unacked.insert(tag);
        }
    }

    /// What to ack now.
    pub fn take(&mut self, now: Instant) -> Vec<Ack> {
        let mut acks = self.take_contiguous(now);
        let waiting = self.unacked.len();
        if waiting > 0 && (now.duration_since(self.since) > PATIENCE || waiting >= self.half_window) {
            self.take_behind(&mut acks);
        }
        acks
    }

    /// Everything that is finished, without patience.
    pub fn take_all(&mut self, now: Instant) -> Vec<Ack> {
        let mut acks = self.take_contiguous(now);
        self.take_behind(&mut acks);
        acks
    }

    fn take_contiguous(&mut self, now: Instant) -> Vec<Ack> {
        let mut acks = Vec::new();
        let mut last_unacked = None;
        let mut count = 0_u32;
        loop {
            if self.unacked.remove(&self.smallest) {
                last_unacked = Some(self.smallest);
                count += 1;
            } else if !self.acked.remove(&self.smallest) {
                break;
            }
            self.smallest += 1;
            self.since = now;
        }
        if let Some(tag) = last_unacked {
            acks.push(Ack { tag, multiple: count > 1 });
        }
        acks
    }

    fn take_behind(&mut self, acks: &mut Vec<Ack>) {
        acks.extend(self.unacked.iter().map(|tag| Ack { tag: *tag, multiple: false }));
        self.acked.append(&mut self.unacked);
    }

    /// Whether finished tags wait behind an unfinished one.
    pub fn is_waiting(&self) -> bool {
        !self.unacked.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The broker's side as a model: a multiple ack takes every outstanding tag up to it.
        #[test]
        fn never_acks_what_is_unfinished_and_finally_acks_all(
            order in Just((1..=40_u64).collect::<Vec<_>>()).prop_shuffle(),
            pauses in vec((1_usize..6, 0_u64..900), 1..40),
            window in 1_usize..50,
        ) {
            let start = Instant::now();
            let mut now = start;
            let mut tracker = AckTracker::new(window, now);
            let mut finished = BTreeSet::new();
            let mut outstanding: BTreeSet<u64> = (1..=40).collect();
            let mut queue = order.into_iter();
            let mut pauses = pauses.into_iter().cycle();
            while !outstanding.is_empty() {
                let (count, pause) = pauses.next().expect("a cycle");
                for tag in queue.by_ref().take(count) {
                    finished.insert(tag);
                    tracker.finish(tag);
                }
                now += Duration::from_millis(pause);
                for ack in tracker.take(now) {
                    let covered: Vec<u64> =
                        outstanding.iter().copied().filter(|tag| *tag == ack.tag || (ack.multiple && *tag < ack.tag)).collect();
                    prop_assert!(!covered.is_empty(), "the broker refuses an ack of nothing: {ack:?}");
                    for tag in covered {
                        prop_assert!(finished.contains(&tag), "{tag} was acked unfinished");
                        outstanding.remove(&tag);
                    }
                }
            }
            prop_assert!(!tracker.is_waiting());
        }
    }

    #[test]
    fn what_waits_too_long_behind_the_smallest_is_acked_singly() {
        let start = Instant::now();
        let mut tracker = AckTracker::new(100, start);
        tracker.finish(2);
        tracker.finish(3);
        assert_eq!(tracker.take(start), []);
        let later = start + Duration::from_millis(501);
        assert_eq!(tracker.take(later), [Ack { tag: 2, multiple: false }, Ack { tag: 3, multiple: false }]);
        tracker.finish(1);
        assert_eq!(tracker.take(later), [Ack { tag: 1, multiple: false }]);
    }

    #[test]
    fn without_patience_all_that_is_finished_is_acked() {
        let start = Instant::now();
        let mut tracker = AckTracker::new(100, start);
        for tag in [1, 2, 4] {
            tracker.finish(tag);
        }
        assert_eq!(tracker.take_all(start), [Ack { tag: 2, multiple: true }, Ack { tag: 4, multiple: false }]);
        assert!(!tracker.is_waiting());
    }
}
