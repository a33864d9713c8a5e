//! What this replica remembers of the sets, as long as it hears of every change.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::ProblemSet;

/// A copy is no older, whatever was not heard.
const LIVES: Duration = Duration::from_secs(10);
/// The most sets that are remembered.
const MOST: usize = 100;

#[derive(Debug, Default)]
pub(super) struct Copies(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    sets: HashMap<String, (Instant, ProblemSet)>,
    /// How often something was dropped: what was read before may be out of date.
    drops: u64,
}

/// What is remembered, or how often something had been dropped before it was read.
pub(super) enum Copy {
    Here(ProblemSet),
    Missing(u64),
}

impl Copies {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, name: &str) -> Copy {
        let known = self.known();
        let live = known.sets.get(name).filter(|(since, _)| since.elapsed() < LIVES);
        live.map_or(Copy::Missing(known.drops), |(_, set)| Copy::Here(set.clone()))
    }

    /// Remembers what was read, unless something was dropped meanwhile.
    pub(super) fn keep(&self, name: &str, set: &ProblemSet, drops: u64) {
        let mut known = self.known();
        if known.drops == drops {
            if known.sets.len() >= MOST {
                known.sets.clear();
            }
            known.sets.insert(name.to_owned(), (Instant::now(), set.clone()));
        }
    }

    pub(super) fn forget(&self, name: &str) {
        let mut known = self.known();
        known.drops += 1;
        known.sets.remove(name);
    }

    pub(super) fn forget_all(&self) {
        let mut known = self.known();
        known.drops += 1;
        known.sets.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(copies: &Copies) -> u64 {
        let Copy::Missing(drops) = copies.get("ward") else { panic!("it is remembered") };
        drops
    }

    #[test]
    fn what_was_read_before_a_change_is_not_remembered_after_it() {
        let (copies, old) = (Copies::default(), ProblemSet::default());
        let before = missing(&copies);
        copies.forget("ward");
        copies.keep("ward", &old, before);
        let since = missing(&copies);
        copies.keep("ward", &old, since);
        assert!(matches!(copies.get("ward"), Copy::Here(set) if set == old));
        copies.forget_all();
        assert_eq!(missing(&copies), since + 1);
    }
}
