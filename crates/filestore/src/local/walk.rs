//! Listing: the directories in the order of the keys, and only those that the page needs.
//!
//! A large directory is remembered as long as nothing changes in it, see [`super::remembered`], so that a page of it
//! costs what is on it. Where a page ends, the walk is put aside under its token and the next page goes on with it: so
//! all pages together read each directory a few times, however many pages there are. A token whose walk is gone (used
//! before, made by another process, or put out by later ones) is as good: the walk begins anew behind the same key.

use rustix::fd::OwnedFd;
use statehouse_core::{ErrorKind, Result};

use super::client::Disk;
use super::folder::Folder;
use super::name::{self, DIRECTORY};
use super::walks::{Walk, without_walk};
use crate::key::FileKey;
use crate::listing::Collector;
use crate::meta::Entry;
use crate::options::{ListOptions, Page};

impl Disk {
    pub(super) fn list(&self, options: &ListOptions) -> Result<Page> {
        options.check()?;
        let kept = self.walks.take(options);
        let options = ListOptions { start: without_walk(&options.start), ..options.clone() };
        let mut page = Collector::new(&options)?;
        let mut walk = match kept {
            Some(mut kept) => {
                kept.folders.iter_mut().for_each(|folder| folder.check(&self.folders));
                kept
            }
            None => self.begin_walk(&page, &options.prefix)?,
        };
        walk.fill(self, &mut page)?;
        let mut page = page.finish().with_skipped(walk.skipped);
        if page.entries.is_empty() && page.prefixes.is_empty() {
            self.probe_reading()?;
        }
        if walk.skipped > 0 {
            tracing::debug!(name: "filestore.skipped", skipped = walk.skipped, "a listing left out what is none of the store's files");
        }
        if let Some(token) = &mut page.next {
            *token = self.walks.keep(token, &options, walk)?;
        }
        Ok(page)
    }

    /// A listing's line of the folder's next file: what is known of it, or what it says itself.
    fn line(&self, key: &FileKey, folder: &Folder, directory: &mut Option<OwnedFd>) -> Result<Entry> {
        let at = folder.position();
        let age = match folder.is_remembered.then(|| folder.names.entry(at, key)) {
            Some(Ok(entry)) => return Ok(entry),
            Some(Err(age)) => Some(age),
            None => None,
        };
        let (trailer, modified) = self.describe(key, &folder.path, directory)?;
        if let Some(age) = age {
            folder.names.learn(at, age, &trailer, modified);
        }
        Ok(Entry::new(key.clone(), trailer.len, trailer.etag(), modified))
    }

    fn begin_walk(&self, page: &Collector<'_>, prefix: &str) -> Result<Walk> {
        let base = prefix.rfind('/').map_or("", |slash| &prefix[..=slash]);
        // A prefix that no key can have has no directory either.
        if !base.is_empty() && !FileKey::new(base.trim_end_matches('/')).is_ok_and(|key| key.len() + 1 == base.len()) {
            return Ok(Walk::default());
        }
        let (folder, skipped) = Folder::open(&self.folders, name::directory_of(base), base.to_owned(), page)?;
        Ok(Walk { folders: vec![folder], skipped })
    }
}

impl Walk {
    /// Goes on until the page is full or nothing is left.
    fn fill(&mut self, disk: &Disk, page: &mut Collector<'_>) -> Result<()> {
        let (mut directory, mut key) = (None, String::new());
        while let Some(folder) = self.folders.last_mut() {
            let Some(adds) = folder.peek().filter(|_| !page.has_gathered(&folder.prefix)) else {
                directory = None;
                if page.has_gathered(&folder.prefix) {
                    self.folders.pop();
                } else if let Some(skipped) = folder.read_on(&disk.folders, page)? {
                    self.skipped += skipped;
                } else {
                    self.folders.pop();
                }
                continue;
            };
            key.clone_from(&folder.prefix);
            key.push_str(adds);
            if page.is_beyond(&key) {
                directory = None;
                self.folders.pop();
                continue;
            }
            if let Some(segment) = adds.strip_suffix('/') {
                let path = below(&folder.path, &name::spelled(segment));
                folder.pass();
                if page.wants_below(&key) {
                    directory = None;
                    self.enter(disk, path, key.clone(), page)?;
                }
                continue;
            }
            offer(disk, folder, &mut directory, &key, page, &mut self.skipped)?;
            if page.is_full() {
                break;
            }
            folder.pass();
        }
        Ok(())
    }

    /// A folder that cannot be read, or has become a link since its name was read, is none of ours.
    fn enter(&mut self, disk: &Disk, path: String, prefix: String, page: &Collector<'_>) -> Result<()> {
        match Folder::open(&disk.folders, path, prefix, page) {
            Ok((folder, skipped)) => {
                self.folders.push(folder);
                self.skipped += skipped;
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                tracing::warn!(name: "filestore.folder_unreadable", "a listing leaves out a folder that it may not read");
                self.skipped += 1;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn below(path: &str, spelled: &str) -> String {
    if path == "." { format!("{spelled}{DIRECTORY}") } else { format!("{path}/{spelled}{DIRECTORY}") }
}

/// Offers the folder's next file to the page, and reads it if the page wants it. `directory` is the folder's once it was
/// needed.
fn offer(
    disk: &Disk,
    folder: &Folder,
    directory: &mut Option<OwnedFd>,
    key: &str,
    page: &mut Collector<'_>,
    skipped: &mut u64,
) -> Result<()> {
    let Ok(key) = FileKey::new(key) else {
        *skipped += 1;
        return Ok(());
    };
    let mut failed = None;
    page.offer(&key, || match disk.line(&key, folder, directory) {
        Ok(entry) => Some(entry),
        Err(error) => {
            match error.kind() {
                ErrorKind::NotFound => {}
                ErrorKind::Corrupt | ErrorKind::PermissionDenied => {
                    tracing::warn!(name: "filestore.file_unreadable", %error, "a listing leaves out a file that is damaged or none of the store's");
                    *skipped += 1;
                }
                _ => failed = Some(error),
            }
            None
        }
    });
    failed.map_or(Ok(()), Err)
}
