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
use super::snapshot::{Segment, Snapshot};
use super::sorted::Sorted;
use super::sought::Sought;
use super::weight::Weight;
use crate::cursor::Cursor;
use crate::work::Stop;
use crate::{Order, Sort, SortKey};

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
}

/// How many documents match, and the first `size` of them. Counts what is counted besides on the way.
pub(super) fn top(
    snapshot: &Snapshot,
    Sought { weight, post }: &Sought,
    Window { sort, after, size, collapse }: Window<'_>,
    counting: &mut Counting<'_>,
    stop: &Stop,
) -> Result<(u64, Vec<Found>)> {
    let best_first = [Sort::by_score()];
    let sort = if collapse.is_some() && sort.is_empty() { &best_first } else { sort };
    let by_score = matches!(sort, [] | [Sort { key: SortKey::Score, order: Order::Descending, .. }]);
    let by_score = by_score && collapse.is_none();
    let scored = size > 0 && (by_score || sort.iter().any(|sort| sort.key == SortKey::Score));
    let scoring = if scored { Scoring::On } else { Scoring::Off };
    let mut found = Vec::new();
    let mut total = 0;
    for (at, segment) in snapshot.segments.iter().enumerate() {
        let mut tallies = counting.open(segment)?;
        let open = |weight, scoring| run::scorer(weight, (snapshot, at), scoring, stop);
        let post = post.as_ref().map(|post| open(post, Scoring::Off)).transpose()?;
        let mut run = Run { segment, scorer: open(weight, scoring)?, post, scoring, stop };
        total += if size == 0 {
            run.visit(&mut tallies, |_, _| ())?
        } else if by_score {
            let mut best = Best::new(segment, size, after)?;
            let matched = if tallies.is_empty() {
                each(segment, &mut run.scorer, scoring, stop, |doc, score| best.offer(doc, score))?
            } else {
                run.visit(&mut tallies, |docs, scores| {
                    docs.iter().zip(scores).for_each(|(doc, score)| best.offer(*doc, *score));
                })?
            };
            found.extend(best.found(at));
            matched
        } else {
            let mut sorted = Sorted::new(snapshot, segment, (sort, after), size, collapse)?;
            let matched = run.visit(&mut tallies, |docs, scores| sorted.offer(docs, scores))?;
            found.extend(sorted.found(at)?);
            matched
        };
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
    Ok((total, found))
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

/// How many documents to go through before asking whether the work is in vain.
const STRETCH: DocId = 1 << 16;

/// Visits every live match of a segment and counts them.
fn each(
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

/// The same many documents at a time.
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
