//! A shelf: items that wait to be claimed, and items that somebody holds.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

/// An item with its past.
#[derive(Debug)]
pub struct Kept<T> {
    pub item: T,
    /// Whether somebody may have held it before.
    pub redelivered: bool,
    /// How often its claim was dropped unsettled.
    pub failures: u32,
}

/// Items waiting, and items held under the number of their claim.
#[derive(Debug)]
pub struct Shelf<T> {
    waiting: VecDeque<Kept<T>>,
    /// By when it can be claimed, and the order in which it came.
    later: BTreeMap<(Duration, u64), Kept<T>>,
    put: u64,
    held: HashMap<u64, Kept<T>>,
    claims: u64,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), later: BTreeMap::new(), put: 0, held: HashMap::new(), claims: 0 }
    }
}

impl<T: Clone> Shelf<T> {
    /// Puts a new item to the others; it can be claimed from `due` on.
    pub fn put(&mut self, item: T, due: Duration) {
        self.put += 1;
        self.later.insert((due, self.put), Kept { item, redelivered: false, failures: 0 });
    }

    /// Claims up to `max` of the items that are due at `now`: claim number, item, and whether it may have been held before. If there are
    /// none, says when there is one.
    pub fn take(&mut self, max: usize, now: Duration) -> Result<Vec<(u64, T, bool)>, Duration> {
        while let Some(first) = self.later.first_entry().filter(|first| first.key().0 <= now) {
            self.waiting.push_back(first.remove());
        }
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some(kept) = self.waiting.pop_front()
        {
            self.claims += 1;
            taken.push((self.claims, kept.item.clone(), kept.redelivered));
            self.held.insert(self.claims, kept);
        }
        if taken.is_empty() {
            return Err(self.later.first_key_value().map_or(Duration::MAX, |((due, _), _)| *due));
        }
        Ok(taken)
    }

    /// The item of a claim that still holds it.
    pub fn held(&self, claim: u64) -> Option<&T> {
        self.held.get(&claim).map(|kept| &kept.item)
    }

    /// Ends a claim: the item, if the claim still held it.
    pub fn let_go(&mut self, claim: u64) -> Option<Kept<T>> {
        self.held.remove(&claim)
    }

    /// Puts an item whose claim was dropped back behind the others.
    pub fn put_back(&mut self, kept: Kept<T>) {
        self.waiting.push_back(Kept { redelivered: true, ..kept });
    }

    /// Ends every claim; what was held comes first again, in the order it was claimed.
    pub fn recall(&mut self) {
        let mut held: Vec<(u64, Kept<T>)> = self.held.drain().collect();
        held.sort_unstable_by_key(|(claim, _)| std::cmp::Reverse(*claim));
        for (_, kept) in held {
            self.waiting.push_front(Kept { redelivered: true, ..kept });
        }
    }

    /// Items waiting, due or not.
    pub fn waiting(&self) -> usize {
        self.waiting.len() + self.later.len()
    }

    /// Items waiting or held.
    pub fn kept(&self) -> usize {
        self.waiting() + self.held.len()
    }
}
