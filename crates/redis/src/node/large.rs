use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use redis::Value;

use crate::connection::flow::LARGE;

const SLOTS: usize = 512;

/// The keys whose values were large when last seen, so that the next time they are asked for where small ones do not wait
/// for them. It may forget a key, or take one for another: then that one goes the other way, and nothing else.
pub(crate) struct LargeKeys {
    /// Whether there is any: without, nothing is looked up.
    any: AtomicBool,
    slots: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Default for LargeKeys {
    fn default() -> Self {
        let slots = (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
        Self { any: AtomicBool::new(false), slots, hasher: RandomState::new() }
    }
}

impl LargeKeys {
    pub(crate) fn has(&self, key: &[u8]) -> bool {
        self.any.load(Ordering::Relaxed) && {
            let (slot, mark) = self.place(key);
            slot.load(Ordering::Relaxed) == mark
        }
    }

    /// Takes note of the value that a key has now.
    pub(crate) fn note(&self, key: &[u8], value: &Value) {
        let large = matches!(value, Value::BulkString(bytes) if bytes.len() >= LARGE);
        if large {
            self.add(key);
        } else if self.has(key) {
            self.place(key).0.store(0, Ordering::Relaxed);
        }
    }

    /// Takes note of a key whose value may be large.
    pub(crate) fn add(&self, key: &[u8]) {
        let (slot, mark) = self.place(key);
        slot.store(mark, Ordering::Relaxed);
        self.any.store(true, Ordering::Relaxed);
    }

    fn place(&self, key: &[u8]) -> (&AtomicU64, u64) {
        let mark = self.hasher.hash_one(key).max(1);
        let index = usize::try_from(mark % SLOTS as u64).unwrap_or(0);
        (&self.slots[index], mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_as_long_as_its_value_is_large() {
        let keys = LargeKeys::default();
        let value = |length| Value::BulkString(vec![0; length]);
        assert!(!keys.has(b"k"));
        keys.note(b"k", &value(LARGE - 1));
        assert!(!keys.has(b"k"));
        keys.note(b"k", &value(LARGE));
        assert!(keys.has(b"k") && !keys.has(b"other"));
        keys.note(b"k", &Value::Nil);
        assert!(!keys.has(b"k"));
    }
}
