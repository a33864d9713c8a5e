//! Invalidations that did not reach the store.

use std::collections::HashMap;
use std::time::Instant;

use crate::CacheKey;
use crate::sync::{AtomicUsize, Mutex, MutexGuard, Ordering, PoisonError};

/// What kept keys may take. Beyond it they become one kept clear.
const MOST_BYTES: usize = 1 << 20;

/// What a key costs besides its text.
const PER_KEY: usize = 96;

/// The invalidations that the store did not take, with when they were asked for, until they are replayed.
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
    /// The keys that were removed by themselves while the clear is still to come, with the clear that it was for: it concerns
    /// them no more. Of those that take too much room it does.
    reached: HashMap<CacheKey, Instant>,
    reached_bytes: usize,
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
        let clear = debts.clear.filter(|clear| debts.reached.get(key).is_none_or(|reached| reached < clear));
        clear.max(debts.keys.get(key).copied())
    }

    /// Whether what is owed is a part of a clear, and not the removal of this key.
    pub(crate) fn is_of_clear(&self, key: &CacheKey) -> bool {
        let debts = self.lock();
        let clear = debts.clear.filter(|clear| debts.reached.get(key).is_none_or(|reached| reached < clear));
        clear.is_some_and(|clear| debts.keys.get(key).is_none_or(|asked| *asked < clear))
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
        debts.note_reached(debt, asked);
        match debt {
            Debt::Key(key) if debts.keys.get(key).is_some_and(|kept| *kept <= asked) => {
                debts.keys.remove(key);
                debts.bytes = debts.bytes.saturating_sub(key.len() + PER_KEY);
            }
            Debt::Key(_) => {}
            Debt::Clear => {
                debts.clear = debts.clear.filter(|kept| *kept > asked);
                debts.forget_keys(asked);
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
        if let Some(kept) = self.keys.get_mut(key) {
            // One that was asked for earlier may fail later.
            *kept = asked.max(*kept);
            return;
        }
        self.keys.insert(key.clone(), asked);
        self.bytes += key.len() + PER_KEY;
        if self.bytes > MOST_BYTES {
            self.keep_clear(self.keys.values().copied().max().unwrap_or(asked));
        }
    }

    /// The next read of the key need not remove it again.
    fn note_reached(&mut self, debt: &Debt, asked: Instant) {
        match (debt, self.clear) {
            (Debt::Key(key), Some(clear)) if clear <= asked => {
                let more = key.len() + PER_KEY;
                if self.reached_bytes + more <= MOST_BYTES {
                    self.reached_bytes += self.reached.insert(key.clone(), asked).map_or(more, |_| 0);
                }
            }
            (Debt::Clear, _) => (self.reached, self.reached_bytes) = (HashMap::new(), 0),
            _ => {}
        }
    }

    fn keep_clear(&mut self, asked: Instant) {
        self.clear = self.clear.max(Some(asked));
        self.forget_keys(asked);
    }

    /// What was asked for later stays.
    fn forget_keys(&mut self, asked: Instant) {
        self.keys.retain(|_, kept| *kept > asked);
        self.keys.shrink_to(0);
        self.bytes = self.keys.keys().map(|key| key.len() + PER_KEY).sum();
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
        // Only the clear itself pays it; a key that was removed by itself meanwhile is removed once.
        kept.paid(&key("never seen"), now);
        assert_eq!((owed(&kept, "never seen"), owed(&kept, "another")), (None, Some(now)));
        kept.keep(&Debt::Clear, later);
        assert_eq!(owed(&kept, "never seen"), Some(later), "a later clear concerns it again");
        kept.paid(&Debt::Clear, later);
        assert!(kept.is_empty() && kept.lock().reached.is_empty());
    }

    #[test]
    fn an_earlier_invalidation_that_fails_later_does_not_shorten_what_is_owed() {
        let (kept, first) = (Kept::default(), Instant::now());
        let second = first + std::time::Duration::from_secs(1);
        kept.keep(&key("a"), second);
        kept.keep(&key("a"), first);
        assert_eq!(owed(&kept, "a"), Some(second));
        kept.paid(&key("a"), first);
        assert_eq!(owed(&kept, "a"), Some(second), "what was stored between the two would stay");
    }

    #[test]
    fn a_clear_that_fails_late_leaves_what_was_asked_for_after_it() {
        let (kept, first) = (Kept::default(), Instant::now());
        let second = first + std::time::Duration::from_secs(1);
        kept.keep(&key("before"), first);
        kept.keep(&key("after"), second);
        kept.keep(&Debt::Clear, first);
        assert_eq!((owed(&kept, "after"), owed(&kept, "before")), (Some(second), Some(first)));
        kept.paid(&Debt::Clear, first);
        assert_eq!(kept.all(), [(key("after"), second)]);
        // Too many become a clear, which is as late as the latest of them.
        for n in 0..MOST_BYTES / PER_KEY {
            kept.keep(&key(&format!("key {n}")), first);
        }
        assert_eq!(owed(&kept, "never seen"), Some(second));
    }
}
