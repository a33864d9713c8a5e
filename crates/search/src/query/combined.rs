//! Queries made of others.

use super::Query;

/// How many of the optional clauses must match.
///
/// Follows `minimum_should_match` of OpenSearch. For a text of a single term it is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MinimumMatch {
    /// This many; a negative number says how many may be missing.
    Count(i32),
    /// This share, rounded down; a negative one says what share may be missing, rounded down. −100 to 100.
    Percent(i32),
}

impl MinimumMatch {
    /// How many of `clauses` it asks for; more than there are means that nothing matches.
    #[must_use]
    pub fn of(self, clauses: usize) -> usize {
        let clauses = i64::try_from(clauses).unwrap_or(i64::MAX);
        let asked = match self {
            Self::Count(count) => i64::from(count),
            // Truncated towards zero, as Queries.calculateMinShouldMatch does.
            Self::Percent(percent) => clauses * i64::from(percent) / 100,
        };
        let negative = matches!(self, Self::Count(n) | Self::Percent(n) if n < 0);
        usize::try_from(if negative { clauses + asked } else { asked }).unwrap_or(0)
    }
}

/// Other queries combined.
///
/// A document is a hit if it matches all of `must` and `filter`, none of `must_not`, and enough of `should`: one if
/// there is neither `must` nor `filter`, else none, unless [`minimum_match`](Self::minimum_match) says otherwise. Its
/// score is the sum over what it matches of `must` and `should`. Without any clause every document matches.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BoolQuery {
    /// Needed, and adds to the score.
    pub must: Vec<Query>,
    /// Adds to the score.
    pub should: Vec<Query>,
    /// Needed, without score.
    pub filter: Vec<Query>,
    /// Excluded.
    pub must_not: Vec<Query>,
    /// How many of `should` are needed.
    pub minimum_match: Option<MinimumMatch>,
    /// See [`boost`](Self::boost).
    pub boost: f32,
}

impl BoolQuery {
    /// Adds a query that is needed and adds to the score.
    #[must_use]
    pub fn must(mut self, query: impl Into<Query>) -> Self {
        self.must.push(query.into());
        self
    }

    /// Adds a query that adds to the score.
    #[must_use]
    pub fn should(mut self, query: impl Into<Query>) -> Self {
        self.should.push(query.into());
        self
    }

    /// Adds a query that is needed and does not score.
    #[must_use]
    pub fn filter(mut self, query: impl Into<Query>) -> Self {
        self.filter.push(query.into());
        self
    }

    /// Adds a query whose hits are excluded.
    #[must_use]
    pub fn must_not(mut self, query: impl Into<Query>) -> Self {
        self.must_not.push(query.into());
        self
    }

    /// How many of the `should` queries are needed. Refused where there are none.
    #[must_use]
    pub const fn minimum_match(mut self, minimum: MinimumMatch) -> Self {
        self.minimum_match = Some(minimum);
        self
    }
}

/// The best of several queries, plus a share of the others.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DisMaxQuery {
    /// The queries.
    pub queries: Vec<Query>,
    /// See [`tie_breaker`](Self::tie_breaker).
    pub tie_breaker: f32,
    /// See [`boost`](Self::boost).
    pub boost: f32,
}

impl DisMaxQuery {
    /// The share of the other scores that is added to the best: 0 to 1.
    #[must_use]
    pub const fn tie_breaker(mut self, share: f32) -> Self {
        self.tie_breaker = share;
        self
    }
}

/// Another query with every hit scoring the same.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ConstantQuery {
    /// The query.
    pub query: Box<Query>,
    /// The score. See [`boost`](Self::boost).
    pub boost: f32,
}
