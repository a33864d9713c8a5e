use tantivy::query::Scorer;
use tantivy::{DocId, DocSet, Score, SeekDangerResult, TERMINATED};

use super::batch::round;

type Boxed = Box<dyn Scorer>;

/// Documents that match all of several scorers, with the sum of those that score.
pub(crate) struct Conjunction {
    /// The rarest first; each with whether it scores.
    scorers: Vec<(Boxed, Scores)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Scores {
    Yes,
    No,
}

impl Conjunction {
    pub(crate) fn new(scored: Vec<Boxed>, unscored: Vec<Boxed>) -> Self {
        let scored = scored.into_iter().map(|scorer| (scorer, Scores::Yes));
        let mut scorers: Vec<_> = scored.chain(unscored.into_iter().map(|scorer| (scorer, Scores::No))).collect();
        scorers.sort_by_key(|(scorer, _)| scorer.size_hint());
        let mut conjunction = Self { scorers };
        let first = conjunction.doc();
        conjunction.meet(first);
        conjunction
    }

    /// Moves all to the first document at or behind the target that all have. Only the first goes from document to
    /// document; the others are asked whether they have it, and stand nowhere in particular when they have not.
    fn meet(&mut self, mut target: DocId) -> DocId {
        let Some(((lead, _), others)) = self.scorers.split_first_mut() else { return TERMINATED };
        'again: loop {
            target = if lead.doc() < target { lead.seek(target) } else { lead.doc() };
            if target == TERMINATED {
                return TERMINATED;
            }
            for (scorer, _) in &mut *others {
                if let SeekDangerResult::SeekLowerBound(least) = scorer.seek_danger(target) {
                    target = least;
                    continue 'again;
                }
            }
            return target;
        }
    }
}

impl DocSet for Conjunction {
    fn advance(&mut self) -> DocId {
        let next = match self.scorers.first_mut() {
            Some((lead, _)) => lead.advance(),
            None => TERMINATED,
        };
        self.meet(next)
    }

    fn seek(&mut self, target: DocId) -> DocId {
        let doc = self.doc();
        if doc < target { self.meet(target) } else { doc }
    }

    fn doc(&self) -> DocId {
        self.scorers.first().map_or(TERMINATED, |(lead, _)| lead.doc())
    }

    fn size_hint(&self) -> u32 {
        self.scorers.first().map_or(0, |(lead, _)| lead.size_hint())
    }
}

impl Scorer for Conjunction {
    fn score(&mut self) -> Score {
        let scored = self.scorers.iter_mut().filter(|(_, scores)| *scores == Scores::Yes);
        round(scored.map(|(scorer, _)| f64::from(scorer.score())).sum())
    }
}

/// Documents of the first scorer, with what the second adds where it matches too.
pub(crate) struct Optional {
    required: Boxed,
    extra: Boxed,
}

impl Optional {
    pub(crate) const fn new(required: Boxed, extra: Boxed) -> Self {
        Self { required, extra }
    }
}

impl DocSet for Optional {
    fn advance(&mut self) -> DocId {
        self.required.advance()
    }

    fn seek(&mut self, target: DocId) -> DocId {
        self.required.seek(target)
    }

    fn doc(&self) -> DocId {
        self.required.doc()
    }

    fn size_hint(&self) -> u32 {
        self.required.size_hint()
    }
}

impl Scorer for Optional {
    fn score(&mut self) -> Score {
        let doc = self.required.doc();
        if self.extra.doc() < doc {
            self.extra.seek(doc);
        }
        // In single precision, as Lucene's ReqOptSumScorer.
        let score = self.required.score();
        if self.extra.doc() == doc { score + self.extra.score() } else { score }
    }
}

/// Documents of the first scorer that none of the others has.
pub(crate) struct Exclusion {
    included: Boxed,
    excluded: Vec<Boxed>,
}

impl Exclusion {
    pub(crate) fn new(included: Boxed, excluded: Vec<Boxed>) -> Self {
        let mut exclusion = Self { included, excluded };
        exclusion.skip();
        exclusion
    }

    fn skip(&mut self) -> DocId {
        loop {
            let doc = self.included.doc();
            let hit = |scorer: &mut Boxed| {
                if scorer.doc() < doc {
                    scorer.seek(doc);
                }
                scorer.doc() == doc
            };
            if doc == TERMINATED || !self.excluded.iter_mut().any(hit) {
                return doc;
            }
            self.included.advance();
        }
    }
}

impl DocSet for Exclusion {
    fn advance(&mut self) -> DocId {
        self.included.advance();
        self.skip()
    }

    fn seek(&mut self, target: DocId) -> DocId {
        self.included.seek(target);
        self.skip()
    }

    fn doc(&self) -> DocId {
        self.included.doc()
    }

    fn size_hint(&self) -> u32 {
        self.included.size_hint()
    }
}

impl Scorer for Exclusion {
    fn score(&mut self) -> Score {
        self.included.score()
    }
}

/// Documents of any scorer, with the best score and a share of the others.
pub(crate) struct Maximum {
    scorers: Vec<Boxed>,
    tie_breaker: f32,
    doc: DocId,
}

impl Maximum {
    pub(crate) fn new(scorers: Vec<Boxed>, tie_breaker: f32) -> Self {
        let mut maximum = Self { scorers, tie_breaker, doc: 0 };
        maximum.doc = maximum.least();
        maximum
    }

    fn least(&self) -> DocId {
        self.scorers.iter().map(DocSet::doc).min().unwrap_or(TERMINATED)
    }
}

impl DocSet for Maximum {
    fn advance(&mut self) -> DocId {
        if self.doc == TERMINATED {
            return TERMINATED;
        }
        for scorer in &mut self.scorers {
            if scorer.doc() == self.doc {
                scorer.advance();
            }
        }
        self.doc = self.least();
        self.doc
    }

    fn seek(&mut self, target: DocId) -> DocId {
        for scorer in &mut self.scorers {
            if scorer.doc() < target {
                scorer.seek(target);
            }
        }
        self.doc = self.least();
        self.doc
    }

    fn doc(&self) -> DocId {
        self.doc
    }

    fn size_hint(&self) -> u32 {
        self.scorers.iter().map(DocSet::size_hint).fold(0, u32::saturating_add)
    }
}

impl Scorer for Maximum {
    fn score(&mut self) -> Score {
        let (mut best, mut others) = (0.0_f32, 0.0_f64);
        for scorer in self.scorers.iter_mut().filter(|scorer| scorer.doc() == self.doc) {
            let score = scorer.score();
            if score >= best {
                others += f64::from(best);
                best = score;
            } else {
                others += f64::from(score);
            }
        }
        // DisjunctionMaxScorer of Lucene multiplies in double precision.
        round(f64::from(best) + others * f64::from(self.tie_breaker))
    }
}
