//! The best by score, and the total as far as it is to be counted, with no more looking than that takes.

use statehouse_core::Result;
use tantivy::query::Scorer;
use tantivy::{DocId, TERMINATED};

use super::best::Best;
use super::run;
use super::scorer::{Batch, Pruned};
use super::scoring::Scoring;
use super::shape::{Known, Shape};
use super::snapshot::{Segment, Snapshot};
use super::weight::Weight;
use crate::Total;
use crate::work::Stop;

/// How many documents to go through before asking whether the work is in vain.
pub(super) const STRETCH: DocId = 1 << 16;

/// How many to go through before asking whether enough were counted, or what the best score by now.
const FEW: DocId = 1 << 12;

/// How many documents match, as far as that is asked.
pub(super) struct Count {
    /// How many are enough; none if all are to be counted.
    enough: Option<u64>,
    known: Known,
    counted: u64,
}

impl Count {
    pub(super) const fn new(total: Total, known: Known) -> Self {
        let enough = match total {
            Total::Exact => None,
            Total::AtLeast(most) => Some(most.saturating_add(1)),
        };
        Self { enough, known, counted: 0 }
    }

    /// How many more are to be counted; none if all are.
    fn left(&self) -> Option<u64> {
        match (self.known, self.enough) {
            (Known::All(_), _) => Some(0),
            (_, None) => None,
            (Known::AtLeast(known), Some(enough)) if known >= enough => Some(0),
            (_, Some(enough)) => Some(enough.saturating_sub(self.counted)),
        }
    }

    pub(super) const fn add(&mut self, counted: u64) {
        self.counted += counted;
    }

    /// How many match: all of them, or more than were to be counted.
    pub(super) fn total(&self) -> u64 {
        match self.known {
            Known::All(all) => all,
            Known::AtLeast(known) => known.max(self.counted),
            Known::Nothing => self.counted,
        }
    }
}

/// A query of which only the best and the total are wanted.
pub(super) struct Sparing<'a> {
    snapshot: &'a Snapshot,
    weight: &'a Weight,
    /// None if each of the documents must be scored.
    shape: Option<Shape<'a>>,
    stop: &'a Stop,
}

impl<'a> Sparing<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, weight: &'a Weight, stop: &'a Stop) -> Self {
        let is_led_elsewhere =
            |shape: &Shape<'_>| matches!(shape, Shape::Terms(terms) if terms.is_led_elsewhere(snapshot));
        let shape = Shape::of(weight).filter(|shape| !is_led_elsewhere(shape));
        Self { snapshot, weight, shape, stop }
    }

    fn scorer(&self, at: usize, scoring: Scoring) -> Result<Box<dyn Scorer>> {
        run::scorer(self.weight, (self.snapshot, at), scoring, self.stop)
    }

    /// Counts the matches of a segment, as long as there are not enough.
    pub(super) fn count(&self, at: usize, count: &mut Count) -> Result<()> {
        if count.left() == Some(0) {
            return Ok(());
        }
        let mut scorer = self.scorer(at, Scoring::Off)?;
        let matched =
            each(&self.snapshot.segments[at], &mut scorer, (Scoring::Off, count.left()), self.stop, |_, _| ())?;
        count.add(matched);
        Ok(())
    }

    /// Finds the best of a segment. What scores too little for a page is left out as soon as enough were counted.
    pub(super) fn look(&self, at: usize, best: &mut Best<'_>, count: &mut Count) -> Result<()> {
        let mut open = None;
        if count.left() != Some(0) {
            let mut scorer = self.scorer(at, Scoring::On)?;
            let (segment, left) = (&self.snapshot.segments[at], (Scoring::On, count.left()));
            count.add(each(segment, &mut scorer, left, self.stop, |doc, score| best.offer(doc, score))?);
            open = Some(scorer);
        }
        let from = open.as_ref().map_or(0, |scorer| scorer.doc());
        if let Some(Shape::Terms(terms)) = &self.shape
            && from != TERMINATED
            && let Some(pruned) = run::pruned(terms, (self.snapshot, at), self.stop)?
        {
            return self.look_for_scores(at, (from, pruned), best);
        }
        let mut scorer = open.map_or_else(|| self.scorer(at, Scoring::On), Ok)?;
        if let Some(Shape::Flat(score)) = &self.shape {
            return self.look_for_ids(at, (scorer, *score), best);
        }
        let (segment, all) = (&self.snapshot.segments[at], (Scoring::On, None));
        each(segment, &mut scorer, all, self.stop, |doc, score| best.offer(doc, score)).map(drop)
    }

    /// What reaches a floor that rises with what is found.
    fn look_for_scores(&self, at: usize, (from, mut pruned): (DocId, Pruned), best: &mut Best<'_>) -> Result<()> {
        let alive = self.snapshot.segments[at].reader.alive_bitset();
        pruned.skip_to(from);
        while pruned.doc() != TERMINATED {
            let (floor, end) = best.floor(pruned.doc());
            let end = end.min(pruned.doc().saturating_add(STRETCH));
            pruned.pass(end, floor, &mut |doc, score| {
                if alive.is_none_or(|alive| alive.is_alive(doc)) {
                    best.offer(doc, score);
                }
            });
            self.stop.check()?;
        }
        Ok(())
    }

    /// Of documents that all score the same, the first by id.
    fn look_for_ids(&self, at: usize, (mut scorer, score): (Box<dyn Scorer>, f32), best: &mut Best<'_>) -> Result<()> {
        let segment = &self.snapshot.segments[at];
        let (alive, documents) = (segment.reader.alive_bitset(), segment.reader.max_doc());
        while scorer.doc() != TERMINATED {
            let (floor, end) = best.floor(scorer.doc());
            if score >= floor {
                let end = end.min(scorer.doc().saturating_add(FEW));
                scorer.drain(end, Scoring::On, &mut |doc, score| {
                    if alive.is_none_or(|alive| alive.is_alive(doc)) {
                        best.offer(doc, score);
                    }
                });
            } else if end < documents {
                scorer.seek(end);
            } else {
                break;
            }
            self.stop.check()?;
        }
        self.stop.check()
    }
}

/// Visits the live matches of a segment and counts them: all, or enough.
fn each(
    segment: &Segment,
    scorer: &mut Box<dyn Scorer>,
    (scoring, enough): (Scoring, Option<u64>),
    stop: &Stop,
    mut visit: impl FnMut(DocId, f32),
) -> Result<u64> {
    let alive = segment.reader.alive_bitset();
    let stretch = if enough.is_some() { FEW } else { STRETCH };
    let (mut drained, mut dead) = (0, 0);
    while scorer.doc() != TERMINATED && enough.is_none_or(|enough| drained - dead < enough) {
        let end = scorer.doc().saturating_add(stretch).min(TERMINATED);
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
