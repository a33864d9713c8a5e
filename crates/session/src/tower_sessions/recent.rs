//! What a store remembers of requests that are under way.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The last things that were noted, each under a key, up to so many in weight. What is older is forgotten.
pub(super) struct Recent<K, V> {
    most: usize,
    noted: Mutex<Noted<K, V>>,
}

struct Noted<K, V> {
    values: HashMap<K, (V, usize)>,
    /// The keys, that of the oldest first.
    order: VecDeque<K>,
    weight: usize,
}

impl<K, V> fmt::Debug for Recent<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recent")
    }
}

impl<K: Copy + Eq + Hash, V: Clone> Recent<K, V> {
    pub(super) fn new(most: usize) -> Self {
        let noted = Noted { values: HashMap::new(), order: VecDeque::new(), weight: 0 };
        Self { most, noted: Mutex::new(noted) }
    }

    /// Nothing that runs under the lock leaves it half changed.
    fn lock(&self) -> MutexGuard<'_, Noted<K, V>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, key: K) -> Option<V> {
        self.lock().values.get(&key).map(|(value, _)| value.clone())
    }

    pub(super) fn note(&self, key: K, value: V, weight: usize) {
        let mut noted = self.lock();
        match noted.values.insert(key, (value, weight)) {
            Some((_, before)) => noted.weight -= before,
            None => noted.order.push_back(key),
        }
        noted.weight += weight;
        while noted.weight > self.most {
            let Some(oldest) = noted.order.pop_front() else { return };
            noted.weight -= noted.values.remove(&oldest).map_or(0, |(_, weight)| weight);
        }
    }

    /// Unless something is noted there.
    pub(super) fn note_first(&self, key: K, value: V, weight: usize) {
        if self.get(key).is_none() {
            self.note(key, value, weight);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_once_all_together_are_too_much() {
        let recent = Recent::new(10);
        for key in 0..5 {
            recent.note(key, key, 2);
        }
        recent.note(1, 7, 3);
        assert_eq!([0, 1, 2, 3, 4].map(|key| recent.get(key)), [None, Some(7), Some(2), Some(3), Some(4)]);
        recent.note_first(1, 8, 3);
        assert_eq!(recent.get(1), Some(7));
        recent.note(9, 9, 11);
        assert!([1, 2, 3, 4, 9].iter().all(|key| recent.get(*key).is_none()));
        assert_eq!(recent.lock().weight, 0);
        assert!(recent.lock().order.is_empty());
    }
}
