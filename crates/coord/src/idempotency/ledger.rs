//! How much there is of the answers that are kept.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use statehouse_core::Version;
use tokio::time::Instant;

use super::format::Fingerprint;
use crate::key::CoordKey;

/// What an answer takes up besides its bytes, in a store and here: about as much as it does.
const OVERHEAD: usize = 512;

/// Whose answers they are: a digest of the principal.
pub(super) type Owner = [u8; 32];

/// What is known of an answer that is kept.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) owner: Owner,
    pub(super) key: CoordKey,
    pub(super) fingerprint: Fingerprint,
    pub(super) version: Version,
    pub(super) expires: Instant,
    bytes: usize,
}

impl Entry {
    pub(super) fn new(
        owner: Owner,
        key: CoordKey,
        fingerprint: Fingerprint,
        (version, length): (Version, usize),
        expires: Instant,
    ) -> Self {
        Self { owner, key, fingerprint, version, expires, bytes: OVERHEAD + length }
    }
}

/// How many bytes of answers may be kept, of each principal and of all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) each: usize,
    pub(super) all: usize,
}

/// What this process has kept and what has not expired since.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    /// In the order in which they were kept, in which they expire.
    entries: BTreeMap<u64, Entry>,
    next: u64,
    bytes: usize,
    owners: HashMap<Owner, Owned>,
}

#[derive(Debug, Default)]
struct Owned {
    /// Where their entries are, the oldest first.
    order: VecDeque<u64>,
    bytes: usize,
}

impl Ledger {
    /// Writes down what was kept. Answers what is not to be kept any more for it, the oldest first: it may be that itself.
    pub(super) fn add(&self, entry: Entry, bounds: Bounds) -> Vec<Entry> {
        let mut books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while books.entries.first_key_value().is_some_and(|(_, oldest)| oldest.expires <= Instant::now()) {
            books.take_oldest();
        }
        let owner = entry.owner;
        books.add(entry);
        let mut over = Vec::new();
        while books.bytes_of(&owner) > bounds.each {
            let Some(at) = books.owners.get(&owner).and_then(|owned| owned.order.front().copied()) else { break };
            over.extend(books.take(at));
        }
        while books.bytes > bounds.all {
            let Some(oldest) = books.take_oldest() else { break };
            over.push(oldest);
        }
        over
    }
}

impl Books {
    fn add(&mut self, entry: Entry) {
        let (at, owned) = (self.next, self.owners.entry(entry.owner).or_default());
        owned.order.push_back(at);
        owned.bytes += entry.bytes;
        self.bytes += entry.bytes;
        self.entries.insert(at, entry);
        self.next += 1;
    }

    fn bytes_of(&self, owner: &Owner) -> usize {
        self.owners.get(owner).map_or(0, |owned| owned.bytes)
    }

    fn take_oldest(&mut self) -> Option<Entry> {
        let (at, _) = self.entries.first_key_value()?;
        self.take(*at)
    }

    /// Only the oldest is ever taken, of its owner or of all, which is its owner's oldest as well.
    fn take(&mut self, at: u64) -> Option<Entry> {
        let entry = self.entries.remove(&at)?;
        self.bytes -= entry.bytes;
        if let Some(owned) = self.owners.get_mut(&entry.owner) {
            owned.order.pop_front();
            owned.bytes -= entry.bytes;
            if owned.order.is_empty() {
                self.owners.remove(&entry.owner);
            }
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn entry(owner: u8, number: u64, expires: Instant) -> Entry {
        let key = CoordKey::new(format!("idempotency/orders/{number}")).unwrap();
        Entry::new([owner; 32], key, [0; 32], (Version::new(number), 1_000 - OVERHEAD), expires)
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_go_of_a_principal_and_of_all_and_what_has_expired_counts_no_more() {
        let (ledger, bounds) = (Ledger::default(), Bounds { each: 2_000, all: 3_000 });
        let (now, day) = (Instant::now(), Duration::from_secs(86_400));
        let add = |owner, number, expires| -> Vec<u64> {
            ledger.add(entry(owner, number, expires), bounds).iter().map(|over| over.version.get()).collect()
        };
        assert!(add(1, 1, now + day).is_empty() && add(1, 2, now + day).is_empty());
        assert_eq!(add(1, 3, now + day), [1], "the oldest of theirs");
        assert!(add(2, 4, now + day).is_empty());
        assert_eq!(add(3, 5, now + day), [2], "the oldest of all");
        tokio::time::advance(day).await;
        assert!(
            add(3, 6, now + 2 * day).is_empty() && add(3, 7, now + 2 * day).is_empty(),
            "theirs of yesterday is over"
        );
        let books = ledger.0.lock().unwrap();
        assert_eq!((books.bytes, books.entries.len(), books.owners.len()), (2_000, 2, 1));
        drop(books);
        let large = Entry::new([9; 32], CoordKey::new("k").unwrap(), [0; 32], (Version::new(8), 5_000), now + 2 * day);
        assert_eq!(ledger.add(large, bounds).len(), 1, "what fits nowhere is itself what goes");
    }
}
