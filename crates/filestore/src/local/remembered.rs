//! Large directories that were read before, and how it is known that they are as they were.
//!
//! No file system gives a directory's names in order, so the first page of a large one takes reading all of it. What was
//! read is kept, for as long as the directories themselves say that nothing has changed in them: every file that is
//! made, replaced, renamed or removed changes the time of change of its directory, whoever does it, and nobody can set
//! that time. Only a directory that was left alone for a while before it was read is kept, because several changes at
//! the same tick of the clock leave the same time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::fd::OwnedFd;

use super::beneath::Root;
use super::names::Names;

/// How many bytes all that is kept may have.
const MAX_BYTES: usize = 64 << 20;

/// A directory of fewer names is read as quickly as it is looked up.
const LEAST: usize = 256;

/// How many directories may belong together: one, and those in which its long names go on.
const MAX_STAMPS: usize = 16;

/// How long a directory must have been left alone: some ticks of the clock, or where seconds are counted two of them.
const SETTLED: Duration = Duration::from_millis(100);
const SETTLED_COARSE: Duration = Duration::from_secs(3);

/// What a directory was like.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    seconds: i64,
    nanos: u64,
}

/// The directories that a reading went through, as they were before it.
#[derive(Debug)]
pub(super) struct Stamps {
    begun: SystemTime,
    all: Vec<(String, Stamp)>,
    whole: bool,
}

#[derive(Debug)]
struct Kept {
    stamps: Vec<(String, Stamp)>,
    names: Arc<Names>,
    skipped: u64,
}

/// The directories that are kept, those used last at the end.
#[derive(Debug)]
pub(super) struct Remembered {
    kept: Mutex<Vec<Kept>>,
    least: usize,
}

impl Default for Remembered {
    fn default() -> Self {
        Self { kept: Mutex::default(), least: LEAST }
    }
}

impl Stamp {
    fn of(directory: &OwnedFd) -> Option<Self> {
        let stat = rustix::fs::fstat(directory).ok()?;
        let (device, inode) = (stat.st_dev as u64, stat.st_ino as u64);
        Some(Self { device, inode, seconds: stat.st_ctime as i64, nanos: stat.st_ctime_nsec as u64 })
    }

    /// Whether a change after that time would have left another stamp.
    fn is_settled(&self, at: SystemTime) -> bool {
        let least = if self.nanos == 0 { SETTLED_COARSE } else { SETTLED };
        let seconds = u64::try_from(self.seconds).unwrap_or(0);
        let changed = Duration::from_secs(seconds).saturating_add(Duration::from_nanos(self.nanos));
        at.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|at| at >= changed.saturating_add(least))
    }
}

impl Stamps {
    pub(super) fn new() -> Self {
        Self { begun: SystemTime::now(), all: Vec::new(), whole: true }
    }

    /// Takes down a directory that is about to be read.
    pub(super) fn add(&mut self, path: &str, directory: &OwnedFd) {
        match Stamp::of(directory).filter(|stamp| self.all.len() < MAX_STAMPS && stamp.is_settled(self.begun)) {
            Some(stamp) => self.all.push((path.to_owned(), stamp)),
            None => self.whole = false,
        }
    }

    /// Says that not all was read.
    pub(super) const fn cut(&mut self) {
        self.whole = false;
    }
}

fn are_current(root: &Root, stamps: &[(String, Stamp)]) -> bool {
    let now = |path: &str| root.open_directory(path).ok().and_then(|directory| Stamp::of(&directory));
    stamps.iter().all(|(path, stamp)| now(path).as_ref() == Some(stamp))
}

impl Remembered {
    /// The names of a directory and how many things in it are none of the store's, if nothing has changed since they
    /// were read.
    pub(super) fn get(&self, root: &Root, path: &str) -> Option<(Arc<Names>, u64)> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|kept| kept.is_of(path))?;
        let found = kept.remove(at);
        if !are_current(root, &found.stamps) {
            return None;
        }
        let names = (Arc::clone(&found.names), found.skipped);
        kept.push(found);
        Some(names)
    }

    /// Whether these names are still those of the directory.
    pub(super) fn has(&self, root: &Root, path: &str, names: &Arc<Names>) -> bool {
        self.get(root, path).is_some_and(|(current, _)| Arc::ptr_eq(&current, names))
    }

    /// Keeps what was read, if it is much and nothing has changed meanwhile.
    pub(super) fn keep(&self, root: &Root, stamps: Stamps, names: &Arc<Names>, skipped: u64) -> bool {
        let bytes = names.bytes_when_known();
        if !stamps.whole || names.len() < self.least || bytes > MAX_BYTES || !are_current(root, &stamps.all) {
            return false;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((path, _)) = stamps.all.first() {
            kept.retain(|kept| !kept.is_of(path));
        }
        kept.push(Kept { stamps: stamps.all, names: Arc::clone(names), skipped });
        let mut all: usize = kept.iter().map(|kept| kept.names.bytes_when_known()).sum();
        while all > MAX_BYTES {
            all -= kept.remove(0).names.bytes_when_known();
        }
        true
    }

    /// Keeps small directories, too.
    #[cfg(test)]
    pub(super) fn of_all() -> Self {
        Self { kept: Mutex::default(), least: 0 }
    }

    /// Whether something is kept, all of which is current.
    #[cfg(test)]
    pub(super) fn has_any(&self, root: &Root) -> bool {
        let kept = self.kept.lock().unwrap();
        !kept.is_empty() && kept.iter().all(|kept| are_current(root, &kept.stamps))
    }
}

impl Kept {
    fn is_of(&self, path: &str) -> bool {
        self.stamps.first().is_some_and(|(first, _)| first == path)
    }
}
