//! Who beats.

use std::collections::BTreeMap;

use statehouse_core::{Timestamp, Version};

use crate::beats::{BeatKind, Beats};
use crate::key::CoordKey;

/// Those who beat together: by their keys, when each is over.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) ends: BTreeMap<CoordKey, Timestamp>,
    pub(super) changes: Version,
}

impl Group {
    pub(super) fn beats(&self, now: Timestamp) -> Beats {
        let living = self.ends.iter().filter(|(_, end)| **end > now);
        Beats::new(self.changes, living.map(|(key, end)| (key.clone(), end.since(now))).collect())
    }

    /// Whether it was there, and is.
    pub(super) fn said(&mut self, key: &CoordKey, kind: BeatKind, end: Timestamp) -> (bool, bool) {
        match kind {
            BeatKind::Again => {
                let was_there = self.ends.get_mut(key).map(|known| *known = end).is_some();
                (was_there, was_there)
            }
            BeatKind::Anew => (self.ends.insert(key.clone(), end).is_some(), true),
            BeatKind::Last => (self.ends.remove(key).is_some(), false),
        }
    }
}
