use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use crate::{
    ExactFirstQuery, ExistsQuery, Facet, FieldBoost, FieldValue, FuzzyQuery, Highlight, MatchPrefixQuery, MatchQuery,
    PhraseQuery, PrefixQuery, Query, RangeQuery, Sort, TermQuery, TermsQuery, WildcardQuery,
};

/// A text field of a [`Document`](crate::Document): the queries that it takes.
#[derive(Clone, Debug)]
pub struct TextField(Arc<str>);

/// A keyword field of a [`Document`](crate::Document): the queries and orders that it takes.
#[derive(Clone, Debug)]
pub struct KeywordField(Arc<str>);

/// A field of numbers, truth values or dates of a [`Document`](crate::Document).
#[derive(Clone, Debug)]
pub struct ValueField<V> {
    name: Arc<str>,
    value: PhantomData<fn(V)>,
}

impl TextField {
    /// The field of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// What the user typed, as [`Query::matches`].
    pub fn matches(&self, text: impl Into<String>) -> MatchQuery {
        Query::matches(Arc::clone(&self.0), text)
    }

    /// What the user typed, misspelt or unfinished, exact words first, as [`Query::exact_first`].
    pub fn exact_first(&self, text: impl Into<String>) -> ExactFirstQuery {
        Query::exact_first(Arc::clone(&self.0), text)
    }

    /// The same with the last word as a prefix, as [`Query::matches_prefix`].
    pub fn matches_prefix(&self, text: impl Into<String>) -> MatchPrefixQuery {
        Query::matches_prefix(Arc::clone(&self.0), text)
    }

    /// Every word as a prefix, in any order, as [`Query::starts_with_words`].
    pub fn starts_with_words(&self, text: impl Into<String>) -> MatchPrefixQuery {
        Query::starts_with_words(Arc::clone(&self.0), text)
    }

    /// The words one behind the other, as [`Query::phrase`].
    pub fn phrase(&self, text: impl Into<String>) -> PhraseQuery {
        Query::phrase(Arc::clone(&self.0), text)
    }

    /// Terms that fit a pattern, as [`Query::wildcard`].
    pub fn wildcard(&self, pattern: impl Into<String>) -> WildcardQuery {
        Query::wildcard(Arc::clone(&self.0), pattern)
    }

    /// One term that may be misspelt, as [`Query::fuzzy`].
    pub fn fuzzy(&self, term: impl Into<String>) -> FuzzyQuery {
        Query::fuzzy(Arc::clone(&self.0), term)
    }

    /// Documents with a term in this field.
    #[must_use]
    pub fn exists(&self) -> ExistsQuery {
        Query::exists(Arc::clone(&self.0))
    }

    /// This field with a weight, for [`Query::multi_match`].
    #[must_use]
    pub fn boosted(&self, boost: f32) -> FieldBoost {
        FieldBoost::new(Arc::clone(&self.0), boost)
    }

    /// The text sub-field of this name.
    #[must_use]
    pub fn sub(&self, name: &str) -> Self {
        Self(format!("{}.{name}", self.0).into())
    }

    /// The keyword sub-field of this name.
    #[must_use]
    pub fn sub_keyword(&self, name: &str) -> KeywordField {
        KeywordField(format!("{}.{name}", self.0).into())
    }
}

impl From<TextField> for Highlight {
    fn from(field: TextField) -> Self {
        Self::field(field.0)
    }
}

impl From<TextField> for FieldBoost {
    fn from(field: TextField) -> Self {
        Self::new(field.0, 1.0)
    }
}

impl From<KeywordField> for Facet {
    fn from(field: KeywordField) -> Self {
        Self::field(field.0)
    }
}

impl KeywordField {
    /// The field of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Documents with this value.
    pub fn is(&self, value: impl Into<String>) -> TermQuery {
        Query::term(Arc::clone(&self.0), value.into())
    }

    /// Documents with any of these values.
    pub fn any_of<V: Into<String>>(&self, values: impl IntoIterator<Item = V>) -> TermsQuery {
        Query::terms(Arc::clone(&self.0), values.into_iter().map(Into::into))
    }

    /// Documents with a value that begins so.
    pub fn prefix(&self, text: impl Into<String>) -> PrefixQuery {
        Query::prefix(Arc::clone(&self.0), text)
    }

    /// Documents with a value that fits a pattern, as [`Query::wildcard`].
    pub fn wildcard(&self, pattern: impl Into<String>) -> WildcardQuery {
        Query::wildcard(Arc::clone(&self.0), pattern)
    }

    /// Documents with a value.
    #[must_use]
    pub fn exists(&self) -> ExistsQuery {
        Query::exists(Arc::clone(&self.0))
    }

    /// Sorts by this field, smallest first.
    #[must_use]
    pub fn ascending(&self) -> Sort {
        Sort::by(Arc::clone(&self.0))
    }

    /// Sorts by this field, largest first.
    #[must_use]
    pub fn descending(&self) -> Sort {
        self.ascending().descending()
    }
}

impl<V: FieldValue> ValueField<V> {
    /// The field of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), value: PhantomData }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Documents with this value.
    pub fn is(&self, value: impl Into<V>) -> TermQuery {
        Query::term(Arc::clone(&self.name), value.into().to_value())
    }

    /// Documents with a value in this range.
    pub fn within(&self, range: impl RangeBounds<V>) -> RangeQuery {
        let query = Query::range(Arc::clone(&self.name));
        let query = match range.start_bound() {
            Bound::Included(least) => query.at_least(least.to_value()),
            Bound::Excluded(below) => query.above(below.to_value()),
            Bound::Unbounded => query,
        };
        match range.end_bound() {
            Bound::Included(most) => query.at_most(most.to_value()),
            Bound::Excluded(above) => query.below(above.to_value()),
            Bound::Unbounded => query,
        }
    }

    /// Documents with a value.
    #[must_use]
    pub fn exists(&self) -> ExistsQuery {
        Query::exists(Arc::clone(&self.name))
    }

    /// Sorts by this field, smallest first.
    #[must_use]
    pub fn ascending(&self) -> Sort {
        Sort::by(Arc::clone(&self.name))
    }

    /// Sorts by this field, largest first.
    #[must_use]
    pub fn descending(&self) -> Sort {
        self.ascending().descending()
    }
}
