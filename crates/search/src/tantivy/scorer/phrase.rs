use tantivy::postings::{Postings, SegmentPostings};
use tantivy::query::Scorer;
use tantivy::{DocId, DocSet, Score, TERMINATED};

use super::leaf::Lengths;
use super::sloppy::Sloppy;

/// Documents in which terms stand in order, ranked by how often.
pub(in super::super) struct Phrase {
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
}

struct Part {
    offset: u32,
    postings: SegmentPostings,
}

impl Phrase {
    /// Terms with their places in the phrase, in its order.
    pub(in super::super) fn new(terms: Vec<(u32, &str, SegmentPostings)>, slop: u32, lengths: Lengths) -> Self {
        let sloppy = (slop > 0).then(|| {
            let terms: Vec<_> = terms.iter().map(|(offset, term, _)| (*offset, *term)).collect();
            Sloppy::new(slop, &terms)
        });
        let parts: Vec<Part> = terms.into_iter().map(|(offset, _, postings)| Part { offset, postings }).collect();
        let mut order: Vec<usize> = (0..parts.len()).collect();
        order.sort_by_key(|at| parts[*at].postings.size_hint());
        let span = parts.iter().map(|part| part.offset).max().unwrap_or_default();
        let (starts, others) = (Vec::new(), Vec::new());
        let mut phrase = Self { parts, order, span, sloppy, lengths, frequency: 0.0, starts, others };
        let first = phrase.doc();
        phrase.find(first);
        phrase
    }

    /// Moves to the first match at or behind the target.
    fn find(&mut self, mut target: DocId) -> DocId {
        loop {
            target = self.meet(target);
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
        let Self { parts, order, span, starts, others, .. } = self;
        for (rank, at) in order.iter().enumerate() {
            let Part { offset, postings } = &mut parts[*at];
            if rank == 0 {
                postings.positions_with_offset(*span - *offset, starts);
                continue;
            }
            postings.positions_with_offset(*span - *offset, others);
            let mut rest = others.as_slice();
            starts.retain(|start| {
                while let [first, tail @ ..] = rest
                    && first < start
                {
                    rest = tail;
                }
                rest.first() == Some(start)
            });
            if starts.is_empty() {
                return 0.0;
            }
        }
        starts.len() as f32
    }
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
