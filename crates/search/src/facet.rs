use std::sync::Arc;

/// A field whose values are to be counted among the documents that match.
///
/// Answered are the values that most documents have, the most frequent first and equally frequent ones in the order of
/// their UTF-8 bytes. Counts are exact: a document counts once for each value that it has. Filters of the request hold
/// here too, its page does not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Facet {
    /// A sortable keyword field.
    pub field: Arc<str>,
    /// How many values to return at most: 10 unless set.
    pub size: usize,
}

impl Facet {
    /// The most values that one may ask for.
    pub const MAX_SIZE: usize = 1_000;

    /// The ten most frequent values of a field.
    #[must_use]
    pub fn field(field: impl Into<Arc<str>>) -> Self {
        Self { field: field.into(), size: 10 }
    }

    /// Returns at most so many values.
    #[must_use]
    pub const fn with_size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }
}

/// A value that a [`Facet`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FacetValue {
    /// The value, normalized as the field says.
    pub value: String,
    /// How many of the matching documents have it.
    pub count: u64,
}

impl FacetValue {
    /// A counted value; backends make it.
    #[must_use]
    pub const fn new(value: String, count: u64) -> Self {
        Self { value, count }
    }
}

/// What was counted for each facet of a request, by the name of its field.
pub(crate) type Facets = Vec<(Arc<str>, Vec<FacetValue>)>;

/// The values of one facet; empty if it was not asked for.
pub(crate) fn values<'a>(facets: &'a Facets, field: &str) -> &'a [FacetValue] {
    facets.iter().find(|(name, _)| **name == *field).map_or(&[], |(_, values)| values)
}
