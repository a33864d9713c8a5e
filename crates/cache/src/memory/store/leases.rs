use std::collections::HashMap;

use statehouse_core::Version;

use crate::CacheKey;

/// How many leases one stripe keeps. Beyond it the one that ends first is dropped: its load is not stored.
pub(super) const MOST_LEASES: usize = 1024;

/// The loads that are under way in one stripe. They lie beside the engine, so that they weigh nothing and are not
/// evicted: a load that takes long would else lose its place to whatever is written meanwhile.
#[derive(Default)]
pub(super) struct Leases {
    held: HashMap<CacheKey, Held>,
    /// At how many of them those that have ended are taken out next.
    purge_at: usize,
}

#[derive(Clone, Copy)]
struct Held {
    token: Version,
    /// When it was given out, in microseconds since 1970: its token may run ahead of that.
    created: u64,
    /// Microseconds of [`Clock::elapsed`](statehouse_core::Clock::elapsed).
    expires: u64,
}

impl Leases {
    /// The token of the key's lease.
    pub(super) fn token(&self, key: &str, now: u64) -> Option<Version> {
        self.held.get(key).filter(|held| held.expires > now).map(|held| held.token)
    }

    /// The key's lease, which ends no sooner than `expires` from now on.
    pub(super) fn prolong(&mut self, key: &str, now: u64, expires: u64) -> Option<Version> {
        let held = self.held.get_mut(key).filter(|held| held.expires > now)?;
        held.expires = held.expires.max(expires);
        Some(held.token)
    }

    /// When the key's lease was given out.
    pub(super) fn created(&self, key: &str) -> Option<u64> {
        self.held.get(key).map(|held| held.created)
    }

    pub(super) fn insert(&mut self, key: &CacheKey, token: Version, created: u64, now: u64, expires: u64) {
        if self.held.len() >= self.purge_at {
            self.make_room(now);
        }
        self.held.insert(key.clone(), Held { token, created, expires });
    }

    fn make_room(&mut self, now: u64) {
        self.held.retain(|_, held| held.expires > now);
        self.purge_at = (self.held.len() * 2).clamp(16, MOST_LEASES);
        if self.held.len() >= MOST_LEASES {
            let first = self.held.iter().min_by_key(|(_, held)| held.expires).map(|(key, _)| key.clone());
            first.map(|key| self.held.remove(&key));
        }
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.held.remove(key);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }
}
