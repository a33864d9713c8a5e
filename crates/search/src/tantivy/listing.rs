//! All documents that a snapshot shows, by their ids, which stand in order in each segment's dictionary.

use statehouse_core::{Error, ErrorKind, Result};
use tantivy::schema::IndexRecordOption;
use tantivy::{DocSet as _, TERMINATED};

use super::error::{BACKEND, map_io};
use super::snapshot::Snapshot;
use crate::work::Stop;
use crate::{Digest, DocumentId};

impl Snapshot {
    /// Ids and versions of at most so many documents whose ids come behind one, in the order of ids.
    pub(super) fn list(&self, after: Option<&DocumentId>, limit: usize, stop: &Stop) -> Result<Vec<(DocumentId, u64)>> {
        let mut listed = Vec::new();
        for segment in 0..self.segments.len() {
            let mut of_segment = 0;
            self.each(segment, after, stop, &mut |id, version| {
                listed.push((DocumentId::new(id).map_err(|error| damaged().with_source(error))?, version));
                of_segment += 1;
                Ok(of_segment < limit)
            })?;
        }
        listed.sort_unstable();
        listed.truncate(limit);
        Ok(listed)
    }

    /// How many documents there are, and their checksum.
    pub(super) fn digest(&self, stop: &Stop) -> Result<Digest> {
        let mut digest = Digest::default();
        for segment in 0..self.segments.len() {
            self.each(segment, None, stop, &mut |id, version| {
                digest.add(id, version);
                Ok(true)
            })?;
        }
        Ok(digest)
    }

    /// Calls `with` for each living document of a segment, until it says that this is enough.
    fn each(
        &self,
        segment: usize,
        after: Option<&DocumentId>,
        stop: &Stop,
        with: &mut dyn FnMut(&str, u64) -> Result<bool>,
    ) -> Result<()> {
        let part = &self.segments[segment];
        let inverted = part.inverted(self.mapping.id)?;
        let range = inverted.terms().range();
        let range = match after {
            Some(id) => range.gt(id.as_str().as_bytes()),
            None => range,
        };
        let mut terms = range.into_stream().map_err(map_io)?;
        while terms.advance() {
            stop.check()?;
            let read = inverted.read_postings_from_terminfo(terms.value(), IndexRecordOption::Basic);
            let mut postings = read.map_err(map_io)?;
            let mut doc = postings.doc();
            while doc != TERMINATED && part.reader.is_deleted(doc) {
                doc = postings.advance();
            }
            if doc == TERMINATED {
                continue;
            }
            let id = std::str::from_utf8(terms.key()).map_err(|error| damaged().with_source(error))?;
            if !with(id, self.version(segment, doc))? {
                break;
            }
        }
        Ok(())
    }
}

fn damaged() -> Error {
    Error::new(ErrorKind::Corrupt, "the index is damaged: an id cannot be read; rebuild it from its source")
        .with_backend(BACKEND)
}
