//! Which directories are known to survive a power cut.
//!
//! A file is as durable as the directories that it is in. Who makes one syncs the one above it, and whoever finds it there
//! cannot know whether that has happened yet: another process may have made it just now. So who finds it syncs the one above,
//! too, and remembers that: each directory costs this once in a process.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
#[cfg(target_os = "linux")]
use std::time::{Duration, SystemTime};

use rustix::fd::OwnedFd;
use rustix::io::Result;

use super::beneath::Root;
use super::config::Durability;

/// How many directories are remembered, in 3 MiB at most.
const MAX_KNOWN: usize = 1 << 16;

/// How old a directory must be to be remembered: then no other one that is made later, with its number, has its time of birth.
/// Some ticks of the clock that file systems take it from.
#[cfg(target_os = "linux")]
const SETTLED: Duration = Duration::from_millis(50);

/// What tells a directory from every other, also from one that was made in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Birth {
    device: (u32, u32),
    inode: u64,
    seconds: i64,
    nanos: u32,
}

#[derive(Debug)]
pub(super) struct Durable {
    durability: Durability,
    known: Mutex<HashSet<Birth>>,
    /// How often a directory above was synced.
    #[cfg(test)]
    pub(super) synced: std::sync::atomic::AtomicUsize,
}

impl Durable {
    pub(super) fn new(durability: Durability) -> Self {
        let known = Mutex::default();
        Self {
            durability,
            known,
            #[cfg(test)]
            synced: Default::default(),
        }
    }

    /// Syncs the directory above this one, which is open and was found there, unless that has been done.
    pub(super) fn settle(&self, root: &Root, path: &str, directory: &OwnedFd) -> Result<()> {
        // The root's own name was synced when the store was opened.
        if self.durability == Durability::Relaxed || path == "." {
            return Ok(());
        }
        let birth = birth(directory);
        if birth.is_some_and(|birth| self.known().contains(&birth)) {
            return Ok(());
        }
        let above = path.rsplit_once('/').map_or(".", |(above, _)| above);
        rustix::fs::fsync(root.open_directory(above)?)?;
        #[cfg(test)]
        self.synced.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if let Some(birth) = birth.filter(is_settled) {
            let mut known = self.known();
            if known.len() >= MAX_KNOWN {
                known.clear();
            }
            known.insert(birth);
        }
        Ok(())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<Birth>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// None where the file system keeps no time of birth, or counts it in seconds; then the directory is not remembered.
#[cfg(target_os = "linux")]
fn birth(directory: &OwnedFd) -> Option<Birth> {
    use rustix::fs::{AtFlags, StatxFlags, statx};
    let asked = StatxFlags::INO | StatxFlags::BTIME;
    let told = statx(directory, c"", AtFlags::EMPTY_PATH, asked).ok()?;
    let has_all = StatxFlags::from_bits_retain(told.stx_mask).contains(asked);
    let device = (told.stx_dev_major, told.stx_dev_minor);
    let (seconds, nanos) = (told.stx_btime.tv_sec, told.stx_btime.tv_nsec);
    (has_all && nanos != 0).then_some(Birth { device, inode: told.stx_ino, seconds, nanos })
}

#[cfg(not(target_os = "linux"))]
fn birth(_directory: &OwnedFd) -> Option<Birth> {
    None
}

#[cfg(target_os = "linux")]
fn is_settled(birth: &Birth) -> bool {
    let Ok(seconds) = u64::try_from(birth.seconds) else { return false };
    let born = SystemTime::UNIX_EPOCH + Duration::new(seconds, birth.nanos);
    SystemTime::now().duration_since(born).is_ok_and(|age| age >= SETTLED)
}

#[cfg(not(target_os = "linux"))]
const fn is_settled(_birth: &Birth) -> bool {
    false
}
