//! Where a document of a segment belongs, by one key or by its id.

use statehouse_core::Result;
use tantivy::DocId;
use tantivy::columnar::{Cardinality, Column, MonotonicallyMappableToU64 as _, StrColumn, TermOrdHit};

use super::error::map_io;
use super::found::Key;
use super::numbers::Numbers;
use super::snapshot::{Segment, Snapshot};
use crate::cursor::Cursor;
use crate::{FieldKind, Missing, Order, Sort, SortKey};

/// Where a document belongs by one key: the least comes first. A value that is missing is beside all others, not among
/// them.
pub(super) type Place = (bool, u64);

/// Where a sort key comes from in one segment.
pub(super) enum KeySource {
    Score,
    Number(Option<Column<u64>>),
    Text(Option<StrColumn>),
}

impl KeySource {
    pub(super) fn open(snapshot: &Snapshot, segment: &Segment, sort: &Sort) -> Result<Self> {
        let SortKey::Field(name) = &sort.key else { return Ok(Self::Score) };
        let (place, _) = snapshot.mapping.slot(name)?;
        if matches!(snapshot.mapping.schema.fields()[place].kind(), FieldKind::Keyword { .. }) {
            return segment.texts(place).map(Self::Text);
        }
        segment.column(place).map(Self::Number)
    }

    /// The number of a document that is compared: of several the one that puts it first.
    #[inline]
    pub(super) fn number(&self, doc: DocId, score: f32, sort: &Sort) -> Option<u64> {
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

    /// What the numbers of a block are read from; `None` if it has none.
    pub(super) fn numbers(&self) -> Option<Numbers> {
        match self {
            Self::Score => None,
            Self::Number(column) => column.clone().map(Numbers::new),
            Self::Text(column) => column.as_ref().map(|column| Numbers::new(column.ords().clone())),
        }
    }

    /// What stands at a place, as it compares with other segments.
    pub(super) fn key(&self, (beside, number): Place, sort: &Sort) -> Result<Key> {
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

#[inline]
pub(super) fn place(number: Option<u64>, sort: &Sort) -> Place {
    match number {
        Some(number) => (sort.missing == Missing::First, directed(number, sort)),
        None => (sort.missing == Missing::Last, 0),
    }
}

pub(super) const fn directed(number: u64, sort: &Sort) -> u64 {
    match sort.order {
        Order::Ascending => number,
        Order::Descending => !number,
    }
}

/// The first ordinal of an id behind that of a cursor, be it in the segment or not.
pub(super) fn first_id(segment: &Segment, cursor: &Cursor) -> Result<u64> {
    Ok(match look_up(&segment.ids, cursor.id.as_str())? {
        TermOrdHit::Exact(ordinal) => ordinal + 1,
        TermOrdHit::Next(ordinal) => ordinal,
    })
}

pub(super) fn look_up(column: &StrColumn, text: &str) -> Result<TermOrdHit> {
    column.dictionary().term_ord_or_next(text).map_err(map_io)
}
