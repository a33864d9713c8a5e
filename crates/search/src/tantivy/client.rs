//! A generation that is open: its writer, the writes it has not committed yet, and the traces of deletes.

mod commit;
mod doubt;
mod logged;
mod read;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use statehouse_core::{Error, ErrorKind, Result, Retry, Timestamp};
use tantivy::index::SegmentMeta;
use tantivy::{FutureResult, Index, IndexReader, IndexWriter, ReloadPolicy, TantivyError, Term};

use self::doubt::{NotShown, in_doubt};
use super::config::TantivyConfig;
use super::counted::Counted;
use super::document::Document;
use super::error::{BACKEND, map_error};
use super::folder::{self, Opened, Storage};
use super::gate::Gate;
use super::generations::Generations;
use super::log::{Held, Log};
use super::mapping::Mapping;
use super::pending::{Change, Pending, Undo};
use super::reclaim::Reclaiming;
use super::snapshot::Snapshot;
use super::traces::{Saved, Traces};
use crate::operation::Operations;
use crate::{BulkOptions, DocumentId, Durability, Operation, Outcome, Record, Refresh, Schema};

/// The operations, as errors, spans and metrics name them.
pub(super) const OPERATION: Operations = Operations::of(BACKEND);

/// An open index: a writer behind a lock, and the snapshot that searches use.
pub(super) struct Client {
    pub(super) mapping: Arc<Mapping>,
    config: TantivyConfig,
    pub(super) storage: Storage,
    index: Index,
    reader: IndexReader,
    writer: Mutex<Writer>,
    snapshot: RwLock<Arc<Snapshot>>,
    pending: Pending,
    failure: Mutex<Option<Error>>,
    largest: AtomicU64,
    /// Where there is a folder.
    log: Option<Arc<Log>>,
    /// Kept for as long as there is a writer. It stands last: what stands last is dropped last.
    _lock: Option<Lock>,
}

/// The folder, which is locked until this is none.
pub(super) type Lock = Arc<Mutex<Option<Generations>>>;

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("snapshot", &self.snapshot()).finish_non_exhaustive()
    }
}

struct Writer {
    /// `None` once closed, and after a failure until the next write.
    inner: Option<IndexWriter<Document>>,
    closed: bool,
    /// Versions of deleted documents. Only what is absent now is looked up here: a document that is there was written
    /// later, or its delete was never committed.
    deleted: Traces,
    counted: Counted,
    /// Whether something is pending.
    uncommitted: bool,
}

/// Which operations of a bulk are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Those with a newer version than is known, and those without one.
    Newer,
    /// The same, and of those without one only what nothing is known of.
    Unknown,
    /// All: what they say is so, whatever is known.
    Exact,
}

/// A merge under way.
pub(super) type Merging = FutureResult<Option<SegmentMeta>>;

/// What a commit says besides its segments.
#[derive(Debug, Serialize, Deserialize)]
struct Payload {
    largest_document: u64,
    /// Where the versions of deletes are.
    deletes: Option<Saved>,
    /// What it holds of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log: Option<Held>,
}

/// What the index knows of an id before a write.
enum Known {
    Nothing,
    Document(u64),
    Deleted(u64),
}

impl Client {
    pub(super) fn open(config: &TantivyConfig, opened: Opened, lock: Option<Lock>) -> Result<Self> {
        let Opened { mut index, mapping, storage } = opened;
        let (config, mapping) = (config.clone(), Arc::new(mapping));
        index.set_tokenizers(mapping.tokenizers());
        let inner = Some(open_writer(&index, &config)?);
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into().map_err(map_error)?;
        let snapshot = Snapshot::new(reader.searcher(), Arc::clone(&mapping), None)?;
        let payload = index.load_metas().map_err(map_error)?.payload;
        let payload = payload.map(|text| serde_json::from_str::<Payload>(&text)).transpose().map_err(unreadable)?;
        let largest = payload.as_ref().map_or(0, |payload| payload.largest_document);
        let (saved, held) = payload.map_or((None, None), |payload| (payload.deletes, payload.log));
        let (deleted, log) = match storage.folder() {
            Some(generation) => {
                let deleted = Traces::load(generation, saved, config.clock.now())?;
                (deleted, Some(Log::load(generation, held)?))
            }
            None => (Traces::default(), None),
        };
        let (log, left) = log.unzip();
        let client = Self {
            mapping,
            config,
            storage,
            index,
            reader,
            writer: Mutex::new(Writer {
                inner,
                closed: false,
                deleted,
                counted: Counted::default(),
                uncommitted: false,
            }),
            snapshot: RwLock::new(Arc::new(snapshot)),
            pending: Pending::default(),
            _lock: lock,
            failure: Mutex::default(),
            largest: AtomicU64::new(largest),
            log: log.map(Arc::new),
        };
        client.redo(left.unwrap_or_default())?;
        Ok(client)
    }

    /// No document is longer than this, in bytes: neither its stored form nor all that was indexed of it.
    pub(super) fn largest_document(&self) -> u64 {
        self.largest.load(Ordering::Relaxed)
    }

    /// What searches see now.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(|poisoned| {
            // A panic left it half way; what is pending goes into a new one.
            let mut writer = poisoned.into_inner();
            (writer.inner, writer.uncommitted) = (None, true);
            writer.counted.lose();
            self.writer.clear_poison();
            writer
        })
    }

    /// What is part of a write that has begun.
    pub(super) fn bulk(
        &self,
        operations: Vec<Operation>,
        options: &BulkOptions,
        by: (&Schema, Rule),
    ) -> Result<Vec<Outcome>> {
        self.bulk_behind(&Gate::default(), operations, options, by)
    }

    /// `schema` is that of the handle: what it does not know is refused.
    pub(super) fn bulk_behind(
        &self,
        gate: &Gate<'_>,
        operations: Vec<Operation>,
        options: &BulkOptions,
        (schema, rule): (&Schema, Rule),
    ) -> Result<Vec<Outcome>> {
        let BulkOptions { durability, refresh, .. } = *options;
        let mut writer = self.writer();
        if writer.closed {
            return Err(closed());
        }
        let _held = gate.enter()?;
        self.revive(&mut writer).inspect_err(|error| self.note(error))?;
        if self.failure().is_some() {
            // Nothing is taken that might wait for ever beside what waits already.
            self.commit(&mut writer)?;
        }
        let now = self.config.clock.now();
        writer.deleted.forget_before(now, self.config.delete_retention);
        let snapshot = self.snapshot();
        let logged = self.log.is_some() && durability == Durability::Logged && refresh == Refresh::None;
        let waited = durability == Durability::Committed || refresh != Refresh::None;
        let ids = if logged { operations.iter().map(|operation| operation.id().clone()).collect() } else { Vec::new() };
        let mut undo = (waited || logged).then(Undo::default);
        let outcomes: Vec<_> = operations
            .into_iter()
            .map(|operation| {
                let checked = schema.check_operation(&operation);
                let applied =
                    checked.and_then(|()| self.apply((&mut *writer, rule), &snapshot, operation, now, &mut undo));
                applied.unwrap_or_else(Outcome::Failed)
            })
            .collect();
        if let Some(undo) = undo {
            let kept = if logged {
                self.keep(&mut writer, &snapshot, ids.iter().zip(&outcomes))
            } else {
                self.try_commit(&mut writer)
            };
            if let Err(NotShown { cause, perhaps }) = kept {
                if perhaps {
                    // They wait for the next commit: whatever the folder holds then, it comes to what they say.
                    return Err(in_doubt(cause));
                }
                // Those that were queued before wait for the next commit; these did not happen.
                undo.all(&self.pending, &mut writer.deleted);
                return Err(cause);
            }
        }
        if self.pending.bytes() > self.config.memory {
            // They wait for no interval: of one that fails, the next write is told, which is not queued beside them.
            let _ = self.commit(&mut writer);
        }
        Ok(outcomes)
    }

    fn apply(
        &self,
        (writer, rule): (&mut Writer, Rule),
        snapshot: &Snapshot,
        operation: Operation,
        now: Timestamp,
        undo: &mut Option<Undo>,
    ) -> Result<Outcome> {
        let known = self.known(writer, snapshot, operation.id())?;
        let stored = match known {
            Known::Nothing => None,
            Known::Document(version) | Known::Deleted(version) => Some(version),
        };
        let given = operation.version();
        let late = match (given, stored, rule) {
            (Some(given), Some(stored), Rule::Newer | Rule::Unknown) => given <= stored,
            // A row was read behind all that was deleted before the generation was begun.
            (None, Some(_), Rule::Unknown) => {
                !matches!(known, Known::Deleted(_)) || !writer.deleted.is_adopted(operation.id())
            }
            _ => false,
        };
        if late {
            return Ok(Outcome::Stale);
        }
        let version = given.unwrap_or_else(|| stored.map_or(1, |stored| stored.saturating_add(1)));
        let there = matches!(known, Known::Document(_));
        if let Some(undo) = undo {
            undo.remember(operation.id(), &self.pending, &writer.deleted);
        }
        let (id, after) = (operation.id().clone(), matches!(operation, Operation::Upsert(_)).then_some(version));
        let outcome = match operation {
            Operation::Upsert(record) => self.upsert(writer, record, version, there),
            Operation::Delete { id, .. } => self.delete(writer, id, version, there, now),
        }?;
        writer.counted.change(&id, stored.filter(|_| there), after);
        Ok(outcome)
    }

    fn upsert(&self, writer: &mut Writer, record: Record, version: u64, there: bool) -> Result<Outcome> {
        let (document, stored) = self.mapping.document(&record, version)?;
        let indexed: usize = record.iter().map(|(_, value)| value.as_text().map_or(8, str::len)).sum();
        self.largest.fetch_max(stored.max(indexed) as u64, Ordering::Relaxed);
        let inner = writer.inner.take().ok_or_else(|| self.failed())?;
        if there {
            inner.delete_term(self.id_term(record.id()));
        }
        if let Err(error) = inner.add_document(document) {
            // What it held is still pending.
            let error = why_it_ended(inner, error);
            self.note(&error);
            return Err(error);
        }
        writer.inner = Some(inner);
        writer.uncommitted = true;
        let id = record.id().clone();
        self.pending.set(id, Change::Written { version, record: Arc::new(record) });
        Ok(if there { Outcome::Updated { version } } else { Outcome::Created { version } })
    }

    fn delete(
        &self,
        writer: &mut Writer,
        id: DocumentId,
        version: u64,
        there: bool,
        now: Timestamp,
    ) -> Result<Outcome> {
        let inner = writer.inner.as_ref().ok_or_else(|| self.failed())?;
        writer.deleted.set(id.clone(), version, now);
        if !there {
            return Ok(Outcome::NotFound);
        }
        inner.delete_term(self.id_term(&id));
        writer.uncommitted = true;
        self.pending.set(id, Change::Deleted);
        Ok(Outcome::Deleted { version })
    }

    fn known(&self, writer: &Writer, snapshot: &Snapshot, id: &DocumentId) -> Result<Known> {
        let found = match self.pending.get(id) {
            Some(Change::Written { version, .. }) => return Ok(Known::Document(version)),
            Some(Change::Deleted) => None,
            None => snapshot.find(id.as_str())?,
        };
        if let Some((segment, doc)) = found {
            return Ok(Known::Document(snapshot.version(segment, doc)));
        }
        Ok(writer.deleted.version(id).map_or(Known::Nothing, Known::Deleted))
    }

    fn id_term(&self, id: &DocumentId) -> Term {
        Term::from_field_text(self.mapping.id, id.as_str())
    }

    /// Keeps why nothing can be committed, until something is.
    fn note(&self, error: &Error) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
    }

    /// The writer gave up earlier in the same bulk.
    fn failed(&self) -> Error {
        self.failure().unwrap_or_else(failed)
    }

    /// Why the last commit failed, if it did, or the last sync of the log.
    pub(super) fn failure(&self) -> Option<Error> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        failure.or_else(|| self.log.as_ref()?.failure())
    }

    fn show(&self) -> Result<()> {
        self.reader.reload().map_err(map_error)?;
        let previous = self.snapshot();
        let snapshot = Snapshot::new(self.reader.searcher(), Arc::clone(&self.mapping), Some(&previous))?;
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
        Ok(())
    }

    /// Begins to make one segment of all, with what was written so far. `None` if there is one and nothing of it deleted.
    pub(super) fn start_merge(&self) -> Result<Option<Merging>> {
        let mut writer = self.writer();
        if writer.closed {
            return Err(closed());
        }
        self.commit(&mut writer)?;
        self.revive(&mut writer)?;
        let segments = self.index.searchable_segment_metas().map_err(map_error)?;
        if segments.len() <= 1 && segments.iter().all(|segment| segment.num_deleted_docs() == 0) {
            return self.show().map(|()| None);
        }
        let segments: Vec<_> = segments.iter().map(SegmentMeta::id).collect();
        Ok(Some(writer.inner.as_mut().ok_or_else(failed)?.merge(&segments)))
    }

    /// Shows what was merged.
    pub(super) fn show_merged(&self) -> Result<()> {
        // No commit shows something else meanwhile.
        let _writer = self.writer();
        self.show()
    }

    pub(super) fn refresh(&self) -> Result<()> {
        let mut writer = self.writer();
        if writer.closed { Err(closed()) } else { self.commit(&mut writer) }
    }

    /// Commits what is queued. There is nothing once it is closed: closing has committed it, or has said why not.
    pub(super) fn commit_queued(&self) -> Result<()> {
        let mut writer = self.writer();
        if writer.closed { Ok(()) } else { self.commit(&mut writer) }
    }

    /// Whether the index is open, without waiting for a write that is under way.
    pub(super) fn check_open(&self) -> Result<()> {
        match self.writer.try_lock() {
            Ok(writer) if writer.closed => Err(closed()),
            _ => Ok(()),
        }
    }

    /// Whether the index is open and its folder there.
    pub(super) fn probe(&self) -> Result<()> {
        self.check_open()?;
        self.storage.folder().map_or(Ok(()), folder::check)
    }

    /// Tries what a write needs.
    pub(super) fn probe_writing(&self) -> Result<()> {
        self.storage.folder().map_or(Ok(()), folder::probe)
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

    /// Commits, and lets go of the writer: nothing is written to it any more. Searches go on with what they see.
    pub(super) fn retire(&self) -> Result<()> {
        let mut writer = self.writer();
        if writer.closed {
            return Err(closed());
        }
        self.commit(&mut writer)?;
        writer.inner.take().map_or(Ok(()), IndexWriter::wait_merging_threads).map_err(map_error)
    }

    /// Remembers the versions of deletes that another generation does, and commits.
    pub(super) fn adopt_deletes_of(&self, other: &Self) -> Result<()> {
        let known = other.writer().deleted.all();
        let mut writer = self.writer();
        writer.deleted.adopt(known);
        self.commit(&mut writer)
    }
}

fn unreadable(cause: serde_json::Error) -> Error {
    let message = "the index is damaged: what its last commit says cannot be read; rebuild it from its source";
    Error::new(ErrorKind::Corrupt, message).with_backend(BACKEND).with_source(cause)
}

fn open_writer(index: &Index, config: &TantivyConfig) -> Result<IndexWriter<Document>> {
    let memory = usize::try_from(config.memory).unwrap_or(usize::MAX);
    let writer = index.writer_with_num_threads(config.threads, memory).map_err(map_error)?;
    writer.set_merge_policy(Box::<Reclaiming>::default());
    Ok(writer)
}

/// Why a writer takes no documents any more. Its threads have ended, and only who waits for them is told of what.
fn why_it_ended(mut writer: IndexWriter<Document>, error: TantivyError) -> Error {
    match error {
        TantivyError::ErrorInThread(_) => map_error(writer.prepare_commit().err().unwrap_or(error)),
        error => map_error(error),
    }
}

fn failed() -> Error {
    Error::new(ErrorKind::Unavailable, "the index cannot be written").with_backend(BACKEND).with_retry(Retry::Now)
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "the index is closed").with_backend(BACKEND).with_retry(Retry::Never)
}
