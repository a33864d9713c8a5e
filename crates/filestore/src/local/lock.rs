//! Locks between processes: `flock` on files that are never removed.

use std::time::{Duration, Instant};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use statehouse_core::{Error, ErrorKind, Result};

use super::error::map_error;

/// How long a lock is waited for. It is held only for a compare and a rename, so this passes only if its holder was
/// stopped.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many locks share all keys.
const SHARDS: u32 = 256;

/// A lock that is held until this is dropped, or the process ends.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "the lock lives as long as the open file")] OwnedFd);

/// Who else may hold the lock at the same time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Share {
    /// Others that need no compare: their renames are atomic by themselves.
    Shared,
    /// Nobody: between the compare and the write nothing may change.
    Alone,
}

impl Lock {
    /// Takes the lock of a key.
    pub(super) fn of_key(directory: impl AsFd, key: &str, share: Share) -> Result<Self> {
        Self::take(directory, &format!("{:02x}", shard(key)), share)
    }

    /// Takes the lock of a name, waiting for it.
    pub(super) fn take(directory: impl AsFd, name: &str, share: Share) -> Result<Self> {
        let file = open(directory, name)?;
        let (start, mut pause) = (Instant::now(), Duration::from_micros(50));
        while !try_lock(&file, share)? {
            if start.elapsed() > PATIENCE {
                let message = "another process held the file's lock for too long; it may have been stopped";
                return Err(Error::new(ErrorKind::Timeout, message));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(5));
        }
        Ok(Self(file))
    }

    /// Takes the lock of a name if nobody else has it.
    pub(super) fn try_take(directory: impl AsFd, name: &str) -> Result<Option<Self>> {
        let file = open(directory, name)?;
        Ok(try_lock(&file, Share::Alone)?.then_some(Self(file)))
    }
}

fn open(directory: impl AsFd, name: &str) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o666)).map_err(map_error)
}

fn try_lock(file: &OwnedFd, share: Share) -> Result<bool> {
    let operation = match share {
        Share::Shared => FlockOperation::NonBlockingLockShared,
        Share::Alone => FlockOperation::NonBlockingLockExclusive,
    };
    match rustix::fs::flock(file, operation) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(false),
        Err(error) => Err(map_error(error)),
    }
}

/// FNV-1a, because every process, old or new, must find the same lock.
fn shard(key: &str) -> u32 {
    let hash = key.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash ^ (hash >> 16)) % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_finds_the_same_lock() {
        assert_eq!(["", "a", "clinic.scans/p42/chest.dcm"].map(shard), [217, 32, 129]);
    }
}
