//! How much of all streams that are being stored may be in memory.

use std::sync::Arc;
use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Result, Retry};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is counted at a time, in bytes.
const UNIT: u64 = 1 << 10;

/// By how much a part's share grows at least, in bytes: what the first byte of a stream takes. Were it much, a few clients
/// that begin and then wait would keep everybody else from storing anything.
const STEP: u64 = 64 << 10;

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
    shared: Option<OwnedSemaphorePermit>,
    last: Option<OwnedSemaphorePermit>,
    bytes: u64,
}

impl Share {
    fn add(&mut self, permit: OwnedSemaphorePermit, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        match &mut self.shared {
            Some(shared) => shared.merge(permit),
            None => self.shared = Some(permit),
        }
    }
}

/// Room for one step more, or for all of a part.
enum Found {
    Step(OwnedSemaphorePermit),
    Last(OwnedSemaphorePermit),
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
            let wanted = (bytes - share.bytes).next_multiple_of(STEP);
            if let Ok(permit) = Arc::clone(&self.shared).try_acquire_many_owned(units(wanted)) {
                share.add(permit, wanted);
                continue;
            }
            match tokio::time::timeout(patience, self.wait()).await.map_err(|_| no_room())? {
                Found::Step(permit) => share.add(permit, STEP),
                Found::Last(permit) => (share.last, share.bytes) = (Some(permit), u64::MAX),
            }
        }
        Ok(())
    }

    async fn wait(&self) -> Found {
        let shared = Arc::clone(&self.shared).acquire_many_owned(units(STEP));
        let last = Arc::clone(&self.last).acquire_owned();
        // Neither semaphore is ever closed.
        tokio::select! {
            Ok(permit) = shared => Found::Step(permit),
            Ok(permit) = last => Found::Last(permit),
            else => std::future::pending().await,
        }
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes / UNIT).unwrap_or(u32::MAX)
}

fn no_room() -> Error {
    let message = "all of upload_memory is taken by other uploads to this store";
    Error::new(ErrorKind::RateLimited, message).with_retry(Retry::After(Duration::from_secs(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    /// As of thousands of clients who send a byte and then nothing for as long as they may.
    #[tokio::test]
    async fn streams_that_have_only_begun_take_little() {
        let room = Room::new(32 << 20);
        let mut begun: Vec<_> = (0..300).map(|_| Share::default()).collect();
        for share in &mut begun {
            room.grow(share, 1, SHORT).await.unwrap();
        }
        let mut whole = [Share::default(), Share::default()];
        for share in &mut whole {
            room.grow(share, 5 << 20, SHORT).await.unwrap();
        }
        assert!(room.grow(&mut Share::default(), 5 << 20, SHORT).await.is_err());
        begun.clear();
        whole = Default::default();
        assert_eq!(room.shared.available_permits(), 24 << 10, "all of it is given back: {whole:?}");
    }

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
