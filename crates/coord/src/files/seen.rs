//! Since when a record has been as it is, as far as this process has seen.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::key::CoordKey;
use crate::record::WriteId;

/// The most records that are watched at once. Beyond that the one that was seen first is forgotten, and lives anew.
const MOST: usize = 16_384;

#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<HashMap<CoordKey, Sighting>>);

#[derive(Clone, Copy, Debug)]
struct Sighting {
    id: WriteId,
    first: Duration,
}

impl Seen {
    /// How long a record still lives that is seen `now`: none of it if it has been the same for its time to live.
    ///
    /// `now` is by a clock of this process that nobody sets, and the record was there before it: so the time is never short,
    /// whatever the clock of whoever wrote it.
    pub(super) fn left(&self, key: &CoordKey, id: WriteId, lives: Duration, now: Duration) -> Option<Duration> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = match all.get(key) {
            Some(known) if known.id == id => known.first,
            _ => {
                make_room(&mut all, key);
                all.insert(key.clone(), Sighting { id, first: now });
                now
            }
        };
        Some(lives.saturating_sub(now.saturating_sub(first))).filter(|left| !left.is_zero())
    }

    /// What is not there, or stays, is not watched.
    pub(super) fn forget(&self, key: &CoordKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

fn make_room(all: &mut HashMap<CoordKey, Sighting>, key: &CoordKey) {
    if all.len() < MOST || all.contains_key(key) {
        return;
    }
    let oldest = all.iter().min_by_key(|(_, sighting)| sighting.first).map(|(key, _)| key.clone());
    if let Some(oldest) = oldest {
        all.remove(&oldest);
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
        let all = seen.0.lock().unwrap();
        assert!(all.len() == MOST && !all.contains_key("0") && all.contains_key("1"));
    }
}
