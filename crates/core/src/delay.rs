//! Composing a delay from tiers: queues whose messages all wait the same power of two of seconds.
//!
//! A quorum queue expires messages only at its head, so one queue cannot hold mixed delays. A delay is made of hops through tiers,
//! largest first; a hop never passes the wanted moment except the last, short one.

use std::time::Duration;

/// Exponents of the tiers: 1 s, 2 s, 4 s … 16,384 s (4.5 h). A longer delay takes several hops.
pub const TIERS: std::ops::RangeInclusive<u8> = 0..=14;

/// A tier: messages in it wait `2^exponent` seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tier(u8);

impl Tier {
    /// Every tier, shortest first.
    pub fn all() -> impl Iterator<Item = Self> {
        TIERS.map(Tier)
    }

    /// How long a message waits in it, as people and metrics name it.
    pub const fn name(self) -> &'static str {
        const NAMES: [&str; 15] =
            ["1s", "2s", "4s", "8s", "16s", "32s", "64s", "128s", "256s", "512s", "1024s", "2048s", "4096s", "8192s", "16384s"];
        NAMES[self.0 as usize]
    }

    /// How long a message waits in it, in seconds.
    pub const fn seconds(self) -> u64 {
        1 << self.0
    }

    /// How long a message waits in it.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.seconds())
    }

    /// The shortest tier, for what only has to wait a moment.
    pub const SHORTEST: Self = Self(0);
}

/// The rest of a delay that is worth no further exact hop: a tenth of what was asked, or a second.
fn slack(asked: Duration) -> Duration {
    (asked / 10).max(Duration::from_secs(1))
}

/// The next hop of a delay of which `rest` remains and `asked` was asked at first; `None` when nothing remains.
///
/// Exact hops shorten the rest until it is within the slack; one last hop then covers it whole, so a delay is never
/// cut short and is lengthened by less than its slack.
pub fn next_hop(rest: Duration, asked: Duration) -> Option<Tier> {
    if rest.is_zero() {
        return None;
    }
    if rest <= slack(asked) {
        return Some(Tier::all().find(|tier| tier.duration() >= rest).unwrap_or(Tier(*TIERS.end())));
    }
    Tier::all().filter(|tier| tier.duration() <= rest).last()
}

/// So much longer than asked a loose delay may be: an endpoint that answers again has what waited for it within seconds.
const LOOSE_BY: Duration = Duration::from_secs(4);
/// As a part of what remains, as a divisor: what comes much later than its slot finds an endpoint that was idle and then has too much.
const LOOSE_PART: u32 = 4;
/// But no less than this: no tier is shorter.
const LOOSE_LEAST: Duration = Duration::from_secs(1);

/// The next hop of a delay that may end some seconds later than asked, for what waits for an endpoint in trouble: one that covers it
/// whole, or the longest that does not pass the wanted moment.
pub fn loose_hop(rest: Duration) -> Option<Tier> {
    let late = (rest / LOOSE_PART).clamp(LOOSE_LEAST, LOOSE_BY);
    let covering = Tier::all().find(|tier| tier.duration() >= rest).filter(|tier| tier.duration() <= rest + late);
    if rest.is_zero() { None } else { covering.or_else(|| Tier::all().filter(|tier| tier.duration() <= rest).last()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hops(asked: Duration) -> Vec<Tier> {
        let mut rest = asked;
        let mut hops = Vec::new();
        while let Some(tier) = next_hop(rest, asked) {
            hops.push(tier);
            rest = rest.saturating_sub(tier.duration());
        }
        hops
    }

    #[test]
    fn known_delays() {
        let seconds = |asked: u64| hops(Duration::from_secs(asked)).into_iter().map(Tier::seconds).collect::<Vec<_>>();
        assert_eq!(seconds(1), [1]);
        assert_eq!(seconds(30), [16, 8, 4, 2]);
        assert_eq!(seconds(600), [512, 64, 32]);
        assert_eq!(seconds(0), [] as [u64; 0]);
    }

    #[test]
    fn a_loose_delay_ends_some_seconds_late_at_most() {
        let hop = |millis| loose_hop(Duration::from_millis(millis)).map(Tier::seconds);
        let expected =
            [(125_000, 128), (100_000, 64), (30_000, 32), (17_000, 16), (6_500, 8), (5_300, 4), (2_100, 2), (700, 1), (100, 1)];
        for (millis, tier) in expected {
            assert_eq!(hop(millis), Some(tier), "{millis}");
        }
        assert_eq!(hop(0), None);
    }

    proptest! {
        #[test]
        fn never_short_and_long_by_less_than_the_slack(millis in 1_u64..=90_000_000) {
            let asked = Duration::from_millis(millis);
            let waited: Duration = hops(asked).into_iter().map(Tier::duration).sum();
            prop_assert!(waited >= asked);
            prop_assert!(waited < asked + slack(asked));
        }

        #[test]
        fn a_loose_delay_is_never_short_and_takes_few_hops(millis in 1_u64..=16_000_000) {
            let asked = Duration::from_millis(millis);
            let (mut waited, mut hops) = (Duration::ZERO, 0);
            while let Some(tier) = loose_hop(asked.saturating_sub(waited)) {
                waited += tier.duration();
                hops += 1;
            }
            let late = (asked / LOOSE_PART).clamp(LOOSE_LEAST, LOOSE_BY);
            prop_assert!(waited >= asked && waited <= asked + late, "{waited:?}");
            // One for each tier from the longest down to the shortest, at most.
            prop_assert!(hops <= 15, "{hops}");
        }

        #[test]
        fn few_hops(millis in 1_u64..=90_000_000) {
            // Six hops of a full day in the longest tier, then at most one per tier until the slack.
            prop_assert!(hops(Duration::from_millis(millis)).len() <= 11);
        }
    }
}
