//! Large directories that were read before, and how it is known what has changed in them since.
//!
//! No file system gives a directory's names in order, so the first page of a large one takes reading all of it. What was
//! read is kept, and never on disk. Where the system tells of changes (see [`super::watch`]) those are made up for: the
//! names that it tells are looked at again, so that it does not matter who changed what, in which order, or how often.
//! Elsewhere what was read is kept for as long as the directory itself says that nothing has changed: every file that
//! is made, replaced, renamed or removed changes its directory's time of change, and nobody can set that time. Then
//! only a directory that was left alone for a while before it was read is kept, because several changes at the same tick
//! of the clock leave the same time.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{CStr, CString};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::fd::OwnedFd;
use rustix::fs::FileType;

use super::beneath::Root;
use super::name::{self, CONTINUED};
use super::names::Names;
use super::thing::{Thing, is_spelling, look_at, split};
use super::watch::{Changes, Listener, Watcher};

/// How many bytes all that is kept may have, and in how many directories.
const MAX_BYTES: usize = 64 << 20;
const MAX_KEPT: usize = 1024;

/// A directory of fewer names is read as quickly as it is looked up.
const LEAST: usize = 256;

/// A directory of so many bytes has fewer, with names of a usual length.
const SMALL: u64 = 4096;

/// How many directories may belong together: one, and those in which its long names go on.
const MAX_SEEN: usize = 16;

/// How many names of things that are none of the store's are kept of a directory.
const MAX_FOREIGN: usize = 1024;

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

/// A directory that a reading went through, as it was before that.
#[derive(Debug)]
struct Seen {
    path: String,
    stamp: Stamp,
    listener: Option<Listener>,
}

/// All directories that a reading went through.
#[derive(Debug)]
pub(super) struct Sight {
    begun: SystemTime,
    all: Vec<Seen>,
    whole: bool,
}

/// What lies in a directory and is none of the store's.
#[derive(Clone, Debug, Default)]
pub(super) struct Foreign {
    /// In the directory itself.
    names: HashSet<CString>,
    /// In those in which its names go on.
    further: u64,
}

#[derive(Debug)]
struct Kept {
    seen: Vec<Seen>,
    names: Arc<Names>,
    foreign: Foreign,
}

/// The directories that are kept, those used last at the end.
#[derive(Debug)]
pub(super) struct Remembered {
    kept: Mutex<Vec<Kept>>,
    least: usize,
    watcher: Option<Watcher>,
}

impl Default for Remembered {
    fn default() -> Self {
        Self { kept: Mutex::default(), least: LEAST, watcher: Some(Watcher::default()) }
    }
}

impl Stamp {
    fn of(directory: &OwnedFd) -> Option<(Self, u64)> {
        let stat = rustix::fs::fstat(directory).ok()?;
        let (device, inode) = (stat.st_dev as u64, stat.st_ino as u64);
        let stamp = Self { device, inode, seconds: stat.st_ctime as i64, nanos: stat.st_ctime_nsec as u64 };
        Some((stamp, u64::try_from(stat.st_size).unwrap_or(u64::MAX)))
    }

    /// Whether a change after that time would have left another stamp.
    fn is_settled(&self, at: SystemTime) -> bool {
        let least = if self.nanos == 0 { SETTLED_COARSE } else { SETTLED };
        let seconds = u64::try_from(self.seconds).unwrap_or(0);
        let changed = Duration::from_secs(seconds).saturating_add(Duration::from_nanos(self.nanos));
        at.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|at| at >= changed.saturating_add(least))
    }

    const fn is_of_same(&self, other: &Self) -> bool {
        self.device == other.device && self.inode == other.inode
    }
}

impl Seen {
    /// The directory, if it lies where it lay and everything that has changed in it is known.
    fn open(&self, root: &Root) -> Option<OwnedFd> {
        let directory = root.open_directory(&self.path).ok()?;
        let (stamp, _) = Stamp::of(&directory)?;
        let known = if self.listener.is_some() { stamp.is_of_same(&self.stamp) } else { stamp == self.stamp };
        known.then_some(directory)
    }

    /// What was heard of the directory since the last time.
    fn changes(&self) -> Changes {
        self.listener.as_ref().map(Listener::take).unwrap_or_default()
    }
}

impl Sight {
    pub(super) fn new() -> Self {
        Self { begun: SystemTime::now(), all: Vec::new(), whole: true }
    }

    /// Takes down a directory that is about to be read.
    pub(super) fn add(&mut self, remembered: &Remembered, path: &str, directory: &OwnedFd) {
        self.whole = self.whole && self.all.len() < MAX_SEEN;
        let Some((stamp, size)) = Stamp::of(directory).filter(|_| self.whole) else {
            self.whole = false;
            return;
        };
        // To listen costs more than to read a small directory.
        let watcher = remembered.watcher.as_ref().filter(|_| size > SMALL || remembered.least == 0);
        let listener = watcher.and_then(|watcher| watcher.listen(directory));
        self.whole = listener.is_some() || stamp.is_settled(self.begun);
        self.all.push(Seen { path: path.to_owned(), stamp, listener });
    }

    /// Says that not all was read.
    pub(super) const fn cut(&mut self) {
        self.whole = false;
    }
}

impl Foreign {
    /// Notes a thing in the directory itself, or in one in which its names go on.
    pub(super) fn add(&mut self, name: &CStr, begun: &str) {
        if begun.is_empty() && self.names.len() < MAX_FOREIGN {
            self.names.insert(name.to_owned());
        } else {
            self.further += 1;
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.names.len() as u64 + self.further
    }

    /// Whether it is not known of each name whether it is foreign.
    fn is_too_much(&self) -> bool {
        self.names.len() >= MAX_FOREIGN
    }
}

impl Kept {
    fn is_of(&self, path: &str) -> bool {
        self.seen.first().is_some_and(|first| first.path == path)
    }

    /// Makes up for what has changed; false if everything must be read again.
    fn is_brought_up(&mut self, root: &Root) -> bool {
        let mut directory = None;
        for (number, seen) in self.seen.iter().enumerate() {
            // First that it is the same directory: what is heard afterwards is of that one.
            let Some(open) = seen.open(root) else { return false };
            let changes = seen.changes();
            if changes.lost || (number > 0 && !changes.names.is_empty()) {
                return false;
            }
            if number == 0 {
                directory = Some((open, changes.names));
            }
        }
        directory.is_some_and(|(directory, names)| names.is_empty() || self.look_again(root, &directory, names))
    }

    fn look_again(&mut self, root: &Root, directory: &OwnedFd, names: HashSet<CString>) -> bool {
        if names.len() > LEAST.max(self.names.len() / 4) {
            return false;
        }
        let mut changed = BTreeMap::new();
        for name in names {
            let (stem, ending) = split(name.to_bytes());
            if ending == Some(CONTINUED) || self.foreign.is_too_much() {
                return false;
            }
            self.foreign.names.remove(&name);
            let slash = if ending.is_some() { "/" } else { "" };
            let adds = meaning(stem).map(|segment| format!("{segment}{slash}"));
            match (look_at(root, directory, &name, FileType::Unknown, &mut Vec::new()), adds) {
                (Some(Thing::Adds), Some(adds)) => drop(changed.insert(adds, true)),
                (found, adds) => {
                    changed.extend(adds.map(|adds| (adds, false)));
                    self.foreign.names.extend(found.map(|_| name));
                }
            }
        }
        Names::change(&mut self.names, &changed);
        self.names.bytes_when_known() <= MAX_BYTES
    }
}

/// The segment of a key that a name stands for, if any can.
fn meaning(stem: &[u8]) -> Option<String> {
    let mut segment = Vec::new();
    let segment = name::read(stem, &mut segment).then_some(segment)?;
    String::from_utf8(segment).ok().filter(|segment| is_spelling("", stem, segment))
}

impl Remembered {
    /// The names of a directory and how many things in it are none of the store's, as they are now.
    pub(super) fn get(&self, root: &Root, path: &str) -> Option<(Arc<Names>, u64)> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|kept| kept.is_of(path))?;
        let mut found = kept.remove(at);
        if !found.is_brought_up(root) {
            return None;
        }
        let names = (Arc::clone(&found.names), found.foreign.len());
        kept.push(found);
        Some(names)
    }

    /// Whether these names are still those of the directory.
    pub(super) fn has(&self, root: &Root, path: &str, names: &Arc<Names>) -> bool {
        self.get(root, path).is_some_and(|(current, _)| Arc::ptr_eq(&current, names))
    }

    /// Keeps what was read, if it is much and everything that has changed meanwhile is known.
    pub(super) fn keep(&self, root: &Root, sight: Sight, names: &Arc<Names>, foreign: Foreign) -> bool {
        let bytes = names.bytes_when_known();
        let known = sight.whole && sight.all.iter().all(|seen| seen.open(root).is_some());
        if !known || names.len() < self.least || bytes > MAX_BYTES {
            return false;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = sight.all.first() {
            kept.retain(|kept| !kept.is_of(&first.path));
        }
        kept.push(Kept { seen: sight.all, names: Arc::clone(names), foreign });
        let mut all: usize = kept.iter().map(|kept| kept.names.bytes_when_known()).sum();
        while all > MAX_BYTES || kept.len() > MAX_KEPT {
            all -= kept.remove(0).names.bytes_when_known();
        }
        true
    }

    /// Keeps small directories, too.
    #[cfg(test)]
    pub(super) fn of_all() -> Self {
        Self { least: 0, ..Self::default() }
    }

    /// Knows changes only by the directories' times.
    #[cfg(test)]
    pub(super) fn by_stamps() -> Self {
        Self { least: 0, watcher: None, ..Self::default() }
    }

    /// Whether something is kept, all of which is current or can be brought up.
    #[cfg(test)]
    pub(super) fn has_any(&self, root: &Root) -> bool {
        let mut kept = self.kept.lock().unwrap();
        !kept.is_empty() && kept.iter_mut().all(|kept| kept.is_brought_up(root))
    }
}
