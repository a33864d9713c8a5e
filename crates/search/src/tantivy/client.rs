//! What goes to disk: one writer per folder, the writes it has not committed yet, and the traces of deletes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Result};
use tantivy::directory::{Directory, MmapDirectory, RamDirectory};
use tantivy::{DocAddress, Index, IndexReader, IndexWriter, ReloadPolicy, Term};

use super::collect::Found;
use super::config::TantivyConfig;
use super::error::{BACKEND, map_error, map_io};
use super::mapping::{Mapping, StoredForm, Wanted};
use super::snapshot::Snapshot;
use crate::{DocumentId, Durability, Operation, Outcome, Record, Refresh, Schema};

/// Where the schema is kept, beside tantivy's files.
const SCHEMA_FILE: &str = "statehouse-schema.json";

/// An open index: a writer behind a lock, and the snapshot that searches use.
pub(super) struct Client {
    pub(super) mapping: Arc<Mapping>,
    config: TantivyConfig,
    index: Index,
    reader: IndexReader,
    writer: Mutex<Writer>,
    snapshot: RwLock<Arc<Snapshot>>,
    pending: RwLock<HashMap<DocumentId, Pending>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("snapshot", &self.snapshot()).finish_non_exhaustive()
    }
}

struct Writer {
    /// `None` once closed, and after a failed commit until the next write.
    inner: Option<IndexWriter>,
    closed: bool,
    /// Versions of deleted documents, and since when. Only what is absent now is looked up here: a document that is there
    /// was written later, or its delete was never committed.
    deleted: HashMap<DocumentId, (u64, Duration)>,
    uncommitted: bool,
}

/// A write that no snapshot shows yet.
#[derive(Clone, Debug)]
enum Pending {
    Written { version: u64, source: Arc<[u8]> },
    Deleted,
}

/// What the index knows of an id before a write.
enum Known {
    Nothing,
    Document(u64),
    Deleted(u64),
}

impl Client {
    pub(super) fn open(config: TantivyConfig, schema: Arc<Schema>) -> Result<Self> {
        let mapping = Arc::new(Mapping::new(schema));
        let index = open_index(&config, &mapping)?;
        let inner = Some(open_writer(&index, &config)?);
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into().map_err(map_error)?;
        let snapshot = Snapshot::new(reader.searcher(), Arc::clone(&mapping), None)?;
        Ok(Self {
            mapping,
            config,
            index,
            reader,
            writer: Mutex::new(Writer { inner, closed: false, deleted: HashMap::new(), uncommitted: false }),
            snapshot: RwLock::new(Arc::new(snapshot)),
            pending: RwLock::default(),
        })
    }

    /// What searches see now.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer, ready for a write.
    fn ready(&self) -> Result<MutexGuard<'_, Writer>> {
        let mut writer = self.writer();
        if writer.closed {
            return Err(closed());
        }
        if writer.inner.is_none() {
            let inner = open_writer(&self.index, &self.config)?;
            // The commit that failed may have come as far as the disk.
            self.show()?;
            writer.inner = Some(inner);
        }
        Ok(writer)
    }

    pub(super) fn bulk(
        &self,
        operations: Vec<Operation>,
        durability: Durability,
        refresh: Refresh,
    ) -> Result<Vec<Outcome>> {
        let mut writer = self.ready()?;
        let now = self.config.clock.elapsed();
        writer.deleted.retain(|_, (_, since)| now.saturating_sub(*since) <= self.config.delete_retention);
        let snapshot = self.snapshot();
        let outcomes = operations
            .into_iter()
            .map(|operation| self.apply(&mut writer, &snapshot, operation, now).unwrap_or_else(Outcome::Failed))
            .collect();
        if durability == Durability::Committed || refresh != Refresh::None {
            self.commit(&mut writer)?;
        }
        Ok(outcomes)
    }

    fn apply(&self, writer: &mut Writer, snapshot: &Snapshot, operation: Operation, now: Duration) -> Result<Outcome> {
        self.mapping.schema.check_operation(&operation)?;
        let known = self.known(writer, snapshot, operation.id())?;
        let stored = match known {
            Known::Nothing => None,
            Known::Document(version) | Known::Deleted(version) => Some(version),
        };
        let given = operation.version();
        if let (Some(given), Some(stored)) = (given, stored)
            && given <= stored
        {
            return Ok(Outcome::Stale);
        }
        let version = given.unwrap_or_else(|| stored.map_or(1, |stored| stored.saturating_add(1)));
        let there = matches!(known, Known::Document(_));
        match operation {
            Operation::Upsert(record) => self.upsert(writer, &record, version, there),
            Operation::Delete { id, .. } => self.delete(writer, id, version, there, now),
        }
    }

    fn upsert(&self, writer: &mut Writer, record: &Record, version: u64, there: bool) -> Result<Outcome> {
        let (document, source) = self.mapping.document(record, version)?;
        let inner = writer.inner.as_ref().ok_or_else(closed)?;
        if there {
            inner.delete_term(self.id_term(record.id()));
        }
        inner.add_document(document).map_err(map_error)?;
        writer.uncommitted = true;
        self.set_pending(record.id().clone(), Pending::Written { version, source: source.into() });
        Ok(if there { Outcome::Updated { version } } else { Outcome::Created { version } })
    }

    fn delete(&self, writer: &mut Writer, id: DocumentId, version: u64, there: bool, now: Duration) -> Result<Outcome> {
        let inner = writer.inner.as_ref().ok_or_else(closed)?;
        writer.deleted.insert(id.clone(), (version, now));
        if !there {
            return Ok(Outcome::NotFound);
        }
        inner.delete_term(self.id_term(&id));
        writer.uncommitted = true;
        self.set_pending(id, Pending::Deleted);
        Ok(Outcome::Deleted { version })
    }

    fn known(&self, writer: &Writer, snapshot: &Snapshot, id: &DocumentId) -> Result<Known> {
        let found = match self.pending.read().unwrap_or_else(PoisonError::into_inner).get(id) {
            Some(Pending::Written { version, .. }) => return Ok(Known::Document(*version)),
            Some(Pending::Deleted) => None,
            None => snapshot.find(id.as_str())?,
        };
        if let Some((segment, doc)) = found {
            return Ok(Known::Document(snapshot.version(segment, doc)));
        }
        Ok(writer.deleted.get(id).map_or(Known::Nothing, |(version, _)| Known::Deleted(*version)))
    }

    fn id_term(&self, id: &DocumentId) -> Term {
        Term::from_field_text(self.mapping.id, id.as_str())
    }

    fn set_pending(&self, id: DocumentId, pending: Pending) {
        self.pending.write().unwrap_or_else(PoisonError::into_inner).insert(id, pending);
    }

    /// Commits what is queued and shows it. If the commit fails, nothing that was queued is shown or kept.
    fn commit(&self, writer: &mut Writer) -> Result<()> {
        if !writer.uncommitted {
            return Ok(());
        }
        let inner = writer.inner.as_mut().ok_or_else(closed)?;
        let committed = inner.commit().map_err(map_error);
        if committed.is_ok() {
            // Until it is shown, gets and versions take it from what is pending.
            self.show()?;
        } else {
            // Its threads may have ended, and a rollback that fails leaves a writer that panics.
            writer.inner = None;
        }
        writer.uncommitted = false;
        self.pending.write().unwrap_or_else(PoisonError::into_inner).clear();
        committed.map(drop)
    }

    fn show(&self) -> Result<()> {
        self.reader.reload().map_err(map_error)?;
        let previous = self.snapshot();
        let snapshot = Snapshot::new(self.reader.searcher(), Arc::clone(&self.mapping), Some(&previous))?;
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
        Ok(())
    }

    pub(super) fn refresh(&self) -> Result<()> {
        let mut writer = self.writer();
        if writer.closed { Err(closed()) } else { self.commit(&mut writer) }
    }

    /// Whether the index is open, without waiting for a write that is under way.
    pub(super) fn check_open(&self) -> Result<()> {
        match self.writer.try_lock() {
            Ok(writer) if writer.closed => Err(closed()),
            _ => Ok(()),
        }
    }

    pub(super) fn close(&self) -> Result<()> {
        let mut writer = self.writer();
        if std::mem::replace(&mut writer.closed, true) {
            return Ok(());
        }
        let committed = self.commit(&mut writer);
        let merged = writer.inner.take().map_or(Ok(()), IndexWriter::wait_merging_threads).map_err(map_error);
        committed.and(merged)
    }

    pub(super) fn get(&self, id: &DocumentId) -> Result<Option<Record>> {
        let pending = self.pending.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        match pending {
            Some(Pending::Deleted) => return Ok(None),
            Some(Pending::Written { version, source }) => {
                return self.mapping.record(version, &source, Wanted::All).map(Some);
            }
            None => {}
        }
        let snapshot = self.snapshot();
        let Some((segment, doc)) = snapshot.find(id.as_str())? else { return Ok(None) };
        self.stored(&snapshot, segment, doc, Wanted::All).map(Some)
    }

    /// What a hit returns of its document.
    pub(super) fn hit(&self, snapshot: &Snapshot, found: &Found, wanted: Wanted<'_>) -> Result<Record> {
        if !matches!(wanted, Wanted::None) {
            return self.stored(snapshot, found.segment, found.doc, wanted);
        }
        let version = snapshot.version(found.segment, found.doc);
        Ok(Record::new(found.id(snapshot)?)?.with_version(version))
    }

    /// The stored fields of a document.
    fn stored(&self, snapshot: &Snapshot, segment: usize, doc: u32, wanted: Wanted<'_>) -> Result<Record> {
        let version = snapshot.version(segment, doc);
        let address = DocAddress::new(u32::try_from(segment).unwrap_or(u32::MAX), doc);
        let StoredForm(source) = snapshot.searcher.doc(address).map_err(map_error)?;
        self.mapping.record(version, &source, wanted)
    }
}

fn open_index(config: &TantivyConfig, mapping: &Mapping) -> Result<Index> {
    let directory: Box<dyn Directory> = match &config.folder {
        None => Box::new(RamDirectory::create()),
        Some(folder) => {
            std::fs::create_dir_all(folder).map_err(map_io)?;
            Box::new(MmapDirectory::open(folder).map_err(|error| map_error(error.into()))?)
        }
    };
    let exists = Index::exists(&*directory).map_err(|error| map_error(error.into()))?;
    if exists {
        check_schema(&*directory, &mapping.schema)?;
    } else {
        let text = serde_json::to_vec_pretty(&*mapping.schema).map_err(|error| damaged_schema().with_source(error))?;
        directory.atomic_write(Path::new(SCHEMA_FILE), &text).map_err(map_io)?;
    }
    let mut index = Index::open_or_create(directory, mapping.inner.clone()).map_err(map_error)?;
    index.set_tokenizers(mapping.tokenizers());
    Ok(index)
}

fn open_writer(index: &Index, config: &TantivyConfig) -> Result<IndexWriter> {
    let memory = usize::try_from(config.memory).unwrap_or(usize::MAX);
    index.writer_with_num_threads(config.threads, memory).map_err(map_error)
}

/// Refuses an index that was written with another schema.
fn check_schema(directory: &dyn Directory, wanted: &Schema) -> Result<()> {
    let text = directory.atomic_read(Path::new(SCHEMA_FILE)).map_err(|error| damaged_schema().with_source(error))?;
    let stored: Schema = serde_json::from_slice(&text).map_err(|error| damaged_schema().with_source(error))?;
    if stored == *wanted {
        return Ok(());
    }
    let differences = stored.differences(wanted);
    let what = if differences.is_empty() { "fields are in another order".to_owned() } else { differences.join(", ") };
    let message = format!("the folder's index has another schema ({what}); build it anew from its source");
    Err(Error::new(ErrorKind::Conflict, message).with_backend(BACKEND))
}

fn damaged_schema() -> Error {
    let message = "the schema stored with the index is missing or damaged; rebuild it from its source";
    Error::new(ErrorKind::Corrupt, message).with_backend(BACKEND)
}

fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "the index is closed")
        .with_backend(BACKEND)
        .with_retry(statehouse_core::Retry::Never)
}
