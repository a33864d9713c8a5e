//! Who beats.

use std::collections::BTreeMap;

use statehouse_core::{Timestamp, Version};

use super::State;
use crate::beats::{BeatKind, BeatOptions, Beaten, Beats};
use crate::key::CoordKey;

/// Those who beat together: by their keys, when each is over.
#[derive(Debug, Default)]
pub(super) struct Group {
    ends: BTreeMap<CoordKey, Timestamp>,
    changes: Version,
}

impl Group {
    pub(super) fn beats(&self, now: Timestamp) -> Beats {
        let living = self.ends.iter().filter(|(_, end)| **end > now);
        Beats::new(self.changes, living.map(|(key, end)| (key.clone(), end.since(now))).collect())
    }

    /// Whether it was there, and is.
    fn said(&mut self, key: &CoordKey, kind: BeatKind, end: Timestamp) -> (bool, bool) {
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

impl State {
    pub(super) fn beat(&mut self, key: &CoordKey, version: Version, options: &BeatOptions, now: Timestamp) -> Beaten {
        let has_record = self.live(key, now).is_some_and(|record| record.version == version);
        let group = self.groups.entry(key.group().to_owned()).or_default();
        let before = group.ends.len();
        group.ends.retain(|_, end| *end > now);
        let is_new = group.changes == Version::default();
        let (was_there, is_there) =
            if has_record { group.said(key, options.kind, now + options.lives) } else { (false, false) };
        let comes = is_there && options.kind == BeatKind::Anew;
        if comes || was_there != is_there || is_new || group.ends.len() < before {
            self.last = self.last.next(now.as_micros());
            group.changes = self.last;
        }
        let others = group.ends.iter().filter(|(other, _)| *other != key);
        let ends_in = others.map(|(_, end)| end.since(now)).min();
        Beaten::new((was_there, is_there), group.changes, ends_in)
    }
}
