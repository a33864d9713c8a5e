//! A directory whose small files carry a checksum, as tantivy's large ones do, and whose list of segments says which files
//! belong to it: what is damaged is not read, and neither is what belongs to another segment or another commit.

mod prints;

use std::io;
use std::path::Path;
use std::sync::Arc;

use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{Directory, DirectoryLock, FileHandle, Lock, WatchCallback, WatchHandle, WritePtr};

use self::prints::Seen;

/// What stands behind the content: this, the CRC-32 of the content in hexadecimal, and the end of the line.
const MARK: &[u8] = b"\n#crc32 ";
const DIGITS: usize = 8;

/// The list of segments.
const META: &str = "meta.json";

/// A folder. Files that are replaced as a whole are sealed; the others have tantivy's own checksum, and the list of segments
/// has their [prints](prints).
#[derive(Clone, Debug)]
pub(super) struct SealedDirectory<D> {
    inner: D,
    seen: Seen,
}

impl<D> SealedDirectory<D> {
    pub(super) fn new(inner: D) -> Self {
        Self { inner, seen: Seen::default() }
    }
}

fn seal(content: &[u8]) -> Vec<u8> {
    let mut sealed = content.to_vec();
    sealed.extend_from_slice(MARK);
    sealed.extend_from_slice(format!("{:08x}\n", crc32fast::hash(content)).as_bytes());
    sealed
}

/// The content, if it is what was sealed.
fn unseal(mut sealed: Vec<u8>) -> io::Result<Vec<u8>> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the file does not have the checksum that it says");
    let end = sealed.len().checked_sub(MARK.len() + DIGITS + 1).ok_or_else(damaged)?;
    if seal(&sealed[..end]) != sealed {
        return Err(damaged());
    }
    sealed.truncate(end);
    Ok(sealed)
}

impl<D: Directory + Clone> Directory for SealedDirectory<D> {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        self.inner.get_file_handle(path)
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        self.seen.forget(path);
        self.inner.delete(path)
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        self.inner.exists(path)
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        self.inner.open_write(path)
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        let sealed = self.inner.atomic_read(path)?;
        let mut read = unseal(sealed);
        if path.as_os_str() == META {
            read = read.and_then(|content| self.seen.check(&self.inner, content));
        }
        read.map_err(|error| OpenReadError::wrap_io_error(error, path.to_path_buf()))
    }

    fn atomic_write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        if path.as_os_str() == META {
            self.inner.atomic_write(path, &seal(&self.seen.list(&self.inner, content)?))?;
            // tantivy syncs the folder only before: its commit would not be durable, and what it removes then would be.
            return self.inner.sync_directory();
        }
        self.inner.atomic_write(path, &seal(content))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.inner.sync_directory()
    }

    fn acquire_lock(&self, lock: &Lock) -> Result<DirectoryLock, LockError> {
        self.inner.acquire_lock(lock)
    }

    fn watch(&self, callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        self.inner.watch(callback)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_as_it_was_sealed_is_refused() {
        for content in [&b""[..], b"{}", b"{\"a\":\"#crc32 0\"}\n"] {
            let sealed = seal(content);
            assert_eq!(unseal(sealed.clone()).unwrap(), content);
            for at in 0..sealed.len() {
                let mut flipped = sealed.clone();
                flipped[at] ^= 1;
                assert!(unseal(flipped).is_err(), "{at}");
                assert!(unseal(sealed[..at].to_vec()).is_err(), "{at}");
            }
        }
    }
}
