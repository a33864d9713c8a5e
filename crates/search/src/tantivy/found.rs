//! A hit, and how it stands to others.

use std::cmp::Ordering;

use statehouse_core::Result;
use tantivy::DocId;
use tantivy::columnar::MonotonicallyMappableToU64;

use super::snapshot::Snapshot;
use crate::{FieldKind, Missing, Order, Sort, SortKey, Value};

/// One of the best hits.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) segment: usize,
    pub(super) doc: DocId,
    /// The ordinal of the id in its segment, which orders like the id.
    pub(super) ordinal: u64,
    /// The id, where it was needed to tell this hit from others.
    pub(super) id: Option<String>,
    pub(super) score: Option<f32>,
    /// The number of its group in its segment, where hits are collapsed.
    pub(super) group: Option<u64>,
    /// What the sort keys compare; empty if the best score is the only one.
    keys: Vec<Key>,
}

impl Found {
    pub(super) const fn new((segment, doc, ordinal): (usize, DocId, u64), score: Option<f32>, keys: Vec<Key>) -> Self {
        Self { segment, doc, ordinal, id: None, score, group: None, keys }
    }

    /// The id, from the index.
    pub(super) fn id(&self, snapshot: &Snapshot) -> Result<String> {
        match &self.id {
            Some(id) => Ok(id.clone()),
            None => snapshot.segments[self.segment].id(self.ordinal),
        }
    }

    /// The values of the sort keys.
    pub(super) fn sort_values(&self, snapshot: &Snapshot, sort: &[Sort]) -> Vec<Option<Value>> {
        let value = |(at, sort): (usize, &Sort)| match (self.keys.get(at), &sort.key) {
            (Some(Key::Text(Some(bytes))), _) => Some(Value::Text(String::from_utf8_lossy(bytes).into_owned())),
            (Some(Key::Number(Some(number))), SortKey::Field(name)) => {
                snapshot.mapping.schema.field(name).and_then(|field| number_value(field.kind(), *number))
            }
            _ => None,
        };
        sort.iter().enumerate().map(value).collect()
    }

    /// How it stands to another without regard to ids.
    pub(super) fn rank(&self, other: &Self, sort: &[Sort]) -> Ordering {
        if self.keys.is_empty() {
            return other.score.unwrap_or_default().total_cmp(&self.score.unwrap_or_default());
        }
        compare_all(&self.keys, &other.keys, sort)
    }
}

/// What a number of a column stands for.
pub(super) fn number_value(kind: &FieldKind, number: u64) -> Option<Value> {
    match kind {
        FieldKind::I64 => Some(Value::I64(i64::from_u64(number))),
        FieldKind::Date => Some(Value::Date(i64::from_u64(number))),
        FieldKind::U64 => Some(Value::U64(number)),
        FieldKind::F64 => Some(Value::F64(f64::from_u64(number))),
        FieldKind::Bool => Some(Value::Bool(number != 0)),
        FieldKind::Text { .. } | FieldKind::Keyword { .. } => None,
    }
}

/// What a hit is compared by. Numbers are mapped so that they compare like what they stand for.
#[derive(Clone, Debug)]
pub(super) enum Key {
    Score(f32),
    Number(Option<u64>),
    Text(Option<Vec<u8>>),
}

fn compare(a: &Key, b: &Key, sort: &Sort) -> Ordering {
    match (a, b) {
        (Key::Score(a), Key::Score(b)) => directed(a.total_cmp(b), sort),
        (Key::Number(a), Key::Number(b)) => with_missing(a.as_ref(), b.as_ref(), sort),
        (Key::Text(a), Key::Text(b)) => with_missing(a.as_ref(), b.as_ref(), sort),
        _ => Ordering::Equal,
    }
}

fn compare_all(a: &[Key], b: &[Key], sort: &[Sort]) -> Ordering {
    let orders = a.iter().zip(b).zip(sort).map(|((a, b), sort)| compare(a, b, sort));
    orders.fold(Ordering::Equal, Ordering::then)
}

fn directed(order: Ordering, sort: &Sort) -> Ordering {
    if sort.order == Order::Descending { order.reverse() } else { order }
}

fn with_missing<T: Ord>(a: Option<&T>, b: Option<&T>, sort: &Sort) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => directed(a.cmp(b), sort),
        (None, None) => Ordering::Equal,
        (None, Some(_)) if sort.missing == Missing::First => Ordering::Less,
        (Some(_), None) if sort.missing == Missing::Last => Ordering::Less,
        _ => Ordering::Greater,
    }
}
