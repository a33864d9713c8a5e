//! The files of a log, of which one is written to.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use statehouse_core::{Error, Result};
use tokio::sync::watch;

use super::super::error::map_io;
use super::super::generations::{damaged, names, newer};
use super::disk::{Disk, write_at};
use super::format::{Content, Entry, Fault, Frame, HEADER, header, read};

/// How long a file becomes: it is read as a whole. What it has no room for is committed.
const LONGEST: u64 = 64 << 20;

/// The name of a file is this and its number.
const PREFIX: &str = "log-";
const FIRST: u32 = 1;

/// The one that is not whole yet. What a process leaves of it is swept.
const BEGUN: &str = ".tmp-log";

/// How much of the log a commit holds: all files before this one, and so many bytes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Held {
    file: u32,
    length: u64,
}

pub(in super::super) struct Log {
    folder: PathBuf,
    state: Mutex<State>,
    /// Told of each frame.
    pub(super) more: Condvar,
    pub(super) told: watch::Sender<Told>,
    pub(super) is_syncing: AtomicBool,
    pub(super) disk: Disk,
}

pub(super) struct State {
    /// The one that is written to, once there is something for it.
    pub(super) file: Option<Arc<File>>,
    /// Its number, or that of the next one.
    number: u32,
    /// Where its next frame goes.
    pub(super) end: u64,
    /// Those of an earlier process, until a commit holds what they say.
    earlier: Vec<u32>,
    /// How many frames were written since the log was opened.
    pub(super) frames: u64,
    /// How many of them are durable.
    pub(super) durable: u64,
    /// Why nothing is written to this file any more.
    pub(super) failure: Option<Error>,
    pub(super) last: Last,
}

/// What those who wait are told.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// How many frames are durable.
    pub(super) durable: u64,
    /// Of how many the last sync that failed was, and why it did.
    pub(super) failed: Option<(u64, Error)>,
}

/// What is known of the last sync.
#[derive(Clone, Copy, Default)]
pub(super) struct Last {
    /// How many wrote then: those that it let go, and those that it came too early for.
    pub(super) wrote: u64,
    pub(super) took: Duration,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

impl Log {
    /// The log of a folder, and what the last commit does not hold of it.
    pub(in super::super) fn load(folder: &Path, held: Option<Held>) -> Result<(Self, Vec<Entry>)> {
        let held = held.unwrap_or(Held { file: FIRST, length: 0 });
        let (mut earlier, mut entries) = (Vec::new(), Vec::new());
        // What a commit says of a file is never of another one.
        let mut number = if held.length == 0 { held.file } else { held.file.saturating_add(1) };
        for found in numbers(folder)? {
            number = number.max(found.saturating_add(1));
            let from = if found == held.file { held.length } else { 0 };
            let left = if found < held.file { Vec::new() } else { left(&folder.join(name(found)), from)? };
            if left.is_empty() {
                remove(folder, found)
            } else {
                earlier.push(found)
            }
            entries.extend(left);
        }
        let (frames, durable, failure) = (0, 0, None);
        let state = State { file: None, number, end: 0, earlier, frames, durable, failure, last: Last::default() };
        let log = Self {
            folder: folder.to_owned(),
            state: Mutex::new(state),
            more: Condvar::new(),
            told: watch::Sender::default(),
            is_syncing: AtomicBool::new(false),
            disk: Disk::default(),
        };
        Ok((log, entries))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a frame, which is not durable by that. Says whether it was taken: one that was not is to be committed. Of one that
    /// fails nothing stays.
    pub(in super::super) fn append(&self, frame: Frame) -> io::Result<bool> {
        if frame.is_empty() {
            return Ok(true);
        }
        let frame = frame.sealed();
        let mut state = self.state();
        if state.failure.is_some() || state.end.saturating_add(frame.len() as u64) > LONGEST {
            return Ok(false);
        }
        let file = match &state.file {
            Some(file) => Arc::clone(file),
            None => self.begin(&mut state)?,
        };
        if let Err(error) = write_at(&file, state.end, &frame) {
            // Else it would stand before the next one.
            state.failure = file.set_len(state.end).err().map(map_io);
            return Err(error);
        }
        state.end += frame.len() as u64;
        state.frames += 1;
        self.more.notify_all();
        Ok(true)
    }

    /// Makes the next file.
    fn begin(&self, state: &mut State) -> io::Result<Arc<File>> {
        let begun = self.folder.join(BEGUN);
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&begun)?;
        write_at(&file, 0, &header(HEADER as u64))?;
        self.disk.sync(&file)?;
        fs::rename(&begun, self.folder.join(name(state.number)))?;
        let file = Arc::new(file);
        (state.file, state.end) = (Some(Arc::clone(&file)), HEADER as u64);
        if let Err(error) = self.disk.sync_folder(&self.folder) {
            // Nothing is acknowledged by a file that may not be there.
            state.failure = Some(map_io(error.kind().into()));
            return Err(error);
        }
        Ok(file)
    }

    /// What a commit holds that holds everything up to now. `None` if there never was anything.
    pub(in super::super) fn held(&self) -> Option<Held> {
        let state = self.state();
        let length = if state.file.is_some() { state.end } else { 0 };
        (state.number > FIRST || length > 0).then_some(Held { file: state.number, length })
    }

    /// Lets go of everything: a commit holds it.
    pub(in super::super) fn let_go(&self) {
        let mut state = self.state();
        std::mem::take(&mut state.earlier).into_iter().for_each(|number| remove(&self.folder, number));
        if state.file.take().is_some() {
            remove(&self.folder, state.number);
            state.number = state.number.saturating_add(1);
        }
        (state.end, state.failure) = (0, None);
        let frames = state.frames;
        self.tell_durable(&mut state, frames);
    }

    pub(super) fn tell_durable(&self, state: &mut State, frames: u64) {
        if state.durable < frames {
            state.durable = frames;
            self.told.send_modify(|told| told.durable = frames);
        }
    }

    /// Why it takes nothing until the next commit, if that is so.
    pub(in super::super) fn failure(&self) -> Option<Error> {
        self.state().failure.clone()
    }
}

/// What is behind a place in a file. It is made durable, for it is shown from now on; what was not written to its end goes.
fn left(path: &Path, from: u64) -> Result<Vec<Entry>> {
    let bytes = fs::read(path).map_err(map_io)?;
    let Content { entries, end } = read(&bytes, usize::try_from(from).unwrap_or(usize::MAX)).map_err(|fault| {
        let name = path.file_name().unwrap_or_default().display();
        match fault {
            Fault::Damaged => damaged(&format!("its file {name} is not as it was written")),
            Fault::Newer(format) => newer(&format!("{name} has the format {format}")),
        }
    })?;
    if !entries.is_empty() {
        let file = File::options().write(true).open(path).map_err(map_io)?;
        if end < bytes.len() {
            file.set_len(end as u64).map_err(map_io)?;
        }
        file.sync_all().map_err(map_io)?;
    }
    Ok(entries)
}

fn name(number: u32) -> String {
    format!("{PREFIX}{number:06}")
}

/// The numbers of the files, in order.
fn numbers(folder: &Path) -> Result<Vec<u32>> {
    let found = names(folder)?;
    let number = |found: &String| found.strip_prefix(PREFIX)?.parse().ok().filter(|number| name(*number) == **found);
    let mut numbers: Vec<u32> = found.iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// What stays is skipped when the folder is opened again, for the commit says that it holds it.
fn remove(folder: &Path, number: u32) {
    let file = folder.join(name(number));
    match fs::remove_file(&file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(name: "search.file_not_removed", file = name(number), error = %error, "a file that the index no longer needs cannot be removed");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use statehouse_core::ErrorKind;

    use super::*;

    fn frame(version: u64, length: usize) -> Frame {
        let mut frame = Frame::new();
        frame.written(version, &vec![b'x'; length]);
        frame
    }

    fn versions(folder: &Path, held: Option<Held>) -> Vec<u64> {
        let (_, entries) = Log::load(folder, held).unwrap();
        let version = |entry: &Entry| match entry {
            Entry::Written { version, .. } | Entry::Deleted { version, .. } => *version,
        };
        entries.iter().map(version).collect()
    }

    #[test]
    fn what_a_file_has_no_room_for_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let (log, _) = Log::load(folder.path(), None).unwrap();
        assert!(log.append(frame(1, 40 << 20)).unwrap());
        assert!(!log.append(frame(2, 40 << 20)).unwrap());
        assert!(log.append(frame(3, 1)).unwrap());
        assert_eq!(versions(folder.path(), None), [1, 3]);
        log.let_go();
        assert!(log.append(frame(4, 40 << 20)).unwrap());
        assert_eq!(versions(folder.path(), None), [4]);
    }

    #[test]
    fn a_commit_holds_what_stands_before_its_place_and_files_before_that_one() {
        let folder = tempfile::tempdir().unwrap();
        let (log, _) = Log::load(folder.path(), None).unwrap();
        assert_eq!(log.held(), None);
        assert!(log.append(frame(1, 3)).unwrap());
        let first = log.held();
        assert!(log.append(frame(2, 3)).unwrap());
        assert_eq!((versions(folder.path(), None), versions(folder.path(), first)), (vec![1, 2], vec![2]));

        // Another process goes on in another file, whether or not there is something behind that place.
        let (log, _) = Log::load(folder.path(), first).unwrap();
        assert!(log.append(frame(3, 3)).unwrap());
        assert_eq!(versions(folder.path(), first), [2, 3]);
        let second = log.held();
        assert_eq!(second, Some(Held { file: 2, length: 44 }));
        assert_eq!(versions(folder.path(), second), [0; 0]);
        assert_eq!(numbers(folder.path()).unwrap(), [0; 0]);
        let (log, _) = Log::load(folder.path(), second).unwrap();
        assert!(log.append(frame(4, 3)).unwrap());
        assert_eq!(versions(folder.path(), second), [4]);
    }

    #[test]
    fn what_was_not_written_to_its_end_is_cut_off_once() {
        let folder = tempfile::tempdir().unwrap();
        let (log, _) = Log::load(folder.path(), None).unwrap();
        assert!(log.append(frame(1, 3)).unwrap());
        let path = folder.path().join(name(1));
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole[..], &whole[HEADER..HEADER + 9]].concat()).unwrap();
        for _ in 0..2 {
            assert_eq!(versions(folder.path(), None), [1]);
            assert_eq!(fs::read(&path).unwrap(), whole);
        }
        fs::write(&path, &whole[..HEADER - 1]).unwrap();
        assert_eq!(Log::load(folder.path(), None).map(drop).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[cfg(unix)]
    #[test]
    fn it_is_its_users_own() {
        let folder = tempfile::tempdir().unwrap();
        let (log, _) = Log::load(folder.path(), None).unwrap();
        assert!(log.append(frame(1, 3)).unwrap());
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(folder.path().join(name(1))).unwrap());
        assert_eq!(mode & 0o777, 0o600);
    }
}
