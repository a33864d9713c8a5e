//! Opening what lies below the root, and nothing else: no symbolic link is followed, whoever put it there.

use std::sync::Arc;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::{Errno, Result};

use super::config::{Access, Durability, Permissions};

/// The directory that a store is in.
#[derive(Clone, Debug)]
pub(super) struct Root {
    fd: Arc<OwnedFd>,
    resolve: Resolve,
    access: Access,
}

/// How paths below the root are kept below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolve {
    /// By the kernel, in one call: `openat2`, Linux 5.6.
    #[cfg(target_os = "linux")]
    Kernel,
    /// By opening one directory after the other without following links.
    Steps,
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Root {
    pub(super) fn new(fd: OwnedFd, access: Access) -> Self {
        let resolve = Self::detect(&fd);
        Self { fd: Arc::new(fd), resolve, access }
    }

    pub(super) const fn access(&self) -> Access {
        self.access
    }

    /// A root whose paths are walked step by step, whatever the kernel can do.
    #[cfg(test)]
    pub(super) fn with_steps(fd: OwnedFd) -> Self {
        Self { fd: Arc::new(fd), resolve: Resolve::Steps, access: Access::Write }
    }

    /// An old kernel does not know the call, and some sandboxes deny it.
    #[cfg(target_os = "linux")]
    fn detect(fd: &OwnedFd) -> Resolve {
        let works = rustix::fs::openat2(fd, ".", DIRECTORY, Mode::empty(), beneath()).is_ok();
        if works { Resolve::Kernel } else { Resolve::Steps }
    }

    #[cfg(not(target_os = "linux"))]
    fn detect(_fd: &OwnedFd) -> Resolve {
        Resolve::Steps
    }

    /// Opens a file or directory below the root. The path has only plain segments.
    pub(super) fn open(&self, path: &str, flags: OFlags) -> Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match self.resolve {
            #[cfg(target_os = "linux")]
            Resolve::Kernel => again(|| rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), beneath())),
            Resolve::Steps => self.open_in_steps(path, flags),
        }
    }

    fn open_in_steps(&self, path: &str, flags: OFlags) -> Result<OwnedFd> {
        let (directory, name) = path.rsplit_once('/').unwrap_or((".", path));
        let mut parent = None;
        for segment in directory.split('/') {
            let within = parent.as_ref().map_or(self.fd.as_fd(), AsFd::as_fd);
            parent = Some(rustix::fs::openat(within, segment, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?);
        }
        let within = parent.as_ref().map_or(self.fd.as_fd(), AsFd::as_fd);
        rustix::fs::openat(within, name, flags, Mode::empty())
    }

    pub(super) fn open_directory(&self, path: &str) -> Result<OwnedFd> {
        self.open(path, DIRECTORY)
    }

    /// Opens a file only if that needs no waiting for the disk; else `AGAIN`.
    #[cfg(target_os = "linux")]
    pub(super) fn open_cached(&self, path: &str) -> Result<OwnedFd> {
        if self.resolve == Resolve::Steps {
            return Err(Errno::AGAIN);
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), beneath() | rustix::fs::ResolveFlags::CACHED)
    }

    /// Creates the directories of a path, and syncs the one above each if told so: also above one that somebody else has made
    /// meanwhile, who may not have synced it yet.
    pub(super) fn create_directories(
        &self,
        path: &str,
        permissions: Permissions,
        durability: Durability,
    ) -> Result<OwnedFd> {
        let mut directory = self.open_directory(".")?;
        for segment in path.split('/').filter(|segment| *segment != ".") {
            match permissions.make_directory(&directory, segment) {
                Ok(()) | Err(Errno::EXIST) if durability == Durability::Synced => rustix::fs::fsync(&directory)?,
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
            directory = rustix::fs::openat(&directory, segment, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
        }
        Ok(directory)
    }

    /// Removes directories that have become empty, up to the namespace's own. One that is not empty stays.
    pub(super) fn prune(&self, directory: &str) {
        let mut directory = directory;
        while let Some((above, name)) = directory.rsplit_once('/') {
            let removed = self.open_directory(above).and_then(|fd| rustix::fs::unlinkat(fd, name, AtFlags::REMOVEDIR));
            if removed.is_err() {
                return;
            }
            directory = above;
        }
    }
}

#[cfg(target_os = "linux")]
fn beneath() -> rustix::fs::ResolveFlags {
    use rustix::fs::ResolveFlags;
    ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS
}

/// The kernel answers `AGAIN` when something was renamed while it resolved a path below the root.
#[cfg(target_os = "linux")]
fn again<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    const ATTEMPTS: usize = 100;
    for _ in 1..ATTEMPTS {
        match call() {
            Err(Errno::AGAIN | Errno::INTR) => std::thread::yield_now(),
            other => return other,
        }
    }
    call()
}
