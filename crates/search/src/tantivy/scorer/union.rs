use tantivy::query::{EmptyScorer, Scorer};
use tantivy::{DocId, DocSet, Score, TERMINATED};

use super::round;
use crate::tantivy::weight::Scoring;

/// How many documents are added up at once.
const WINDOW: u32 = 4_096;

/// Documents that match enough of several scorers, with the sum of what they match.
///
/// Works through a window of documents scorer by scorer, so that each list of postings is read in one go.
pub(in super::super) struct Union<S> {
    scorers: Vec<S>,
    minimum: usize,
    scoring: Scoring,
    /// The first document of the window.
    base: DocId,
    doc: DocId,
    matched: Vec<u64>,
    sums: Vec<f64>,
    counts: Vec<u16>,
}

impl<S: Scorer> Union<S> {
    pub(in super::super) fn boxed(scorers: Vec<S>, minimum: usize, scoring: Scoring) -> Box<dyn Scorer> {
        let mut scorers: Vec<S> = scorers.into_iter().filter(|scorer| scorer.doc() != TERMINATED).collect();
        match scorers.len() {
            count if count < minimum => Box::new(EmptyScorer),
            0 => Box::new(EmptyScorer),
            1 => Box::new(scorers.remove(0)),
            _ => Box::new(Self::new(scorers, minimum, scoring)),
        }
    }

    fn new(scorers: Vec<S>, minimum: usize, scoring: Scoring) -> Self {
        let size = WINDOW as usize;
        let mut union = Self {
            scorers,
            minimum,
            scoring,
            base: 0,
            doc: 0,
            matched: vec![0; size / 64],
            sums: if scoring == Scoring::On { vec![0.0; size] } else { Vec::new() },
            counts: if minimum > 1 { vec![0; size] } else { Vec::new() },
        };
        union.doc = union.fill();
        union
    }

    /// Reads windows until one has a match, and returns it.
    fn fill(&mut self) -> DocId {
        loop {
            let Some(base) = self.scorers.iter().map(DocSet::doc).min().filter(|doc| *doc != TERMINATED) else {
                return TERMINATED;
            };
            self.base = base;
            let end = base.saturating_add(WINDOW);
            for scorer in &mut self.scorers {
                let mut doc = scorer.doc();
                while doc < end {
                    let at = (doc - base) as usize;
                    self.matched[at / 64] |= 1 << (at % 64);
                    if self.scoring == Scoring::On {
                        self.sums[at] += f64::from(scorer.score());
                    }
                    if self.minimum > 1 {
                        self.counts[at] += 1;
                    }
                    doc = scorer.advance();
                }
            }
            self.scorers.retain(|scorer| scorer.doc() != TERMINATED);
            if let Some(doc) = self.at_or_behind(0) {
                return doc;
            }
        }
    }

    /// The next match in the window. What lies before it is cleared for the next window.
    fn at_or_behind(&mut self, from: usize) -> Option<DocId> {
        for word_at in from / 64..self.matched.len() {
            while self.matched[word_at] != 0 {
                let at = word_at * 64 + self.matched[word_at].trailing_zeros() as usize;
                if at >= from && (self.minimum <= 1 || usize::from(self.counts[at]) >= self.minimum) {
                    return Some(self.base + u32::try_from(at).unwrap_or(WINDOW));
                }
                self.clear(at);
            }
        }
        None
    }

    fn clear(&mut self, at: usize) {
        self.matched[at / 64] &= !(1 << (at % 64));
        if self.scoring == Scoring::On {
            self.sums[at] = 0.0;
        }
        if self.minimum > 1 {
            self.counts[at] = 0;
        }
    }

    fn clear_before(&mut self, end: usize) {
        for word_at in 0..end.div_ceil(64).min(self.matched.len()) {
            while self.matched[word_at] != 0 {
                let at = word_at * 64 + self.matched[word_at].trailing_zeros() as usize;
                if at >= end {
                    return;
                }
                self.clear(at);
            }
        }
    }
}

impl<S: Scorer> DocSet for Union<S> {
    fn advance(&mut self) -> DocId {
        if self.doc == TERMINATED {
            return TERMINATED;
        }
        let at = (self.doc - self.base) as usize;
        self.clear(at);
        self.doc = self.at_or_behind(at).unwrap_or_else(|| self.fill());
        self.doc
    }

    fn seek(&mut self, target: DocId) -> DocId {
        if self.doc >= target {
            return self.doc;
        }
        if target < self.base.saturating_add(WINDOW) {
            let at = (target - self.base) as usize;
            self.clear_before(at);
            self.doc = self.at_or_behind(at).unwrap_or_else(|| self.fill());
            return self.doc;
        }
        self.clear_before(WINDOW as usize);
        for scorer in &mut self.scorers {
            if scorer.doc() < target {
                scorer.seek(target);
            }
        }
        self.scorers.retain(|scorer| scorer.doc() != TERMINATED);
        self.doc = self.fill();
        self.doc
    }

    fn doc(&self) -> DocId {
        self.doc
    }

    fn size_hint(&self) -> u32 {
        self.scorers.iter().map(DocSet::size_hint).fold(0, u32::saturating_add)
    }
}

impl<S: Scorer> Scorer for Union<S> {
    fn score(&mut self) -> Score {
        match self.sums.get((self.doc.wrapping_sub(self.base)) as usize) {
            Some(sum) => round(*sum),
            None => 0.0,
        }
    }
}
