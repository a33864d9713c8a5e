//! What is read of the index, with what was acknowledged and is not committed yet.

use tantivy::DocAddress;

use super::super::counted::Taken;
use super::super::error::map_error;
use super::super::found::Found;
use super::super::mapping::{StoredForm, Wanted};
use super::super::pending::{Change, Copied};
use super::super::snapshot::Snapshot;
use super::{Client, Known, closed};
use crate::work::Stop;
use crate::{Digest, DocumentId, Record, Schema};
use statehouse_core::Result;

impl Client {
    /// What is known of an id now.
    pub(in crate::tantivy) fn copy_of(&self, id: &DocumentId) -> Result<Copied> {
        let writer = self.writer();
        if let Some(Change::Written { version, record }) = self.pending.get(id) {
            return Ok(Copied::Document(Record::clone(&record).with_version(version)));
        }
        if let Some(record) = self.get(id, Wanted::All)? {
            return Ok(Copied::Document(record));
        }
        Ok(writer.deleted.version(id).map_or(Copied::Nothing, Copied::Deleted))
    }

    /// How many documents there are with all that was acknowledged.
    pub(in crate::tantivy) fn documents(&self) -> Result<u64> {
        self.refresh()?;
        Ok(self.snapshot().searcher.num_docs())
    }

    /// The same, and their checksum, for which all ids are read.
    pub(in crate::tantivy) fn digest(&self, stop: &Stop) -> Result<Digest> {
        self.refresh()?;
        self.snapshot().digest(stop)
    }

    /// The same while others write, who need not wait for it.
    pub(in crate::tantivy) fn taken(&self, stop: &Stop) -> Result<Taken> {
        let mut writer = self.writer();
        if writer.closed {
            return Err(closed());
        }
        self.commit(&mut writer)?;
        let (snapshot, then) = (self.snapshot(), writer.counted);
        drop(writer);
        Ok(Taken { digest: snapshot.digest(stop)?, then })
    }

    /// What there is now, where that was taken before: nothing is read, unless the count was lost.
    pub(in crate::tantivy) fn now(&self, taken: &Taken, stop: &Stop) -> Result<Digest> {
        let counted = self.writer().counted.since(taken);
        counted.map_or_else(|| self.digest(stop), Ok)
    }

    /// Ids and versions behind an id, in order, with all that was acknowledged before the first page of them.
    pub(in crate::tantivy) fn list(
        &self,
        after: Option<&DocumentId>,
        limit: usize,
        stop: &Stop,
    ) -> Result<Vec<(DocumentId, u64)>> {
        // What is committed for each page makes many small segments.
        if after.is_none() {
            self.refresh()?;
        }
        self.snapshot().list(after, limit, stop)
    }

    /// The version of a document that is there, and of the trace of a delete.
    pub(in crate::tantivy) fn versions(&self, id: &DocumentId) -> Result<(Option<u64>, Option<u64>)> {
        let writer = self.writer();
        let known = self.known(&writer, &self.snapshot(), id)?;
        Ok(match known {
            Known::Document(version) => (Some(version), None),
            Known::Deleted(version) => (None, Some(version)),
            Known::Nothing => (None, None),
        })
    }

    pub(in crate::tantivy) fn get(&self, id: &DocumentId, wanted: Wanted<'_>) -> Result<Option<Record>> {
        match self.pending.get(id) {
            Some(Change::Deleted) => return Ok(None),
            Some(Change::Written { version, record }) => {
                let is_stored = |name: &str| self.mapping.schema.field(name).is_some_and(crate::Field::is_stored);
                let stored = |name: &str| is_stored(name) && wanted.has(name);
                return Ok(Some(Record::clone(&record).retain(stored).with_version(version)));
            }
            None => {}
        }
        let snapshot = self.snapshot();
        let Some((segment, doc)) = snapshot.find(id.as_str())? else { return Ok(None) };
        snapshot.stored(segment, doc, wanted).map(Some)
    }
}

impl Snapshot {
    /// All that a handle of this schema may return.
    pub(in crate::tantivy) fn all_of<'a>(&self, schema: &'a Schema) -> Wanted<'a> {
        let same = self.mapping.schema.fields().len() == schema.fields().len();
        if same { Wanted::All } else { Wanted::Of(schema) }
    }

    /// What a hit returns of its document.
    pub(in crate::tantivy) fn hit(&self, found: &Found, wanted: Wanted<'_>) -> Result<Record> {
        if !matches!(wanted, Wanted::None) {
            return self.stored(found.segment, found.doc, wanted);
        }
        let version = self.version(found.segment, found.doc);
        Ok(Record::new(found.id(self)?)?.with_version(version))
    }

    /// The stored fields of a document.
    fn stored(&self, segment: usize, doc: u32, wanted: Wanted<'_>) -> Result<Record> {
        let version = self.version(segment, doc);
        let address = DocAddress::new(u32::try_from(segment).unwrap_or(u32::MAX), doc);
        let StoredForm(source) = self.searcher.doc(address).map_err(map_error)?;
        self.mapping.record(version, &source, wanted)
    }
}
