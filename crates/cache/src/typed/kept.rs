//! Invalidations that did not reach the store.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::CacheKey;

/// What kept keys may take. Beyond it they become one kept clear.
const MOST_BYTES: usize = 1 << 20;

/// What a key costs besides its text.
const PER_KEY: usize = 96;

/// The invalidations that failed because the store was away, with when they were asked for, until they are replayed.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    debts: Mutex<Debts>,
    /// How many there are: looked at with every call.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Debts {
    keys: HashMap<CacheKey, Instant>,
    bytes: usize,
    clear: Option<Instant>,
}

/// What is to be replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Debt {
    Key(CacheKey),
    Clear,
}

impl Kept {
    /// Keeps an invalidation that was asked for at `asked`.
    pub(crate) fn keep(&self, debt: &Debt, asked: Instant) {
        let mut debts = self.lock();
        match debt {
            // Beside a clear that is to come, too: that does not return to what it has reached.
            Debt::Key(key) => debts.keep_key(key, asked),
            Debt::Clear => debts.keep_clear(asked),
        }
        self.count.store(debts.count(), Ordering::Release);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Until when what there was at `key` must be removed before it is looked at: when that was asked for, or a clear.
    pub(crate) fn owed(&self, key: &CacheKey) -> Option<Instant> {
        if self.is_empty() {
            return None;
        }
        let debts = self.lock();
        debts.clear.max(debts.keys.get(key).copied())
    }

    /// All that is to be replayed.
    pub(crate) fn all(&self) -> Vec<(Debt, Instant)> {
        let debts = self.lock();
        let keys = debts.keys.iter().map(|(key, asked)| (Debt::Key(key.clone()), *asked));
        debts.clear.map(|asked| (Debt::Clear, asked)).into_iter().chain(keys).collect()
    }

    /// Forgets what was asked for no later than `asked`: the store has it now.
    pub(crate) fn paid(&self, debt: &Debt, asked: Instant) {
        if self.is_empty() {
            return;
        }
        let mut debts = self.lock();
        match debt {
            Debt::Key(key) if debts.keys.get(key).is_some_and(|kept| *kept <= asked) => {
                debts.keys.remove(key);
                debts.bytes = debts.bytes.saturating_sub(key.len() + PER_KEY);
            }
            Debt::Key(_) => {}
            Debt::Clear => {
                debts.clear = debts.clear.filter(|kept| *kept > asked);
                debts.keys.retain(|_, kept| *kept > asked);
                debts.bytes = debts.keys.keys().map(|key| key.len() + PER_KEY).sum();
            }
        }
        self.count.store(debts.count(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Debts> {
        self.debts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Debts {
    fn keep_key(&mut self, key: &CacheKey, asked: Instant) {
        if self.keys.insert(key.clone(), asked).is_some() {
            return;
        }
        self.bytes += key.len() + PER_KEY;
        if self.bytes > MOST_BYTES {
            self.keep_clear(asked);
        }
    }

    fn keep_clear(&mut self, asked: Instant) {
        self.keys = HashMap::new();
        self.bytes = 0;
        self.clear = self.clear.max(Some(asked));
    }

    fn count(&self) -> usize {
        self.keys.len() + usize::from(self.clear.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Debt {
        Debt::Key(CacheKey::new(text).unwrap())
    }

    fn owed(kept: &Kept, text: &str) -> Option<Instant> {
        kept.owed(&CacheKey::new(text).unwrap())
    }

    #[test]
    fn what_is_kept_is_owed_until_it_is_paid() {
        let kept = Kept::default();
        let first = Instant::now();
        kept.keep(&key("a"), first);
        assert_eq!((owed(&kept, "a"), owed(&kept, "b")), (Some(first), None));
        let second = first + std::time::Duration::from_secs(1);
        kept.keep(&key("a"), second);
        kept.paid(&key("a"), first);
        assert_eq!(owed(&kept, "a"), Some(second), "a later one is not paid by an earlier");
        kept.paid(&key("a"), second);
        assert!(kept.is_empty() && kept.all().is_empty());
    }

    #[test]
    fn a_clear_takes_keys_with_it_and_so_do_too_many() {
        let (kept, now) = (Kept::default(), Instant::now());
        kept.keep(&key("a"), now);
        kept.keep(&Debt::Clear, now);
        let later = now + std::time::Duration::from_secs(1);
        kept.keep(&key("b"), later);
        assert_eq!((owed(&kept, "b"), owed(&kept, "c"), kept.all().len()), (Some(later), Some(now), 2));
        kept.paid(&Debt::Clear, now);
        assert_eq!(kept.all(), [(key("b"), later)], "it was asked for after the clear");
        kept.paid(&key("b"), later);
        assert!(kept.is_empty());
        for n in 0..MOST_BYTES / PER_KEY {
            kept.keep(&key(&format!("key {n}")), now);
        }
        assert_eq!((owed(&kept, "never seen"), &kept.all()[0]), (Some(now), &(Debt::Clear, now)));
        assert!(kept.count.load(Ordering::Relaxed) < MOST_BYTES / PER_KEY / 2);
        // Only the clear itself pays it.
        kept.paid(&key("never seen"), now);
        assert_eq!(owed(&kept, "never seen"), Some(now));
    }
}
