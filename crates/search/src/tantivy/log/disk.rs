//! What a file of the log is written and synced by.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::Path;
#[cfg(test)]
use std::sync::{Arc, Mutex};

use super::super::error::BACKEND;
use crate::counters::Syncs;

pub(super) fn write_at(mut file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)
}

/// What syncs, and counts that.
pub(super) struct Disk {
    counted: Syncs,
    #[cfg(test)]
    pub(super) instead: Mutex<Option<Instead>>,
}

/// What a test does in place of a sync.
#[cfg(test)]
pub(in super::super) type Instead = Arc<dyn Fn() -> io::Result<()> + Send + Sync>;

impl Default for Disk {
    fn default() -> Self {
        Self {
            counted: Syncs::new(BACKEND),
            #[cfg(test)]
            instead: Mutex::default(),
        }
    }
}

impl Disk {
    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        self.counted.count();
        #[cfg(test)]
        if let Some(instead) = self.instead() {
            return instead();
        }
        file.sync_data()
    }

    /// What was renamed is where it is.
    pub(super) fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.counted.count();
        #[cfg(test)]
        if let Some(instead) = self.instead() {
            return instead();
        }
        // Elsewhere a folder is no file.
        if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
    }

    #[cfg(test)]
    fn instead(&self) -> Option<Instead> {
        self.instead.lock().unwrap().clone()
    }
}
