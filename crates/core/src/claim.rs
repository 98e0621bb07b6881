//! A claim: the exclusive right, and the duty, to settle one item.

use std::any::Any;
use std::fmt;

use crate::limits;

/// One item taken from a queue. It must be given to a port that consumes it; dropped unsettled, it becomes claimable again.
///
/// The receipt is the adapter's own: services carry it and never look inside.
#[must_use = "a claim must be settled"]
pub struct Claim<T> {
    /// What was claimed.
    pub item: T,
    /// Whether somebody may have claimed it before.
    pub redelivered: bool,
    receipt: Box<dyn Any + Send + Sync>,
}

impl<T> Claim<T> {
    /// A claim backed by an adapter's receipt. The receipt's `Drop` gives the item back.
    pub fn new(item: T, redelivered: bool, receipt: impl Any + Send + Sync) -> Self {
        Self { item, redelivered, receipt: Box::new(receipt) }
    }

    /// The adapter's side: item and receipt apart. `None` if the receipt is another adapter's.
    pub fn split<R: Any>(self) -> (T, Option<Box<R>>) {
        (self.item, self.receipt.downcast().ok())
    }

    /// The adapter's side: a look at the receipt.
    pub fn receipt<R: Any>(&self) -> Option<&R> {
        self.receipt.downcast_ref()
    }

    /// The same claim on a part of, or a view on, the item.
    pub fn map<U>(self, view: impl FnOnce(T) -> U) -> Claim<U> {
        Claim { item: view(self.item), redelivered: self.redelivered, receipt: self.receipt }
    }

    /// The item, and the claim without it.
    pub fn detach(self) -> (T, Claim<()>) {
        (self.item, Claim { item: (), redelivered: self.redelivered, receipt: self.receipt })
    }
}

impl<T, E> Claim<Result<T, E>> {
    /// A claim on what is good, or the error and the claim apart.
    pub fn transpose(self) -> Result<Claim<T>, (E, Claim<()>)> {
        let (item, claim) = self.detach();
        match item {
            Ok(good) => Ok(claim.map(|()| good)),
            Err(error) => Err((error, claim)),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Claim<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("item", &self.item).field("redelivered", &self.redelivered).finish_non_exhaustive()
    }
}

/// The adapter's side: as how many failures a claim on a delivery counts that is dropped now, unsettled: of a task that panics as
/// [`PANIC_COUNTS`](limits::PANIC_COUNTS), otherwise as one. A delivery has a task of its own; events share one, so that a panic says
/// nothing of each.
pub fn failures_of_drop() -> u32 {
    if std::thread::panicking() { limits::PANIC_COUNTS } else { 1 }
}
