//! Which documents of a segment come behind a cursor.

use std::cmp::Ordering;

use statehouse_core::Result;
use tantivy::columnar::{MonotonicallyMappableToU64 as _, TermOrdHit};

use super::place::{KeySource, Place, first_id, look_up, place};
use super::snapshot::Segment;
use crate::cursor::Cursor;
use crate::{Order, Sort, Value};

/// A cursor in terms of a segment's own numbers.
pub(super) struct Behind {
    /// For each sort key the place, and how a document stands to the cursor that is at the same one: what is compared by its
    /// ordinal may fall between two.
    keys: Vec<(Place, Ordering)>,
    id: u64,
}

impl Behind {
    pub(super) fn new(segment: &Segment, keys: &[(KeySource, &Sort)], cursor: &Cursor) -> Result<Self> {
        let keys = keys.iter().zip(&cursor.sort);
        let keys = keys.map(|((source, sort), value)| mark(source, sort, value.as_ref(), cursor.score));
        Ok(Self { keys: keys.collect::<Result<_>>()?, id: first_id(segment, cursor)? })
    }

    /// How a document stands to the cursor by the first key alone.
    #[inline]
    pub(super) fn first(&self, first: Place) -> Ordering {
        self.keys.first().map_or(Ordering::Equal, |mark| stands(first, mark))
    }

    /// Whether a document comes behind the cursor by all keys and its id.
    pub(super) fn includes(&self, first: Place, rest: &[Place], id: u64) -> bool {
        let rest = rest.iter().zip(self.keys.iter().skip(1)).map(|(place, mark)| stands(*place, mark));
        let order = rest.fold(self.first(first), Ordering::then);
        order.is_gt() || (order.is_eq() && id >= self.id)
    }
}

#[inline]
fn stands(place: Place, (mark, same): &(Place, Ordering)) -> Ordering {
    place.cmp(mark).then(*same)
}

fn mark(source: &KeySource, sort: &Sort, value: Option<&Value>, score: Option<f32>) -> Result<(Place, Ordering)> {
    let exact = |number| (place(number, sort), Ordering::Equal);
    Ok(match (source, value) {
        (KeySource::Score, _) => exact(score.map(|score| f64::from(score).to_u64())),
        (KeySource::Text(Some(column)), Some(Value::Text(text))) => match look_up(column, text)? {
            TermOrdHit::Exact(ordinal) => exact(Some(ordinal)),
            // The text falls before the one of this ordinal.
            TermOrdHit::Next(ordinal) => {
                let same = if sort.order == Order::Ascending { Ordering::Greater } else { Ordering::Less };
                (place(Some(ordinal), sort), same)
            }
        },
        (_, value) => exact(value.map(number)),
    })
}

/// The number that a column has for a value. None has one for texts where no document has any.
fn number(value: &Value) -> u64 {
    match value {
        Value::I64(number) | Value::Date(number) => number.to_u64(),
        Value::U64(number) => *number,
        Value::F64(number) => number.to_u64(),
        Value::Bool(truth) => u64::from(*truth),
        Value::Text(_) => 0,
    }
}
