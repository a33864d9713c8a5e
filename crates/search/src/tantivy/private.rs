//! A folder that is its user's own, with everything that tantivy writes into it.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use statehouse_core::folder::FolderAccess;
use statehouse_core::{Error, ErrorKind, Result};
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    Directory, DirectoryLock, FileHandle, Lock, MmapDirectory, WatchCallback, WatchHandle, WritePtr,
};

use super::error::{BACKEND, map_error, map_io};

const FILE: u32 = 0o600;

/// tantivy's own directory, whose files no other user may read, whatever the process' mask for new files.
#[derive(Clone, Debug)]
pub(super) struct PrivateDirectory {
    inner: MmapDirectory,
    folder: PathBuf,
}

impl PrivateDirectory {
    /// Opens a folder that is there.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        check_owner(&fs::metadata(folder).map_err(map_io)?)?;
        let inner = MmapDirectory::open(folder).map_err(|error| map_error(error.into()))?;
        Ok(Self { inner, folder: folder.to_owned() })
    }

    fn close_to_others(&self, path: &Path) -> io::Result<()> {
        fs::set_permissions(self.folder.join(path), Permissions::from_mode(FILE))
    }
}

/// Refuses a folder in which another user could put files in the place of ours.
fn check_owner(folder: &fs::Metadata) -> Result<()> {
    let access = FolderAccess::new(folder.uid(), rustix::process::geteuid().as_raw(), folder.mode());
    let doubt = access.check_everybody().and_then(|()| access.check_owner());
    let refuse =
        |why| Error::new(ErrorKind::InvalidConfig, format!("the folder is refused: {why}")).with_backend(BACKEND);
    if let Some(doubt) = doubt.map_err(refuse)? {
        tracing::warn!(name: "search.folder_doubtful", "the index's folder: {doubt}");
    }
    Ok(())
}

impl Directory for PrivateDirectory {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        self.inner.get_file_handle(path)
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        self.inner.delete(path)
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        self.inner.exists(path)
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        let file = self.inner.open_write(path)?;
        self.close_to_others(path).map_err(|error| OpenWriteError::wrap_io_error(error, path.to_owned()))?;
        Ok(file)
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        self.inner.atomic_read(path)
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        self.inner.atomic_write(path, data)?;
        self.close_to_others(path)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.inner.sync_directory()
    }

    fn acquire_lock(&self, lock: &Lock) -> Result<DirectoryLock, LockError> {
        // Made here, so that there is no moment at which another user could open and lock it.
        let path = self.folder.join(&lock.filepath);
        let made = OpenOptions::new().write(true).create_new(true).mode(FILE).open(path);
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(LockError::wrap_io_error(error)),
            Ok(_) => self.close_to_others(&lock.filepath).map_err(LockError::wrap_io_error)?,
            Err(_) => {}
        }
        self.inner.acquire_lock(lock)
    }

    fn watch(&self, callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        self.inner.watch(callback)
    }
}

#[cfg(test)]
mod tests {
    use statehouse_core::ErrorKind;

    use super::*;
    use crate::{BulkOptions, Durability, Field, Operation, Record, Refresh, Schema, SearchIndex, TantivyConfig};

    fn schema() -> Schema {
        Schema::builder().field(Field::text("title")).build().unwrap()
    }

    fn everything(below: &Path) -> Vec<PathBuf> {
        let mut found = vec![below.to_owned()];
        for entry in fs::read_dir(below).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() { found.extend(everything(&entry)) } else { found.push(entry) }
        }
        found
    }

    #[tokio::test]
    async fn the_folder_those_above_it_and_all_that_is_written_are_their_users_own() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("data/search");
        let index = TantivyConfig::folder(&folder).open(schema()).await.unwrap();
        for number in 0..3 {
            let record = Record::new(format!("{number}")).unwrap().with("title", "x");
            let options = BulkOptions::default().with_refresh(Refresh::Now).with_durability(Durability::Committed);
            index.bulk_with(vec![Operation::Upsert(record)], options).await.unwrap().check().unwrap();
            let made = everything(&above.path().join("data"));
            assert!(made.len() > 6, "{made:?}");
            for path in made {
                let metadata = fs::metadata(&path).unwrap();
                let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
                assert_eq!(metadata.mode() & 0o777, expected, "{}", path.display());
            }
        }
    }

    #[tokio::test]
    async fn a_folder_that_every_user_can_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o1777)).unwrap();
        let error = TantivyConfig::folder(folder.path()).open(schema()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(error.message().contains("chmod o-w"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made in it");
    }
}
