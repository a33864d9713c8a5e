//! What a commit leaves behind in its folder, and what is told of one that fails.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use statehouse_core::{Error, ErrorKind};
use tantivy::Index;
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    Directory, DirectoryLock, FileHandle, Lock, RamDirectory, WatchCallback, WatchHandle, WritePtr,
};

use super::super::client::{Client, Rule};
use super::super::folder::{Opened, Storage};
use super::super::mapping::Mapping;
use super::super::sealed::SealedDirectory;
use super::schema;
use crate::{BulkOptions, DocumentId, Operation, Outcome, Record, Refresh, SearchIndex as _, TantivyConfig};

/// A directory whose disk fails when it is told to, and that tells what was done.
#[derive(Clone, Debug)]
struct Watched {
    inner: RamDirectory,
    disk: Arc<Disk>,
}

#[derive(Debug, Default)]
pub(super) struct Disk {
    done: Mutex<Vec<String>>,
    /// The list of segments cannot be read.
    unreadable: AtomicBool,
    /// It fails before the list is in its place.
    pub(super) before: AtomicBool,
    /// It fails behind that.
    pub(super) behind: AtomicBool,
}

impl Disk {
    fn note(&self, what: &str, path: &Path) {
        self.done.lock().unwrap().push(format!("{what} {}", path.display()));
    }

    fn fails(when: &AtomicBool) -> io::Result<()> {
        if when.load(Ordering::SeqCst) { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }
}

fn is_list(path: &Path) -> bool {
    path.as_os_str() == "meta.json"
}

impl Directory for Watched {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        self.inner.get_file_handle(path)
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        self.disk.note("delete", path);
        self.inner.delete(path)
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        self.inner.exists(path)
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        self.inner.open_write(path)
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        if is_list(path) {
            let failed = |error| OpenReadError::wrap_io_error(error, path.to_owned());
            Disk::fails(&self.disk.unreadable).map_err(failed)?;
        }
        self.inner.atomic_read(path)
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        if !is_list(path) {
            return self.inner.atomic_write(path, data);
        }
        Disk::fails(&self.disk.before)?;
        self.inner.atomic_write(path, data)?;
        self.disk.note("rename", path);
        Disk::fails(&self.disk.behind)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.disk.note("sync", Path::new(""));
        self.inner.sync_directory()
    }

    fn acquire_lock(&self, lock: &Lock) -> Result<DirectoryLock, LockError> {
        self.inner.acquire_lock(lock)
    }

    fn watch(&self, callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        self.inner.watch(callback)
    }
}

fn open(inner: &RamDirectory, disk: &Arc<Disk>) -> Client {
    open_in(inner, disk, Storage::Memory(RamDirectory::create()))
}

/// What is not tantivy's own is in the storage.
pub(super) fn open_in(inner: &RamDirectory, disk: &Arc<Disk>, storage: Storage) -> Client {
    let mapping = Mapping::new(Arc::new(schema()), Vec::new());
    let directory = SealedDirectory::new(Watched { inner: inner.clone(), disk: Arc::clone(disk) });
    let index = Index::open_or_create(directory, mapping.inner.clone()).unwrap();
    let opened = Opened { index, mapping, storage };
    Client::open(&TantivyConfig::memory(), opened, None).unwrap()
}

fn write(client: &Client, operation: Operation) -> Result<Outcome, Error> {
    let done = client.bulk(vec![operation], &BulkOptions::default(), (&schema(), Rule::Newer));
    done.map(|mut outcomes| outcomes.remove(0))
}

fn upsert(id: &str, version: Option<u64>) -> Operation {
    let record = Record::new(id).unwrap().with("title", "cholera");
    Operation::Upsert(version.into_iter().fold(record, Record::with_version))
}

fn delete(id: &str, version: u64) -> Operation {
    Operation::Delete { id: DocumentId::new(id).unwrap(), version: Some(version) }
}

/// What is known of an id: the version of its document, or of its delete.
pub(super) fn known(client: &Client, id: &str) -> (Option<u64>, Option<u64>) {
    client.versions(&DocumentId::new(id).unwrap()).unwrap()
}

#[test]
fn a_commit_is_made_durable_before_anything_that_it_replaces_goes() {
    let disk = Arc::new(Disk::default());
    let client = open(&RamDirectory::create(), &disk);
    for version in 1..4 {
        disk.done.lock().unwrap().clear();
        assert!(write(&client, upsert("a", Some(version))).is_ok());
        let done = disk.done.lock().unwrap().clone();
        let renamed = done.iter().position(|done| done == "rename meta.json").unwrap();
        assert_eq!(done[renamed + 1], "sync ", "{done:?}");
        assert!(done[..renamed].iter().all(|done| !done.starts_with("delete")), "{done:?}");
    }
}

#[test]
fn a_commit_that_cannot_be_shown_has_happened_all_the_same() {
    let (inner, disk) = (RamDirectory::create(), Arc::new(Disk::default()));
    let client = open(&inner, &disk);
    assert!(write(&client, upsert("gone", Some(1))).is_ok());
    let changes = [
        (upsert("a", Some(3)), (Some(3), None)),
        (upsert("b", None), (Some(1), None)),
        (delete("gone", 9), (None, Some(9))),
    ];
    for (operation, now) in changes {
        let id = operation.id().clone();
        disk.unreadable.store(true, Ordering::SeqCst);
        assert_eq!(write(&client, operation.clone()).unwrap_err().kind(), ErrorKind::OutcomeUnknown, "{id}");
        assert!(client.failure().is_some());
        // What is known to fail takes nothing more.
        assert_eq!(write(&client, operation.clone()).unwrap_err().kind(), ErrorKind::Unavailable, "{id}");
        disk.unreadable.store(false, Ordering::SeqCst);
        assert_eq!(known(&client, id.as_str()), now);
        if operation.version().is_some() {
            assert!(matches!(write(&client, operation), Ok(Outcome::Stale)), "{id}");
        }
        client.refresh().unwrap();
        assert!(client.failure().is_none());
        assert_eq!(known(&client, id.as_str()), now);
    }
    assert_eq!(client.snapshot().searcher.num_docs(), 2);
    drop(client);
    assert_eq!(open(&inner, &disk).snapshot().searcher.num_docs(), 2);
}

#[test]
fn a_commit_that_fails_behind_its_last_step_is_in_doubt_and_one_before_it_did_not_happen() {
    let (inner, disk) = (RamDirectory::create(), Arc::new(Disk::default()));
    let client = open(&inner, &disk);
    disk.before.store(true, Ordering::SeqCst);
    assert_eq!(write(&client, upsert("a", Some(3))).unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(known(&client, "a"), (None, None));
    disk.before.store(false, Ordering::SeqCst);
    client.refresh().unwrap();

    disk.behind.store(true, Ordering::SeqCst);
    assert_eq!(write(&client, upsert("b", Some(4))).unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(known(&client, "b").0, Some(4), "it may be there when the folder is opened again");
    disk.behind.store(false, Ordering::SeqCst);
    assert!(matches!(write(&client, upsert("a", Some(3))), Ok(Outcome::Created { version: 3 })));
    assert!(matches!(write(&client, upsert("b", Some(4))), Ok(Outcome::Stale)));
    assert_eq!(client.snapshot().searcher.num_docs(), 2);
    assert!(client.failure().is_none());
    drop(client);
    assert_eq!(open(&inner, &disk).snapshot().searcher.num_docs(), 2);
}

/// As `format.rs` of `mapping` and of `traces` say: the stored form has 9 bytes beside a title, a record of a delete 22 beside
/// its id.
#[tokio::test]
async fn what_a_commit_says_besides_its_segments_is_this() {
    let folder = tempfile::tempdir().unwrap();
    let index = TantivyConfig::folder(folder.path()).open(schema()).await.unwrap();
    let record = Record::new("I21").unwrap().with("title", "infarction");
    let operations = vec![Operation::Upsert(record), delete("I22", 5)];
    index.bulk_with(operations, BulkOptions::default().with_refresh(Refresh::Wait)).await.unwrap().check().unwrap();
    let list = std::fs::read(folder.path().join("000001/meta.json")).unwrap();
    let list = list.split(|byte| *byte == b'#').next().unwrap();
    let list: serde_json::Value = serde_json::from_slice(list).unwrap();
    assert_eq!(list["payload"], r#"{"largest_document":19,"deletes":{"file":0,"length":25}}"#);
}
