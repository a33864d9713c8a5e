//! Words as they were typed before those that are like them.

use std::sync::Arc;

use super::text::{Fuzziness, Operator, PrefixWords};

/// The words of a text, also misspelt or not yet finished, those first that are as they were typed. Text fields only, and at
/// most [`MAX_EXACT_WORDS`](crate::MAX_EXACT_WORDS) terms.
///
/// The order, on every backend:
/// 1. A document that has more of the words exactly, by their terms, is before one that has fewer, however rare or frequent
///    words are and however long the documents.
/// 2. Among those that have as many, the sum over the words decides: what BM25 says of one that is there exactly; 1 for one
///    that is only completed; 0.5 for one that is only misspelt. So for a single word: exact, then completed, then misspelt.
///
/// To that end each exact word scores 32 times the number of words besides, which is more than all the rest can add up to.
/// The boost multiplies it all. Scores are single-precision numbers: for ten words BM25 is added to 3,200, and differences
/// of less than 0.0003 are lost.
///
#[cfg_attr(feature = "tantivy", doc = "```")]
#[cfg_attr(not(feature = "tantivy"), doc = "```ignore")]
/// use statehouse_search::{BulkOptions, Field, Fuzziness, Operation, Operator, PrefixWords, Query, Record, Refresh, Schema};
/// use statehouse_search::{SearchIndex as _, SearchIndexExt as _, SearchRequest, TantivyConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), statehouse_core::Error> {
/// let index = TantivyConfig::memory().open(Schema::builder().field(Field::text("title")).build()?).await?;
/// let titles = ["card", "hard", "hart", "hartford", "hart of a long title that scores less"];
/// let titles = titles.map(|title| Operation::Upsert(Record::new(title).unwrap().with("title", title)));
/// index.bulk_with(titles.into(), BulkOptions::default().with_refresh(Refresh::Now)).await?.check()?;
///
/// let query = Query::exact_first("title", "hart");
/// let found = index.search(&SearchRequest::new(query.clone())).await?;
/// assert_eq!(found.ids(), ["hart", "hart of a long title that scores less", "hartford", "hard"]);
///
/// let whole = query.clone().without_completions().fuzziness(Fuzziness::Edits(0));
/// assert_eq!(index.count(&whole.into()).await?, 2);
/// let begun = query.without_misspellings().completions(PrefixWords::All).operator(Operator::And).boost(2.0);
/// assert_eq!(index.count(&begun.into()).await?, 3);
/// let alike = Query::exact_first("title", "ard").prefix_length(1);
/// assert_eq!(index.count(&alike.into()).await?, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ExactFirstQuery {
    /// The field: a text field.
    pub field: Arc<str>,
    /// What the user typed.
    pub text: String,
    /// See [`operator`](Self::operator).
    pub operator: Operator,
    /// See [`fuzziness`](Self::fuzziness).
    pub fuzziness: Option<Fuzziness>,
    /// See [`prefix_length`](Self::prefix_length).
    pub prefix_length: u32,
    /// See [`completions`](Self::completions).
    pub completions: Option<PrefixWords>,
    /// See [`boost`](Self::boost).
    pub boost: f32,
}

impl ExactFirstQuery {
    /// How deep the queries are nested that it stands for.
    pub(crate) const DEPTH: usize = 4;

    pub(super) const fn new(field: Arc<str>, text: String) -> Self {
        Self {
            field,
            text,
            operator: Operator::Or,
            fuzziness: Some(Fuzziness::Auto),
            prefix_length: 0,
            completions: Some(PrefixWords::Last),
            boost: 1.0,
        }
    }

    /// Whether one of the words is enough, as by default, or all are needed, be it misspelt.
    #[must_use]
    pub const fn operator(mut self, operator: Operator) -> Self {
        self.operator = operator;
        self
    }

    /// How many letters may differ: [`Fuzziness::Auto`] unless set. As [`MatchQuery::fuzziness`](crate::MatchQuery::fuzziness).
    #[must_use]
    pub const fn fuzziness(mut self, fuzziness: Fuzziness) -> Self {
        self.fuzziness = Some(fuzziness);
        self
    }

    /// Finds no misspelt words.
    #[must_use]
    pub const fn without_misspellings(mut self) -> Self {
        self.fuzziness = None;
        self
    }

    /// How many code points at a word's beginning must be equal, where it may be misspelt.
    #[must_use]
    pub const fn prefix_length(mut self, code_points: u32) -> Self {
        self.prefix_length = code_points;
        self
    }

    /// Which words may be beginnings: [`PrefixWords::Last`] unless set.
    #[must_use]
    pub const fn completions(mut self, words: PrefixWords) -> Self {
        self.completions = Some(words);
        self
    }

    /// Takes all words as they are finished.
    #[must_use]
    pub const fn without_completions(mut self) -> Self {
        self.completions = None;
        self
    }
}
