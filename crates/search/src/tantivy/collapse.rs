//! Which documents are of one group, where hits are collapsed by a field.

use std::collections::{HashMap, HashSet};

use statehouse_core::Result;
use tantivy::DocId;
use tantivy::columnar::{Cardinality, Column, StrColumn};

use super::error::{BACKEND, map_io};
use super::found::Found;
use super::numbers::{Block, Numbers};
use super::snapshot::{Segment, Snapshot};
use crate::request::several_values;
use crate::work::Stop;
use crate::{FieldKind, SearchRequest};

/// How many names to look up before asking whether the work is in vain.
const STRETCH: usize = 1_024;

/// The field by which hits are collapsed.
#[derive(Clone, Copy)]
pub(super) struct Collapse {
    place: usize,
    has_texts: bool,
}

impl Collapse {
    pub(super) fn of(snapshot: &Snapshot, request: &SearchRequest) -> Result<Option<Self>> {
        let Some(name) = request.collapsed() else { return Ok(None) };
        let (place, _) = snapshot.mapping.slot(name)?;
        let has_texts = matches!(snapshot.mapping.schema.fields()[place].kind(), FieldKind::Keyword { .. });
        Ok(Some(Self { place, has_texts }))
    }

    pub(super) fn open(self, segment: &Segment) -> Result<Groups> {
        let column = match self.texts(segment)? {
            Some(texts) => Some(texts.ords().clone()),
            None if self.has_texts => None,
            None => segment.column(self.place)?,
        };
        let several = column.clone().filter(|column| column.get_cardinality() == Cardinality::Multivalued);
        let numbers = several.map(Numbers::new);
        Ok(Groups { column, numbers, has_texts: self.has_texts, has_several: false })
    }

    fn texts(self, segment: &Segment) -> Result<Option<StrColumn>> {
        if self.has_texts { segment.texts(self.place) } else { Ok(None) }
    }

    /// Of hits in order, the first of each group.
    pub(super) fn firsts(self, snapshot: &Snapshot, found: &mut Vec<Found>, stop: &Stop) -> Result<()> {
        let names = if self.has_texts { self.names(snapshot, found, stop)? } else { HashMap::new() };
        let mut seen = HashSet::with_capacity(found.len());
        found.retain(|hit| {
            let group = hit.group.map(|number| match names.get(&(hit.segment, number)) {
                Some(name) => Group::Text(name.as_slice()),
                None => Group::Number(number),
            });
            seen.insert(group)
        });
        Ok(())
    }

    /// What the ordinals of the groups stand for, by their segments.
    fn names(self, snapshot: &Snapshot, found: &[Found], stop: &Stop) -> Result<HashMap<(usize, u64), Vec<u8>>> {
        let mut names = HashMap::with_capacity(found.len());
        let mut groups = vec![Vec::new(); snapshot.segments.len()];
        found.iter().for_each(|hit| groups[hit.segment].extend(hit.group));
        for ((at, segment), mut ordinals) in snapshot.segments.iter().enumerate().zip(groups) {
            let Some(texts) = self.texts(segment)? else { continue };
            ordinals.sort_unstable();
            ordinals.dedup();
            for ordinals in ordinals.chunks(STRETCH) {
                stop.check()?;
                let mut next = ordinals.iter();
                let name = |text: &[u8]| {
                    if let Some(ordinal) = next.next() {
                        names.insert((at, *ordinal), text.to_vec());
                    }
                };
                texts.dictionary().sorted_ords_to_term_cb(ordinals, name).map_err(map_io)?;
            }
        }
        Ok(names)
    }
}

/// What a group has in common, whatever segment its documents are in.
#[derive(PartialEq, Eq, Hash)]
enum Group<'a> {
    Number(u64),
    Text(&'a [u8]),
}

/// The groups of the documents of one segment.
pub(super) struct Groups {
    column: Option<Column<u64>>,
    /// Where documents may have several values.
    numbers: Option<Numbers>,
    has_texts: bool,
    has_several: bool,
}

impl Groups {
    /// Looks whether one of a block of documents has several values. The same text twice is one.
    #[inline]
    pub(super) fn look(&mut self, docs: &[DocId]) {
        let Some(numbers) = &mut self.numbers else { return };
        if let Block::Any(mut runs) = numbers.read(docs) {
            self.has_several |= docs.iter().any(|doc| match runs.of(*doc) {
                [first, rest @ ..] => rest.iter().any(|other| !self.has_texts || other != first),
                [] => false,
            });
        }
    }

    /// The group of a document; those that have none are together.
    pub(super) fn of(&self, doc: DocId) -> Option<u64> {
        self.column.as_ref()?.first(doc)
    }

    /// Succeeds if every document that was looked at is of one group.
    pub(super) fn check(&self) -> Result<()> {
        if self.has_several { Err(several_values().with_backend(BACKEND)) } else { Ok(()) }
    }
}
