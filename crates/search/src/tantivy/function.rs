//! What the values of documents have a part in of their scores.

use tantivy::DocId;
use tantivy::columnar::MonotonicallyMappableToU64 as _;

use super::numbers::{Block, Numbers};
use super::scoring::Scoring;
use crate::query::Prepared;
use crate::{BoostMode, FieldKind, FunctionScoreQuery};

/// A function of the numbers of a column, and what becomes of it and the score.
#[derive(Clone, Copy, Debug)]
pub(super) struct Function {
    function: Prepared,
    /// The number that one of the column stands for.
    read: fn(u64) -> f64,
    mode: BoostMode,
    max_boost: f32,
}

impl Function {
    /// The query must have passed [`Schema::check_query`](crate::Schema::check_query).
    #[expect(clippy::cast_precision_loss, reason = "the server does the same")]
    pub(super) fn new(query: &FunctionScoreQuery, kind: &FieldKind) -> Self {
        let read: fn(u64) -> f64 = match kind {
            FieldKind::F64 => f64::from_u64,
            _ => |number| i64::from_u64(number) as f64,
        };
        let function = Prepared::of(&query.function);
        Self { function, read, mode: query.boost_mode, max_boost: query.max_boost }
    }

    /// Whether the score of the query is needed to that end.
    pub(super) fn scoring(&self) -> Scoring {
        if self.mode == BoostMode::Replace { Scoring::Off } else { Scoring::On }
    }

    #[inline]
    fn score(&self, score: f32, numbers: impl Iterator<Item = u64>) -> f32 {
        self.mode.of(score, self.function.at(numbers.map(self.read)), self.max_boost)
    }

    /// The score of one document, by the score that the query gives it.
    pub(super) fn of(&self, numbers: Option<&Numbers>, doc: DocId, score: f32) -> f32 {
        match numbers {
            Some(numbers) => self.score(score, numbers.column().values_for_doc(doc)),
            None => self.score(score, std::iter::empty()),
        }
    }

    /// The same for a block of documents.
    pub(super) fn of_all(&self, numbers: &mut Option<Numbers>, docs: &[DocId], scores: &[f32], made: &mut [f32]) {
        let all = made.iter_mut().zip(scores);
        let Some(numbers) = numbers else {
            return all.for_each(|(made, score)| *made = self.score(*score, std::iter::empty()));
        };
        match numbers.read(docs) {
            Block::One(numbers) => {
                all.zip(numbers).for_each(|((made, score), number)| *made = self.score(*score, [*number].into_iter()));
            }
            Block::Any(mut runs) => {
                for ((made, score), doc) in all.zip(docs) {
                    *made = self.score(*score, runs.of(*doc).iter().copied());
                }
            }
        }
    }
}
