//! Where a page begins that goes on behind another.

mod fnv;
mod format;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use statehouse_core::{Error, Result, hex};

pub(crate) use self::fnv::Fnv;
pub(crate) use self::format::damaged;
use crate::{DocumentId, Value};

/// The place of a hit in the order of its request: the next page begins behind it.
///
/// It is what the hit was sorted by, with its id to break ties, and which request that was: of another query, filter or
/// order, or where a field that they name is another by now, it is refused. The size of a page, the projection and what is
/// marked may change. It is a place and no bookmark: a page behind it has what comes behind that place now, be the hit itself
/// changed or deleted. Another index of the same schema takes it too. For one state over all pages see [`Hits`](crate::Hits).
///
/// As text it is fit for a URL. That holds what the hit was sorted by, so it is no more of a secret than the hit, and it is no
/// permission: who makes one up begins a page elsewhere, in their own request.
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
/// let request = SearchRequest::new(Query::matches("title", "cholera")).with_size(2);
/// let first = index.search(&request).await?;
/// let link = format!("/search?after={}", first.hits[1].cursor());
///
/// let (_, text) = link.split_once("after=").unwrap();
/// let second = index.search(&request.with_after(text.parse()?)).await?;
/// assert_eq!((second.total, second.ids()), (3, vec!["A02"]));
/// # Ok(()) }
/// ```
#[derive(Clone, PartialEq)]
pub struct Cursor {
    /// The request that it is of.
    pub(crate) of: u64,
    pub(crate) score: Option<f32>,
    pub(crate) sort: Vec<Option<Value>>,
    pub(crate) id: DocumentId,
}

impl Cursor {
    /// The longest text that is read as one, in bytes: longer than any that is given out.
    pub const MAX_LEN: usize = 1_200_000;

    /// The score of the hit, if its request orders by the score.
    #[must_use]
    pub const fn score(&self) -> Option<f32> {
        self.score
    }

    /// For each sort key of the request what the hit was sorted by; `None` for a missing value and for the score.
    #[must_use]
    pub fn sort(&self) -> &[Option<Value>] {
        &self.sort
    }

    /// The id of the hit, which breaks ties.
    #[must_use]
    pub const fn id(&self) -> &DocumentId {
        &self.id
    }

    pub(crate) const fn new(of: u64, score: Option<f32>, sort: Vec<Option<Value>>, id: DocumentId) -> Self {
        Self { of, score, sort, id }
    }
}

/// The kind only: what a document was sorted by never reaches logs.
impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cursor(..)")
    }
}

/// Lowercase hexadecimal digits: for a URL.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&format::write(self.of, self.score, &self.sort, &self.id)))
    }
}

/// What [`Display`](fmt::Display) has written.
impl FromStr for Cursor {
    type Err = Error;

    /// # Errors
    /// [`InvalidInput`](statehouse_core::ErrorKind::InvalidInput) for what is no cursor, or not all of one.
    fn from_str(text: &str) -> Result<Self> {
        if text.len() > Self::MAX_LEN || !text.len().is_multiple_of(2) {
            return Err(damaged());
        }
        let bytes = text.as_bytes().chunks_exact(2).map(hex::decode::<1>).map(|byte| byte.map(|[byte]| byte));
        let parts = format::read(&bytes.collect::<Option<Vec<_>>>().ok_or_else(damaged)?)?;
        Ok(Self::new(parts.0, parts.1, parts.2, parts.3))
    }
}
