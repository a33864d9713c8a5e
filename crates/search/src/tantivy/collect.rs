//! The best hits over all segments, in one order for every backend: score or sort keys, then id.

use statehouse_core::Result;
use tantivy::query::Scorer;
use tantivy::{DocId, DocSet as _, TERMINATED};

use super::best::Best;
use super::collapse::Collapse;
use super::counting::{Counting, Tally};
use super::found::Found;
use super::run;
use super::scorer::{Batch, Buffer};
use super::scoring::Scoring;
use super::shape::Known;
use super::snapshot::{Segment, Snapshot};
use super::sorted::Sorted;
use super::sought::Sought;
use super::sparing::{Count, STRETCH, Sparing};
use super::weight::Weight;
use crate::cursor::Cursor;
use crate::work::Stop;
use crate::{Order, Sort, SortKey, Total};

/// How many documents match.
pub(super) fn count(snapshot: &Snapshot, weight: &Weight, stop: &Stop) -> Result<u64> {
    let mut total = 0;
    for (at, segment) in snapshot.segments.iter().enumerate() {
        let scorer = &mut run::scorer(weight, (snapshot, at), Scoring::Off, stop)?;
        total += each_block(segment, scorer, Scoring::Off, stop, |_, _| ())?;
    }
    Ok(total)
}

/// Which hits are wanted.
#[derive(Clone, Copy)]
pub(super) struct Window<'a> {
    pub(super) sort: &'a [Sort],
    /// Behind which they begin.
    pub(super) after: Option<&'a Cursor>,
    pub(super) size: usize,
    /// Whether only the first of each group is wanted.
    pub(super) collapse: Option<Collapse>,
    /// How far all that match are counted.
    pub(super) total: Total,
}

/// How many documents match, or more than were to be counted, and the first `size` of them. Counts what is counted besides on
/// the way.
pub(super) fn top(
    snapshot: &Snapshot,
    sought: &Sought,
    window: Window<'_>,
    counting: &mut Counting<'_>,
    stop: &Stop,
) -> Result<(u64, Vec<Found>)> {
    let best_first = [Sort::by_score()];
    let Window { sort, after, size, collapse, total } = window;
    let sort = if collapse.is_some() && sort.is_empty() { &best_first } else { sort };
    let search = Search::new(snapshot, sought, Window { sort, ..window }, stop);
    let known = if sought.post.is_none() { Known::of(&sought.weight, snapshot, stop)? } else { Known::Nothing };
    let (mut count, sparing) = (Count::new(total, known), Sparing::new(snapshot, &sought.weight, stop));
    let (mut found, mut floor) = (Vec::new(), f32::NEG_INFINITY);
    for (at, segment) in snapshot.segments.iter().enumerate() {
        let mut tallies = counting.open(segment)?;
        let is_seen_whole = sought.post.is_some() || !tallies.is_empty();
        if size == 0 && !is_seen_whole {
            sparing.count(at, &mut count)?;
        } else if search.by_score && !is_seen_whole {
            let mut best = Best::new(segment, size, after, floor)?;
            sparing.look(at, &mut best, &mut count)?;
            found.extend(best.found(at));
            floor = last_of(&found, size);
        } else {
            count.add(search.visit(at, &mut tallies, &mut found)?);
        }
        counting.add(at, tallies, stop)?;
    }
    found.sort_by(|a: &Found, b: &Found| {
        a.rank(b, sort).then(a.segment.cmp(&b.segment)).then(a.ordinal.cmp(&b.ordinal))
    });
    // A group may be found in every segment, so whatever was found may be among the first once others are left out.
    let settled = if collapse.is_some() { found.len() } else { size };
    settle_ties(snapshot, &mut found, (sort, settled), stop)?;
    collapse.map_or(Ok(()), |collapse| collapse.firsts(snapshot, &mut found, stop))?;
    found.truncate(size);
    Ok((count.total(), found))
}

/// A search that visits all that matches.
struct Search<'a> {
    snapshot: &'a Snapshot,
    sought: &'a Sought,
    window: Window<'a>,
    by_score: bool,
    scoring: Scoring,
    stop: &'a Stop,
}

impl<'a> Search<'a> {
    fn new(snapshot: &'a Snapshot, sought: &'a Sought, window: Window<'a>, stop: &'a Stop) -> Self {
        let by_score = matches!(window.sort, [] | [Sort { key: SortKey::Score, order: Order::Descending, .. }]);
        let by_score = by_score && window.collapse.is_none();
        let is_scored = by_score || window.sort.iter().any(|sort| sort.key == SortKey::Score);
        let scoring = if window.size > 0 && is_scored { Scoring::On } else { Scoring::Off };
        Self { snapshot, sought, window, by_score, scoring, stop }
    }

    /// Visits a segment, and says how many match there.
    fn visit(&self, at: usize, tallies: &mut [Tally], found: &mut Vec<Found>) -> Result<u64> {
        let Self { snapshot, sought: Sought { weight, post }, scoring, stop, .. } = self;
        let Window { sort, after, size, collapse, .. } = self.window;
        let segment = &snapshot.segments[at];
        let open = |weight, scoring| run::scorer(weight, (snapshot, at), scoring, stop);
        let post = post.as_ref().map(|post| open(post, Scoring::Off)).transpose()?;
        let mut run = Run { segment, scorer: open(weight, *scoring)?, post, scoring: *scoring, stop };
        if size == 0 {
            return run.visit(tallies, |_, _| ());
        }
        if self.by_score {
            let mut best = Best::new(segment, size, after, f32::NEG_INFINITY)?;
            let matched = run.visit(tallies, |docs, scores| {
                docs.iter().zip(scores).for_each(|(doc, score)| best.offer(*doc, *score));
            })?;
            found.extend(best.found(at));
            return Ok(matched);
        }
        let mut sorted = Sorted::new(snapshot, segment, (sort, after), size, collapse)?;
        let matched = run.visit(tallies, |docs, scores| sorted.offer(docs, scores))?;
        found.extend(sorted.found(at)?);
        Ok(matched)
    }
}

/// What the last of the first `size` scores; anything if there are not so many.
fn last_of(found: &[Found], size: usize) -> f32 {
    let mut scores: Vec<_> = found.iter().map(|found| found.score.unwrap_or_default()).collect();
    if scores.len() < size {
        return f32::NEG_INFINITY;
    }
    *scores.select_nth_unstable_by(size - 1, |a, b| b.total_cmp(a)).1
}

/// A query on one segment.
struct Run<'a> {
    segment: &'a Segment,
    scorer: Box<dyn Scorer>,
    /// What is offered must match this too.
    post: Option<Box<dyn Scorer>>,
    scoring: Scoring,
    stop: &'a Stop,
}

impl Run<'_> {
    /// Visits every live match, counts its values, and says how many were offered.
    fn visit(&mut self, tallies: &mut [Tally], mut offer: impl FnMut(&[DocId], &[f32])) -> Result<u64> {
        let Self { segment, scorer, post, scoring, stop } = self;
        let (mut passed, mut buffer) = (0, Buffer::default());
        let matched = each_block(segment, scorer, *scoring, stop, |docs, scores| {
            tallies.iter_mut().for_each(|tally| tally.add(docs));
            let Some(post) = post else { return offer(docs, scores) };
            for (doc, score) in docs.iter().zip(scores).filter(|(doc, _)| matches(post, **doc)) {
                passed += 1;
                buffer.push(*doc, *score, &mut offer);
            }
        })?;
        buffer.flush(&mut offer);
        Ok(if self.post.is_some() { passed } else { matched })
    }
}

/// Whether a scorer has a document. They are to be asked for in order.
fn matches(scorer: &mut Box<dyn Scorer>, doc: DocId) -> bool {
    doc == if scorer.doc() < doc { scorer.seek(doc) } else { scorer.doc() }
}

/// Puts hits of several segments that are equal otherwise into the order of their ids. An id is looked up only here:
/// that takes longer than to find the hit.
pub(super) fn settle_ties(
    snapshot: &Snapshot,
    found: &mut [Found],
    (sort, size): (&[Sort], usize),
    stop: &Stop,
) -> Result<()> {
    let mut start = 0;
    while start < found.len().min(size) {
        let first = &found[start];
        let end = start + found[start..].iter().take_while(|other| first.rank(other, sort).is_eq()).count();
        let tie = &mut found[start..end];
        if tie.first().map(|found| found.segment) != tie.last().map(|found| found.segment) {
            for (at, found) in tie.iter_mut().enumerate() {
                if at % LOOK_UPS == 0 {
                    stop.check()?;
                }
                found.id = Some(snapshot.segments[found.segment].id(found.ordinal)?);
            }
            tie.sort_by(|a, b| a.id.cmp(&b.id));
        }
        start = end;
    }
    Ok(())
}

/// How many ids to look up before asking whether the work is in vain.
const LOOK_UPS: usize = 1_024;

/// Visits every live match of a segment, many at a time, and counts them.
fn each_block(
    segment: &Segment,
    scorer: &mut Box<dyn Scorer>,
    scoring: Scoring,
    stop: &Stop,
    mut visit: impl FnMut(&[DocId], &[f32]),
) -> Result<u64> {
    let alive = segment.reader.alive_bitset();
    let (mut drained, mut living, mut buffer) = (0, 0, Buffer::default());
    while scorer.doc() != TERMINATED {
        let end = scorer.doc().saturating_add(STRETCH).min(TERMINATED);
        drained += match alive {
            None => scorer.blocks(end, scoring, &mut visit),
            Some(alive) => scorer.blocks(end, scoring, &mut |docs, scores| {
                for (doc, score) in docs.iter().zip(scores).filter(|(doc, _)| alive.is_alive(**doc)) {
                    living += 1;
                    buffer.push(*doc, *score, &mut visit);
                }
            }),
        };
        stop.check()?;
    }
    buffer.flush(&mut visit);
    // A scorer that was stopped ends early.
    stop.check()?;
    Ok(if alive.is_some() { living } else { drained })
}
