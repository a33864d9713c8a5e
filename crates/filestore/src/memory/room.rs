//! What a store in memory may hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use statehouse_core::{Error, Result};

use crate::meta::Meta;

/// What is kept of a file besides its content and texts, about: in the map, of the texts' own places, and of its allocations.
const OVERHEAD: usize = 512;

/// So many bytes, for all of a store.
#[derive(Debug)]
pub(super) struct Room {
    capacity: u64,
    used: AtomicU64,
}

/// Part of it, which is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    room: Arc<Room>,
    bytes: u64,
}

impl Room {
    pub(super) fn new(capacity: u64) -> Arc<Self> {
        Arc::new(Self { capacity, used: AtomicU64::new(0) })
    }

    pub(super) fn share(self: &Arc<Self>, bytes: usize) -> Result<Share> {
        let mut share = Share { room: Arc::clone(self), bytes: 0 };
        share.grow(bytes)?;
        Ok(share)
    }

    /// Refuses what would not fit if there were nothing else.
    pub(super) fn check(&self, bytes: Option<u64>) -> Result<()> {
        if bytes.is_some_and(|bytes| bytes > self.capacity) { Err(full(self.capacity)) } else { Ok(()) }
    }

    /// For what is kept of a file besides its content.
    pub(super) fn describe(self: &Arc<Self>, meta: &Meta) -> Result<Share> {
        let headers = [&meta.content_type, &meta.content_disposition, &meta.cache_control];
        let headers: usize = headers.into_iter().flatten().map(String::len).sum();
        let user: usize = meta.user.iter().map(|(name, value)| name.len() + value.len() + OVERHEAD / 4).sum();
        // The key is in the map and in the metadata.
        self.share(OVERHEAD + 2 * meta.key.as_str().len() + headers + user)
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

impl Share {
    pub(super) fn grow(&mut self, by: usize) -> Result<()> {
        let (by, capacity) = (by as u64, self.room.capacity);
        let fits = |used: u64| used.checked_add(by).filter(|used| *used <= capacity);
        let grown = self.room.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        grown.map_err(|_| full(capacity))?;
        self.bytes += by;
        Ok(())
    }

    /// Bytes that count until nobody has them any more, be it the store or whoever reads them.
    pub(super) fn keep(self, content: Bytes) -> Bytes {
        struct Kept(Bytes, #[expect(dead_code, reason = "it goes with the bytes")] Share);
        impl AsRef<[u8]> for Kept {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        Bytes::from_owner(Kept(content, self))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn full(capacity: u64) -> Error {
    Error::full(format!("the memory for files is full: its capacity is {capacity} bytes"))
}
