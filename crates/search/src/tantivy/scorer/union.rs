use tantivy::query::{EmptyScorer, Scorer};
use tantivy::{DocId, DocSet, Score, TERMINATED};

use super::batch::{Batch, round};
use crate::tantivy::scoring::Scoring;

/// How many documents are added up at once: few enough that their sums stay in the processor's first cache.
const WINDOW: u32 = 2_048;
/// In how many words of bits.
const WORDS: usize = WINDOW as usize / 64;

/// Documents that match enough of several scorers, with the sum of what they match.
///
/// Works through a window of documents scorer by scorer, so that each list of postings is read in one go.
pub(crate) struct Union<S> {
    scorers: Vec<S>,
    minimum: usize,
    scoring: Scoring,
    /// The first document of the window.
    base: DocId,
    doc: DocId,
    /// Bits, one for each document of the window; the others are by word and bit too.
    matched: Vec<u64>,
    /// Empty without scoring.
    sums: Vec<[f64; 64]>,
    /// Empty if one match is enough.
    counts: Vec<[u16; 64]>,
}

impl<S: Batch> Union<S> {
    pub(crate) fn boxed(scorers: Vec<S>, minimum: usize, scoring: Scoring) -> Box<dyn Scorer> {
        let mut scorers: Vec<S> = scorers.into_iter().filter(|scorer| scorer.doc() != TERMINATED).collect();
        match scorers.len() {
            count if count < minimum => Box::new(EmptyScorer),
            0 => Box::new(EmptyScorer),
            1 => Box::new(scorers.remove(0)),
            _ => Box::new(Self::new(scorers, minimum, scoring)),
        }
    }

    fn new(scorers: Vec<S>, minimum: usize, scoring: Scoring) -> Self {
        let mut union = Self {
            scorers,
            minimum,
            scoring,
            base: 0,
            doc: 0,
            matched: vec![0; WORDS],
            sums: if scoring == Scoring::On { vec![[0.0; 64]; WORDS] } else { Vec::new() },
            counts: if minimum > 1 { vec![[0; 64]; WORDS] } else { Vec::new() },
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
            let Self { scorers, scoring, matched, sums, counts, .. } = self;
            for scorer in scorers {
                scorer.drain(end, *scoring, &mut |doc, score| {
                    let (word, bit) = place((doc - base) as usize);
                    matched[word] |= 1 << bit;
                    if let Some(sums) = sums.get_mut(word) {
                        sums[bit] += f64::from(score);
                    }
                    if let Some(counts) = counts.get_mut(word) {
                        counts[bit] += 1;
                    }
                });
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
                if at >= from && (self.minimum <= 1 || self.matches(at) >= self.minimum) {
                    return Some(self.base + u32::try_from(at).unwrap_or(WINDOW));
                }
                self.clear(at);
            }
        }
        None
    }

    fn matches(&self, at: usize) -> usize {
        let (word, bit) = place(at);
        self.counts.get(word).map_or(1, |counts| usize::from(counts[bit]))
    }

    fn clear(&mut self, at: usize) {
        let (word, bit) = place(at);
        self.matched[word] &= !(1 << bit);
        if let Some(sums) = self.sums.get_mut(word) {
            sums[bit] = 0.0;
        }
        if let Some(counts) = self.counts.get_mut(word) {
            counts[bit] = 0;
        }
    }

    /// Hands out the matches of one word of the window that are before `end`.
    #[inline]
    fn drain_word(&mut self, word: usize, end: DocId, each: &mut impl FnMut(DocId, Score)) -> u64 {
        let base = self.base + 64 * u32::try_from(word).unwrap_or_default();
        let wanted = match end.saturating_sub(base) {
            count @ 0..64 => (1 << count) - 1,
            _ => u64::MAX,
        };
        let mut bits = self.matched[word] & wanted;
        self.matched[word] &= !wanted;
        let mut drained = 0;
        let (mut sums, mut counts) = (self.sums.get_mut(word), self.counts.get_mut(word));
        while bits != 0 {
            let bit = bits.trailing_zeros();
            bits &= bits - 1;
            let sum = sums.as_mut().map_or(0.0, |sums| std::mem::take(&mut sums[bit as usize]));
            if let Some(counts) = &mut counts
                && usize::from(std::mem::take(&mut counts[bit as usize])) < self.minimum
            {
                continue;
            }
            drained += 1;
            each(base + bit, round(sum));
        }
        drained
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

impl<S: Batch> Batch for Union<S> {
    fn drain(&mut self, end: DocId, _: Scoring, each: &mut impl FnMut(DocId, Score)) -> u64 {
        let mut drained = 0;
        while self.doc < end {
            let (first, _) = place((self.doc - self.base) as usize);
            for word in first..WORDS {
                drained += self.drain_word(word, end, each);
            }
            self.doc = self.at_or_behind(first * 64).unwrap_or_else(|| self.fill());
        }
        drained
    }
}

impl<S: Batch> DocSet for Union<S> {
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

impl<S: Batch> Scorer for Union<S> {
    fn score(&mut self) -> Score {
        let (word, bit) = place(self.doc.wrapping_sub(self.base) as usize);
        self.sums.get(word).map_or(0.0, |sums| round(sums[bit]))
    }
}

/// The word and the bit of a document of the window.
#[inline]
const fn place(at: usize) -> (usize, usize) {
    (at / 64, at % 64)
}
