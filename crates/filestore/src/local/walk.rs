//! Listing: the directories in the order of the keys, and only those that the page needs.

use rustix::fs::Dir;
use rustix::io::Errno;
use statehouse_core::{Error, Result};

use super::client::Disk;
use super::error::map_error;
use super::name::{self, CONTINUED, DIRECTORY, DiskName};
use crate::listing::Collector;
use crate::{FileKey, ListOptions, Page};

/// Something in a directory.
struct Item {
    /// What it adds to the keys: a segment, and for a directory the slash behind it.
    adds: String,
    path: String,
}

impl Disk {
    pub(super) fn list(&self, options: &ListOptions) -> Result<Page> {
        options.check()?;
        let mut page = Collector::new(options)?;
        let base = options.prefix.rfind('/').map_or("", |slash| &options.prefix[..=slash]);
        // A prefix that no key can have has no directory either.
        if base.is_empty() || FileKey::new(base.trim_end_matches('/')).is_ok_and(|key| key.len() + 1 == base.len()) {
            self.walk(&name::directory_of(base), base, &mut page)?;
        }
        Ok(page.finish())
    }

    fn walk(&self, path: &str, prefix: &str, page: &mut Collector<'_>) -> Result<()> {
        for item in self.items(path)? {
            let key = format!("{prefix}{}", item.adds);
            if key.ends_with('/') {
                if page.wants_below(&key) {
                    self.walk(&item.path, &key, page)?;
                }
            } else {
                self.offer(&key, &item.path, page)?;
            }
            // Once the page says that there is something below a common prefix, the rest of it does not matter.
            if page.is_full() || page.ends_with(prefix) {
                break;
            }
        }
        Ok(())
    }

    fn offer(&self, key: &str, path: &str, page: &mut Collector<'_>) -> Result<()> {
        // What no key is spelled like was put there by something else.
        let Some(key) = FileKey::new(key).ok().filter(|key| DiskName::of(key).path() == path) else { return Ok(()) };
        let mut failed: Option<Error> = None;
        page.offer(&key, || {
            self.entry(&key, path).unwrap_or_else(|error| {
                failed = Some(error);
                None
            })
        });
        failed.map_or(Ok(()), Err)
    }

    /// What is in a directory, in the order of the keys. One that is gone is empty.
    fn items(&self, path: &str) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        self.collect(path, &[], &mut items)?;
        items.sort_unstable_by(|a, b| a.adds.cmp(&b.adds));
        Ok(items)
    }

    fn collect(&self, path: &str, begun: &[u8], items: &mut Vec<Item>) -> Result<()> {
        let directory = match self.root.open_directory(path) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(map_error(error)),
        };
        let mut continued = Vec::new();
        for entry in Dir::new(directory).map_err(map_error)? {
            let entry = entry.map_err(map_error)?;
            let Some(name) = entry.file_name().to_str().ok().filter(|name| !name.starts_with('.')) else { continue };
            let Some(spelled) = name::read(name.trim_end_matches([DIRECTORY, CONTINUED])) else { continue };
            let path = if path == "." { name.to_owned() } else { format!("{path}/{name}") };
            let adds = [begun, &spelled].concat();
            if name.ends_with(CONTINUED) {
                continued.push((path, adds));
            } else if let Ok(mut adds) = String::from_utf8(adds) {
                adds.extend(name.ends_with(DIRECTORY).then_some('/'));
                items.push(Item { adds, path });
            }
        }
        // The first directory is closed by now: however long the names, one is open at a time.
        continued.into_iter().try_for_each(|(path, begun)| self.collect(&path, &begun, items))
    }
}
