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
        if self.ids.len() > NAMES_MOST {
            self.forget();
        }
        loop {
            let unknown = self.unknown(names);
            // When names moved, what was remembered is forgotten: then all of them are asked about.
            if unknown.is_empty() || self.learn(directory, unknown).await? {
                break;
            }
        }
        Ok(names.iter().map(|name| self.known(name)).collect())
    }

    /// Asks about these and remembers the answers. Whether what was remembered before still counts.
    async fn learn(&mut self, directory: &dyn Directory, names: Vec<AppRef>) -> Result<bool, Fault> {
        let resolved = directory.resolve(&names).await?;
        let held = self.hold(resolved.counters.names);
        if !held {
            self.ids.clear();
        }
        self.as_of = Some(resolved.counters.names);
        for (name, id) in names.into_iter().zip(resolved.apps) {
            if let (AppRef::Uid(uid), Some(id)) = (name, id) {
                self.ids.insert(uid, id);
            }
        }
        Ok(held)
    }

    fn unknown(&self, names: &[&AppRef]) -> Vec<AppRef> {
        names.iter().filter(|name| self.known(name).is_none()).map(|name| (*name).clone()).collect()
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hookyard_core::port::{Expect, Written};
    use hookyard_core::{Application, Timestamp};
    use hookyard_testkit::StepClock;
    use hookyard_testkit::builders::Builders;
    use hookyard_testkit::memory::MemoryDirectory;

    use super::*;

    async fn create(directory: &MemoryDirectory, make: &Builders, uid: &str) -> AppId {
        let app = Application { uid: uid.parse().ok(), ..make.app() };
        assert!(matches!(directory.put_app(&app, Expect::New).await, Ok(Written::Done(_))));
        app.id
    }

    #[tokio::test]
    async fn a_name_that_is_known_stays_known_when_names_move() {
        let make = Builders::new(Arc::new(StepClock::at(Timestamp::from_millis(1))), 1);
        let directory = MemoryDirectory::default();
        let [old, new, nobody]: [AppRef; 3] = ["old", "new", "nobody"].map(|name| name.parse().expect("a name"));
        let first = create(&directory, &make, "old").await;
        let mut names = Names::default();
        assert_eq!(names.resolve(&directory, &[&old]).await.expect("resolved"), [Some(first)]);
        let second = create(&directory, &make, "new").await;
        let resolved = names.resolve(&directory, &[&old, &new, &nobody]).await.expect("resolved");
        assert_eq!(resolved, [Some(first), Some(second), None]);
    }
}
