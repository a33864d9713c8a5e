//! How much of a query must match.

/// How many of the optional clauses must match.
///
/// Follows `minimum_should_match` of OpenSearch. For a text of a single term it is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
