//! Canaries of the delay tiers: how late the last one came, or how long one is missing.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::delay::Tier;

/// How often one is sent into every tier.
pub const EVERY: Duration = Duration::from_secs(60);

/// What is known of them, since somebody began to send them.
#[derive(Debug, Default)]
pub struct Canaries {
    of: BTreeMap<Tier, OfTier>,
}

#[derive(Debug, Default)]
struct OfTier {
    /// Sent and not yet seen again, the oldest first.
    missing: VecDeque<Timestamp>,
    /// By how much the last one that came was late.
    late: Duration,
}

impl Canaries {
    /// One is in a tier, as the broker confirmed.
    pub fn sent(&mut self, tier: Tier, at: Timestamp) {
        self.of.entry(tier).or_default().missing.push_back(at);
    }

    /// One came out of its tier; those before it came, too, or are lost: a tier lets go in order.
    pub fn came(&mut self, tier: Tier, sent_at: Timestamp, now: Timestamp) {
        let of = self.of.entry(tier).or_default();
        of.missing.retain(|missing| *missing > sent_at);
        of.late = now.since(sent_at.plus(tier.duration()));
    }

    /// How late a tier is: as the last one that came was, or, if that is longer, as long as the oldest is missing.
    pub fn late(&self, tier: Tier, now: Timestamp) -> Duration {
        let Some(of) = self.of.get(&tier) else { return Duration::ZERO };
        let missing = of.missing.front().map_or(Duration::ZERO, |oldest| now.since(oldest.plus(tier.duration())));
        of.late.max(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_is_late_as_its_last_canary_was_or_as_long_as_one_is_missing() {
        let at = |seconds: i64| Timestamp::from_millis(1_700_000_000_000 + seconds * 1_000);
        let tier = Tier::all().find(|tier| tier.seconds() == 32).expect("a tier");
        let mut canaries = Canaries::default();
        assert_eq!(canaries.late(tier, at(1_000)), Duration::ZERO, "none was sent");
        canaries.sent(tier, at(0));
        canaries.sent(tier, at(60));
        assert_eq!(canaries.late(tier, at(32)), Duration::ZERO, "its time has not come");
        assert_eq!(canaries.late(tier, at(40)), Duration::from_secs(8));
        canaries.came(tier, at(0), at(35));
        assert_eq!(canaries.late(tier, at(40)), Duration::from_secs(3));
        assert_eq!(canaries.late(tier, at(102)), Duration::from_secs(10), "the second is missing");
        canaries.came(tier, at(60), at(103));
        assert_eq!(canaries.late(tier, at(100_000)), Duration::from_secs(11), "none is missing that was never sent");
        assert_eq!(canaries.late(Tier::SHORTEST, at(200)), Duration::ZERO);
    }
}
