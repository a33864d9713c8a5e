//! The best hits over all segments, in one order for every backend: score or sort keys, then id.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use statehouse_core::Result;
use tantivy::columnar::{Column, MonotonicallyMappableToU64, StrColumn};
use tantivy::query::Scorer;
use tantivy::{DocId, DocSet as _, TERMINATED};

use super::error::{map_error, map_io};
use super::mapping::slot_name;
use super::scorer::Batch;
use super::scoring::Scoring;
use super::snapshot::{Segment, Snapshot};
use super::weight::Weight;
use crate::work::Stop;
use crate::{FieldKind, Missing, Order, Sort, SortKey, Value};

/// One of the best hits.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) segment: usize,
    pub(super) doc: DocId,
    /// The ordinal of the id in its segment, which orders like the id.
    ordinal: u64,
    /// The id, where it was needed to tell this hit from others.
    id: Option<String>,
    pub(super) score: Option<f32>,
    /// What the sort keys compare; empty if the best score is the only one.
    keys: Vec<Key>,
}

impl Found {
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
    fn rank(&self, other: &Self, sort: &[Sort]) -> Ordering {
        if self.keys.is_empty() {
            return other.score.unwrap_or_default().total_cmp(&self.score.unwrap_or_default());
        }
        compare_all(&self.keys, &other.keys, sort)
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

/// How many documents match.
pub(super) fn count(snapshot: &Snapshot, weight: &Weight, stop: &Stop) -> Result<u64> {
    let mut total = 0;
    for (at, segment) in snapshot.segments.iter().enumerate() {
        total += each(segment, &mut weight.scorer(snapshot, at, Scoring::Off, stop)?, Scoring::Off, stop, |_, _| ())?;
    }
    Ok(total)
}

/// How many documents match, and the first `size` of them.
pub(super) fn top(
    snapshot: &Snapshot,
    weight: &Weight,
    sort: &[Sort],
    size: usize,
    stop: &Stop,
) -> Result<(u64, Vec<Found>)> {
    if size == 0 {
        return Ok((count(snapshot, weight, stop)?, Vec::new()));
    }
    let by_score = matches!(sort, [] | [Sort { key: SortKey::Score, order: Order::Descending, .. }]);
    let scored = by_score || sort.iter().any(|sort| sort.key == SortKey::Score);
    let scoring = if scored { Scoring::On } else { Scoring::Off };
    let mut found = Vec::new();
    let mut total = 0;
    for (at, segment) in snapshot.segments.iter().enumerate() {
        let mut scorer = weight.scorer(snapshot, at, scoring, stop)?;
        total += if by_score {
            best_of_segment(segment, at, &mut scorer, (size, stop), &mut found)?
        } else {
            sorted_of_segment(snapshot, at, &mut scorer, (sort, scoring), (size, stop), &mut found)?
        };
    }
    found.sort_by(|a: &Found, b: &Found| {
        a.rank(b, sort).then(a.segment.cmp(&b.segment)).then(a.ordinal.cmp(&b.ordinal))
    });
    settle_ties(snapshot, &mut found, sort, size)?;
    found.truncate(size);
    Ok((total, found))
}

/// Puts hits of several segments that are equal otherwise into the order of their ids. An id is looked up only here:
/// that takes longer than to find the hit.
fn settle_ties(snapshot: &Snapshot, found: &mut [Found], sort: &[Sort], size: usize) -> Result<()> {
    let mut start = 0;
    while start < found.len().min(size) {
        let first = &found[start];
        let end = start + found[start..].iter().take_while(|other| first.rank(other, sort).is_eq()).count();
        let tie = &mut found[start..end];
        if tie.first().map(|found| found.segment) != tie.last().map(|found| found.segment) {
            for found in &mut *tie {
                found.id = Some(snapshot.segments[found.segment].id(found.ordinal)?);
            }
            tie.sort_by(|a, b| a.id.cmp(&b.id));
        }
        start = end;
    }
    Ok(())
}

/// How many documents to go through before asking whether the work is in vain.
const STRETCH: DocId = 1 << 16;

/// Visits every live match of a segment and counts them.
pub(super) fn each(
    segment: &Segment,
    scorer: &mut Box<dyn Scorer>,
    scoring: Scoring,
    stop: &Stop,
    mut visit: impl FnMut(DocId, f32),
) -> Result<u64> {
    let alive = segment.reader.alive_bitset();
    let (mut drained, mut dead) = (0, 0);
    while scorer.doc() != TERMINATED {
        let end = scorer.doc().saturating_add(STRETCH).min(TERMINATED);
        drained += match alive {
            None => scorer.drain(end, scoring, &mut visit),
            Some(alive) => scorer.drain(end, scoring, &mut |doc, score| {
                if alive.is_alive(doc) {
                    visit(doc, score);
                } else {
                    dead += 1;
                }
            }),
        };
        stop.check()?;
    }
    // A scorer that was stopped ends early.
    stop.check()?;
    Ok(drained - dead)
}

/// The best of a segment by score, then by the ordinal of the id, which orders like the id.
struct Best<'a> {
    ids: &'a Column<u64>,
    size: usize,
    /// The worst on top.
    heap: BinaryHeap<Ranking>,
    /// Once the heap is full, its worst: nothing with a lower score is taken, and of equals only what comes before it.
    bound: (f32, u64),
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

impl Best<'_> {
    #[inline]
    fn offer(&mut self, doc: DocId, score: f32) {
        if score >= self.bound.0 {
            self.take(doc, score);
        }
    }

    #[cold]
    fn take(&mut self, doc: DocId, score: f32) {
        let ranking = Ranking { score, id: self.ids.first(doc).unwrap_or(u64::MAX), doc };
        if self.heap.len() < self.size {
            self.heap.push(ranking);
        } else if score > self.bound.0 || ranking.id < self.bound.1 {
            self.heap.pop();
            self.heap.push(ranking);
        }
        if self.heap.len() == self.size
            && let Some(worst) = self.heap.peek()
        {
            self.bound = (worst.score, worst.id);
        }
    }
}

fn best_of_segment(
    segment: &Segment,
    at: usize,
    scorer: &mut Box<dyn Scorer>,
    (size, stop): (usize, &Stop),
    found: &mut Vec<Found>,
) -> Result<u64> {
    let heap = BinaryHeap::with_capacity(size.min(1_024));
    let mut best = Best { ids: segment.ids.ords(), size, heap, bound: (f32::NEG_INFINITY, 0) };
    let total = each(segment, scorer, Scoring::On, stop, |doc, score| best.offer(doc, score))?;
    let hits = best.heap.into_iter();
    found.extend(hits.map(|Ranking { score, id, doc }| Found {
        segment: at,
        doc,
        ordinal: id,
        id: None,
        score: Some(score),
        keys: Vec::new(),
    }));
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
    fn key(&self, doc: DocId, score: f32, sort: &Sort) -> Key {
        let pick = |column: &Column<u64>| match sort.order {
            Order::Ascending => column.values_for_doc(doc).min(),
            Order::Descending => column.values_for_doc(doc).max(),
        };
        match self {
            Self::Score => Key::Score(score),
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
        self.kept.sort_by(|a, b| compare_all(&a.0, &b.0, sort).then(a.1.cmp(&b.1)));
        self.kept.truncate(self.size);
    }

    fn offer(&mut self, doc: DocId, score: f32) {
        let keys = self.sources.iter().zip(self.sort).map(|(source, sort)| source.key(doc, score, sort)).collect();
        self.kept.push((keys, self.ids.first(doc).unwrap_or(u64::MAX), doc));
        if self.kept.len() >= 4 * self.size + 1_024 {
            self.cut();
        }
    }
}

fn sorted_of_segment(
    snapshot: &Snapshot,
    at: usize,
    scorer: &mut Box<dyn Scorer>,
    (sort, scoring): (&[Sort], Scoring),
    (size, stop): (usize, &Stop),
    found: &mut Vec<Found>,
) -> Result<u64> {
    let segment = &snapshot.segments[at];
    let sources = sort.iter().map(|sort| KeySource::open(snapshot, segment, sort)).collect::<Result<Vec<_>>>()?;
    let mut sorted = Sorted { ids: segment.ids.ords(), sources: &sources, sort, size, kept: Vec::new() };
    let total = each(segment, scorer, scoring, stop, |doc, score| sorted.offer(doc, score))?;
    sorted.cut();
    for (keys, id, doc) in sorted.kept {
        let score = keys.iter().find_map(|key| if let Key::Score(score) = key { Some(*score) } else { None });
        let keys = keys.into_iter().zip(&sources).map(|(key, source)| source.resolve(key)).collect::<Result<_>>()?;
        found.push(Found { segment: at, doc, ordinal: id, id: None, score, keys });
    }
    Ok(total)
}
