//! A shelf: items that wait to be claimed, and items that somebody holds.

use std::collections::{HashMap, VecDeque};

use hookyard_core::Timestamp;

/// An item with its past.
#[derive(Debug)]
pub struct Kept<T> {
    pub item: T,
    /// Whether somebody may have held it before.
    pub redelivered: bool,
    /// How often its claim was dropped unsettled.
    pub failures: u32,
    /// Not to be claimed before this moment.
    pub due: Timestamp,
}

/// Items waiting, and items held under the number of their claim.
#[derive(Debug)]
pub struct Shelf<T> {
    waiting: VecDeque<Kept<T>>,
    held: HashMap<u64, Kept<T>>,
    claims: u64,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), held: HashMap::new(), claims: 0 }
    }
}

impl<T: Clone> Shelf<T> {
    /// Puts a new item to the others; it can be claimed from `due` on.
    pub fn put(&mut self, item: T, due: Timestamp) {
        self.waiting.push_back(Kept { item, redelivered: false, failures: 0, due });
    }

    /// Claims up to `max` of the items that are due at `now`: claim number, item, and whether it may have been held before.
    pub fn take(&mut self, max: usize, now: Timestamp) -> Vec<(u64, T, bool)> {
        let (mut taken, mut index) = (Vec::new(), 0);
        while taken.len() < max && index < self.waiting.len() {
            if self.waiting[index].due > now {
                index += 1;
            } else if let Some(kept) = self.waiting.remove(index) {
                self.claims += 1;
                taken.push((self.claims, kept.item.clone(), kept.redelivered));
                self.held.insert(self.claims, kept);
            }
        }
        taken
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
        self.waiting.len()
    }
}
