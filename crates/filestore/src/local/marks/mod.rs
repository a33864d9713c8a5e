//! The marks of locks that guard the store: see [`Fence`].
//!
//! A mark is a file, `.statehouse/marks/` and the SHA-256 of its name in hexadecimal digits, which is never removed. Whoever
//! writes under it holds its lock (`flock`) meanwhile, so that it does not rise in between, whichever process raises it.

mod format;

use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::fs::OFlags;
use rustix::io::Errno;
use statehouse_core::{Fence, Result};

use self::format::{SLOT, decode, encode};
use super::beneath::Root;
use super::config::{Durability, Permissions};
use super::error::map_error;
use super::gate::Share;
use super::lock::take;
use crate::digest::{Digest, hex};
use crate::key::RESERVED;

/// The marks of a store.
#[derive(Debug)]
pub(super) struct Marks {
    root: Root,
    permissions: Permissions,
    durability: Durability,
    /// Whether the folder of marks is known to survive a power cut; it is never removed.
    settled: AtomicBool,
}

/// As long as this lives the mark does not rise.
#[derive(Debug)]
pub(super) struct Held(#[expect(dead_code, reason = "the lock lives as long as the open file")] std::fs::File);

impl Marks {
    pub(super) const fn new(root: Root, permissions: Permissions, durability: Durability) -> Self {
        Self { root, permissions, durability, settled: AtomicBool::new(false) }
    }

    /// Checks a fence, raises its mark where that is lower, and keeps it until what is written is visible.
    pub(super) fn hold(&self, fence: &Fence, patience: Duration) -> Result<Held> {
        let name = hex(Digest::of(fence.mark().as_bytes()).as_bytes());
        let directory = self.directory().map_err(map_error)?;
        let file = self.permissions.open_file(&directory, &name, OFlags::empty()).map_err(map_error)?;
        take(&file, Share::Alone, Instant::now() + patience)?;
        let file = std::fs::File::from(file);
        let mut bytes = [0; 2 * SLOT];
        let read = read_up_to(&file, &mut bytes).map_err(map_error)?;
        let slots = decode(&bytes[..read]);
        let mark = slots[0].max(slots[1]).unwrap_or_default();
        fence.check(mark)?;
        if mark < fence.token() {
            let lower = usize::from(slots[0] > slots[1]);
            file.write_all_at(&encode(fence.token()), (lower * SLOT) as u64).map_err(map_error)?;
            self.sync(&file, &directory)?;
        }
        Ok(Held(file))
    }

    /// Made with the first mark, in a store that is there.
    fn directory(&self) -> rustix::io::Result<OwnedFd> {
        let path = format!("{RESERVED}/marks");
        match self.root.open_directory(&path) {
            Err(Errno::NOENT) => {}
            found => return found,
        }
        let above = self.root.open_directory(RESERVED)?;
        match self.permissions.make_directory(&above, "marks") {
            Ok(()) | Err(Errno::EXIST) => self.root.open_directory(&path),
            Err(error) => Err(error),
        }
    }

    /// With the directory and the one above: who made them may have ended, or be about to, before they were synced.
    fn sync(&self, file: &std::fs::File, directory: &OwnedFd) -> Result<()> {
        if self.durability == Durability::Relaxed {
            return Ok(());
        }
        file.sync_all().map_err(map_error)?;
        rustix::fs::fsync(directory).map_err(map_error)?;
        if !self.settled.load(Ordering::Relaxed) {
            self.root.open_directory(RESERVED).and_then(rustix::fs::fsync).map_err(map_error)?;
            self.settled.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn read_up_to(file: &std::fs::File, bytes: &mut [u8]) -> std::io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use statehouse_core::{ErrorKind, Key, Version};

    use super::*;
    use crate::local::config::Access;
    use crate::local::lock::PATIENCE;

    fn marks(directory: &tempfile::TempDir) -> Marks {
        std::fs::create_dir_all(directory.path().join(RESERVED)).unwrap();
        let root = Root::new(std::fs::File::open(directory.path()).unwrap().into(), Access::Write);
        Marks::new(root, Permissions::Private, Durability::Synced)
    }

    fn fence(token: u64) -> Fence {
        Fence::new(Key::new("lock/export").unwrap(), Version::new(token))
    }

    #[test]
    fn what_a_crash_leaves_half_written_does_not_take_the_mark_away() {
        let directory = tempfile::tempdir().unwrap();
        for token in [5, 9] {
            drop(marks(&directory).hold(&fence(token), PATIENCE).unwrap());
        }
        let path =
            std::fs::read_dir(directory.path().join(".statehouse/marks")).unwrap().next().unwrap().unwrap().path();
        let whole = std::fs::read(&path).unwrap();
        // The raise to 12 is cut short at any of its bytes.
        let next = encode(Version::new(12));
        for len in 0..SLOT {
            let mut torn = whole.clone();
            torn[..len].copy_from_slice(&next[..len]);
            std::fs::write(&path, &torn).unwrap();
            assert_eq!(marks(&directory).hold(&fence(8), PATIENCE).unwrap_err().kind(), ErrorKind::Fenced, "{len}");
        }
        drop(marks(&directory).hold(&fence(12), PATIENCE).unwrap());
        assert_eq!(marks(&directory).hold(&fence(9), PATIENCE).unwrap_err().kind(), ErrorKind::Fenced);
    }
}
