//! From the names publishers use for applications to their ids, remembered while no name moves.

use std::collections::HashMap;

use hookyard_core::port::Directory;
use hookyard_core::{AppId, AppRef, Fault, Uid};

/// Names remembered; a publisher that invents more only costs a round trip.
const NAMES_MOST: usize = 100_000;

/// Names and the ids behind them.
#[derive(Default)]
pub struct Names {
    ids: HashMap<Uid, AppId>,
    /// The directory's counter when they were resolved.
    as_of: Option<u64>,
}

impl Names {
    /// The ids behind `names`, in order; asks the directory only about what is not remembered. An id stands for itself: whether
    /// it exists, the batch's read says.
    pub async fn resolve(&mut self, directory: &dyn Directory, names: &[&AppRef]) -> Result<Vec<Option<AppId>>, Fault> {
        let unknown: Vec<AppRef> = names.iter().filter(|name| self.known(name).is_none()).map(|name| (*name).clone()).collect();
        if !unknown.is_empty() {
            let resolved = directory.resolve(&unknown).await?;
            if self.as_of != Some(resolved.names) || self.ids.len() > NAMES_MOST {
                self.ids.clear();
                self.as_of = Some(resolved.names);
            }
            for (name, id) in unknown.into_iter().zip(resolved.apps) {
                if let (AppRef::Uid(uid), Some(id)) = (name, id) {
                    self.ids.insert(uid, id);
                }
            }
        }
        Ok(names.iter().map(|name| self.known(name)).collect())
    }

    /// Whether what is remembered still holds, judged by a newer count.
    pub fn hold(&self, names: u64) -> bool {
        self.ids.is_empty() || self.as_of == Some(names)
    }

    /// Forgets everything.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    fn known(&self, name: &AppRef) -> Option<AppId> {
        match name {
            AppRef::Id(id) => Some(*id),
            AppRef::Uid(uid) => self.ids.get(uid).copied(),
        }
    }
}
