//! The marks of locks that guard the store: see [`Fence`].
//!
//! A mark is a file, `.statehouse/marks/` and the SHA-256 of its name in hexadecimal digits, which is never removed. Whoever
//! writes under it holds its lock (`flock`) meanwhile, so that it does not rise in between, whichever process raises it.
//!
//! `spare` beside them is one that is written already, for a lock whose mark is first raised when the disk is full: who has
//! just acquired it deletes under it, too.

mod format;

use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, OFlags};
use rustix::io::Errno;
use statehouse_core::{Error, ErrorKind, Fence, Result};

use self::format::{SLOT, decode, encode};
use super::beneath::Root;
use super::config::{Durability, Permissions};
use super::error::map_error;
use super::gate::Share;
use super::lock::take;
use crate::digest::{Digest, hex};
use crate::key::RESERVED;

/// A mark that is written already, and nobody's.
const SPARE: &str = "spare";

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
        let (directory, until) = (self.directory().map_err(map_error)?, Instant::now() + patience);
        let file = self.open(&directory, &name, until)?;
        let mut bytes = [0; 2 * SLOT];
        let read = read_up_to(&file, &mut bytes).map_err(map_error)?;
        let slots = decode(&bytes[..read]);
        let mark = slots[0].max(slots[1]).unwrap_or_default();
        fence.check(mark)?;
        if mark == fence.token() {
            return Ok(Held(file));
        }
        let lower = usize::from(slots[0] > slots[1]);
        let file = match file.write_all_at(&encode(fence.token()), (lower * SLOT) as u64) {
            Ok(()) => file,
            Err(error) if read > 0 => return Err(map_error(error)),
            // Whoever waits for the file that was there, which is empty, opens this one then.
            Err(error) => self.take_spare(&directory, &name, fence, until).ok_or_else(|| map_error(error))?,
        };
        self.sync(&file, &directory)?;
        if read == 0 {
            self.keep_spare(&directory);
        }
        Ok(Held(file))
    }

    /// The file of this name, made if there is none, and its lock.
    fn open(&self, directory: &OwnedFd, name: &str, until: Instant) -> Result<std::fs::File> {
        loop {
            let file = self.permissions.open_file(directory, name, OFlags::empty()).map_err(map_error)?;
            take(&file, Share::Alone, until)?;
            let opened = rustix::fs::fstat(&file).map_err(map_error)?;
            // Another may have taken its place meanwhile, or it another's.
            match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(there) if (there.st_dev, there.st_ino) == (opened.st_dev, opened.st_ino) => return Ok(file.into()),
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => return Err(map_error(error)),
            }
        }
    }

    /// Puts the spare one in the place of this one, if there is a spare one, with the fence's token.
    fn take_spare(&self, directory: &OwnedFd, name: &str, fence: &Fence, until: Instant) -> Option<std::fs::File> {
        let spare = self.open(directory, SPARE, until).ok()?;
        spare.write_all_at(&encode(fence.token()), 0).ok()?;
        rustix::fs::renameat(directory, SPARE, directory, name).ok()?;
        Some(spare)
    }

    /// Writes a spare one, if there is none and it can be; nobody waits for it.
    fn keep_spare(&self, directory: &OwnedFd) {
        if let Ok(spare) = self.open(directory, SPARE, Instant::now()) {
            let is_written = spare.metadata().is_ok_and(|meta| meta.len() == 2 * SLOT as u64);
            let _ = is_written || spare.write_all_at(&[0; 2 * SLOT], 0).is_ok();
        }
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
        file.sync_all().map_err(raised)?;
        rustix::fs::fsync(directory).map_err(raised)?;
        if !self.settled.load(Ordering::Relaxed) {
            self.root.open_directory(RESERVED).and_then(rustix::fs::fsync).map_err(raised)?;
            self.settled.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Others see that it is raised, and a crash may lower it: whoever is told another kind takes it for not raised.
fn raised(source: impl Into<std::io::Error>) -> Error {
    let message = "the lock's mark is raised, and syncing it to the disk failed: it may not survive a crash";
    Error::new(ErrorKind::OutcomeUnknown, message).with_source(map_error(source))
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
    use statehouse_core::{Key, Version};

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
        let name = hex(Digest::of(fence(1).mark().as_bytes()).as_bytes());
        let path = directory.path().join(".statehouse/marks").join(name);
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

    #[test]
    fn a_mark_that_is_raised_and_not_synced_is_not_told_as_low() {
        let directory = tempfile::tempdir().unwrap();
        let marks = marks(&directory);
        let folder = marks.directory().unwrap();
        let file = marks.open(&folder, "of a lock", Instant::now()).unwrap();
        std::fs::rename(directory.path().join(RESERVED), directory.path().join("moved")).unwrap();
        assert_eq!(marks.sync(&file, &folder).unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    }

    /// Whoever finds the empty file that a disk without space has left waits until the spare one is in its place.
    #[test]
    fn a_spare_mark_takes_the_place_of_an_empty_one_whoever_waits_for_that() {
        let directory = tempfile::tempdir().unwrap();
        let marks = marks(&directory);
        drop(marks.hold(&fence(5), PATIENCE).unwrap());
        let (folder, other) = (marks.directory().unwrap(), "other");
        let empty = marks.open(&folder, other, Instant::now()).unwrap();
        let waits = || marks.open(&folder, other, Instant::now() + PATIENCE).unwrap();
        let waited = std::thread::scope(|scope| {
            let waiting = scope.spawn(waits);
            drop(marks.take_spare(&folder, other, &fence(7), Instant::now()).unwrap());
            drop(empty);
            waiting.join().unwrap()
        });
        let mut bytes = [0; 2 * SLOT];
        assert_eq!(read_up_to(&waited, &mut bytes).unwrap(), 2 * SLOT);
        assert_eq!(decode(&bytes), [Some(Version::new(7)), None]);
    }
}
