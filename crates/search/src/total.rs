/// How far the documents that match are counted.
///
/// The hits of a request, their order and their scores are the same with each, and so is what is counted besides. A user seldom
/// needs to know more than "over a thousand", and where no more is asked for, an embedded index leaves unread what cannot come
/// onto the page.
///
#[cfg_attr(feature = "tantivy", doc = "```")]
#[cfg_attr(not(feature = "tantivy"), doc = "```ignore")]
/// use statehouse_search::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// let index = TantivyConfig::memory().open(Schema::builder().field(Field::text("title")).build()?).await?;
/// # let titles = ["A00", "A01", "A02"].map(|id| Record::new(id).map(|record| record.with("title", "Cholera")));
/// # let titles = titles.into_iter().collect::<statehouse_core::Result<Vec<_>>>()?;
/// # let shown = BulkOptions::default().with_refresh(Refresh::Now);
/// # index.bulk_with(titles.into_iter().map(Operation::Upsert).collect(), shown).await?.check()?;
/// let request = SearchRequest::new(Query::matches("title", "cholera")).with_total(Total::AtLeast(2));
/// let found = index.search(&request).await?;
/// let shown = match found.relation {
///     TotalRelation::Exact => found.total.to_string(),
///     _ => format!("more than {}", found.total),
/// };
/// assert_eq!((shown.as_str(), found.hits.len()), ("more than 2", 3));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Total {
    /// All of them.
    #[default]
    Exact,
    /// So many, and beyond that only that there are more: OpenSearch's `track_total_hits`. With 0 it says whether there is any.
    AtLeast(u64),
}

impl Total {
    /// How many may be counted short of all: OpenSearch counts as far as a signed number of 32 bits goes, and is asked for one more.
    pub const MAX: u64 = i32::MAX as u64 - 1;

    /// What the answer says of the total where so many were counted.
    ///
    /// ```
    /// use statehouse_search::{Total, TotalRelation};
    ///
    /// assert_eq!(Total::AtLeast(10).of(10), (10, TotalRelation::Exact));
    /// assert_eq!(Total::AtLeast(10).of(11), (10, TotalRelation::AtLeast));
    /// ```
    #[must_use]
    pub const fn of(self, counted: u64) -> (u64, TotalRelation) {
        match self {
            Self::AtLeast(most) if counted > most => (most, TotalRelation::AtLeast),
            _ => (counted, TotalRelation::Exact),
        }
    }
}

/// How the total of an answer stands to how many documents match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TotalRelation {
    /// So many match.
    #[default]
    Exact,
    /// More match: the total is the number as far as which was to be counted.
    AtLeast,
}
