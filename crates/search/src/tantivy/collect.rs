//! The best hits over all segments, in one order for every backend: score or sort keys, then id.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use statehouse_core::Result;
use tantivy::columnar::{Column, MonotonicallyMappableToU64, StrColumn};
use tantivy::query::Scorer;
use tantivy::{DocId, TERMINATED};

use super::error::{map_error, map_io};
use super::mapping::slot_name;
use super::scorer::{Ranked, Union};
use super::snapshot::{Segment, Snapshot};
use super::weight::{Scoring, Weight};
use crate::{FieldKind, Missing, Order, Sort, SortKey, Value};

/// One of the best hits.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) segment: usize,
    pub(super) doc: DocId,
    pub(super) id: String,
    pub(super) score: Option<f32>,
    keys: Vec<Key>,
}

impl Found {
    /// The values of the sort keys.
    pub(super) fn sort_values(&self, snapshot: &Snapshot, sort: &[Sort]) -> Vec<Option<Value>> {
        let value = |(key, sort): (&Key, &Sort)| match (key, &sort.key) {
            (Key::Text(Some(bytes)), _) => Some(Value::Text(String::from_utf8_lossy(bytes).into_owned())),
            (Key::Number(Some(number)), SortKey::Field(name)) => {
                snapshot.mapping.schema.field(name).and_then(|field| number_value(field.kind(), *number))
            }
            _ => None,
        };
        self.keys.iter().zip(sort).map(value).collect()
    }
}

fn number_value(kind: &FieldKind, number: u64) -> Option<Value> {
    match kind {
        FieldKind::I64 => Some(Value::I64(i64::from_u64(number))),
        FieldKind::Date => Some(Value::Date(i64::from_u64(number))),
        FieldKind::U64 => Some(Value::U64(number)),
        FieldKind::F64 => Some(Value::F64(f64::from_u64(number))),
        FieldKind::Bool => Some(Value::Bool(number != 0)),
        FieldKind::Text { .. } | FieldKind::Keyword { .. } => None,
    }
}

/// What a hit is compared by. Numbers are mapped so that they compare like what they stand for; within a segment a text
/// is its ordinal.
#[derive(Clone, Debug)]
enum Key {
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

/// How many documents match.
pub(super) fn count(snapshot: &Snapshot, weight: &Weight) -> Result<u64> {
    let mut total = 0;
    for (at, segment) in snapshot.segments.iter().enumerate() {
        total += each(segment, weight.scorer(snapshot, at, Scoring::Off)?.as_mut(), &mut Nothing)?;
    }
    Ok(total)
}

/// How many documents match, and the first `size` of them.
pub(super) fn top(snapshot: &Snapshot, weight: &Weight, sort: &[Sort], size: usize) -> Result<(u64, Vec<Found>)> {
    if size == 0 {
        return Ok((count(snapshot, weight)?, Vec::new()));
    }
    let by_score = [Sort::by_score()];
    let (sort, implied) = if sort.is_empty() { (&by_score[..], true) } else { (sort, false) };
    let scored = sort.iter().any(|sort| sort.key == SortKey::Score);
    let scoring = if scored { Scoring::On } else { Scoring::Off };
    let mut found = Vec::new();
    let mut total = 0;
    for at in 0..snapshot.segments.len() {
        let mut scorer = weight.scorer(snapshot, at, scoring)?;
        let by_score_alone = matches!(sort, [Sort { key: SortKey::Score, order: Order::Descending, .. }]);
        total += if by_score_alone {
            best_of_segment(snapshot, at, scorer.as_mut(), size, &mut found)?
        } else {
            sorted_of_segment(snapshot, at, scorer.as_mut(), sort, size, &mut found)?
        };
    }
    found.sort_by(|a: &Found, b: &Found| {
        let keys = a.keys.iter().zip(&b.keys).zip(sort).map(|((a, b), sort)| compare(a, b, sort));
        keys.fold(Ordering::Equal, Ordering::then).then_with(|| a.id.cmp(&b.id))
    });
    found.truncate(size);
    if implied {
        found.iter_mut().for_each(|found| found.keys.clear());
    }
    Ok((total, found))
}

/// What is done with each match.
trait Visit {
    fn visit<S: Scorer + ?Sized>(&mut self, doc: DocId, scorer: &mut S) -> Result<()>;
}

/// Visits every live match of a segment and counts them.
fn each(segment: &Segment, scorer: &mut dyn Scorer, visit: &mut impl Visit) -> Result<u64> {
    // The two most common scorers are called directly.
    if let Some(union) = scorer.downcast_mut::<Union<Ranked>>() {
        return each_of(segment, union, visit);
    }
    if let Some(ranked) = scorer.downcast_mut::<Ranked>() {
        return each_of(segment, ranked, visit);
    }
    each_of(segment, scorer, visit)
}

fn each_of<S: Scorer + ?Sized>(segment: &Segment, scorer: &mut S, visit: &mut impl Visit) -> Result<u64> {
    let alive = segment.reader.alive_bitset();
    let (mut count, mut doc) = (0, scorer.doc());
    while doc != TERMINATED {
        if alive.is_none_or(|alive| alive.is_alive(doc)) {
            count += 1;
            visit.visit(doc, scorer)?;
        }
        doc = scorer.advance();
    }
    Ok(count)
}

struct Nothing;

impl Visit for Nothing {
    fn visit<S: Scorer + ?Sized>(&mut self, _: DocId, _: &mut S) -> Result<()> {
        Ok(())
    }
}

/// The best of a segment by score, then by the ordinal of the id, which orders like the id.
struct Best<'a> {
    ids: &'a Column<u64>,
    size: usize,
    /// The worst on top.
    heap: BinaryHeap<Ranking>,
}

#[derive(Debug)]
struct Ranking {
    score: f32,
    id: u64,
    doc: DocId,
}

impl Ord for Ranking {
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.id.cmp(&other.id))
    }
}

impl PartialOrd for Ranking {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranking {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranking {}

impl Visit for Best<'_> {
    #[inline]
    fn visit<S: Scorer + ?Sized>(&mut self, doc: DocId, scorer: &mut S) -> Result<()> {
        let score = scorer.score();
        let full = self.heap.len() == self.size;
        if full && self.heap.peek().is_some_and(|worst| score < worst.score) {
            return Ok(());
        }
        let ranking = Ranking { score, id: self.ids.first(doc).unwrap_or(u64::MAX), doc };
        if !full {
            self.heap.push(ranking);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && ranking < *worst
        {
            *worst = ranking;
        }
        Ok(())
    }
}

fn best_of_segment(
    snapshot: &Snapshot,
    at: usize,
    scorer: &mut dyn Scorer,
    size: usize,
    found: &mut Vec<Found>,
) -> Result<u64> {
    let segment = &snapshot.segments[at];
    let mut best = Best { ids: segment.ids.ords(), size, heap: BinaryHeap::with_capacity(size.min(1_024)) };
    let total = each(segment, scorer, &mut best)?;
    for Ranking { score, id, doc } in best.heap {
        found.push(Found { segment: at, doc, id: segment.id(id)?, score: Some(score), keys: vec![Key::Score(score)] });
    }
    Ok(total)
}

/// Where a sort key comes from in one segment.
enum KeySource {
    Score,
    Number(Option<Column<u64>>),
    Text(Option<StrColumn>),
}

impl KeySource {
    fn open(snapshot: &Snapshot, segment: &Segment, sort: &Sort) -> Result<Self> {
        let SortKey::Field(name) = &sort.key else { return Ok(Self::Score) };
        let (place, _) = snapshot.mapping.slot(name)?;
        let (fast, name) = (segment.reader.fast_fields(), slot_name(place));
        if matches!(snapshot.mapping.schema.fields()[place].kind(), FieldKind::Keyword { .. }) {
            return Ok(Self::Text(fast.str(&name).map_err(map_error)?));
        }
        let column = fast.u64_lenient(&name).map_err(map_error)?;
        Ok(Self::Number(column.map(|(column, _)| column)))
    }

    /// The key of a document, texts still as ordinals.
    fn key<S: Scorer + ?Sized>(&self, doc: DocId, scorer: &mut S, sort: &Sort) -> Key {
        let pick = |column: &Column<u64>| match sort.order {
            Order::Ascending => column.values_for_doc(doc).min(),
            Order::Descending => column.values_for_doc(doc).max(),
        };
        match self {
            Self::Score => Key::Score(scorer.score()),
            Self::Number(column) => Key::Number(column.as_ref().and_then(pick)),
            Self::Text(column) => Key::Number(column.as_ref().and_then(|column| pick(column.ords()))),
        }
    }

    /// The key for comparison with other segments.
    fn resolve(&self, key: Key) -> Result<Key> {
        let (Self::Text(column), Key::Number(ordinal)) = (self, &key) else { return Ok(key) };
        let (Some(column), Some(ordinal)) = (column, ordinal) else { return Ok(Key::Text(None)) };
        let mut bytes = Vec::new();
        column.dictionary().ord_to_term(*ordinal, &mut bytes).map_err(map_io)?;
        Ok(Key::Text(Some(bytes)))
    }
}

/// The first of a segment by sort keys, then by the ordinal of the id.
struct Sorted<'a> {
    ids: &'a Column<u64>,
    sources: &'a [KeySource],
    sort: &'a [Sort],
    size: usize,
    kept: Vec<(Vec<Key>, u64, DocId)>,
}

impl Sorted<'_> {
    /// Cuts down to what can still be among the first.
    fn cut(&mut self) {
        let sort = self.sort;
        self.kept.sort_by(|a, b| {
            let keys = a.0.iter().zip(&b.0).zip(sort).map(|((a, b), sort)| compare(a, b, sort));
            keys.fold(Ordering::Equal, Ordering::then).then(a.1.cmp(&b.1))
        });
        self.kept.truncate(self.size);
    }
}

impl Visit for Sorted<'_> {
    fn visit<S: Scorer + ?Sized>(&mut self, doc: DocId, scorer: &mut S) -> Result<()> {
        let keys = self.sources.iter().zip(self.sort).map(|(source, sort)| source.key(doc, scorer, sort)).collect();
        self.kept.push((keys, self.ids.first(doc).unwrap_or(u64::MAX), doc));
        if self.kept.len() >= 4 * self.size + 1_024 {
            self.cut();
        }
        Ok(())
    }
}

fn sorted_of_segment(
    snapshot: &Snapshot,
    at: usize,
    scorer: &mut dyn Scorer,
    sort: &[Sort],
    size: usize,
    found: &mut Vec<Found>,
) -> Result<u64> {
    let segment = &snapshot.segments[at];
    let sources = sort.iter().map(|sort| KeySource::open(snapshot, segment, sort)).collect::<Result<Vec<_>>>()?;
    let mut sorted = Sorted { ids: segment.ids.ords(), sources: &sources, sort, size, kept: Vec::new() };
    let total = each(segment, scorer, &mut sorted)?;
    sorted.cut();
    for (keys, id, doc) in sorted.kept {
        let score = keys.iter().find_map(|key| if let Key::Score(score) = key { Some(*score) } else { None });
        let keys = keys.into_iter().zip(&sources).map(|(key, source)| source.resolve(key)).collect::<Result<_>>()?;
        found.push(Found { segment: at, doc, id: segment.id(id)?, score, keys });
    }
    Ok(total)
}
