//! What came of a text.

use std::fmt;
use std::ops::Range;

use crate::query::tree::Query;

/// What came of a text that a person typed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ParsedQuery {
    /// What to look for. [`Query::None`] if the text has no word.
    pub query: Query,
    /// What was not understood or was cut, in the order of the text.
    pub warnings: Vec<QueryWarning>,
}

impl From<ParsedQuery> for Query {
    fn from(parsed: ParsedQuery) -> Self {
        parsed.query
    }
}

/// A part of a text that does not mean what it may have been meant to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryWarning {
    /// Where in the text, in bytes: between two characters.
    pub position: Range<usize>,
    /// What it is.
    pub kind: QueryWarningKind,
}

/// What is told of a part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QueryWarningKind {
    /// A quotation mark that no other one follows: the words behind it are no phrase.
    UnclosedQuote,
    /// A sign or an `OR` that does not stand where it has a meaning: it is left out, or a word if there is no other.
    Operator,
    /// A name before a colon that is none of those allowed: all of it is a word.
    UnknownField,
    /// What the field before it does not take: all of it is a word.
    Value,
    /// A fuzziness or a slop that is too large, or too large for the word: the automatic one, none on a keyword field.
    Fuzziness,
    /// The text is longer than is read, see [`SimpleQueryString::max_len`](crate::SimpleQueryString::max_len).
    TooLong,
    /// The text has more words than are taken, see [`SimpleQueryString::max_clauses`](crate::SimpleQueryString::max_clauses).
    TooManyClauses,
}

impl fmt::Display for QueryWarningKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnclosedQuote => "no quotation mark closes this one",
            Self::Operator => "this sign has no meaning here",
            Self::UnknownField => "there is no such field to search",
            Self::Value => "the field does not take this value",
            Self::Fuzziness => "this cannot be so fuzzy",
            Self::TooLong => "the text is too long and was cut here",
            Self::TooManyClauses => "there are too many words; these were left out",
        })
    }
}

impl fmt::Display for QueryWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (bytes {} to {})", self.kind, self.position.start, self.position.end)
    }
}
