//! How long, large and many things may be, in documents and requests. A limit of one type is by that type.

use statehouse_core::{Error, Result};

/// How deep queries may be nested.
pub const MAX_DEPTH: usize = 20;

/// How many queries and terms one request may have in all: each query of the tree and of the filters counts one, and
/// each term of a text one, in every field that it is looked for. Lucene's limit.
///
/// The terms that are similar to one count too: they share what is left, see [`Fuzziness`](crate::Fuzziness).
pub const MAX_CLAUSES: usize = 1_024;

/// How many values the `terms` and `ids` queries of a request may list in all, as OpenSearch's `index.max_terms_count`.
pub const MAX_TERMS: usize = 65_536;

/// How long those values may be in all, in bytes: 16 MiB.
pub const MAX_VALUE_BYTES: usize = 16 << 20;

/// How long a query's text may be, in bytes.
pub const MAX_QUERY_TEXT: usize = 10_000;

/// How long the texts of a request may be in all, in bytes: those of its terms too, and each once for every field in
/// which it is looked for.
pub const MAX_REQUEST_TEXT: usize = 100_000;

/// How long a term may be to have similar ones, in code points.
pub const MAX_FUZZY_TERM: usize = 255;

/// How long the terms of a request that have similar ones may be in all, in code points. To look those up takes a server
/// time by their length, some 0.1 ms for each.
pub const MAX_FUZZY_TEXT: usize = 2_048;

/// How long a wildcard pattern may be, in code points behind the field's lowercase and folding steps.
pub const MAX_PATTERN: usize = 255;

/// How many asterisks a wildcard pattern may have; several together are one.
pub const MAX_PATTERN_ASTERISKS: usize = 16;

/// How many terms the text of an [`ExactFirstQuery`](crate::ExactFirstQuery) may have.
pub const MAX_EXACT_WORDS: usize = 32;

/// The largest slop and prefix length: Lucene counts in signed numbers.
pub const MAX_POSITIONS: u32 = i32::MAX as u32;

/// The largest product of the boosts around a query.
pub const MAX_BOOST: f32 = 1e9;

/// How much a function of values may count in a score at most, and the product of those of function scores within each other:
/// so that no score is infinite, whatever the index holds.
pub const MAX_FUNCTION: f32 = 1e18;

/// How many keys a request may sort by.
pub const MAX_SORTS: usize = 16;

/// How many facets a request may ask for, of every kind together.
pub const MAX_FACETS: usize = 32;

/// In how many fields a request may highlight.
pub const MAX_HIGHLIGHTS: usize = 32;

/// How many fields a projection may name.
pub const MAX_PROJECTED: usize = 1_024;

/// The longest term of a keyword, or of a text that is one term, in bytes of UTF-8 behind the field's normalizer or
/// filters: Lucene's limit.
pub const MAX_TERM_LEN: usize = 32_766;

/// The largest external version: OpenSearch counts in signed numbers, and the next version must fit too.
pub const MAX_VERSION: u64 = i64::MAX as u64 - 1;

/// How many similar terms stand for one at most: `max_expansions` of OpenSearch.
pub(crate) const MAX_SIMILAR: usize = 50;

pub(crate) fn at_most(what: &str, found: usize, limit: usize) -> Result<()> {
    if found <= limit { Ok(()) } else { Err(too_many(what, found, limit)) }
}

pub(crate) fn too_many(what: &str, found: usize, limit: usize) -> Error {
    Error::invalid_input(format!("the request has {found} {what}; the limit is {limit}"))
}
