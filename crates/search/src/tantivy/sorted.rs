//! The first of a segment by sort keys.

use statehouse_core::Result;
use tantivy::DocId;
use tantivy::columnar::{Cardinality, Column, MonotonicallyMappableToU64 as _, StrColumn};

use super::best::Ties;
use super::error::{map_error, map_io};
use super::found::{Found, Key};
use super::mapping::slot_name;
use super::snapshot::{Segment, Snapshot};
use crate::{FieldKind, Missing, Order, Sort, SortKey};

/// Where a document belongs by one key: the least comes first. A value that is missing is beside all others, not among
/// them.
type Place = (bool, u64);

/// Where a sort key comes from in one segment.
pub(super) enum KeySource {
    Score,
    Number(Option<Column<u64>>),
    Text(Option<StrColumn>),
}

impl KeySource {
    fn open(snapshot: &Snapshot, segment: &Segment, sort: &Sort) -> Result<Self> {
        let SortKey::Field(name) = &sort.key else { return Ok(Self::Score) };
        let (place, _) = snapshot.mapping.slot(name)?;
        if matches!(snapshot.mapping.schema.fields()[place].kind(), FieldKind::Keyword { .. }) {
            return Ok(Self::Text(segment.reader.fast_fields().str(&slot_name(place)).map_err(map_error)?));
        }
        segment.column(place).map(Self::Number)
    }

    /// The number of a document that is compared: of several the one that puts it first.
    #[inline]
    fn number(&self, doc: DocId, score: f32, sort: &Sort) -> Option<u64> {
        let column = match self {
            Self::Score => return Some(f64::from(score).to_u64()),
            Self::Number(column) => column.as_ref()?,
            Self::Text(column) => column.as_ref()?.ords(),
        };
        match (column.get_cardinality(), sort.order) {
            (Cardinality::Full | Cardinality::Optional, _) => column.first(doc),
            (Cardinality::Multivalued, Order::Ascending) => column.values_for_doc(doc).min(),
            (Cardinality::Multivalued, Order::Descending) => column.values_for_doc(doc).max(),
        }
    }

    #[inline]
    fn place(&self, doc: DocId, score: f32, sort: &Sort) -> Place {
        match self.number(doc, score, sort) {
            Some(number) => (sort.missing == Missing::First, directed(number, sort)),
            None => (sort.missing == Missing::Last, 0),
        }
    }

    /// What stands at a place, as it compares with other segments.
    fn key(&self, (beside, number): Place, sort: &Sort) -> Result<Key> {
        let value = (beside == (sort.missing == Missing::First)).then(|| directed(number, sort));
        Ok(match (self, value) {
            #[expect(clippy::cast_possible_truncation, reason = "it was made from a single-precision number")]
            (Self::Score, value) => Key::Score(value.map_or(0.0, f64::from_u64) as f32),
            (Self::Number(_), value) => Key::Number(value),
            (Self::Text(Some(column)), Some(ordinal)) => {
                let mut bytes = Vec::new();
                column.dictionary().ord_to_term(ordinal, &mut bytes).map_err(map_io)?;
                Key::Text(Some(bytes))
            }
            (Self::Text(_), _) => Key::Text(None),
        })
    }
}

const fn directed(number: u64, sort: &Sort) -> u64 {
    match sort.order {
        Order::Ascending => number,
        Order::Descending => !number,
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    first: Place,
    /// By the other keys.
    rest: Vec<Place>,
    id: u64,
    doc: DocId,
}

/// The first of a segment by sort keys, then by id.
pub(super) struct Sorted<'a> {
    ties: Ties<'a>,
    keys: Vec<(KeySource, &'a Sort)>,
    size: usize,
    /// Up to twice as many as are wanted.
    kept: Vec<Entry>,
    /// Whether those that are wanted are in front, the last of them at its place: what comes behind that is not taken.
    bounded: bool,
}

impl<'a> Sorted<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, segment: &'a Segment, sort: &'a [Sort], size: usize) -> Result<Self> {
        let keys = sort.iter().map(|sort| Ok((KeySource::open(snapshot, segment, sort)?, sort)));
        let keys = keys.collect::<Result<_>>()?;
        Ok(Self { ties: Ties::new(segment), keys, size, kept: Vec::new(), bounded: false })
    }

    #[inline]
    pub(super) fn offer(&mut self, doc: DocId, score: f32) {
        let Some((source, sort)) = self.keys.first() else { return };
        let first = source.place(doc, score, sort);
        if self.bounded
            && let Some(last) = self.kept.get(self.size - 1)
            && (first > last.first
                || (first == last.first && last.rest.is_empty() && !self.ties.may_precede(doc, last.id)))
        {
            return;
        }
        self.take(doc, score, first);
    }

    fn take(&mut self, doc: DocId, score: f32, first: Place) {
        let rest = self.keys.iter().skip(1).map(|(source, sort)| source.place(doc, score, sort)).collect();
        let entry = Entry { first, rest, id: self.ties.id(doc), doc };
        if self.bounded && self.kept.get(self.size - 1).is_some_and(|last| *last < entry) {
            return;
        }
        self.kept.push(entry);
        if self.kept.len() >= 2 * self.size {
            self.cut();
        }
    }

    /// Cuts down to what can still be among the first.
    fn cut(&mut self) {
        if self.kept.len() >= self.size {
            self.kept.select_nth_unstable(self.size - 1);
            self.kept.truncate(self.size);
            self.bounded = true;
            self.ties.reset();
        }
    }

    pub(super) fn found(mut self, segment: usize) -> impl Iterator<Item = Result<Found>> {
        self.cut();
        let Self { keys, kept, .. } = self;
        kept.into_iter().map(move |Entry { first, rest, id, doc }| {
            let places = [first].into_iter().chain(rest);
            let keys = places.zip(&keys).map(|(place, (source, sort))| source.key(place, sort));
            let keys = keys.collect::<Result<Vec<_>>>()?;
            let score = keys.iter().find_map(|key| if let Key::Score(score) = key { Some(*score) } else { None });
            Ok(Found::new((segment, doc, id), score, keys))
        })
    }
}
