//! Where the files are that a store is writing, so that they can be found if it is killed.
//!
//! Each file under way has a slot. The slot's record in the stage's file says which directory the file is in, and its
//! name follows from the stage and the slot. A record is written only if the slot was last used for another directory.
//! It need not be synced: after the end of the process the system still has it, and what a power cut leaves is
//! recognised by its name when its directory is listed.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;
use statehouse_core::{Error, ErrorKind, Result, Timestamp};

use super::config::Permissions;
use super::error::map_error;
use super::time::modified;

pub(super) const FILE: &str = "slots";

/// A record's length: two bytes for the path's length, and more than any key's path has.
const RECORD: usize = 2048;

/// The most bytes of records that are read: more files at a time than a process has threads to write them.
const MAX_RECORDS: u64 = 64 << 20;

#[derive(Debug)]
pub(super) struct Slots {
    file: File,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    free: Vec<usize>,
    recorded: Vec<Box<str>>,
}

impl Slots {
    pub(super) fn create(stage: &OwnedFd, permissions: Permissions) -> Result<Self> {
        let file = permissions.open_file(stage, FILE, OFlags::EXCL).map_err(map_error)?;
        Ok(Self { file: file.into(), state: Mutex::default() })
    }

    /// Gives the file the time of now, and tells which that is.
    pub(super) fn touch(&self) -> rustix::io::Result<Timestamp> {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        rustix::fs::futimens(&self.file, &Timestamps { last_access: now, last_modification: now })?;
        rustix::fs::fstat(&self.file).map(|stat| modified(&stat))
    }

    /// A slot that is recorded to be in this directory.
    pub(super) fn take(&self, path: &str) -> Result<usize> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = state.free.pop().unwrap_or(state.recorded.len());
        if state.recorded.get(slot).is_none_or(|recorded| **recorded != *path) {
            if let Err(error) = self.record(slot, path) {
                if slot < state.recorded.len() {
                    state.free.push(slot);
                }
                return Err(error);
            }
            match state.recorded.get_mut(slot) {
                Some(recorded) => *recorded = path.into(),
                None => state.recorded.push(path.into()),
            }
        }
        Ok(slot)
    }

    fn record(&self, slot: usize, path: &str) -> Result<()> {
        let len = u16::try_from(path.len()).ok().filter(|len| usize::from(*len) + 2 <= RECORD);
        let len = len.ok_or_else(|| Error::new(ErrorKind::InvalidInput, "the path of the file is too long"))?;
        let record = [&len.to_le_bytes(), path.as_bytes()].concat();
        self.file.write_all_at(&record, (slot * RECORD) as u64).map_err(map_error)
    }

    /// Gives a slot back whose file is published or removed.
    pub(super) fn give_back(&self, slot: usize) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).free.push(slot);
    }

    /// The slots of a store that has ended, and the directories that they were last used for.
    pub(super) fn read(stage: &OwnedFd) -> Result<Vec<(usize, String)>> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = match rustix::fs::openat(stage, FILE, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(Vec::new()),
            file => File::from(file.map_err(map_error)?),
        };
        let mut records = Vec::new();
        file.take(MAX_RECORDS).read_to_end(&mut records).map_err(map_error)?;
        let path = |record: &[u8]| {
            let (len, path) = record.split_first_chunk::<2>()?;
            let path = path.get(..usize::from(u16::from_le_bytes(*len)))?;
            let plain = |path: &String| path == "." || !path.split('/').any(|part| matches!(part, "" | "." | ".."));
            String::from_utf8(path.to_vec()).ok().filter(plain)
        };
        Ok(records.chunks(RECORD).enumerate().filter_map(|(slot, record)| Some((slot, path(record)?))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_is_read_and_nothing_else_is_taken_for_a_record() {
        let directory = tempfile::tempdir().unwrap();
        let stage: OwnedFd = File::open(directory.path()).unwrap().into();
        assert_eq!(Slots::read(&stage).unwrap(), []);
        let slots = Slots::create(&stage, Permissions::Private).unwrap();
        let (a, b) = (slots.take("n+").unwrap(), slots.take("n+/a+").unwrap());
        slots.give_back(a);
        assert_eq!(slots.take("n+/b+").unwrap(), a);
        assert_eq!(Slots::read(&stage).unwrap(), [(a, "n+/b+".to_owned()), (b, "n+/a+".to_owned())]);
        assert!(slots.take(&"x".repeat(RECORD)).is_err());
        for hostile in [&[][..], &[0], &[0, 0], &[9, 0, b'x'], &[2, 0, b'.', b'.'], &[2, 0, 0xff, 0xfe], &[0xff; 5000]]
        {
            std::fs::write(directory.path().join(FILE), hostile).unwrap();
            assert_eq!(Slots::read(&stage).unwrap(), [], "{hostile:?}");
        }
    }
}
