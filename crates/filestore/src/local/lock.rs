//! Locks between processes: `flock` on files that are never removed.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;
use statehouse_core::policy::Backoff;
use statehouse_core::{Error, ErrorKind, Result, Retry};

use super::config::Permissions;
use super::error::map_error;
use super::gate::{Gate, Pass, Share};

/// How long a lock is waited for. It is held only for a compare and a rename, so this passes only if its holder was
/// stopped or the disk hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How many locks share all keys.
const SHARDS: u32 = 32;

/// How many pairs of a lock's files are kept open between two writes.
const MAX_OPEN: usize = 32;

/// The locks of all keys.
#[derive(Debug)]
pub(super) struct Locks {
    directory: OwnedFd,
    gates: Vec<Gate>,
    permissions: Permissions,
    open: Mutex<Vec<(u32, Pair)>>,
}

/// The two files of a lock. The system's lock belongs to the open file, so a pair is used by one thread at a time.
#[derive(Debug)]
struct Pair {
    turnstile: OwnedFd,
    file: OwnedFd,
}

/// The lock of a key, until dropped.
#[derive(Debug)]
pub(super) struct KeyLock<'a> {
    locks: &'a Locks,
    shard: u32,
    pair: Option<Pair>,
    _pass: Pass<'a>,
}

/// A lock that is held until this is dropped, or the process ends.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "the lock lives as long as the open file")] OwnedFd);

impl Locks {
    pub(super) fn new(directory: OwnedFd, permissions: Permissions) -> Self {
        let gates = (0..SHARDS).map(|_| Gate::default()).collect();
        Self { directory, gates, permissions, open: Mutex::default() }
    }

    /// Takes the lock of a key: among this store's threads in the order in which they ask for it. `patience` is what is left
    /// of [`PATIENCE`].
    pub(super) fn of_key(&self, key: &str, share: Share, patience: Duration) -> Result<KeyLock<'_>> {
        let (shard, until) = (shard(key), Instant::now() + patience);
        let gate = usize::try_from(shard).ok().and_then(|shard| self.gates.get(shard));
        let pass = gate.and_then(|gate| gate.enter(share, until)).ok_or_else(no_turn)?;
        let pair = self.pair(shard)?;
        // As long as others share a lock the system lets still others in, and who wants it alone would never get it.
        // So everybody passes a turnstile, and who waits behind it keeps it shut.
        take(&pair.turnstile, Share::Alone, until)?;
        take(&pair.file, share, until)?;
        unlock(&pair.turnstile)?;
        Ok(KeyLock { locks: self, shard, pair: Some(pair), _pass: pass })
    }

    fn pair(&self, shard: u32) -> Result<Pair> {
        {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(at) = open.iter().rposition(|(of, _)| *of == shard) {
                return Ok(open.swap_remove(at).1);
            }
        }
        let file =
            |name: String| self.permissions.open_file(&self.directory, &name, OFlags::empty()).map_err(map_error);
        Ok(Pair { turnstile: file(format!("{shard:02x}-turn"))?, file: file(format!("{shard:02x}"))? })
    }
}

/// Others that wait for their turn were before it.
pub(super) fn no_turn() -> Error {
    let message = format!("the file's turn to be written did not come within {} s", PATIENCE.as_secs());
    Error::new(ErrorKind::Timeout, message).with_retry(Retry::Now)
}

impl Drop for KeyLock<'_> {
    fn drop(&mut self) {
        let Some(pair) = self.pair.take() else { return };
        // Files that are still locked are closed, which unlocks them.
        if unlock(&pair.file).is_err() {
            return;
        }
        let mut open = self.locks.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() < MAX_OPEN {
            open.push((self.shard, pair));
        }
    }
}

impl Lock {
    /// Takes the lock of a name, waiting for it.
    pub(super) fn wait(directory: impl AsFd, name: &str, permissions: Permissions) -> Result<Self> {
        let file = permissions.open_file(directory, name, OFlags::empty()).map_err(map_error)?;
        take(&file, Share::Alone, Instant::now() + PATIENCE)?;
        Ok(Self(file))
    }

    /// Takes the lock of a name if nobody else has it.
    pub(super) fn try_take(directory: impl AsFd, name: &str, permissions: Permissions) -> Result<Option<Self>> {
        let file = permissions.open_file(directory, name, OFlags::empty()).map_err(map_error)?;
        Ok(try_lock(&file, Share::Alone)?.then_some(Self(file)))
    }
}

pub(super) fn take(file: &OwnedFd, share: Share, until: Instant) -> Result<()> {
    let mut pauses = Backoff::new(Duration::from_micros(50), Duration::from_millis(2));
    while !try_lock(file, share)? {
        if Instant::now() > until {
            let message = "another process holds the lock of the file and does not go on; it may have been stopped";
            return Err(Error::new(ErrorKind::Timeout, message));
        }
        std::thread::sleep(pauses.pause());
    }
    Ok(())
}

fn unlock(file: &OwnedFd) -> Result<()> {
    rustix::fs::flock(file, FlockOperation::NonBlockingUnlock).map_err(map_error)
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
pub(super) fn shard(key: &str) -> u32 {
    let hash = key.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash ^ (hash >> 16)) % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locks(directory: &tempfile::TempDir) -> Locks {
        Locks::new(std::fs::File::open(directory.path()).unwrap().into(), Permissions::Private)
    }

    /// Eight that share the lock and take it again at once, in one process or in several, and one that wants it alone.
    #[test]
    fn who_wants_the_lock_alone_gets_it_beside_many_who_share_it() {
        let directory = tempfile::tempdir().unwrap();
        let one = locks(&directory);
        for others in [None, Some(locks(&directory))] {
            let done = std::sync::atomic::AtomicBool::new(false);
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        while !done.load(std::sync::atomic::Ordering::Relaxed) {
                            let lock = others.as_ref().unwrap_or(&one).of_key("a", Share::Shared, PATIENCE).unwrap();
                            std::thread::sleep(Duration::from_micros(300));
                            drop(lock);
                        }
                    });
                }
                let taken = (0..30).all(|_| one.of_key("a", Share::Alone, PATIENCE).is_ok());
                done.store(true, std::sync::atomic::Ordering::Relaxed);
                assert!(taken);
            });
        }
    }

    #[test]
    fn each_way_to_wait_too_long_is_told_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (locks(&directory), locks(&directory));
        let _held = one.of_key("a", Share::Alone, PATIENCE).unwrap();
        let error = one.of_key("a", Share::Shared, Duration::from_millis(20)).unwrap_err();
        assert!(error.kind() == ErrorKind::Timeout && error.message().contains("turn"), "{error}");
        let error = other.of_key("a", Share::Shared, Duration::from_millis(20)).unwrap_err();
        assert!(error.kind() == ErrorKind::Timeout && error.message().contains("another process"), "{error}");
    }

    #[test]
    fn every_version_finds_the_same_lock() {
        assert_eq!(["", "a", "clinic.scans/p42/chest.dcm"].map(shard), [25, 0, 1]);
    }
}
