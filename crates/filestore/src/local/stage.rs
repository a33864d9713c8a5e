//! Where files are written before they become visible.
//!
//! Each open store has a directory of its own below `.statehouse/stage` and holds a lock in it, which the system gives
//! up when the process ends, however it ends. So who opens the store next can tell the dead from the living, also
//! across containers where process numbers mean nothing.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;
use statehouse_core::{ErrorKind, Result};

use super::beneath::Root;
use super::error::map_error;
use super::lock::{Lock, Share};
use crate::digest::{hex, nonce};

const STAGES: &str = ".statehouse/stage";
const LOCK: &str = "lock";

/// This store's own stage. Removed when dropped, with whatever is in it.
#[derive(Debug)]
pub(super) struct Stage {
    stages: OwnedFd,
    name: String,
    directory: OwnedFd,
    next: AtomicU64,
    _lock: Lock,
}

impl Stage {
    /// Sweeps the stages of processes that have ended, and makes a new one.
    pub(super) fn open(root: &Root) -> Result<Self> {
        let stages = root.open_directory(STAGES).map_err(map_error)?;
        // Held by who sweeps or begins, so that nobody sweeps a stage that is not locked yet.
        let _sweeping = Lock::take(&stages, LOCK, Share::Alone)?;
        sweep(&stages)?;
        let name = hex(&nonce()?);
        rustix::fs::mkdirat(&stages, &*name, Mode::from_raw_mode(0o777)).map_err(map_error)?;
        let directory = root.open_directory(&format!("{STAGES}/{name}")).map_err(map_error)?;
        let lock = Lock::take(&directory, LOCK, Share::Alone)?;
        Ok(Self { stages, name, directory, next: AtomicU64::new(0), _lock: lock })
    }

    /// A new empty file that nobody sees.
    pub(super) fn create(self: &Arc<Self>) -> Result<Staged> {
        let name = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.directory, &*name, flags, Mode::from_raw_mode(0o666)).map_err(map_error)?;
        Ok(Staged { stage: Arc::clone(self), name, file: file.into(), published: false })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Whatever stays is swept by the next who opens the store.
        let _ = remove(&self.stages, &self.name, &self.directory);
    }
}

/// A file in the stage. Removed when dropped, unless it was published.
#[derive(Debug)]
pub(super) struct Staged {
    stage: Arc<Stage>,
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
    /// Gives the file its name in a directory, in one step.
    pub(super) fn publish(&mut self, directory: &OwnedFd, name: &str, existing: Existing) -> rustix::io::Result<()> {
        let from = &self.stage.directory;
        match existing {
            Existing::Replace => rustix::fs::renameat(from, &*self.name, directory, name)?,
            Existing::Keep => self.publish_new(directory, name)?,
        }
        self.published = true;
        Ok(())
    }

    fn publish_new(&self, directory: &OwnedFd, name: &str) -> rustix::io::Result<()> {
        let from = &self.stage.directory;
        #[cfg(any(target_os = "linux", target_vendor = "apple"))]
        {
            let flags = rustix::fs::RenameFlags::NOREPLACE;
            match rustix::fs::renameat_with(from, &*self.name, directory, name, flags) {
                // Not every file system knows the flag; those that do not have hard links, as a rule.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
                other => return other,
            }
        }
        rustix::fs::linkat(from, &*self.name, directory, name, AtFlags::empty())?;
        // The file is published: a second name in the stage is only litter for the next sweep.
        let _ = rustix::fs::unlinkat(from, &*self.name, AtFlags::empty());
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.published {
            // Whatever stays is swept by the next who opens the store.
            let _ = rustix::fs::unlinkat(&self.stage.directory, &*self.name, AtFlags::empty());
        }
    }
}

fn sweep(stages: &OwnedFd) -> Result<()> {
    for name in names(stages)? {
        match sweep_one(stages, &name) {
            // Its owner ended in order and removed it just now.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

fn sweep_one(stages: &OwnedFd, name: &str) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let Ok(directory) = rustix::fs::openat(stages, name, flags, Mode::empty()) else { return Ok(()) };
    if Lock::try_take(&directory, LOCK)?.is_some() {
        remove(stages, name, &directory)?;
        tracing::info!("removed the stage of a file store that has ended");
    }
    Ok(())
}

fn remove(stages: &OwnedFd, name: &str, directory: &OwnedFd) -> Result<()> {
    let gone = |result: rustix::io::Result<()>| match result {
        Err(Errno::NOENT) => Ok(()),
        other => other.map_err(map_error),
    };
    for name in names(directory)? {
        gone(rustix::fs::unlinkat(directory, &*name, AtFlags::empty()))?;
    }
    gone(rustix::fs::unlinkat(stages, name, AtFlags::REMOVEDIR))
}

/// The names in a directory, besides the lock of the stages.
fn names(directory: &OwnedFd) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory).map_err(map_error)? {
        let entry = entry.map_err(map_error)?;
        names
            .extend(entry.file_name().to_str().ok().filter(|name| !matches!(*name, "." | "..")).map(ToOwned::to_owned));
    }
    Ok(names)
}
