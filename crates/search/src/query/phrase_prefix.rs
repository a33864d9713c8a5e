//! A phrase whose last word is not finished.

use std::sync::Arc;

/// The terms of a text in order, the last one only begun: `"acute hea"` finds *acute heart failure*.
///
/// For text fields, but not for those whose queries make several terms of a word. Unlike
/// [`MatchPrefixQuery`](crate::MatchPrefixQuery) it takes the last word as begun whatever is behind it, be it a space, a dot or a
/// dropped stop word; and a beginning is ranked: it weighs as much as all terms that it stands for together. A text of one word
/// finds whatever has any of those, ranked as their [`MatchQuery`](crate::MatchQuery).
///
/// It stands for at most [`max_expansions`](Self::max_expansions) terms, the first in order by their bytes; what has only later ones
/// is no hit. OpenSearch takes them from one segment after another, those of deleted documents too, and so do several shards,
/// each for itself: where more terms begin so, which it takes is only known once the index is one segment, see
/// [`merge`](crate::SearchIndexExt::merge). Where there are no more, there is no difference.
///
#[cfg_attr(feature = "tantivy", doc = "```")]
#[cfg_attr(not(feature = "tantivy"), doc = "```ignore")]
/// use statehouse_search::{BulkOptions, Field, Operation, Query, Record, Refresh, Schema};
/// use statehouse_search::{SearchIndex as _, SearchIndexExt as _, SearchRequest, TantivyConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), statehouse_core::Error> {
/// let index = TantivyConfig::memory().open(Schema::builder().field(Field::text("title")).build()?).await?;
/// let titles = ["acute heart failure", "acute hearing loss", "acute pain of the heart", "heart, acute"];
/// let titles = titles.map(|title| Operation::Upsert(Record::new(title).unwrap().with("title", title)));
/// index.bulk_with(titles.into(), BulkOptions::default().with_refresh(Refresh::Now)).await?.check()?;
///
/// let begun = Query::phrase_prefix("title", "acute hea").boost(2.0);
/// let found = index.search(&SearchRequest::new(begun.clone())).await?;
/// assert_eq!(found.ids(), ["acute hearing loss", "acute heart failure"]);
/// assert_eq!(index.count(&begun.clone().slop(3).into()).await?, 4);
/// assert_eq!(index.count(&begun.max_expansions(1).into()).await?, 1, "only hearing");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PhrasePrefixQuery {
    /// The field: a text field.
    pub field: Arc<str>,
    /// What the user typed.
    pub text: String,
    /// See [`slop`](Self::slop).
    pub slop: u32,
    /// See [`max_expansions`](Self::max_expansions).
    pub max_expansions: u32,
    /// See [`boost`](Self::boost).
    pub boost: f32,
}

impl PhrasePrefixQuery {
    /// For how many terms the last word stands at most, unless it is told.
    pub const EXPANSIONS: u32 = 50;

    pub(super) const fn new(field: Arc<str>, text: String) -> Self {
        Self { field, text, slop: 0, max_expansions: Self::EXPANSIONS, boost: 1.0 }
    }

    /// How many positions the terms may be moved in all, as of a [`PhraseQuery`](crate::PhraseQuery): none unless set.
    #[must_use]
    pub const fn slop(mut self, positions: u32) -> Self {
        self.slop = positions;
        self
    }

    /// For how many terms the last word stands at most: 50 unless set, and at least one. Whether there are as many or not, it
    /// counts as so many terms of the [`MAX_CLAUSES`](crate::MAX_CLAUSES) that a request may have.
    #[must_use]
    pub const fn max_expansions(mut self, terms: u32) -> Self {
        self.max_expansions = terms;
        self
    }
}
