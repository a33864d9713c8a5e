//! Since when a record has been as it is, as far as this process has seen.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::key::CoordKey;
use crate::record::WriteId;

/// The most records that are watched at once. Beyond that the one that was seen first is forgotten, and lives anew.
const MOST: usize = 16_384;

#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Sightings>);

#[derive(Clone, Copy, Debug)]
struct Sighting {
    id: WriteId,
    first: Duration,
}

#[derive(Debug, Default)]
struct Sightings {
    of: HashMap<CoordKey, Sighting>,
    /// The same, by when they were first seen.
    by_age: BTreeSet<(Duration, CoordKey)>,
}

impl Seen {
    /// How long a record still lives that is seen `now`: none of it if it has been the same for its time to live.
    ///
    /// `now` is by a clock of this process that nobody sets, and the record was there before it: so the time is never short,
    /// whatever the clock of whoever wrote it.
    pub(super) fn left(&self, key: &CoordKey, id: WriteId, lives: Duration, now: Duration) -> Option<Duration> {
        let mut all = self.all();
        let first = match all.of.get(key) {
            Some(known) if known.id == id => known.first,
            _ => {
                all.watch(key, Sighting { id, first: now });
                now
            }
        };
        Some(lives.saturating_sub(now.saturating_sub(first))).filter(|left| !left.is_zero())
    }

    /// Whether it is known to live still. What was never seen is not watched from now on.
    pub(super) fn is_live(&self, key: &CoordKey, id: WriteId, lives: Duration, now: Duration) -> bool {
        let known = self.all().of.get(key).filter(|known| known.id == id).map(|known| known.first);
        known.is_some_and(|first| now.saturating_sub(first) < lives)
    }

    /// What is not there, or stays, is not watched.
    pub(super) fn forget(&self, key: &CoordKey) {
        self.all().forget(key);
    }

    fn all(&self) -> MutexGuard<'_, Sightings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sightings {
    fn watch(&mut self, key: &CoordKey, sighting: Sighting) {
        self.forget(key);
        if self.of.len() >= MOST
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.of.remove(&oldest);
        }
        self.by_age.insert((sighting.first, key.clone()));
        self.of.insert(key.clone(), sighting);
    }

    fn forget(&mut self, key: &CoordKey) {
        if let Some((key, known)) = self.of.remove_entry(key) {
            self.by_age.remove(&(known.first, key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_record_lives_from_when_it_was_first_seen_as_it_is() {
        let (seen, key) = (Seen::default(), CoordKey::new("a").unwrap());
        let [one, other] = [1, 2].map(|byte| WriteId::from_bytes([byte; 16]));
        assert_eq!(seen.left(&key, one, 3 * SECOND, 10 * SECOND), Some(3 * SECOND));
        assert_eq!(seen.left(&key, one, 3 * SECOND, 12 * SECOND), Some(SECOND));
        assert_eq!(seen.left(&key, other, 3 * SECOND, 13 * SECOND), Some(3 * SECOND));
        assert_eq!(seen.left(&key, other, 3 * SECOND, 16 * SECOND), None);
        seen.forget(&key);
        assert_eq!(seen.left(&key, other, 3 * SECOND, 16 * SECOND), Some(3 * SECOND));
    }

    #[test]
    fn what_is_watched_is_bounded() {
        let (seen, id) = (Seen::default(), WriteId::from_bytes([1; 16]));
        for number in 0..=MOST {
            let key = CoordKey::new(number.to_string()).unwrap();
            seen.left(&key, id, SECOND, Duration::from_millis(number as u64));
        }
        let key = |number: usize| CoordKey::new(number.to_string()).unwrap();
        let is_watched = |number| seen.all().of.contains_key(&key(number));
        assert!(!is_watched(0) && is_watched(1) && is_watched(MOST));
        // What is seen anew, or forgotten, is not the oldest any more.
        seen.left(&key(1), WriteId::from_bytes([2; 16]), SECOND, 20 * SECOND);
        seen.forget(&key(2));
        seen.left(&key(MOST + 1), id, SECOND, 21 * SECOND);
        seen.left(&key(MOST + 2), id, SECOND, 22 * SECOND);
        assert!(is_watched(1) && !is_watched(3) && is_watched(4));
        let all = seen.all();
        assert_eq!((all.of.len(), all.by_age.len()), (MOST, MOST));
    }
}
