//! The documents of terms that may be among the best, and as few of the others as can be told: MAXSCORE over blocks.
//!
//! A floor is what a document must score to be wanted. In a window of documents, the terms that together cannot reach it are
//! idle: their postings are not read, but looked up for documents that the others have, and only for those that would reach
//! the floor with all of them, each as often as in any document of the window, at the length that this document has.
//!
//! Nothing that reaches the floor is left out, and scores are those of [`Union`](super::Union) and
//! [`Conjunction`](super::Conjunction) to the last bit: their sums of double precision are exact, so that the order in which
//! they are added up is no matter. See [`sums_are_exact`].

use std::sync::Arc;

use tantivy::query::Scorer;
use tantivy::{DocId, DocSet as _, Score, SeekDangerResult, TERMINATED};

use super::batch::{Batch, round};
use super::leaf::{Ranked, float};
use crate::tantivy::impacts::Impacts;
use crate::tantivy::scoring::Scoring;

/// How many documents are bounded together.
const WINDOW: u32 = 2_048;
/// In how many words of bits.
const WORDS: usize = WINDOW as usize / 64;

/// Of how many idle terms the length of a document is looked at; of further ones only what they give in the window.
const BY_LENGTH: usize = 4;

/// Whether sums of the scores of terms of these weights are exact in double precision.
///
/// A score is the difference of the weight and of less than that, in single precision: a multiple of half the last place of
/// the weight, 2⁻²⁵ of it or more. A sum of up to 2⁵³ of the least of these is exact.
pub(crate) fn sums_are_exact(weights: impl Iterator<Item = f32>) -> bool {
    let (mut sum, mut least) = (0.0, f64::INFINITY);
    for weight in weights.filter(|weight| *weight != 0.0) {
        if !(1e-30..=1e30).contains(&weight) {
            return false;
        }
        sum += f64::from(weight);
        least = f64::from(weight).min(least);
    }
    sum <= least * f64::from(1_u32 << 27)
}

/// A term, with what its documents score at most.
struct Bounded {
    /// Looks documents up.
    probe: Ranked,
    impacts: Arc<Impacts>,
    /// The first block that is not left behind.
    block: usize,
    /// What a document of the window scores at most.
    most: Score,
    /// How often the term stands in a document of the window at most.
    frequency: u32,
    is_idle: bool,
}

impl Bounded {
    /// The last document of the block of the first one from here on that may have the term; none behind the last.
    fn last(&mut self, doc: DocId) -> Option<DocId> {
        self.block = self.impacts.block_of(doc, self.block);
        self.impacts.last(self.block)
    }

    /// Finds out what the documents of a window score at most. The next one must not begin before it.
    fn look(&mut self, from: DocId, to: DocId) {
        self.block = self.impacts.block_of(from, self.block);
        (self.most, self.frequency) = (0.0, 0);
        let mut block = self.block;
        while let Some(last) = self.impacts.last(block) {
            for (frequency, length) in self.impacts.of(block) {
                self.most = self.most.max(self.probe.lengths().of(*length, float(*frequency)));
                self.frequency = self.frequency.max(*frequency);
            }
            if last >= to - 1 {
                return;
            }
            block += 1;
        }
    }

    /// What one document of the window scores at most.
    #[inline]
    fn most_of(&self, doc: DocId) -> f64 {
        if self.frequency == 0 { 0.0 } else { self.probe.lengths().score(doc, float(self.frequency)).into() }
    }

    /// What a document scores, if it has the term. They are to be asked for in order.
    fn score(&mut self, doc: DocId) -> Option<f64> {
        let found = if self.probe.doc() < doc { self.probe.seek(doc) } else { self.probe.doc() };
        (found == doc).then(|| self.probe.score().into())
    }
}

fn read(reader: &mut Ranked, from: DocId, to: DocId, each: &mut impl FnMut(DocId, Score)) {
    reader.seek(from);
    reader.drain(to, Scoring::On, each);
}

/// How many of the terms a document must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Any,
    All,
}

/// What documents must have besides, and what they must not.
pub(crate) struct Besides {
    pub(crate) filter: Vec<Box<dyn Scorer>>,
    pub(crate) must_not: Vec<Box<dyn Scorer>>,
}

impl Besides {
    /// They are to be asked for in order, and each once.
    #[inline]
    fn allow(&mut self, doc: DocId) -> bool {
        let has = |scorer: &mut Box<dyn Scorer>| scorer.seek_danger(doc) == SeekDangerResult::Found;
        let has_not =
            |scorer: &mut Box<dyn Scorer>| doc != if scorer.doc() < doc { scorer.seek(doc) } else { scorer.doc() };
        self.filter.iter_mut().all(has) && self.must_not.iter_mut().all(has_not)
    }
}

/// The documents of terms.
pub(crate) struct Pruned {
    /// What reads the postings of each term.
    readers: Vec<Ranked>,
    terms: Vec<Bounded>,
    need: Need,
    besides: Besides,
    /// The first document that was not looked at.
    at: DocId,
    window: Window,
}

/// Of each document of a window, what the terms that were read give it.
struct Window {
    matched: Vec<u64>,
    sums: Vec<f64>,
    /// The terms, those that score least in front.
    order: Vec<usize>,
    /// What so many of them give together at most.
    together: Vec<f64>,
}

/// Where what is found goes.
struct Wanted<'a> {
    floor: Score,
    besides: &'a mut Besides,
    each: &'a mut dyn FnMut(DocId, Score),
}

impl Wanted<'_> {
    /// Whether what scores at most so much may be wanted.
    #[inline]
    fn may_have(&self, most: f64) -> bool {
        round(most) >= self.floor
    }

    #[inline]
    fn offer(&mut self, doc: DocId, score: f64) {
        if self.may_have(score) && self.besides.allow(doc) {
            (self.each)(doc, round(score));
        }
    }
}

impl Pruned {
    /// Of terms whose lengths are monotonic, and whose sums exact.
    pub(crate) fn new(mut terms: Vec<(Ranked, Arc<Impacts>)>, need: Need, besides: Besides) -> Self {
        // Where all are needed, the rarest leads.
        terms.sort_by_key(|(reader, _)| reader.size_hint());
        let several = need == Need::Any && terms.len() > 1;
        let (words, documents) = if several { (WORDS, WINDOW as usize) } else { (0, 0) };
        let (order, together) = ((0..terms.len()).collect(), Vec::with_capacity(terms.len() + 1));
        let window = Window { matched: vec![0; words], sums: vec![0.0; documents], order, together };
        let readers = terms.iter().map(|(reader, _)| reader.clone()).collect();
        let bounded = |(probe, impacts)| Bounded { probe, impacts, block: 0, most: 0.0, frequency: 0, is_idle: false };
        Self { readers, terms: terms.into_iter().map(bounded).collect(), need, besides, at: 0, window }
    }

    /// The first document that was not looked at.
    pub(crate) const fn doc(&self) -> DocId {
        self.at
    }

    /// Goes on from a document.
    pub(crate) fn skip_to(&mut self, doc: DocId) {
        self.at = self.at.max(doc);
    }

    /// Hands out what reaches the floor, in order, up to some place that is not behind `end`: as soon as something was read,
    /// the floor may be another.
    pub(crate) fn pass(&mut self, end: DocId, floor: Score, each: &mut dyn FnMut(DocId, Score)) {
        if self.need == Need::All || self.readers.len() == 1 {
            self.follow(end, floor, each);
        } else {
            self.pass_any(end, floor, each);
        }
    }

    /// Reads the postings of the first term, block after block, and looks the others up.
    fn follow(&mut self, end: DocId, floor: Score, each: &mut dyn FnMut(DocId, Score)) {
        let Self { readers, terms, besides, at, .. } = self;
        let (Some(reader), Some((lead, others))) = (readers.first_mut(), terms.split_first_mut()) else {
            *at = TERMINATED;
            return;
        };
        let mut wanted = Wanted { floor, besides, each };
        while *at < end {
            let from = *at;
            let Some(last) = lead.last(from) else {
                *at = TERMINATED;
                return;
            };
            let to = end.min(last.saturating_add(1));
            *at = to;
            lead.look(from, to);
            others.iter_mut().for_each(|other| other.look(from, to));
            let most: f64 = others.iter().map(|other| f64::from(other.most)).sum();
            if !wanted.may_have(f64::from(lead.most) + most) {
                continue;
            }
            return read(reader, from, to, &mut |doc, score| {
                let score = f64::from(score);
                let most: f64 = others.iter().map(|other| other.most_of(doc)).sum();
                if wanted.may_have(score + most)
                    && let Some(score) = others.iter_mut().try_fold(score, |sum, other| Some(sum + other.score(doc)?))
                {
                    wanted.offer(doc, score);
                }
            });
        }
    }

    /// Goes through windows until one has something that may reach the floor.
    fn pass_any(&mut self, end: DocId, floor: Score, each: &mut dyn FnMut(DocId, Score)) {
        while self.at < end {
            let from = self.next();
            self.at = from;
            if from >= end {
                return;
            }
            let to = end.min(from.saturating_add(WINDOW));
            self.at = to;
            let Self { readers, terms, besides, window, .. } = self;
            let mut wanted = Wanted { floor, besides: &mut *besides, each: &mut *each };
            let idle = window.look(terms, (from, to), &wanted);
            match terms.len() - idle {
                0 => continue,
                1 => window.read_one(readers, terms, (from, to), &mut wanted),
                _ => window.read_several(readers, terms, (from, to), &mut wanted),
            }
            return;
        }
    }

    /// The first document that may have any of the terms, as far as is known without reading.
    fn next(&mut self) -> DocId {
        let at = self.at;
        let both = self.readers.iter().zip(&mut self.terms);
        let next = both.filter_map(|(reader, term)| term.last(at).map(|_| reader.doc().max(at)));
        next.min().unwrap_or(TERMINATED)
    }
}

impl Window {
    /// Finds out how many terms are idle.
    fn look(&mut self, terms: &mut [Bounded], (from, to): (DocId, DocId), wanted: &Wanted<'_>) -> usize {
        terms.iter_mut().for_each(|term| term.look(from, to));
        self.order.sort_unstable_by(|a, b| terms[*a].most.total_cmp(&terms[*b].most));
        self.together.clear();
        let (mut together, mut idle) = (0.0, 0);
        for place in &self.order {
            self.together.push(together);
            let term = &mut terms[*place];
            together += f64::from(term.most);
            term.is_idle = !wanted.may_have(together);
            idle += usize::from(term.is_idle);
        }
        self.together.push(together);
        idle
    }

    /// Reads the term that scores most, and looks up the others.
    fn read_one(
        &self,
        readers: &mut [Ranked],
        terms: &mut [Bounded],
        (from, to): (DocId, DocId),
        wanted: &mut Wanted<'_>,
    ) {
        let Some((lead, idle)) = self.order.split_last() else { return };
        read(&mut readers[*lead], from, to, &mut |doc, score| self.finish(terms, idle, (doc, score.into()), wanted));
    }

    /// Reads all that are not idle, and looks up the others.
    fn read_several(
        &mut self,
        readers: &mut [Ranked],
        terms: &mut [Bounded],
        (from, to): (DocId, DocId),
        wanted: &mut Wanted<'_>,
    ) {
        let Self { matched, sums, .. } = self;
        for (reader, _) in readers.iter_mut().zip(&*terms).filter(|(_, term)| !term.is_idle) {
            read(reader, from, to, &mut |doc, score| {
                let at = (doc - from) as usize;
                matched[at / 64] |= 1 << (at % 64);
                sums[at] += f64::from(score);
            });
        }
        let idle = self.order.iter().take_while(|term| terms[**term].is_idle).count();
        for word in 0..WORDS {
            let mut bits = std::mem::take(&mut self.matched[word]);
            while bits != 0 {
                let at = word * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let sum = std::mem::take(&mut self.sums[at]);
                let doc = from + u32::try_from(at).unwrap_or_default();
                self.finish(terms, &self.order[..idle], (doc, sum), wanted);
            }
        }
    }

    /// Adds what the idle terms give to a document, as long as it may be wanted.
    #[inline]
    fn finish(&self, terms: &mut [Bounded], idle: &[usize], (doc, mut sum): (DocId, f64), wanted: &mut Wanted<'_>) {
        let further = idle.len().saturating_sub(BY_LENGTH);
        let most: f64 = idle[further..].iter().map(|place| terms[*place].most_of(doc)).sum();
        if !wanted.may_have(sum + self.together[further] + most) {
            return;
        }
        for (left, place) in idle.iter().enumerate().rev() {
            sum += terms[*place].score(doc).unwrap_or_default();
            if !wanted.may_have(sum + self.together[left]) {
                return;
            }
        }
        wanted.offer(doc, sum);
    }
}

#[cfg(test)]
mod tests {
    use super::sums_are_exact;

    /// All sums of three scores in every order.
    #[test]
    fn weights_whose_sums_depend_on_the_order_are_told() {
        assert!(sums_are_exact([2.3, 0.7, 1e7].into_iter()));
        assert!(sums_are_exact([0.0, 1.0, 0.0].into_iter()));
        assert!(!sums_are_exact([1e9, 1.0].into_iter()));
        assert!(!sums_are_exact([1.0, f32::MIN_POSITIVE].into_iter()));
        assert!(!sums_are_exact([1.0, f32::NAN].into_iter()));
        assert!(!sums_are_exact([1.0, -1.0].into_iter()));
        let score = |weight: f32, times: f32| f64::from(weight - weight / (1.0 + times));
        for weight in [2.3_f32, 1e5, 1e8] {
            for times in 1..2_000_u16 {
                let times = f32::from(times) * 1e-5;
                let [a, b, c] = [score(weight, times), score(0.9, 3.0 * times), score(7.7, times / 7.0)];
                if sums_are_exact([weight, 0.9, 7.7].into_iter()) {
                    assert!(((a + b) + c).to_bits() == ((c + b) + a).to_bits() && ((a + c) + b) - (a + c) == b);
                }
            }
        }
    }
}
