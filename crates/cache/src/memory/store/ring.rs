use std::collections::VecDeque;

use statehouse_core::Version;

use crate::CacheKey;

/// How many live entries one write looks at. With four, what has expired is at most about a third of what lives.
pub(super) const LIVE_PER_WRITE: usize = 4;

/// How many live entries a read looks at that sweeps, some 3 µs of work: among a million, what has expired leaves in half a
/// minute.
pub(super) const LIVE_PER_READ: usize = 32;

/// How many records one write, or a read that sweeps, looks at at most, some 50 µs of work: after a pause there may be many to remove.
pub(super) const MOST_PER_WRITE: usize = 256;

/// Below this many records the ring's memory is not worth giving back.
const SMALL: usize = 64;

/// One record for each entry of a stripe, in the order in which a hand looks at them, a few with each write. So each
/// expired entry is found in time, whatever the times to live are, and no caller pays for many.
///
/// A record whose entry was evicted or removed leaves when the hand comes to it. The ticket tells it from the record of a
/// later entry of the same key.
#[derive(Default)]
pub(super) struct Ring {
    records: VecDeque<Record>,
    tickets: u32,
}

pub(super) struct Record {
    key: CacheKey,
    ticket: u32,
}

/// What all clears that are under way have still to look at in one stripe. None of them returns before all of it was: what was
/// written beside an earlier one is what a later one is to take out.
#[derive(Default)]
pub(super) struct Cleared {
    pub(super) ring: Ring,
    /// The last version before the last of them began: what is newer was written beside it, and stays.
    pub(super) last: Version,
    pub(super) clears: usize,
}

/// What the hand finds at a record's key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Live,
    /// Expired and removed, or gone before.
    Gone,
}

impl Ring {
    /// A record for a new entry; its ticket.
    pub(super) fn add(&mut self, key: &CacheKey) -> u32 {
        self.tickets = self.tickets.wrapping_add(1);
        self.records.push_back(Record { key: key.clone(), ticket: self.tickets });
        self.tickets
    }

    /// Moves the hand on, past so many live entries at most. `look` removes an entry that has expired.
    pub(super) fn advance(&mut self, most_live: usize, mut look: impl FnMut(&CacheKey, u32) -> State) {
        let mut live = 0;
        for _ in 0..MOST_PER_WRITE.min(self.records.len()) {
            let Some(record) = self.records.pop_front() else { break };
            if look(&record.key, record.ticket) == State::Live {
                self.records.push_back(record);
                live += 1;
                if live == most_live {
                    break;
                }
            }
        }
        if self.records.capacity() > SMALL.max(self.records.len().saturating_mul(4)) {
            self.records.shrink_to(self.records.len() * 2);
        }
    }

    /// All records, for whoever looks at them apart from this; tickets go on.
    pub(super) fn take(&mut self) -> Self {
        Self { records: std::mem::take(&mut self.records), tickets: self.tickets }
    }

    /// The first record.
    pub(super) fn pop(&mut self) -> Option<Record> {
        self.records.pop_front()
    }

    /// Has a record that was popped among those of this ring.
    pub(super) fn keep(&mut self, record: Record) {
        self.records.push_back(record);
    }

    /// Has all that was taken, and is left, in this one again.
    pub(super) fn give_back(&mut self, taken: &mut Self) {
        std::mem::swap(&mut self.records, &mut taken.records);
        self.records.append(&mut taken.records);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }
}

impl Record {
    pub(super) const fn key(&self) -> &CacheKey {
        &self.key
    }

    pub(super) const fn ticket(&self) -> u32 {
        self.ticket
    }
}
