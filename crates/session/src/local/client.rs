//! One file for each session, replaced as a whole: what reaches the disk, in which order.

use std::fs::{self, DirBuilder, File, OpenOptions, ReadDir};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
#[cfg(test)]
use std::sync::atomic::AtomicBool;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use rustix::fs::{FlockOperation, flock};
use statehouse_core::Timestamp;
use statehouse_core::folder::{self, check_path};

use super::error::not_synced;
use super::place::{self, Refusal};
use super::room::{Used, blocks};
use crate::record::Record;
use crate::token::SessionKey;

/// A locked folder of session files, in 256 subfolders. What is renamed into place is synced before, and the subfolder
/// after.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    /// Held as long as the folder is open. The lock goes with the descriptor, so a crash leaves none behind.
    _lock: File,
    next_temp: AtomicU64,
    stripes: [Mutex<()>; 64],
    sweep: Mutex<Sweep>,
    used: Mutex<Used>,
    /// As disks do.
    #[cfg(test)]
    pub(super) fails_to_sync: AtomicBool,
    /// In whose place nothing can be put.
    #[cfg(test)]
    pub(super) stays: Mutex<Option<SessionKey>>,
}

/// A file as found: its bytes and when the session was last used.
pub(super) struct Found {
    pub(super) bytes: Bytes,
    pub(super) seen: Timestamp,
}

/// Where the search for expired sessions goes on.
#[derive(Debug, Default)]
struct Sweep {
    next: u8,
    entries: Option<ReadDir>,
}

/// What came of opening a folder.
pub(super) enum Opening {
    Open(Box<Folder>),
    /// Another store has it.
    InUse,
    /// It is not one for sessions.
    Refused(Refusal),
}

impl Folder {
    /// Opens the folder, creating it if need be.
    pub(super) fn open(root: &Path) -> io::Result<Opening> {
        if let Err(why) = check_path(root) {
            return Ok(Opening::Refused(why));
        }
        if root.exists() && !root.is_dir() {
            return Ok(Opening::Refused("it is no folder".into()));
        }
        make_private_dir(root)?;
        if let Err(why) = place::check_contents(root)? {
            return Ok(Opening::Refused(why));
        }
        let lock = private().create(true).truncate(false).open(root.join("lock"))?;
        if let Err(why) = place::check_owner(&fs::metadata(root)?, &lock.metadata()?) {
            return Ok(Opening::Refused(why));
        }
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Self::begin(root, lock).map(|folder| Opening::Open(Box::new(folder))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(Opening::InUse),
            Err(error) => Err(error.into()),
        }
    }

    fn begin(root: &Path, lock: File) -> io::Result<Self> {
        sweep_temporary(&root.join("tmp"))?;
        let mut used = Used::default();
        for shard in 0..=u8::MAX {
            let folder = root.join(shard_name(shard));
            make_private_dir(&folder)?;
            for file in fs::read_dir(folder)? {
                used.files += 1;
                used.bytes += blocks(file?.metadata()?.len());
            }
        }
        File::open(root)?.sync_all()?;
        Ok(Self {
            root: root.to_owned(),
            _lock: lock,
            next_temp: AtomicU64::new(0),
            stripes: [const { Mutex::new(()) }; 64],
            sweep: Mutex::default(),
            used: Mutex::new(used),
            #[cfg(test)]
            fails_to_sync: AtomicBool::new(false),
            #[cfg(test)]
            stays: Mutex::default(),
        })
    }

    /// Keeps others from changing the session. The lock guards files and no memory, so poison means nothing.
    pub(super) fn lock(&self, key: &SessionKey) -> MutexGuard<'_, ()> {
        let stripe = usize::from(key.as_bytes()[31]) % self.stripes.len();
        self.stripes[stripe].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same for who holds the lock of another session: none if that is also this one's.
    pub(super) fn lock_beside(&self, key: &SessionKey, held: &SessionKey) -> Option<MutexGuard<'_, ()>> {
        let stripe = |key: &SessionKey| usize::from(key.as_bytes()[31]) % self.stripes.len();
        (stripe(key) != stripe(held)).then(|| self.lock(key))
    }

    pub(super) fn read(&self, key: &SessionKey) -> io::Result<Option<Found>> {
        // What is no file, such as a pipe, must not make anybody wait.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let no_file = Found { bytes: Bytes::new(), seen: Timestamp::default() };
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(self.path(key)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.check_shard(key).map(|()| None),
            Err(_) if self.is_no_file(key) => return Ok(Some(no_file)),
            other => other?,
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(Some(no_file));
        }
        // One byte more than any record has is enough for the decoder to refuse it.
        let limit = (Record::MAX_STORED + 1) as u64;
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len().min(limit)).unwrap_or_default());
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(Some(Found { bytes: bytes.into(), seen: metadata.modified()?.into() }))
    }

    /// Whether there is something else in the session's place, which somebody has put there.
    fn is_no_file(&self, key: &SessionKey) -> bool {
        fs::symlink_metadata(self.path(key)).is_ok_and(|metadata| !metadata.is_file())
    }

    /// A missing file is a missing session only while its folder is there; an unmounted disk is an outage.
    fn check_shard(&self, key: &SessionKey) -> io::Result<()> {
        fs::metadata(self.shard(key)).map(|_| ())
    }

    /// What all files take up, as counted when the folder was opened and kept since.
    pub(super) fn used(&self) -> Used {
        *self.lock_used()
    }

    /// What the file of the session takes up.
    pub(super) fn size(&self, key: &SessionKey) -> io::Result<Option<u64>> {
        match fs::metadata(self.path(key)) {
            Ok(metadata) => Ok(Some(blocks(metadata.len()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn lock_used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The caller holds the session's lock.
    fn account(&self, before: Option<u64>, after: Option<u64>) {
        let mut used = self.lock_used();
        used.files = (used.files + usize::from(after.is_some())).saturating_sub(usize::from(before.is_some()));
        used.bytes = (used.bytes + after.unwrap_or(0)).saturating_sub(before.unwrap_or(0));
    }

    pub(super) fn write(&self, key: &SessionKey, bytes: &[u8], seen: Timestamp) -> io::Result<()> {
        let before = self.size(key)?;
        let temp = self.temporary();
        let result = write_synced(&temp, bytes, seen).and_then(|()| self.replace(key, &temp));
        if let Err(error) = result {
            // The name is never used again, and the next start clears the folder anyway.
            let _ = fs::remove_file(&temp);
            return Err(error);
        }
        self.account(before, Some(blocks(bytes.len() as u64)));
        self.sync_shard(key)
    }

    fn temporary(&self) -> PathBuf {
        self.root.join("tmp").join(self.next_temp.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// A folder that somebody has put there is the only thing that a file does not replace.
    fn replace(&self, key: &SessionKey, temp: &Path) -> io::Result<()> {
        #[cfg(test)]
        if self.stays.lock().is_ok_and(|stays| *stays == Some(*key)) {
            return Err(io::Error::other("it stays where it is"));
        }
        match fs::rename(temp, self.path(key)) {
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                fs::remove_dir_all(self.path(key))?;
                fs::rename(temp, self.path(key))
            }
            renamed => renamed,
        }
    }

    /// Not synced: a touch that a crash takes back makes the session expire a little earlier.
    pub(super) fn set_seen(&self, key: &SessionKey, seen: Timestamp) -> io::Result<()> {
        OpenOptions::new().write(true).open(self.path(key))?.set_modified(SystemTime::from(seen))
    }

    pub(super) fn remove(&self, key: &SessionKey) -> io::Result<()> {
        let before = self.size(key)?;
        match fs::remove_file(self.path(key)) {
            Err(_) if self.path(key).is_dir() => fs::remove_dir_all(self.path(key))?,
            removed => removed?,
        }
        self.account(before, None);
        self.sync_shard(key)
    }

    /// Hands the keys of the next few stored sessions to `visit`, beginning again after the last. Does nothing while
    /// another thread is at it.
    pub(super) fn visit_some(&self, visit: impl FnMut(&SessionKey) -> io::Result<()>) -> io::Result<()> {
        const FILES: usize = 4;
        const FOLDERS: usize = 16;
        match self.sweep.try_lock() {
            Ok(mut sweep) => self.visit_next(&mut sweep, FILES, FOLDERS, visit),
            Err(_) => Ok(()),
        }
    }

    /// Hands the keys of all stored sessions to `visit`.
    pub(super) fn visit_all(&self, mut visit: impl FnMut(&SessionKey)) -> io::Result<()> {
        for shard in 0..=u8::MAX {
            for file in fs::read_dir(self.root.join(shard_name(shard)))? {
                if let Some(key) = parse_name(shard, file?.file_name().as_encoded_bytes()) {
                    visit(&key);
                }
            }
        }
        Ok(())
    }

    /// The same with more of them, and with so many beside, for a folder that is full; waits for its turn.
    pub(super) fn visit_many(&self, beside: usize, visit: impl FnMut(&SessionKey) -> io::Result<()>) -> io::Result<()> {
        const FILES: usize = 256;
        const FOLDERS: usize = 257;
        let mut sweep = self.sweep.lock().unwrap_or_else(PoisonError::into_inner);
        self.visit_next(&mut sweep, FILES.saturating_add(beside), FOLDERS, visit)
    }

    fn visit_next(
        &self,
        sweep: &mut Sweep,
        most_files: usize,
        most_folders: usize,
        mut visit: impl FnMut(&SessionKey) -> io::Result<()>,
    ) -> io::Result<()> {
        let (mut files, mut folders) = (0, 0);
        while files < most_files && folders < most_folders {
            let shard = sweep.next;
            if sweep.entries.is_none() {
                sweep.entries = Some(fs::read_dir(self.root.join(shard_name(shard)))?);
            }
            match sweep.entries.as_mut().and_then(Iterator::next) {
                Some(entry) => {
                    files += 1;
                    if let Some(key) = parse_name(shard, entry?.file_name().as_encoded_bytes()) {
                        visit(&key)?;
                    }
                }
                None => {
                    folders += 1;
                    *sweep = Sweep { next: shard.wrapping_add(1), entries: None };
                }
            }
        }
        Ok(())
    }

    pub(super) fn check(&self) -> io::Result<()> {
        fs::metadata(self.root.join("lock")).map(|_| ())
    }

    /// Tries what a write needs.
    pub(super) fn probe_writing(&self) -> io::Result<()> {
        folder::probe(&self.temporary())
    }

    fn sync_shard(&self, key: &SessionKey) -> io::Result<()> {
        #[cfg(test)]
        if self.fails_to_sync.load(Ordering::Relaxed) {
            return Err(not_synced(io::ErrorKind::Other.into()));
        }
        File::open(self.shard(key)).and_then(|shard| shard.sync_all()).map_err(not_synced)
    }

    fn shard(&self, key: &SessionKey) -> PathBuf {
        self.root.join(shard_name(key.as_bytes()[0]))
    }

    pub(super) fn path(&self, key: &SessionKey) -> PathBuf {
        self.shard(key).join(&key.to_string()[2..])
    }
}

/// Removes what a crash left half written, which was never acknowledged, and nothing else: its name is a number.
fn sweep_temporary(folder: &Path) -> io::Result<()> {
    make_private_dir(folder)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_number = entry.file_name().to_str().is_some_and(|name| name.parse::<u64>().is_ok());
        if is_number && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn write_synced(path: &Path, bytes: &[u8], seen: Timestamp) -> io::Result<()> {
    let mut file = private().create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.set_modified(seen.into())?;
    file.sync_all()
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

fn make_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn shard_name(shard: u8) -> String {
    format!("{shard:02x}")
}

/// The key of a file, or `None` if the file is not one of ours.
fn parse_name(shard: u8, name: &[u8]) -> Option<SessionKey> {
    let mut bytes = [shard; 32];
    if name.len() != 62 {
        return None;
    }
    for (byte, pair) in bytes[1..].iter_mut().zip(name.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(SessionKey::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_again_from_its_file_name() {
        let key = crate::token::Token::generate().unwrap().key();
        let name = key.to_string();
        assert_eq!(parse_name(key.as_bytes()[0], &name.as_bytes()[2..]), Some(key));
        assert_eq!(parse_name(0, b"lock"), None);
        assert_eq!(parse_name(0, "zz".repeat(31).as_bytes()), None);
    }
}
