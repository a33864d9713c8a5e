//! Which keys this process has found lately.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicU32, Ordering};

use super::tier::Place;
use crate::CacheKey;

/// How many keys are remembered: 64 KiB for each cache.
const KEYS: usize = 16 << 10;

/// A hint for `get_or_load` in a cache of bytes. A key that was found lately will be found again, which a read does with the
/// least work; any other is reserved at once, which is a read as well and saves a round trip where it has to be loaded. A
/// wrong guess costs one round trip or some microseconds of the server and nothing else.
pub(crate) struct Familiar(Box<[AtomicU32]>);

impl Familiar {
    /// In memory there is nothing to save.
    pub(crate) fn new(place: Place) -> Self {
        let keys = if place == Place::Here { 0 } else { KEYS };
        Self((0..keys).map(|_| AtomicU32::new(0)).collect())
    }

    pub(crate) fn saw(&self, key: &CacheKey, found: bool) {
        if let Some((slot, print)) = self.slot(key)
            && (slot.load(Ordering::Relaxed) == print) != found
        {
            slot.store(if found { print } else { 0 }, Ordering::Relaxed);
        }
    }

    /// Whether a read will likely find it.
    pub(crate) fn knows(&self, key: &CacheKey) -> bool {
        self.slot(key).is_none_or(|(slot, print)| slot.load(Ordering::Relaxed) == print)
    }

    fn slot(&self, key: &CacheKey) -> Option<(&AtomicU32, u32)> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        let slots = u64::try_from(self.0.len()).ok().filter(|slots| *slots > 0)?;
        let slot = self.0.get(usize::try_from(hash % slots).ok()?)?;
        // The upper half, which does not decide the slot. Zero is nobody.
        Some((slot, u32::try_from(hash >> 32).unwrap_or_default() | 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_known_until_it_is_missed() {
        let familiar = Familiar::new(Place::Elsewhere);
        let key = |n: u32| CacheKey::new(n.to_string()).unwrap();
        assert!(!familiar.knows(&key(1)));
        familiar.saw(&key(1), true);
        assert!(familiar.knows(&key(1)) && !familiar.knows(&key(2)));
        familiar.saw(&key(2), false);
        assert!(familiar.knows(&key(1)));
        familiar.saw(&key(1), false);
        assert!(!familiar.knows(&key(1)));
    }
}
