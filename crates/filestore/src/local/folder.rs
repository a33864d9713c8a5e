//! Reading one directory: its names in the order of the keys, and no more of them at a time than fit into a window.
//!
//! A directory has its names in no order and cannot be asked for those behind a certain one, so a listing that reads it
//! anew for each page takes time that grows with the square of its size. It is read into a window, a small
//! one for the first page and then a large one, that is handed on from page to page, see [`super::walk`].

use std::ffi::CStr;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;
use statehouse_core::Result;

use super::beneath::Root;
use super::config::Access;
use super::error::map_error;
use super::name::{self, CONTINUED, DIRECTORY};
use super::stage;
use crate::listing::Collector;

/// How many bytes the first window has: enough for a page of ordinary names.
const FIRST_WINDOW: usize = 128 << 10;

/// How many bytes a window has at most, and as many again while it is filled.
const MAX_WINDOW: usize = 4 << 20;

/// What a name takes besides its bytes.
const OVERHEAD: usize = 32;

/// The names of one directory that are still to come, as far as they are known.
#[derive(Debug)]
pub(super) struct Folder {
    /// Where it is below the root.
    pub(super) path: String,
    /// What all keys below it begin with: nothing, or a text that ends with a slash.
    pub(super) prefix: String,
    /// What each thing adds to the keys, a segment and for a directory the slash behind it, the next one last.
    ahead: Vec<Box<str>>,
    bytes: usize,
    /// Set if there was more than the window takes: everything up to this is in it, and nothing behind.
    cut: Option<Box<str>>,
    window: usize,
}

/// One reading of a directory.
struct Reading<'a> {
    root: &'a Root,
    folder: &'a mut Folder,
    page: &'a Collector<'a>,
    /// What the last window ended with.
    behind: Option<Box<str>>,
    skipped: u64,
    /// The key of the name that is looked at.
    key: Vec<u8>,
}

impl Folder {
    /// Reads a directory. One that is gone is empty.
    ///
    /// Gives also how many things in it are none of the store's.
    pub(super) fn open(root: &Root, path: String, prefix: String, page: &Collector<'_>) -> Result<(Self, u64)> {
        let mut folder = Self { path, prefix, ahead: Vec::new(), bytes: 0, cut: None, window: FIRST_WINDOW };
        let skipped = folder.read(root, None, page)?;
        Ok((folder, skipped))
    }

    /// What comes next; none at the end of the window.
    pub(super) fn peek(&self) -> Option<&str> {
        self.ahead.last().map(AsRef::as_ref)
    }

    /// Goes on behind what [`peek`](Self::peek) gave.
    pub(super) fn pass(&mut self) {
        if let Some(passed) = self.ahead.pop() {
            self.bytes -= passed.len() + OVERHEAD;
        }
    }

    /// What the names take in memory.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Reads the next window, larger than the last; none if that was all.
    pub(super) fn read_on(&mut self, root: &Root, page: &Collector<'_>) -> Result<Option<u64>> {
        let Some(behind) = self.cut.take() else { return Ok(None) };
        self.window = MAX_WINDOW;
        self.read(root, Some(behind), page).map(Some)
    }

    fn read(&mut self, root: &Root, behind: Option<Box<str>>, page: &Collector<'_>) -> Result<u64> {
        let (path, key) = (self.path.clone(), self.prefix.clone().into_bytes());
        let mut reading = Reading { root, folder: self, page, behind, skipped: 0, key };
        reading.directory(&path, "")?;
        let skipped = reading.skipped;
        self.ahead.sort_unstable_by(|a, b| b.cmp(a));
        Ok(skipped)
    }

    fn take(&mut self, adds: Box<str>) {
        self.bytes += adds.len() + OVERHEAD;
        self.ahead.push(adds);
        if self.bytes > 2 * self.window {
            self.halve();
        }
    }

    /// Forgets the greater half of the names.
    fn halve(&mut self) {
        let middle = self.ahead.len() / 2;
        let (_, last, _) = self.ahead.select_nth_unstable(middle);
        self.cut = Some(last.clone());
        self.ahead.truncate(middle + 1);
        self.bytes = self.ahead.iter().map(|adds| adds.len() + OVERHEAD).sum();
    }
}

impl Reading<'_> {
    /// Reads a directory: the folder's own, or one in which names go on that `begun` is the beginning of.
    fn directory(&mut self, path: &str, begun: &str) -> Result<()> {
        let directory = match self.root.open_directory(path) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(map_error(error)),
        };
        let (mut continued, start) = (Vec::new(), self.key.len());
        each_name(&directory, |name, kind| {
            match self.look_at(&directory, name, kind, begun) {
                Some(Thing::Continued) => continued.push(name.to_string_lossy().into_owned()),
                Some(Thing::Adds(adds)) => self.folder.take(adds),
                Some(Thing::Foreign) => self.skipped += 1,
                None => {}
            }
            self.key.truncate(start);
        })?;
        // The first directory is closed by now: however long the names, one is open at a time.
        drop(directory);
        continued.into_iter().try_for_each(|name| self.go_on(path, begun, &name))
    }

    /// Reads the rests of long names.
    fn go_on(&mut self, path: &str, begun: &str, name: &str) -> Result<()> {
        let start = self.key.len();
        let below = if path == "." { name.to_owned() } else { format!("{path}/{name}") };
        let known = name::read(name.trim_end_matches(CONTINUED).as_bytes(), &mut self.key);
        let seek = self.page.seek().as_bytes();
        let is_passed = self.key.as_slice() < seek && !seek.starts_with(&self.key);
        let adds = &self.key[self.folder.prefix.len()..];
        let is_cut = self.folder.cut.as_deref().is_some_and(|cut| adds > cut.as_bytes());
        let result = match known && !is_passed && !is_cut {
            true => self.directory(&below, &format!("{begun}{name}/")),
            false => Ok(()),
        };
        self.key.truncate(start);
        match result {
            Err(error) if error.kind() == statehouse_core::ErrorKind::PermissionDenied => {
                self.skipped += 1;
                Ok(())
            }
            other => other,
        }
    }

    /// Leaves the thing's key in `self.key`.
    fn look_at(&mut self, directory: &OwnedFd, file_name: &CStr, kind: FileType, begun: &str) -> Option<Thing> {
        let name = file_name.to_bytes();
        if name.starts_with(b".") {
            let own = matches!(name, b"." | b"..") || name.starts_with(crate::RESERVED.as_bytes());
            if own && self.root.access() == Access::Write {
                stage::remove_if_left(self.root, directory, name);
            }
            return (!own).then_some(Thing::Foreign);
        }
        let (stem, ending) = match name.split_last()? {
            (last, stem) if char::from(*last) == DIRECTORY || char::from(*last) == CONTINUED => (stem, Some(*last)),
            _ => (name, None),
        };
        let kind = known_kind(directory, file_name, kind);
        let expected = if ending.is_some() { FileType::Directory } else { FileType::RegularFile };
        if kind != expected || !name::read(stem, &mut self.key) {
            return (!matches!(kind, FileType::Unknown)).then_some(Thing::Foreign);
        }
        if ending.map(char::from) == Some(CONTINUED) {
            return Some(Thing::Continued);
        }
        if ending.is_some() {
            self.key.push(b'/');
        }
        self.select(begun, name)
    }

    /// Keeps what may be wanted, unless it is spelled as no key is.
    fn select(&self, begun: &str, name: &[u8]) -> Option<Thing> {
        let adds = &self.key[self.folder.prefix.len()..];
        let beyond = |cut: &str| adds > cut.as_bytes();
        if self.folder.cut.as_deref().is_some_and(beyond)
            || self.behind.as_deref().is_some_and(|behind| !beyond(behind))
        {
            return None;
        }
        let Ok(key) = std::str::from_utf8(&self.key) else { return Some(Thing::Foreign) };
        let adds = &key[self.folder.prefix.len()..];
        let segment = adds.strip_suffix('/').unwrap_or(adds);
        let wanted = if segment.len() < adds.len() { self.page.wants_below(key) } else { self.page.wants(key) };
        if !wanted {
            return None;
        }
        let spelled = name::spelled(segment);
        let name = if segment.len() < adds.len() { &name[..name.len() - 1] } else { name };
        let same = spelled.as_bytes().strip_prefix(begun.as_bytes()) == Some(name);
        Some(if same { Thing::Adds(adds.into()) } else { Thing::Foreign })
    }
}

/// What a name in a directory stands for.
enum Thing {
    Adds(Box<str>),
    Continued,
    Foreign,
}

/// Some file systems do not say in the directory what is what. `Unknown` is what is gone.
fn known_kind(directory: &OwnedFd, name: &CStr, kind: FileType) -> FileType {
    match kind {
        FileType::Unknown => rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode)),
        kind => kind,
    }
}

/// Looks at everything in a directory that was opened just now.
#[cfg(target_os = "linux")]
fn each_name(directory: &OwnedFd, mut look: impl FnMut(&CStr, FileType)) -> Result<()> {
    let mut buffer = Vec::with_capacity(64 << 10);
    let mut entries = rustix::fs::RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(map_error)?;
        look(entry.file_name(), entry.file_type());
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn each_name(directory: &OwnedFd, mut look: impl FnMut(&CStr, FileType)) -> Result<()> {
    for entry in rustix::fs::Dir::read_from(directory).map_err(map_error)? {
        let entry = entry.map_err(map_error)?;
        look(entry.file_name(), entry.file_type());
    }
    Ok(())
}
