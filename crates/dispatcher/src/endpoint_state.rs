//! How an endpoint does, as this process sees it, and how many requests at once that earns it. Moments are the monotonic clock's.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hookyard_core::EndpointId;
use lru::LruCache;
use tokio::sync::Notify;

use crate::concurrency::Left;
use crate::pace::Pace;

/// Endpoints whose latency is remembered.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(50_000).expect("not zero");

/// An endpoint that answers within this earns more.
const QUICK: Duration = Duration::from_millis(100);
/// An endpoint whose oldest request is out for so many times the average, and longer than a quick one takes, may have stopped answering:
/// others do not wait for it as for a quick one.
const LATE_TIMES: u32 = 4;
/// An endpoint whose oldest request is out for this long has stopped answering, whatever it earned before.
pub const STALLED: Duration = Duration::from_secs(1);
/// The longest a delivery waits in memory for its endpoint: what must wait longer is put aside, and gives its place to others.
pub const WAIT_MOST: Duration = Duration::from_millis(250);
/// Least time between two slots of what waits for an endpoint: a thousand a second, which is more than most take.
pub const SPACING_LEAST: Duration = Duration::from_millis(1);
/// Requests at once to an endpoint that nobody has seen answer.
const UNKNOWN_MOST: usize = 2;
/// Part of the latest sample in the average.
const LATEST: f64 = 0.2;
/// Part of what was earned that one late answer costs.
const LATE_COSTS: usize = 16;

/// What an endpoint may have of this process.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Requests at once while nobody knows how fast it is, or it is not.
    pub least: usize,
    /// However quick it is.
    pub most: usize,
    /// Its own wish.
    pub in_flight: Option<usize>,
    /// Most deliveries that may wait for it in memory.
    pub waiting: usize,
    /// Whether nearly all permits are taken: nobody earns more of them, and what was earned does not count.
    pub scarce: bool,
    /// To whom the permits belong that are left.
    pub left: Left,
}

/// How an endpoint does.
#[derive(Default)]
pub struct EndpointState {
    /// Places taken, by requests in flight and those that wait for a permit.
    taken: usize,
    /// When each request in flight left.
    in_flight: Vec<Duration>,
    waiting: usize,
    average: Option<Duration>,
    /// Whether the last attempt got no answer.
    was_silent: bool,
    /// Requests at once that quick answers earned it, beside the least.
    earned: usize,
    pace: Pace,
    released: Arc<Notify>,
}

/// Whether a claim may go in now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It has its place.
    Free,
    /// One will be free soon enough to wait for it.
    Soon,
    /// None will; what waits leaves so far apart.
    TooLate(Duration),
    /// None will, unless it answers, which it did not for so long: how long it takes then is not known.
    InDoubt(Duration),
}

impl EndpointState {
    /// What the next request may take: the average, or what the oldest one out there has taken already.
    fn expected(&self, oldest: Duration) -> Duration {
        let average = self.average.unwrap_or_default();
        let is_late = self.average.is_none() || oldest >= STALLED || oldest > QUICK.max(average * LATE_TIMES);
        if is_late { average.max(oldest) } else { average }
    }

    /// How long the oldest request is out.
    fn oldest(&self, now: Duration) -> Duration {
        self.in_flight.iter().min().map_or(Duration::ZERO, |since| now.saturating_sub(*since))
    }

    /// Requests at once, now; and as many as it may come to have soon.
    fn caps(&self, share: Share, oldest: Duration) -> (usize, usize) {
        let bound = share.in_flight.unwrap_or(usize::MAX);
        if self.average.is_none() {
            // It never answered. Once it does it may have the least at least, which is soon if it is quick.
            let cap = share.least.min(UNKNOWN_MOST).min(bound);
            return (cap, share.least.min(bound));
        }
        let most = share.most.max(share.least);
        let may_grow = self.expected(oldest) <= QUICK && !share.scarce;
        // The last permits are for those that have few: several that stop answering at once are not known to have, yet.
        let is_plain = oldest >= STALLED || share.scarce;
        let cap = if is_plain { share.least } else { (share.least + self.earned).min(most) };
        (cap.min(bound), if may_grow { most } else { cap }.min(bound))
    }

    /// Whether it was ever seen to answer.
    pub fn is_known(&self) -> bool {
        self.average.is_some()
    }

    /// Takes a place, if there is one, or says whether one comes soon enough.
    ///
    /// `waited` is how long it has waited for one in memory.
    pub fn place(&mut self, share: Share, now: Duration, waited: Duration) -> Place {
        // Once: there may be a hundred requests out.
        let oldest = self.oldest(now);
        let ((cap, hoped), expected, is_in_doubt) = (self.caps(share, oldest), self.expected(oldest), self.is_in_doubt(oldest));
        let is_quick = self.average.is_some() && expected <= QUICK;
        let has_room = match share.left {
            Left::AnyEndpoints => true,
            Left::QuickOnes => is_quick,
            Left::Others => false,
        };
        if self.taken < cap && has_room {
            self.taken += 1;
            if self.waiting > 0 && self.taken < cap {
                // It has earned more than it had.
                self.released.notify_one();
            }
            return Place::Free;
        }
        self.pace.fills(now);
        let parts = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).max(1);
        // What answers waits a moment for its turn among those of its application.
        let may_wait = has_room || (waited < WAIT_MOST && self.average.is_some() && !is_in_doubt);
        if self.waiting < share.waiting && may_wait && expected.saturating_mul(parts(self.waiting + 1)) / parts(hoped) < WAIT_MOST
        {
            return Place::Soon;
        }
        if is_in_doubt {
            Place::InDoubt(oldest)
        } else {
            // By Little's law so many leave in the time one takes, also where they are more than may go in now.
            let apart = expected / parts(cap.max(self.in_flight.len()));
            // Twice as many for one that is not slow: it gets quicker as it has less to do, and must not stand idle meanwhile.
            let is_slow = expected >= STALLED;
            let apart = if is_slow { apart } else { self.pace.between().map_or(apart, |between| between.min(apart)) / 2 };
            Place::TooLate(apart.max(SPACING_LEAST))
        }
    }

    /// For how long it has not answered, if it may be silent, has stopped answering, and all of its places are taken.
    pub fn doubt(&self, share: Share, now: Duration) -> Option<Duration> {
        let oldest = self.oldest(now);
        (oldest >= STALLED && self.taken >= self.caps(share, oldest).0 && self.is_in_doubt(oldest)).then_some(oldest)
    }

    /// Whether it may be silent: it was the last time, or never answered, or lets the oldest request wait far longer than others.
    fn is_in_doubt(&self, oldest: Duration) -> bool {
        let is_late = |average: Duration| oldest >= STALLED.max(average * LATE_TIMES);
        self.was_silent || self.average.is_none_or(is_late)
    }

    /// Takes a place, whoever else has one.
    pub fn take(&mut self) {
        self.taken += 1;
    }

    /// A request leaves.
    pub fn leaves(&mut self, now: Duration) {
        self.in_flight.push(now);
    }

    /// A place is free again, of a request that left `since`, or did not.
    pub fn release(&mut self, since: Option<Duration>) {
        self.taken = self.taken.saturating_sub(1);
        if let Some(place) = self.in_flight.iter().position(|left| Some(*left) == since) {
            self.in_flight.swap_remove(place);
        }
        self.released.notify_one();
    }

    /// A delivery begins to wait; told when a place is free.
    pub fn wait(&mut self) -> Arc<Notify> {
        self.waiting += 1;
        Arc::clone(&self.released)
    }

    /// A delivery waits no longer.
    pub fn waited(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// An answer came. What an endpoint took before it hung is not what it takes after that.
    pub fn answered(&mut self, now: Duration) {
        if self.was_silent {
            self.pace = Pace::default();
        }
        self.pace.answered(now, self.waiting > 0);
    }

    /// An attempt took so long, to an answer or not; the average with it. How long one hung says nothing once it answers again.
    pub fn sample(&mut self, took: Duration, is_silent: bool, share: Share) -> Duration {
        let known = self.average.filter(|_| is_silent || !self.was_silent);
        let average = known.map_or(took, |known| known.mul_f64(1.0 - LATEST) + took.mul_f64(LATEST));
        (self.average, self.was_silent) = (Some(average), is_silent);
        self.earned = match (took <= QUICK, share.scarce) {
            (true, false) => self.earned + 1,
            (true, true) => self.earned.saturating_sub(1),
            (false, _) => self.earned.saturating_sub((share.least + self.earned) / LATE_COSTS),
        };
        self.earned = self.earned.min(share.most.saturating_sub(share.least));
        average
    }

    /// Time between two slots of what waits while nothing may leave.
    pub fn spacing(&self, least: usize, now: Duration) -> Duration {
        (self.expected(self.oldest(now)) / u32::try_from(least).unwrap_or(1).max(1)).max(SPACING_LEAST)
    }
}

/// How endpoints do.
pub struct EndpointStates(Mutex<LruCache<EndpointId, EndpointState>>);

impl Default for EndpointStates {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(REMEMBERED)))
    }
}

impl EndpointStates {
    /// Looks at one, or changes it. One that is not remembered is like one that never answered.
    pub fn with<T>(&self, endpoint: EndpointId, look: impl FnOnce(&mut EndpointState) -> T) -> T {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        look(states.get_or_insert_mut(endpoint, EndpointState::default))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1_000);
    const CAP: usize = 8;
    const SHARE: Share = Share { least: CAP, most: 96, in_flight: None, waiting: 160, scarce: false, left: Left::AnyEndpoints };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// So many places are free.
    fn free(state: &mut EndpointState, share: Share, now: Duration) -> usize {
        (0..1_000).take_while(|_| state.place(share, now, Duration::ZERO) == Place::Free).count()
    }

    fn answered(took: Duration, times: usize, scarce: bool) -> EndpointState {
        let mut state = EndpointState::default();
        (0..times).for_each(|_| {
            state.sample(took, false, Share { scarce, ..SHARE });
        });
        state
    }

    #[test]
    fn quick_answers_earn_places_and_late_ones_cost_some_of_them() {
        assert_eq!(free(&mut EndpointState::default(), SHARE, START), UNKNOWN_MOST, "it never answered");
        assert_eq!(free(&mut answered(ms(5_000), 1, false), SHARE, START), CAP);
        assert_eq!(free(&mut answered(ms(5), 20, false), SHARE, START), CAP + 20);
        assert_eq!(free(&mut answered(ms(5), 500, false), SHARE, START), 96);
        assert_eq!(free(&mut answered(ms(5), 500, true), SHARE, START), CAP, "nobody earns what is not there");
        let scarce = Share { scarce: true, ..SHARE };
        assert_eq!(free(&mut answered(ms(5), 500, false), scarce, START), CAP, "what was earned is no claim on the last of them");
        assert_eq!(free(&mut answered(ms(150), 500, false), SHARE, START), CAP);
        let mut state = answered(ms(5), 500, false);
        state.sample(ms(300), false, SHARE);
        assert_eq!(free(&mut state, SHARE, START), 90);
    }

    #[test]
    fn a_backlog_waits_for_an_endpoint_that_is_quick_and_is_put_aside_for_one_that_is_not() {
        let mut quick = answered(ms(20), 1, false);
        assert_eq!(free(&mut quick, SHARE, START), CAP + 1);
        (0..159).for_each(|_| drop(quick.wait()));
        assert_eq!(quick.place(SHARE, START, Duration::ZERO), Place::Soon);
        assert!(
            matches!(quick.place(Share { scarce: true, ..SHARE }, START, Duration::ZERO), Place::TooLate(_)),
            "it will not earn more now"
        );
        drop(quick.wait());
        assert!(matches!(quick.place(SHARE, START, Duration::ZERO), Place::TooLate(_)), "the others need the room");
        let mut slow = answered(ms(400), 1, false);
        assert_eq!(free(&mut slow, SHARE, START), CAP);
        (0..4).for_each(|_| drop(slow.wait()));
        assert_eq!(slow.place(SHARE, START, Duration::ZERO), Place::TooLate(ms(25)));
    }

    #[test]
    fn one_that_stops_answering_has_no_more_than_one_nobody_knows() {
        let mut state = answered(ms(5), 500, false);
        for _ in 0..20 {
            state.take();
            state.leaves(START);
        }
        let later = START + ms(1_500);
        assert!(matches!(state.place(SHARE, later, Duration::ZERO), Place::Soon | Place::TooLate(_)));
        drop(state.wait());
        assert_eq!(state.place(SHARE, later, Duration::ZERO), Place::InDoubt(ms(1_500)));
        (0..20).for_each(|_| state.release(Some(START)));
        assert_eq!(free(&mut state, SHARE, later), 96);
    }

    #[test]
    fn others_do_not_wait_for_one_that_is_late_as_for_one_that_is_quick() {
        let mut state = answered(ms(5), 500, false);
        for _ in 0..96 {
            assert_eq!(state.place(SHARE, START, Duration::ZERO), Place::Free);
            state.leaves(START);
        }
        (0..100).for_each(|_| drop(state.wait()));
        assert_eq!(state.place(SHARE, START + ms(50), Duration::ZERO), Place::Soon);
        assert!(matches!(state.place(SHARE, START + ms(300), Duration::ZERO), Place::TooLate(_)));
    }

    #[test]
    fn the_last_permits_are_not_for_one_that_has_its_part() {
        for (left, of_quick) in [(Left::QuickOnes, Place::Free), (Left::Others, Place::Soon)] {
            let share = Share { left, ..SHARE };
            assert_eq!(answered(ms(400), 3, false).place(share, START, Duration::ZERO), Place::Soon, "a moment");
            assert!(matches!(answered(ms(400), 3, false).place(share, START, WAIT_MOST), Place::TooLate(_)));
            assert_eq!(EndpointState::default().place(share, START, Duration::ZERO), Place::InDoubt(Duration::ZERO));
            assert_eq!(answered(ms(5), 3, false).place(share, START, Duration::ZERO), of_quick);
        }
    }

    #[test]
    fn how_long_it_hung_says_nothing_once_it_answers_again() {
        let mut state = answered(ms(20), 5, false);
        (0..20).for_each(|_| assert!(state.sample(ms(15_000), true, SHARE) > ms(20)));
        assert!(state.expected(Duration::ZERO) > ms(10_000));
        state.sample(ms(20), false, SHARE);
        assert_eq!(state.expected(Duration::ZERO), ms(20));
    }

    #[test]
    fn an_operator_says_what_nobody_has_to_earn() {
        let share = Share { least: 3, ..SHARE };
        assert_eq!(free(&mut answered(ms(5_000), 1, false), share, START), 3);
        let mut state = EndpointState::default();
        (0..20).for_each(|_| {
            state.sample(ms(5), false, share);
        });
        assert_eq!(free(&mut state, share, START), 23);
        let many = Share { least: 200, ..SHARE };
        assert_eq!(free(&mut answered(ms(5_000), 1, false), many, START), 200, "whatever one may earn");
    }

    #[test]
    fn a_wish_of_its_own_binds() {
        let share = Share { in_flight: Some(2), ..SHARE };
        assert_eq!(free(&mut answered(ms(5), 500, false), share, START), 2);
    }
}
