//! Canaries of the delay tiers: how late the last one came, or how long one is missing.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::delay::Tier;

/// How often one is sent into every tier.
pub const EVERY: Duration = Duration::from_secs(60);

/// What is known of them, since somebody began to send them.
#[derive(Debug)]
pub struct Canaries {
    began_at: Timestamp,
    /// Of each tier the newest that came: when it was sent, and by how much it was late.
    came: BTreeMap<Tier, (Timestamp, Duration)>,
}

impl Canaries {
    /// Sent from now on.
    pub const fn new(now: Timestamp) -> Self {
        Self { began_at: now, came: BTreeMap::new() }
    }

    /// One came out of its tier.
    pub fn came(&mut self, tier: Tier, sent_at: Timestamp, now: Timestamp) {
        let late = now.since(sent_at.plus(tier.duration()));
        if self.came.get(&tier).is_none_or(|(newest, _)| *newest <= sent_at) {
            self.came.insert(tier, (sent_at, late));
        }
    }

    /// How late a tier is: as the last one that came was, or, if that is longer, as long as the next is missing.
    pub fn late(&self, tier: Tier, now: Timestamp) -> Duration {
        let (newest, late) = self.came.get(&tier).copied().unwrap_or((self.began_at, Duration::ZERO));
        let next_due = newest.plus(EVERY).plus(tier.duration());
        late.max(now.since(next_due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_is_late_as_its_last_canary_was_or_as_long_as_the_next_is_missing() {
        let at = |seconds: i64| Timestamp::from_millis(1_700_000_000_000 + seconds * 1_000);
        let tier = Tier::all().find(|tier| tier.seconds() == 32).expect("a tier");
        let other = Tier::SHORTEST;
        let mut canaries = Canaries::new(at(0));
        assert_eq!(canaries.late(tier, at(92)), Duration::ZERO, "the first may take a minute and its tier");
        assert_eq!(canaries.late(tier, at(100)), Duration::from_secs(8));
        canaries.came(tier, at(60), at(95));
        assert_eq!(canaries.late(tier, at(100)), Duration::from_secs(3));
        canaries.came(tier, at(0), at(101));
        assert_eq!(canaries.late(tier, at(102)), Duration::from_secs(3), "an older one says nothing new");
        assert_eq!(canaries.late(tier, at(200)), Duration::from_secs(48), "the next is missing");
        assert_eq!(canaries.late(other, at(200)), Duration::from_secs(139), "none ever came");
    }
}
