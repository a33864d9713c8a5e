//! How files are written before they become visible.
//!
//! A file is written beside its place, under a name that no key has, and renamed: within one directory that is one step
//! for the disk, where a rename between two of them holds up all others of the file system. Each open store has a
//! directory of its own below `.statehouse/stage` and holds a lock in it, which the system gives up when the process
//! ends, however it ends. So who opens the store next can tell the dead from the living, also across containers where
//! process numbers mean nothing, and removes what the dead were writing.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;
use statehouse_core::{Error, ErrorKind, Result, Retry, Timestamp};

use super::beneath::Root;
use super::config::{Durability, LocalConfig, Permissions};
use super::durable::Durable;
use super::error::map_error;
use super::lock::Lock;
use super::slots::{self, Slots};
use crate::digest::{hex, nonce};

const STAGES: &str = ".statehouse/stage";
const LOCK: &str = "lock";

/// Where files are that are not visible yet.
pub(super) const STAGED: &str = ".statehouse/staged";

/// How often a write begins again because a concurrent delete removed its empty directory.
pub(super) const ATTEMPTS: usize = 100;

pub(super) fn removed_each_time() -> Error {
    Error::new(ErrorKind::Conflict, "the file's directory was removed each time it was made").with_retry(Retry::Now)
}

/// This store's own stage. Removed when dropped, with whatever is in it.
#[derive(Debug)]
pub(super) struct Stage {
    root: Root,
    stages: OwnedFd,
    name: String,
    directory: OwnedFd,
    slots: Slots,
    permissions: Permissions,
    durability: Durability,
    pub(super) durable: Durable,
    _lock: Lock,
}

impl Stage {
    /// Sweeps what processes that have ended left behind, and makes a new stage.
    pub(super) fn open(root: &Root, config: &LocalConfig) -> Result<Self> {
        let (permissions, durability) = (config.permissions, config.durability);
        let stages = root.open_directory(STAGES).map_err(map_error)?;
        // Held by who sweeps or begins, so that nobody sweeps a stage that is not locked yet.
        let _sweeping = Lock::wait(&stages, LOCK, permissions)?;
        let _dead = sweep(root, &stages, permissions)?;
        let name = hex(&nonce()?);
        permissions.make_directory(&stages, &name).map_err(map_error)?;
        let directory = root.open_directory(&format!("{STAGES}/{name}")).map_err(map_error)?;
        let lock = Lock::wait(&directory, LOCK, permissions)?;
        let slots = Slots::create(&directory, permissions)?;
        let (root, durable) = (root.clone(), Durable::new(durability));
        Ok(Self { root, stages, name, directory, slots, permissions, durability, durable, _lock: lock })
    }

    /// A new empty file that nobody sees, in the directory at this path, which is made if it is not there.
    pub(super) fn create(self: &Arc<Self>, path: &str) -> Result<Staged> {
        let slot = self.slots.take(path)?;
        let name = name_of(&self.name, slot);
        match self.create_in(path, &name) {
            Ok((directory, file)) => {
                let (stage, path) = (Arc::clone(self), path.to_owned());
                Ok(Staged { stage, slot, path, directory, name, file: file.into(), published: false })
            }
            Err(error) => {
                self.slots.give_back(slot);
                self.root.prune(path);
                Err(error)
            }
        }
    }

    fn create_in(&self, path: &str, name: &str) -> Result<(OwnedFd, OwnedFd)> {
        for _ in 0..ATTEMPTS {
            // A concurrent delete may remove an empty directory at any time before the file is in it.
            let file = self.directory(path).and_then(|directory| {
                self.permissions.open_file(&directory, name, OFlags::EXCL).map(|file| (directory, file))
            });
            match file {
                Err(Errno::NOENT) => {}
                other => return other.map_err(map_error),
            }
        }
        Err(removed_each_time())
    }

    /// The directory at this path, which is made if it is not there.
    pub(super) fn directory(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        match self.root.open_directory(path) {
            Err(Errno::NOENT) => self.root.create_directories(path, self.permissions, self.durability),
            found => found.and_then(|found| self.durable.settle(&self.root, path, &found).map(|()| found)),
        }
    }

    /// Removes what stores that have ended were writing; of how many.
    pub(super) fn sweep_dead(&self) -> Result<u64> {
        let _sweeping = Lock::wait(&self.stages, LOCK, self.permissions)?;
        sweep(&self.root, &self.stages, self.permissions)
    }

    /// Makes a file with something in it and removes it.
    pub(super) fn probe(self: &Arc<Self>) -> Result<()> {
        self.create(&format!("{STAGES}/{}", self.name))?.file.write_all(b"probe").map_err(map_error)
    }

    /// What time it is by the clock that files have their times from, which may be that of a file server. It takes no room:
    /// who frees a full disk asks, too.
    pub(super) fn now(&self) -> Result<Timestamp> {
        self.slots.touch().map_err(map_error)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Whatever stays is swept by the next who opens the store.
        let _ = remove(&self.stages, &self.name, &self.directory);
    }
}

/// A file that is being written. Removed when dropped, unless it was published.
#[derive(Debug)]
pub(super) struct Staged {
    stage: Arc<Stage>,
    slot: usize,
    path: String,
    directory: OwnedFd,
    name: String,
    pub(super) file: File,
    published: bool,
}

/// What a publication does with a file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    Replace,
    Keep,
}

impl Staged {
    /// Gives the file its name in its directory, in one step.
    pub(super) fn publish(&mut self, name: &str, existing: Existing) -> rustix::io::Result<()> {
        match existing {
            Existing::Replace => rustix::fs::renameat(&self.directory, &*self.name, &self.directory, name)?,
            Existing::Keep => rename_new((&self.directory, &self.name), (&self.directory, name))?,
        }
        self.published = true;
        Ok(())
    }

    /// The directory that the file is in.
    pub(super) const fn directory(&self) -> &OwnedFd {
        &self.directory
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.published {
            match rustix::fs::unlinkat(&self.directory, &*self.name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => self.stage.root.prune(&self.path),
                // It is swept by the next who opens the store, so its slot is not for another file.
                Err(_) => return,
            }
        }
        self.stage.slots.give_back(self.slot);
    }
}

/// Gives a file another name, if nothing has that.
pub(super) fn rename_new(from: (&OwnedFd, &str), to: (&OwnedFd, &str)) -> rustix::io::Result<()> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    {
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(from.0, from.1, to.0, to.1, flags) {
            // Not every file system knows the flag; those that do not have hard links, as a rule.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            other => return other,
        }
    }
    rustix::fs::linkat(from.0, from.1, to.0, to.1, AtFlags::empty())?;
    // The file is published: a second name is only litter for the next sweep.
    let _ = rustix::fs::unlinkat(from.0, from.1, AtFlags::empty());
    Ok(())
}

/// The name of a file that a store with this stage is writing.
fn name_of(stage: &str, slot: usize) -> String {
    format!("{}-{stage}-{slot}", crate::key::RESERVED)
}

/// The stage of the store that was writing the file of this name, if it is such a one.
fn stage_of(name: &str) -> Option<&str> {
    let (stage, _) = name.strip_prefix(crate::key::RESERVED)?.strip_prefix('-')?.split_once('-')?;
    Some(stage).filter(|stage| is_stage(stage))
}

fn is_stage(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Removes a file that a store was writing when it ended, and that no sweep knew of; other files stay. Looked at when a
/// directory is read. Whether it was removed.
pub(super) fn remove_if_left(root: &Root, directory: &OwnedFd, name: &[u8]) -> bool {
    let Some(stage) = std::str::from_utf8(name).ok().and_then(stage_of) else { return false };
    let is_dead = match root.open_directory(&format!("{STAGES}/{stage}")) {
        // Something else may keep its folder there.
        Ok(own) => matches!(rustix::fs::statat(own, LOCK, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT)),
        Err(error) => error == Errno::NOENT,
    };
    let removed = is_dead && rustix::fs::unlinkat(directory, name, AtFlags::empty()).is_ok();
    if removed {
        tracing::info!(name: "filestore.leftovers_removed", "removed what a file store that has ended was writing");
    }
    removed
}

/// What was being staged, as no listing reads that folder; of how many. Whoever cannot read it is told so when something is staged.
fn remove_left_staged(root: &Root) -> u64 {
    let Ok(directory) = root.open_directory(STAGED) else { return 0 };
    let names = names(&directory).unwrap_or_default();
    let removed = names.iter().filter(|name| remove_if_left(root, &directory, name.as_bytes())).count();
    if removed > 0 {
        root.prune(STAGED);
    }
    removed as u64
}

/// How many files were removed. What has another name than a stage is somebody else's, as the folders that file servers put
/// everywhere.
fn sweep(root: &Root, stages: &OwnedFd, permissions: Permissions) -> Result<u64> {
    let mut removed = 0;
    for name in names(stages)?.into_iter().filter(|name| is_stage(name)) {
        match sweep_one(root, stages, &name, permissions) {
            // Its owner ended in order and removed it just now.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => removed += other?,
        }
    }
    Ok(removed + remove_left_staged(root))
}

fn sweep_one(root: &Root, stages: &OwnedFd, name: &str, permissions: Permissions) -> Result<u64> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let Ok(directory) = rustix::fs::openat(stages, name, flags, Mode::empty()) else { return Ok(0) };
    let mut files = 0;
    if Lock::try_take(&directory, LOCK, permissions)?.is_some() {
        for (slot, path) in Slots::read(&directory)? {
            // What cannot be removed now is recognised by its name later.
            let removed = root
                .open_directory(&path)
                .and_then(|directory| rustix::fs::unlinkat(directory, name_of(name, slot), AtFlags::empty()));
            if removed.is_ok() {
                files += 1;
                root.prune(&path);
            }
        }
        if remove(stages, name, &directory)? {
            tracing::info!(name: "filestore.stage_removed", "removed the stage of a file store that has ended");
        }
    }
    Ok(files)
}

/// Removes what a stage had, and the stage itself unless something else has put something into it.
fn remove(stages: &OwnedFd, stage: &str, directory: &OwnedFd) -> Result<bool> {
    let gone = |result: rustix::io::Result<()>| match result {
        Err(Errno::NOENT) => Ok(()),
        other => other.map_err(map_error),
    };
    let is_own = |name: &String| name == LOCK || name == slots::FILE || stage_of(name) == Some(stage);
    for name in names(directory)?.into_iter().filter(is_own) {
        gone(rustix::fs::unlinkat(directory, &*name, AtFlags::empty()))?;
    }
    match rustix::fs::unlinkat(stages, stage, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        removed => gone(removed).map(|()| true),
    }
}

/// The names in a directory.
pub(super) fn names(directory: &OwnedFd) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory).map_err(map_error)? {
        let entry = entry.map_err(map_error)?;
        names
            .extend(entry.file_name().to_str().ok().filter(|name| !matches!(*name, "." | "..")).map(ToOwned::to_owned));
    }
    Ok(names)
}
