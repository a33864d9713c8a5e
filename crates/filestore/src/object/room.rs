//! How much of all streams that are being stored may be in memory.

use std::sync::Arc;
use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Result, Retry};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is counted at a time, in bytes.
const UNIT: u64 = 1 << 10;

/// By how much a part's share grows, in bytes.
const STEP: u64 = 1 << 20;

/// The memory that the uploads of one store share.
///
/// Each part takes as much as has come of it. Were that all, many parts that have come half could keep each other from
/// ever becoming whole. A quarter of the memory is therefore only for one part at a time: whoever has it can complete
/// its part, send it, and give everything back.
#[derive(Debug)]
pub(super) struct Room {
    shared: Arc<Semaphore>,
    last: Arc<Semaphore>,
    /// The longest part there is room for.
    pub(super) longest: u64,
}

/// What one part has taken. Given back when dropped.
#[derive(Debug, Default)]
pub(super) struct Share {
    permits: Vec<OwnedSemaphorePermit>,
    bytes: u64,
}

impl Room {
    pub(super) fn new(bytes: u64) -> Self {
        let units = |bytes: u64| usize::try_from(bytes / UNIT).unwrap_or(Semaphore::MAX_PERMITS);
        let longest = bytes / 4;
        let shared = Arc::new(Semaphore::new(units(bytes - longest).min(Semaphore::MAX_PERMITS)));
        Self { shared, last: Arc::new(Semaphore::new(1)), longest }
    }

    /// Makes room for a part that will have this many bytes.
    pub(super) async fn grow(&self, share: &mut Share, bytes: u64, patience: Duration) -> Result<()> {
        while share.bytes < bytes {
            let step = u32::try_from(STEP / UNIT).unwrap_or(1);
            let permit = match Arc::clone(&self.shared).try_acquire_many_owned(step) {
                Ok(permit) => (STEP, permit),
                Err(_) => tokio::time::timeout(patience, self.wait(step)).await.map_err(|_| no_room())?,
            };
            share.bytes = share.bytes.saturating_add(permit.0);
            share.permits.push(permit.1);
        }
        Ok(())
    }

    async fn wait(&self, step: u32) -> (u64, OwnedSemaphorePermit) {
        let shared = Arc::clone(&self.shared).acquire_many_owned(step);
        let last = Arc::clone(&self.last).acquire_owned();
        // Neither semaphore is ever closed.
        tokio::select! {
            Ok(permit) = shared => (STEP, permit),
            Ok(permit) = last => (u64::MAX, permit),
            else => std::future::pending().await,
        }
    }
}

fn no_room() -> Error {
    let message = "all of upload_memory is taken by other uploads to this store";
    Error::new(ErrorKind::RateLimited, message).with_retry(Retry::After(Duration::from_secs(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn parts_that_have_come_half_do_not_keep_each_other_from_becoming_whole() {
        let room = Room::new(32 << 20);
        let mut shares: Vec<_> = (0..8).map(|_| Share::default()).collect();
        for share in &mut shares[..6] {
            room.grow(share, 4 << 20, SHORT).await.unwrap();
        }
        room.grow(&mut shares[0], 8 << 20, SHORT).await.unwrap();
        let refused = room.grow(&mut shares[1], 8 << 20, SHORT).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::RateLimited);
        shares[0] = Share::default();
        room.grow(&mut shares[1], 8 << 20, SHORT).await.unwrap();
        for share in &mut shares[2..] {
            *share = Share::default();
        }
        room.grow(&mut shares[2], 8 << 20, SHORT).await.unwrap();
    }
}
