use std::collections::HashMap;

use tantivy::postings::SegmentPostings;
use tantivy::query::Scorer;
use tantivy::{DocId, DocSet, Score, TERMINATED};

use super::leaf::Lengths;
use super::occurrences::Occurrences;
use super::sloppy::Sloppy;
use crate::work::Stop;

/// Documents in which terms stand in order, ranked by how often.
pub(crate) struct Phrase {
    parts: Vec<Part>,
    /// The parts, the rarest first.
    order: Vec<usize>,
    /// The place of the last term.
    span: u32,
    sloppy: Option<Sloppy>,
    lengths: Lengths,
    frequency: f32,
    starts: Vec<u32>,
    others: Vec<u32>,
    stop: Stop,
}

/// One term, which may stand in the phrase more than once, or any of several.
struct Part {
    offsets: Vec<u32>,
    postings: Occurrences,
}

/// What may stand at a place of a phrase.
pub(crate) struct PhrasePlace<'a> {
    pub(crate) offset: u32,
    /// One term, or several of which any may. The segment need not have all of them.
    pub(crate) terms: Vec<&'a str>,
    /// Where those are that it has: at least one.
    pub(crate) found: Vec<SegmentPostings>,
}

impl Phrase {
    /// A phrase by its places, in order.
    pub(crate) fn new(places: Vec<PhrasePlace<'_>>, slop: u32, lengths: Lengths, stop: Stop) -> Self {
        let sloppy = (slop > 0).then(|| {
            let terms: Vec<_> = places.iter().map(|place| (place.offset, &*place.terms)).collect();
            Sloppy::new(slop, &terms, stop.clone())
        });
        let mut known: HashMap<&str, usize> = HashMap::new();
        let mut parts: Vec<Part> = Vec::new();
        for PhrasePlace { offset, terms, found } in places {
            let alone = if let [term] = *terms { Some(term) } else { None };
            match alone.and_then(|term| known.get(term)) {
                Some(at) => parts[*at].offsets.push(offset),
                None => {
                    known.extend(alone.map(|term| (term, parts.len())));
                    parts.push(Part { offsets: vec![offset], postings: Occurrences::of(found) });
                }
            }
        }
        let mut order: Vec<usize> = (0..parts.len()).collect();
        order.sort_by_key(|at| parts[*at].postings.size_hint());
        let span = parts.iter().flat_map(|part| &part.offsets).copied().max().unwrap_or_default();
        let (starts, others) = (Vec::new(), Vec::new());
        let mut phrase = Self { parts, order, span, sloppy, lengths, frequency: 0.0, starts, others, stop };
        let first = phrase.doc();
        phrase.find(first);
        phrase
    }

    /// Moves to the first match at or behind the target.
    fn find(&mut self, mut target: DocId) -> DocId {
        loop {
            target = self.meet(target);
            if self.stop.is_set() {
                // Nobody waits for it.
                target = self.meet(TERMINATED);
            }
            if target == TERMINATED {
                return TERMINATED;
            }
            self.frequency = self.count();
            if self.frequency > 0.0 {
                return target;
            }
            target = self.parts[self.order[0]].postings.advance();
        }
    }

    fn meet(&mut self, mut target: DocId) -> DocId {
        'again: loop {
            for at in &self.order {
                let postings = &mut self.parts[*at].postings;
                let doc = if postings.doc() < target { postings.seek(target) } else { postings.doc() };
                if doc > target {
                    target = doc;
                    continue 'again;
                }
            }
            return target;
        }
    }

    fn count(&mut self) -> f32 {
        let Some(sloppy) = &mut self.sloppy else { return self.count_exact() };
        for (at, part) in self.parts.iter_mut().enumerate() {
            part.postings.positions(sloppy.positions_mut(at));
        }
        sloppy.frequency()
    }

    #[expect(clippy::cast_precision_loss, reason = "no text holds a phrase 16 million times")]
    fn count_exact(&mut self) -> f32 {
        let Self { parts, order, span, starts, others, stop, .. } = self;
        starts.clear();
        let mut is_first = true;
        for at in order {
            let Part { offsets, postings } = &mut parts[*at];
            postings.positions(others);
            // Of several terms two may stand on one position.
            others.dedup();
            for offset in offsets {
                if stop.is_set() {
                    return 0.0;
                }
                let shift = *span - *offset;
                if std::mem::take(&mut is_first) {
                    starts.extend(others.iter().map(|position| position + shift));
                } else {
                    keep_common(starts, others, shift);
                }
            }
            if starts.is_empty() {
                return 0.0;
            }
        }
        starts.len() as f32
    }
}

/// Keeps what is also among the others, each moved by so much. Both ascend.
fn keep_common(starts: &mut Vec<u32>, others: &[u32], shift: u32) {
    let mut rest = others;
    starts.retain(|start| {
        while let [first, tail @ ..] = rest
            && first + shift < *start
        {
            rest = tail;
        }
        rest.first().is_some_and(|first| first + shift == *start)
    });
}

impl DocSet for Phrase {
    fn advance(&mut self) -> DocId {
        let next = self.parts[self.order[0]].postings.advance();
        self.find(next)
    }

    fn seek(&mut self, target: DocId) -> DocId {
        let doc = self.doc();
        if doc < target { self.find(target) } else { doc }
    }

    fn doc(&self) -> DocId {
        self.parts[self.order[0]].postings.doc()
    }

    fn size_hint(&self) -> u32 {
        self.parts[self.order[0]].postings.size_hint() / 8
    }
}

impl Scorer for Phrase {
    fn score(&mut self) -> Score {
        self.lengths.score(self.doc(), self.frequency)
    }
}
