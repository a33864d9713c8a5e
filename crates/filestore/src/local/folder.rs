//! Reading one directory: its names in the order of the keys.
//!
//! A directory has its names in no order and cannot be asked for those behind a certain one, so a listing that read it
//! anew for each page would take time that grows with the square of its size. It is read whole, unless its names
//! are too many for that: then into a window, which is handed on from page to page, see [`super::walk`].

use std::ffi::CStr;
use std::sync::Arc;

use rustix::fd::OwnedFd;
use rustix::fs::FileType;
use rustix::io::Errno;
use statehouse_core::{ErrorKind, Result};

use super::beneath::Root;
use super::error::map_error;
use super::name::{self, CONTINUED};
use super::names::Names;
use super::remembered::{Foreign, Remembered, Sight};
use super::thing::{Thing, is_spelling, look_at, split};
use crate::listing::Collector;

/// How much of a directory is in memory at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    /// How many bytes the names of a directory have that is read whole.
    pub(super) whole: usize,
    /// How many bytes a window has at most, and as many again while it is filled.
    pub(super) part: usize,
}

impl Default for Windows {
    fn default() -> Self {
        Self { whole: 32 << 20, part: 4 << 20 }
    }
}

/// The directory that a store is in, as listings read it.
#[derive(Debug)]
pub(super) struct Folders {
    pub(super) root: Root,
    pub(super) remembered: Remembered,
    pub(super) windows: Windows,
}

impl Folders {
    pub(super) fn of(root: &Root) -> Self {
        Self { root: root.clone(), remembered: Remembered::default(), windows: Windows::default() }
    }
}

/// The names of one directory that are still to come, as far as they are known.
#[derive(Debug)]
pub(super) struct Folder {
    /// Where it is below the root.
    pub(super) path: String,
    /// What all keys below it begin with: nothing, or a text that ends with a slash.
    pub(super) prefix: String,
    pub(super) names: Arc<Names>,
    next: usize,
    /// Set if there was more than the window takes: everything up to this is in it, and nothing behind.
    cut: Option<String>,
    /// Whether the names are those that are remembered of the directory as it is.
    pub(super) is_remembered: bool,
}

/// One reading of a directory.
struct Reading<'a> {
    folders: &'a Folders,
    page: &'a Collector<'a>,
    prefix: &'a str,
    names: Names,
    cut: Option<String>,
    /// What the last window ended with; none if the directory is read whole.
    behind: Option<String>,
    whole: bool,
    sight: Sight,
    foreign: Foreign,
    /// Directories that may not be read.
    closed: u64,
    /// The key of the name that is looked at.
    key: Vec<u8>,
}

impl Folder {
    /// Reads a directory, unless it is remembered. One that is gone is empty.
    ///
    /// Gives also how many things in it are none of the store's.
    pub(super) fn open(folders: &Folders, path: String, prefix: String, page: &Collector<'_>) -> Result<(Self, u64)> {
        let (remembered, skipped) = match folders.remembered.get(&folders.root, &path) {
            Some((names, skipped)) => (Some(names), skipped),
            None => (None, 0),
        };
        let is_remembered = remembered.is_some();
        let names = remembered.unwrap_or_default();
        let mut folder = Self { path, prefix, names, next: 0, cut: None, is_remembered };
        if is_remembered {
            folder.seek(page);
            return Ok((folder, skipped));
        }
        let skipped = folder.read(folders, None, page)?;
        Ok((folder, skipped))
    }

    /// What comes next; none at the end of the window.
    pub(super) fn peek(&self) -> Option<&str> {
        self.names.get(self.next)
    }

    /// Where among the names that is.
    pub(super) const fn position(&self) -> usize {
        self.next
    }

    /// Goes on behind what [`peek`](Self::peek) gave.
    pub(super) const fn pass(&mut self) {
        self.next += 1;
    }

    /// What the names take in memory.
    pub(super) fn bytes(&self) -> usize {
        self.names.bytes() + self.path.len() + self.prefix.len()
    }

    /// Looks whether the directory is still as it is remembered.
    pub(super) fn check(&mut self, folders: &Folders) {
        self.is_remembered = self.is_remembered && folders.remembered.has(&folders.root, &self.path, &self.names);
    }

    /// Reads the next window; none if that was all.
    pub(super) fn read_on(&mut self, folders: &Folders, page: &Collector<'_>) -> Result<Option<u64>> {
        let Some(behind) = self.cut.take() else { return Ok(None) };
        self.read(folders, Some(behind), page).map(Some)
    }

    fn read(&mut self, folders: &Folders, behind: Option<String>, page: &Collector<'_>) -> Result<u64> {
        let mut reading = Reading {
            folders,
            page,
            prefix: &self.prefix,
            names: Names::default(),
            cut: None,
            whole: behind.is_none(),
            behind,
            sight: Sight::new(),
            foreign: Foreign::default(),
            closed: 0,
            key: self.prefix.clone().into_bytes(),
        };
        reading.directory(&self.path, "")?;
        let Reading { mut names, cut, foreign, closed, sight, whole, .. } = reading;
        let skipped = foreign.len() + closed;
        names.sort();
        (self.names, self.cut) = (Arc::new(names), cut);
        self.is_remembered = whole && folders.remembered.keep(&folders.root, sight, &self.names, foreign);
        self.seek(page);
        Ok(skipped)
    }

    /// Passes what the page does not want.
    fn seek(&mut self, page: &Collector<'_>) {
        let seek = page.seek();
        self.next = match seek.strip_prefix(&self.prefix) {
            None if *seek <= *self.prefix => 0,
            None => self.names.len(),
            Some(rest) => {
                let at = self.names.position(rest);
                // What lies below a directory is greater than its name.
                let below = |name: &str| rest.starts_with(name);
                at - usize::from(at > 0 && self.names.get(at - 1).is_some_and(below))
            }
        };
    }
}

impl Reading<'_> {
    fn take(&mut self, adds: &str) {
        self.names.push(adds);
        if self.whole && self.names.bytes() > self.folders.windows.whole {
            self.whole = false;
            let (page, prefix) = (self.page, self.prefix);
            self.names.retain(|adds| is_wanted(page, &format!("{prefix}{adds}")));
        }
        while !self.whole && self.names.bytes() > 2 * self.folders.windows.part {
            self.cut = self.names.halve();
        }
    }

    /// Reads a directory: the folder's own, or one in which names go on that `begun` is the beginning of.
    fn directory(&mut self, path: &str, begun: &str) -> Result<()> {
        let directory = match self.folders.root.open_directory(path) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => {
                self.sight.cut();
                return Ok(());
            }
            Err(error) => return Err(map_error(error)),
        };
        self.sight.add(&self.folders.remembered, path, &directory);
        let (mut continued, start) = (Vec::new(), self.key.len());
        let read = each_name(&directory, |name, kind| {
            match self.look_at(&directory, name, kind, begun) {
                Some(Thing::Continued) => continued.push(name.to_string_lossy().into_owned()),
                Some(Thing::Adds) => self.take_key(),
                Some(Thing::Foreign) => self.foreign.add(name, begun),
                None => {}
            }
            self.key.truncate(start);
        });
        match read {
            // Removed since it was opened: it was empty.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.sight.cut();
                return Ok(());
            }
            read => read?,
        }
        // The first directory is closed by now: however long the names, one is open at a time.
        drop(directory);
        continued.into_iter().try_for_each(|name| self.go_on(path, begun, &name))
    }

    /// Takes what is in `self.key`, which is UTF-8.
    fn take_key(&mut self) {
        let key = std::mem::take(&mut self.key);
        if let Ok(adds) = std::str::from_utf8(&key[self.prefix.len()..]) {
            self.take(adds);
        }
        self.key = key;
    }

    /// Reads the rests of long names.
    fn go_on(&mut self, path: &str, begun: &str, name: &str) -> Result<()> {
        let start = self.key.len();
        let below = if path == "." { name.to_owned() } else { format!("{path}/{name}") };
        let known = name::read(name.trim_end_matches(CONTINUED).as_bytes(), &mut self.key);
        let seek = self.page.seek().as_bytes();
        let is_passed = !self.whole && self.key.as_slice() < seek && !seek.starts_with(&self.key);
        let adds = &self.key[self.prefix.len()..];
        let is_cut = self.cut.as_deref().is_some_and(|cut| adds > cut.as_bytes());
        let result = match known && !is_passed && !is_cut {
            true => self.directory(&below, &format!("{begun}{name}/")),
            false => Ok(()),
        };
        self.key.truncate(start);
        match result {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                self.closed += 1;
                self.sight.cut();
                Ok(())
            }
            other => other,
        }
    }

    /// Leaves the thing's key in `self.key`.
    fn look_at(&mut self, directory: &OwnedFd, file_name: &CStr, kind: FileType, begun: &str) -> Option<Thing> {
        match look_at(&self.folders.root, directory, file_name, kind, &mut self.key)? {
            Thing::Adds => self.select(begun, split(file_name.to_bytes()).0),
            other => Some(other),
        }
    }

    /// Keeps what may be wanted, unless it is spelled as no key is.
    fn select(&self, begun: &str, stem: &[u8]) -> Option<Thing> {
        let adds = &self.key[self.prefix.len()..];
        let beyond = |cut: &str| adds > cut.as_bytes();
        if self.cut.as_deref().is_some_and(beyond) || self.behind.as_deref().is_some_and(|behind| !beyond(behind)) {
            return None;
        }
        let Ok(key) = std::str::from_utf8(&self.key) else { return Some(Thing::Foreign) };
        if !self.whole && !is_wanted(self.page, key) {
            return None;
        }
        let same = is_spelling(begun, stem, &key[self.prefix.len()..]);
        Some(if same { Thing::Adds } else { Thing::Foreign })
    }
}

/// Whether a page may want a file, or what is below a folder, whose name ends with a slash.
fn is_wanted(page: &Collector<'_>, key: &str) -> bool {
    if key.ends_with('/') { page.wants_below(key) } else { page.wants(key) }
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
