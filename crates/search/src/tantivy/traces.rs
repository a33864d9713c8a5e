//! The versions of deleted documents, kept for as long as the configuration says, on disk too.
//!
//! On disk they are records in a file `deletes-000001` beside the segments, appended to before each commit; the commit's
//! payload says which file it is and how many of its bytes count. What a commit that failed had appended is written over; where
//! nobody knows whether it failed, all goes into the next file, and those before stay as they are until a commit has succeeded.
//! Once most of its records are out of date, too, the next file takes its place.
//!
//! How long ago a delete was is counted by a clock that nobody sets. Of what a process has left there is only the time of day, which
//! may have been set meanwhile, and nobody knows how long it was down: all of it counts as new when it is loaded. So it is kept for as
//! long as it should be at least, and at most for as long as that behind the last opening.

mod format;

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::OpenOptions;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use statehouse_core::{Error, ErrorKind, Result, Timestamp};

pub(super) use self::format::Trace;
use self::format::{decode, encode};
use super::error::{BACKEND, map_io};
use crate::DocumentId;

/// The most memory that they take, about: the oldest are forgotten before their time.
const MAX_BYTES: usize = 64 << 20;

/// What one takes besides its id: in a map, in a queue, and in what counts them.
const OVERHEAD: usize = 128;

/// The versions of deleted documents, and since when.
#[derive(Debug, Default)]
pub(super) struct Traces {
    versions: HashMap<DocumentId, Trace>,
    /// In the order of time, also some of those that were replaced since. They count for nothing.
    order: VecDeque<(Timestamp, DocumentId)>,
    bytes: usize,
    log: Option<Log>,
    /// Which of them are of another generation.
    adopted: HashSet<DocumentId>,
}

/// Where traces are on disk, as a commit says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Saved {
    file: u32,
    /// How many bytes of it count.
    length: u64,
}

#[derive(Debug)]
struct Log {
    folder: PathBuf,
    committed: Saved,
    /// How many records are in the committed part.
    records: usize,
    /// What was written and not committed yet, or perhaps: where, and how many records.
    prepared: Option<(Saved, usize)>,
    /// Where what was perhaps committed before is.
    doubtful: Vec<u32>,
    /// Whose traces changed since the last commit.
    changed: Vec<DocumentId>,
}

impl Traces {
    /// Those that a commit speaks of, as if they were of now. Files that it does not are removed.
    pub(super) fn load(folder: &Path, committed: Option<Saved>, now: Timestamp) -> Result<Self> {
        let committed = committed.unwrap_or_default();
        remove_others(folder, committed)?;
        let mut traces = Self::default();
        let mut records = 0;
        if committed.length > 0 {
            let bytes = std::fs::read(folder.join(name(committed.file))).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => damaged(committed, "is missing"),
                _ => map_io(error),
            })?;
            let length = usize::try_from(committed.length).unwrap_or(usize::MAX);
            let mut rest = bytes.get(..length).ok_or_else(|| damaged(committed, "is too short"))?;
            let mut last = HashMap::new();
            while !rest.is_empty() {
                let (id, trace) = decode(&mut rest).ok_or_else(|| damaged(committed, "is not as it was written"))?;
                records += 1;
                last.insert(id, (records, trace));
            }
            let mut last: Vec<_> = last.into_iter().collect();
            last.sort_unstable_by_key(|(_, (nth, _))| *nth);
            last.into_iter().for_each(|(id, (_, trace))| traces.insert(id, Trace { since: now, ..trace }));
        }
        let (folder, prepared, doubtful, changed) = (folder.to_owned(), None, Vec::new(), Vec::new());
        traces.log = Some(Log { folder, committed, records, prepared, doubtful, changed });
        Ok(traces)
    }

    pub(super) fn version(&self, id: &DocumentId) -> Option<u64> {
        self.get(id).map(|trace| trace.version)
    }

    pub(super) fn get(&self, id: &DocumentId) -> Option<Trace> {
        self.versions.get(id).copied()
    }

    pub(super) fn set(&mut self, id: DocumentId, version: u64, now: Timestamp) {
        if let Some(log) = &mut self.log {
            log.changed.push(id.clone());
        }
        self.adopted.remove(&id);
        self.insert(id, Trace { version, since: now });
    }

    fn insert(&mut self, id: DocumentId, trace: Trace) {
        if self.get(&id).is_none_or(|before| before.since != trace.since) {
            self.order.push_back((trace.since, id.clone()));
        }
        self.put(id, trace);
        while self.bytes > MAX_BYTES && self.forget_oldest() {}
    }

    fn put(&mut self, id: DocumentId, trace: Trace) {
        let bytes = id.as_str().len() + OVERHEAD;
        if self.versions.insert(id, trace).is_none() {
            self.bytes += bytes;
        }
    }

    fn take(&mut self, id: &DocumentId) {
        if self.versions.remove(id).is_some() {
            self.bytes -= id.as_str().len() + OVERHEAD;
        }
    }

    /// Takes over what another generation knows, where that is more.
    pub(super) fn adopt(&mut self, known: Vec<(DocumentId, Trace)>) {
        for (id, trace) in known {
            if self.version(&id) < Some(trace.version) {
                self.set(id.clone(), trace.version, trace.since);
                self.adopted.insert(id);
            }
        }
        self.order.make_contiguous().sort_by_key(|(since, _)| *since);
    }

    /// Whether the document was deleted before this generation was begun.
    pub(super) fn is_adopted(&self, id: &DocumentId) -> bool {
        self.adopted.contains(id)
    }

    pub(super) fn all(&self) -> Vec<(DocumentId, Trace)> {
        self.versions.iter().map(|(id, trace)| (id.clone(), *trace)).collect()
    }

    /// Puts back what was there before.
    pub(super) fn restore(&mut self, id: DocumentId, trace: Option<Trace>) {
        match trace {
            Some(trace) => self.put(id, trace),
            None => self.take(&id),
        }
    }

    /// Forgets what is older. Costs as much as there is to forget, and now and then as much as there is.
    pub(super) fn forget_before(&mut self, now: Timestamp, retention: Duration) {
        if self.order.len() > 2 * self.versions.len() + 1_000 {
            self.order = self.versions.iter().map(|(id, trace)| (trace.since, id.clone())).collect();
            self.order.make_contiguous().sort_unstable_by_key(|(since, _)| *since);
        }
        while self.order.front().is_some_and(|(since, _)| now.since(*since) > retention) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) -> bool {
        let Some((since, id)) = self.order.pop_front() else { return false };
        if self.versions.get(&id).is_some_and(|trace| trace.since == since) {
            self.take(&id);
            self.adopted.remove(&id);
        }
        true
    }

    /// Whether there is something for the disk.
    pub(super) fn is_changed(&self) -> bool {
        self.log.as_ref().is_some_and(|log| !log.changed.is_empty())
    }

    /// Writes what changed, so that a commit can speak of it. `None` in memory.
    pub(super) fn prepare(&mut self) -> Result<Option<Saved>> {
        let Some(log) = &mut self.log else { return Ok(None) };
        if log.changed.is_empty() {
            return Ok(Some(log.committed));
        }
        log.doubtful.extend(log.prepared.take().map(|(saved, _)| saved.file));
        let outdated = log.records + log.changed.len() > 2 * self.versions.len() + 1_000;
        let anew = outdated || !log.doubtful.is_empty();
        let changed = log.changed.iter().filter_map(|id| self.versions.get_key_value(id));
        let (mut bytes, mut records) = (Vec::new(), 0);
        let mut encode = |(id, trace): (&DocumentId, &Trace)| {
            encode(id, *trace, &mut bytes);
            records += 1;
        };
        let at = if anew {
            self.versions.iter().for_each(&mut encode);
            let last = log.doubtful.iter().fold(log.committed.file, |last, file| last.max(*file));
            Saved { file: last + 1, length: 0 }
        } else {
            changed.for_each(&mut encode);
            records += log.records;
            log.committed
        };
        append(&log.folder, at, &bytes).map_err(map_io)?;
        let saved = Saved { length: at.length + bytes.len() as u64, ..at };
        log.prepared = Some((saved, records));
        Ok(Some(saved))
    }

    /// What was prepared is surely not committed.
    pub(super) fn refute(&mut self) {
        if let Some(log) = &mut self.log {
            log.prepared = None;
        }
    }

    /// What was prepared is committed.
    pub(super) fn commit(&mut self) {
        let Some(log) = &mut self.log else { return };
        log.changed.clear();
        let Some((saved, records)) = log.prepared.take() else { return };
        for file in log.doubtful.drain(..).chain([log.committed.file]).filter(|file| *file != saved.file) {
            // What stays is removed when the folder is opened again.
            let _ = std::fs::remove_file(log.folder.join(name(file)));
        }
        (log.committed, log.records) = (saved, records);
    }
}

fn name(file: u32) -> String {
    format!("{PREFIX}{file:06}")
}

const PREFIX: &str = "deletes-";

fn remove_others(folder: &Path, committed: Saved) -> Result<()> {
    let wanted = name(committed.file);
    for entry in std::fs::read_dir(folder).map_err(map_io)? {
        let entry = entry.map_err(map_io)?;
        let found = entry.file_name();
        if found.to_string_lossy().starts_with(PREFIX) && (*found != *wanted || committed.length == 0) {
            std::fs::remove_file(entry.path()).map_err(map_io)?;
        }
    }
    Ok(())
}

/// Writes behind what was committed, and makes it durable.
fn append(folder: &Path, at: Saved, bytes: &[u8]) -> std::io::Result<()> {
    let path = folder.join(name(at.file));
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.set_len(at.length)?;
    file.seek(SeekFrom::Start(at.length))?;
    file.write_all(bytes)?;
    file.sync_data()?;
    #[cfg(unix)]
    if at.length == 0 {
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn damaged(saved: Saved, how: &str) -> Error {
    let message =
        format!("the folder's index is damaged: its file {} {how}; rebuild it from its source", name(saved.file));
    Error::new(ErrorKind::Corrupt, message).with_backend(BACKEND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> DocumentId {
        DocumentId::new(text).unwrap()
    }

    const fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn saved(traces: &mut Traces) -> Option<Saved> {
        let saved = traces.prepare().unwrap();
        traces.commit();
        saved
    }

    #[test]
    fn traces_are_forgotten_in_the_order_of_time() {
        let mut traces = Traces::default();
        traces.set(id("a"), 1, at(1));
        traces.set(id("b"), 1, at(2));
        traces.set(id("a"), 2, at(3));
        traces.forget_before(at(13), Duration::from_secs(10));
        assert_eq!((traces.version(&id("a")), traces.version(&id("b"))), (Some(2), None));
        assert_eq!(traces.order.len(), 1);
        traces.forget_before(at(14), Duration::from_secs(10));
        assert_eq!((traces.version(&id("a")), traces.order.len(), traces.bytes), (None, 0, 0));
    }

    #[test]
    fn what_is_taken_over_is_forgotten_in_the_order_of_time_too() {
        let (mut known, mut traces) = (Traces::default(), Traces::default());
        for second in [9, 3, 7, 1, 5] {
            known.set(id(&second.to_string()), 1, at(second));
        }
        traces.set(id("8"), 1, at(8));
        traces.adopt(known.all());
        traces.forget_before(at(16), Duration::from_secs(10));
        let mut left: Vec<_> = traces.versions.keys().map(DocumentId::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["7", "8", "9"]);
    }

    #[test]
    fn they_take_a_bounded_amount_of_memory() {
        let mut traces = Traces::default();
        let most = MAX_BYTES / (OVERHEAD + 6);
        for n in 0..most + 10 {
            traces.set(id(&format!("{n:06}")), 1, at(1));
        }
        assert_eq!((traces.versions.len(), traces.order.len()), (most, most));
        assert_eq!((traces.version(&id("000009")), traces.version(&id("000010"))), (None, Some(1)));
    }

    #[test]
    fn what_was_replaced_puts_no_other_out() {
        let mut traces = Traces::default();
        traces.set(id("victim"), 9, at(1));
        for version in 0..MAX_BYTES as u64 / 128 {
            let now = at(2 + version / 1_000);
            traces.forget_before(now, Duration::from_secs(3_600));
            traces.set(id("hot"), version, now);
            traces.set(id("cold"), version, at(2 + version));
            assert!(traces.order.len() < 1_100);
        }
        assert_eq!(traces.version(&id("victim")), Some(9));
        assert_eq!(traces.bytes, 3 * OVERHEAD + "victimhotcold".len());
        traces.forget_before(at(3_602), Duration::from_secs(3_600));
        assert_eq!(traces.version(&id("victim")), None, "it is forgotten in its time");
    }

    #[test]
    fn what_was_committed_is_loaded_and_what_was_only_prepared_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let mut traces = Traces::load(folder.path(), None, at(0)).unwrap();
        traces.set(id("a"), 1, at(1));
        traces.set(id("b"), 2, at(2));
        let first = saved(&mut traces);
        traces.set(id("b"), 9, at(3));
        traces.prepare().unwrap();
        traces.refute();
        let loaded = Traces::load(folder.path(), first, at(0)).unwrap();
        assert_eq!((loaded.version(&id("a")), loaded.version(&id("b"))), (Some(1), Some(2)));
        traces.restore(id("b"), Some(Trace { version: 2, since: at(2) }));
        traces.set(id("c"), 3, at(4));
        let second = saved(&mut traces);
        let loaded = Traces::load(folder.path(), second, at(0)).unwrap();
        let versions = ["a", "b", "c"].map(|name| loaded.version(&id(name)));
        assert_eq!(versions, [Some(1), Some(2), Some(3)]);
        assert_eq!(second.unwrap().file, 0);
    }

    /// Whichever of them the folder speaks of when the process ends is there.
    #[test]
    fn what_was_perhaps_committed_stays_until_something_is() {
        let folder = tempfile::tempdir().unwrap();
        let files = || std::fs::read_dir(folder.path()).unwrap().count();
        let mut traces = Traces::load(folder.path(), None, at(0)).unwrap();
        traces.set(id("a"), 1, at(1));
        let mut told = vec![(saved(&mut traces), [Some(1), None, None])];
        traces.set(id("b"), 2, at(2));
        told.push((traces.prepare().unwrap(), [Some(1), Some(2), None]));
        traces.set(id("c"), 3, at(3));
        told.push((traces.prepare().unwrap(), [Some(1), Some(2), Some(3)]));
        traces.restore(id("b"), None);
        told.push((traces.prepare().unwrap(), [Some(1), None, Some(3)]));
        for (saved, versions) in &told {
            let copy = tempfile::tempdir().unwrap();
            for entry in std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap()) {
                std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
            }
            let loaded = Traces::load(copy.path(), *saved, at(0)).unwrap();
            assert_eq!(["a", "b", "c"].map(|name| loaded.version(&id(name))), *versions, "{saved:?}");
        }
        assert_eq!(files(), 3);
        traces.commit();
        assert_eq!(files(), 1);
        traces.set(id("d"), 4, at(4));
        let last = saved(&mut traces);
        assert_eq!((last.unwrap().file, files()), (2, 1), "behind a commit it is appended to");
        assert_eq!(Traces::load(folder.path(), last, at(0)).unwrap().version(&id("d")), Some(4));
    }

    #[test]
    fn a_file_of_which_most_is_out_of_date_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut traces = Traces::load(folder.path(), None, at(0)).unwrap();
        let mut last = None;
        for version in 1..=1_200 {
            traces.set(id("a"), version, at(version));
            last = saved(&mut traces);
        }
        let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        assert_eq!(last.unwrap().file, 1);
        assert!(files[0].metadata().unwrap().len() < 300 * 30);
        assert_eq!(Traces::load(folder.path(), last, at(0)).unwrap().version(&id("a")), Some(1_200));
    }

    #[test]
    fn a_damaged_or_missing_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut traces = Traces::load(folder.path(), None, at(0)).unwrap();
        traces.set(id("a"), 1, at(1));
        let saved = saved(&mut traces);
        let path = folder.path().join(name(0));
        let whole = std::fs::read(&path).unwrap();
        for damaged in [&whole[..whole.len() - 1], &[0; 23][..], b""] {
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(Traces::load(folder.path(), saved, at(0)).unwrap_err().kind(), ErrorKind::Corrupt);
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(Traces::load(folder.path(), saved, at(0)).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
