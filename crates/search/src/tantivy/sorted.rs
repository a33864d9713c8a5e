//! The first of a segment by sort keys.

use std::collections::HashSet;

use statehouse_core::Result;
use tantivy::DocId;
use tantivy::columnar::MonotonicallyMappableToU64 as _;

use super::behind::Behind;
use super::best::Ties;
use super::collapse::{Collapse, Groups};
use super::found::{Found, Key};
use super::numbers::{BLOCK, Block, Numbers};
use super::place::{KeySource, Place, directed, place};
use super::snapshot::{Segment, Snapshot};
use crate::Sort;
use crate::cursor::Cursor;

/// Where the documents of a block belong by the numbers of a column: of several by the one that puts it first.
#[inline]
fn read(numbers: &mut Option<Numbers>, docs: &[DocId], sort: &Sort, places: &mut [Place]) {
    let Some(numbers) = numbers else { return places.fill(place(None, sort)) };
    match numbers.read(docs) {
        Block::One(numbers) => {
            places.iter_mut().zip(numbers).for_each(|(found, number)| *found = place(Some(*number), sort));
        }
        Block::Any(mut runs) => {
            for (found, doc) in places.iter_mut().zip(docs) {
                let first = runs.of(*doc).iter().copied().min_by_key(|number| directed(*number, sort));
                *found = place(first, sort);
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    first: Place,
    /// By the other keys.
    rest: Vec<Place>,
    id: u64,
    doc: DocId,
    group: Option<u64>,
}

/// The first of a segment by sort keys, then by id.
pub(super) struct Sorted<'a> {
    ties: Ties<'a>,
    keys: Vec<(KeySource, &'a Sort)>,
    /// Of the first key.
    numbers: Option<Numbers>,
    size: usize,
    /// Up to twice as many as are wanted.
    kept: Vec<Entry>,
    /// The place and the id of the last of those that are wanted, once they are in front: what comes behind it is not taken.
    bound: Option<(Place, u64)>,
    /// Where they begin.
    behind: Option<Behind>,
    /// Where only the first of each group is wanted.
    groups: Option<Groups>,
}

impl<'a> Sorted<'a> {
    pub(super) fn new(
        snapshot: &'a Snapshot,
        segment: &'a Segment,
        (sort, after): (&'a [Sort], Option<&Cursor>),
        size: usize,
        collapse: Option<Collapse>,
    ) -> Result<Self> {
        let keys = sort.iter().map(|sort| Ok((KeySource::open(snapshot, segment, sort)?, sort)));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let numbers = keys.first().and_then(|(source, _)| source.numbers());
        let behind = after.map(|cursor| Behind::new(segment, &keys, cursor)).transpose()?;
        let groups = collapse.map(|collapse| collapse.open(segment)).transpose()?;
        Ok(Self { ties: Ties::new(segment), keys, numbers, size, kept: Vec::new(), bound: None, behind, groups })
    }

    /// Takes those of a block of documents that may be among the first.
    #[inline]
    pub(super) fn offer(&mut self, docs: &[DocId], scores: &[f32]) {
        let Some((source, sort)) = self.keys.first() else { return };
        if let Some(groups) = &mut self.groups {
            groups.look(docs);
        }
        let mut places = [(false, 0); BLOCK];
        let places = &mut places[..docs.len()];
        if matches!(source, KeySource::Score) {
            let numbers = scores.iter().map(|score| Some(f64::from(*score).to_u64()));
            places.iter_mut().zip(numbers).for_each(|(found, number)| *found = place(number, sort));
        } else {
            read(&mut self.numbers, docs, sort, places);
        }
        for ((doc, score), first) in docs.iter().zip(scores).zip(places) {
            if !self.is_behind(*doc, *first) {
                self.take(*doc, *score, *first);
            }
        }
    }

    /// Whether a document certainly comes behind those that are wanted.
    #[inline]
    fn is_behind(&mut self, doc: DocId, first: Place) -> bool {
        self.bound.is_some_and(|(last, id)| {
            first > last || (first == last && self.keys.len() == 1 && !self.ties.may_precede(doc, id))
        })
    }

    fn take(&mut self, doc: DocId, score: f32, first: Place) {
        if self.behind.as_ref().is_some_and(|behind| behind.first(first).is_lt()) {
            return;
        }
        let rest =
            self.keys.iter().skip(1).map(|(source, sort)| place(source.number(doc, score, sort), sort)).collect();
        let group = self.groups.as_ref().and_then(|groups| groups.of(doc));
        let entry = Entry { first, rest, id: self.ties.id(doc), doc, group };
        if self.behind.as_ref().is_some_and(|behind| !behind.includes(first, &entry.rest, entry.id)) {
            return;
        }
        if self.bound.is_some() && self.kept.get(self.size - 1).is_some_and(|last| *last < entry) {
            return;
        }
        self.kept.push(entry);
        if self.kept.len() >= 2 * self.size {
            self.cut();
        }
    }

    /// Cuts down to what can still be among the first.
    fn cut(&mut self) {
        if self.groups.is_some() {
            // A group that is among the first again later is so by a document that comes before this one.
            self.kept.sort_unstable();
            let mut seen = HashSet::with_capacity(self.kept.len());
            self.kept.retain(|entry| seen.insert(entry.group));
        }
        if self.kept.len() >= self.size {
            self.kept.select_nth_unstable(self.size - 1);
            self.kept.truncate(self.size);
            self.bound = self.kept.last().map(|last| (last.first, last.id));
            self.ties.reset();
        }
    }

    pub(super) fn found(mut self, segment: usize) -> Result<Vec<Found>> {
        self.groups.as_ref().map_or(Ok(()), Groups::check)?;
        self.cut();
        let Self { keys, kept, .. } = self;
        let found = kept.into_iter().map(|Entry { first, rest, id, doc, group }| {
            let places = [first].into_iter().chain(rest);
            let keys = places.zip(&keys).map(|(place, (source, sort))| source.key(place, sort));
            let keys = keys.collect::<Result<Vec<_>>>()?;
            let score = keys.iter().find_map(|key| if let Key::Score(score) = key { Some(*score) } else { None });
            let mut found = Found::new((segment, doc, id), score, keys);
            found.group = group;
            Ok(found)
        });
        found.collect()
    }
}
