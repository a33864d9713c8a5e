//! How much a request asks for, by the limits. What is counted without looking at any text comes first, so that no request is
//! too large to be refused at once.

use std::ops::Bound;

use statehouse_core::{Error, ErrorKind, Result};

use crate::limits::{
    MAX_CLAUSES, MAX_DEPTH, MAX_FACETS, MAX_FUZZY_TEXT, MAX_HIGHLIGHTS, MAX_PROJECTED, MAX_QUERY_TEXT,
    MAX_REQUEST_TEXT, MAX_SIMILAR, MAX_SORTS, MAX_TERMS, MAX_VALUE_BYTES, at_most, too_many,
};
use crate::{ExactFirstQuery, Histogram, Query, RangeFacet, Schema, SearchRequest, Value};

/// What a request holds, counted without looking into its texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) queries: usize,
    pub(crate) text: usize,
    pub(crate) values: usize,
    pub(crate) value_bytes: usize,
    /// Wildcard patterns, each of which takes up to a millisecond to check.
    pub(crate) patterns: usize,
}

impl Size {
    /// Counts queries.
    ///
    /// # Errors
    /// `InvalidInput` as soon as one of the limits is passed, `TooLarge` for bytes.
    pub(crate) fn of<'a>(queries: impl IntoIterator<Item = &'a Query>) -> Result<Self> {
        let mut size = Self::default();
        queries.into_iter().try_for_each(|query| size.add(query, 0))?;
        Ok(size)
    }

    /// Counts a request, and checks its lists.
    pub(crate) fn of_request(request: &SearchRequest) -> Result<Self> {
        let projected = match &request.projection {
            crate::Projection::Fields(names) => names.len(),
            _ => 0,
        };
        at_most("sort keys", request.sort.len(), MAX_SORTS)?;
        at_most("facets", request.counted(), MAX_FACETS)?;
        let ranges = request.ranges.iter().map(|facet| facet.ranges.len()).sum();
        at_most("histograms", request.histograms.len(), Histogram::MAX_HISTOGRAMS)?;
        at_most("ranges of facets", ranges, RangeFacet::MAX_RANGES)?;
        at_most("highlighted fields", request.highlight.len(), MAX_HIGHLIGHTS)?;
        at_most("projected fields", projected, MAX_PROJECTED)?;
        let mut size = Self::of(request.queries())?;
        if let Some(cursor) = &request.after {
            // Nobody is refused the second page of what they have the first of: it counts against no limit.
            size.value_bytes += cursor.sort.iter().flatten().map(bytes_of).sum::<usize>();
        }
        Ok(size)
    }

    fn add(&mut self, query: &Query, depth: usize) -> Result<()> {
        check_depth(depth)?;
        self.queries += 1;
        at_most("queries and terms", self.queries, MAX_CLAUSES)?;
        let mut inner = |queries: &[Query]| queries.iter().try_for_each(|query| self.add(query, depth + 1));
        match query {
            Query::Bool(q) => [&q.must, &q.should, &q.filter, &q.must_not].into_iter().try_for_each(|all| inner(all)),
            Query::DisMax(q) => inner(&q.queries),
            Query::Constant(q) => inner(std::slice::from_ref(&*q.query)),
            Query::FunctionScore(q) => inner(std::slice::from_ref(&*q.query)),
            Query::All(_) | Query::None | Query::Exists(_) => Ok(()),
            Query::Match(q) => self.add_text(&q.text, 1),
            Query::MultiMatch(q) => {
                at_most("queries and terms", q.fields.len(), MAX_CLAUSES)?;
                self.add_text(&q.text, q.fields.len())
            }
            Query::MatchPrefix(q) => self.add_text(&q.text, 1),
            Query::Phrase(q) => self.add_text(&q.text, 1),
            Query::PhrasePrefix(q) => self.add_text(&q.text, 1),
            Query::Prefix(q) => self.add_text(&q.text, 1),
            Query::ExactFirst(q) => {
                // It stands for a tree, whose texts are its words.
                check_depth(depth + ExactFirstQuery::DEPTH)?;
                self.add_text(&q.text, 4)
            }
            Query::Wildcard(q) => {
                self.patterns += 1;
                self.add_text(&q.pattern, 1)
            }
            Query::Fuzzy(q) => self.add_text(&q.text, 1),
            Query::Term(q) => self.add_bound_text(bytes_of(&q.value)),
            Query::Terms(q) => self.add_values(q.values.len(), q.values.iter().map(bytes_of).sum()),
            Query::Ids(q) => self.add_values(q.ids.len(), q.ids.iter().map(String::len).sum()),
            Query::Range(q) => {
                let bytes = |bound: &Bound<Value>| match bound {
                    Bound::Included(value) | Bound::Excluded(value) => bytes_of(value),
                    Bound::Unbounded => 0,
                };
                self.add_bound_text(bytes(&q.lower) + bytes(&q.upper))
            }
        }
    }

    fn add_text(&mut self, text: &str, fields: usize) -> Result<()> {
        if text.len() > MAX_QUERY_TEXT {
            return Err(too_many("bytes in the text of a query", text.len(), MAX_QUERY_TEXT));
        }
        self.add_bound_text(text.len() * fields.max(1))
    }

    fn add_bound_text(&mut self, bytes: usize) -> Result<()> {
        self.text += bytes;
        at_most("bytes of text", self.text, MAX_REQUEST_TEXT)
    }

    fn add_values(&mut self, values: usize, bytes: usize) -> Result<()> {
        self.values += values;
        self.value_bytes = self.value_bytes.saturating_add(bytes);
        at_most("listed values", self.values, MAX_TERMS)?;
        if self.value_bytes > MAX_VALUE_BYTES {
            let message =
                format!("the request lists values of {} bytes; the limit is {MAX_VALUE_BYTES}", self.value_bytes);
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        Ok(())
    }

    /// Whether to check and analyse it takes less than a few microseconds.
    #[cfg_attr(not(any(feature = "opensearch", feature = "tantivy")), expect(dead_code, reason = "only backends ask"))]
    pub(crate) const fn is_small(self) -> bool {
        self.queries <= 32
            && self.patterns == 0
            && self.text <= 1_000
            && self.values <= 128
            && self.value_bytes <= 8_000
    }
}

fn check_depth(depth: usize) -> Result<()> {
    if depth <= MAX_DEPTH {
        return Ok(());
    }
    let message = format!("queries are nested more than {MAX_DEPTH} deep, which is the limit");
    Err(Error::invalid_input(message))
}

fn bytes_of(value: &Value) -> usize {
    value.as_text().map_or(8, str::len)
}

/// What a text that a person typed has taken of the limits: half of each is left for other queries beside it.
#[derive(Debug, Default)]
pub(crate) struct Share {
    text: usize,
    terms: TermCount,
}

impl Share {
    /// Takes what a query needs, if there is so much left and the schema allows it.
    pub(crate) fn take(&mut self, schema: &Schema, query: &Query) -> bool {
        let Ok(size) = Size::of([query]) else { return false };
        let Ok(terms) = schema.terms_of([query], size) else { return false };
        // What it stands in counts, too.
        let exact = self.terms.exact + terms.exact + 1;
        let (fuzzy, letters) = (self.terms.fuzzy + terms.fuzzy, self.terms.letters + terms.letters);
        let share = Self { text: self.text + size.text, terms: TermCount { exact, fuzzy, letters } };
        let fits = 2 * (exact + 2 * fuzzy) < MAX_CLAUSES && 2 * letters <= MAX_FUZZY_TEXT;
        let fits = fits && 2 * share.text <= MAX_REQUEST_TEXT;
        if fits {
            *self = share;
        }
        fits
    }
}

/// The terms of a request, counted as both backends count them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TermCount {
    /// Queries and exact terms.
    exact: usize,
    /// Those for which similar ones are looked up.
    fuzzy: usize,
    /// How long they are, in code points.
    letters: usize,
}

impl TermCount {
    pub(crate) const fn of(size: Size) -> Self {
        Self { exact: size.queries, fuzzy: 0, letters: 0 }
    }

    /// One more term or field that is looked for as it is.
    pub(crate) fn add(&mut self) -> Result<()> {
        self.exact += 1;
        self.check()
    }

    /// The terms that one stands for at most.
    pub(crate) fn add_terms(&mut self, terms: usize) -> Result<()> {
        self.exact += terms;
        self.check()
    }

    /// The queries that one stands for.
    pub(crate) fn add_queries(&mut self, queries: usize) -> Result<()> {
        self.exact += queries;
        self.check()
    }

    /// A term of a text, and how long it is if similar ones are looked up.
    pub(crate) fn add_term(&mut self, fuzzy: Option<usize>) -> Result<()> {
        let Some(letters) = fuzzy else { return self.add() };
        self.add_fuzzy(letters)
    }

    pub(crate) fn add_fuzzy(&mut self, letters: usize) -> Result<()> {
        self.fuzzy += 1;
        self.letters += letters;
        at_most("characters in fuzzy terms", self.letters, MAX_FUZZY_TEXT)?;
        self.check()
    }

    fn check(self) -> Result<()> {
        // Besides its similar terms, each fuzzy one is a query of its own.
        at_most("queries and terms, of which a fuzzy one counts two", self.exact + 2 * self.fuzzy, MAX_CLAUSES)
    }

    /// How many there are.
    #[cfg(feature = "tantivy")]
    pub(crate) const fn in_all(self) -> usize {
        self.exact + self.fuzzy
    }

    /// How many similar terms may stand for each fuzzy one, so that all together keep to the limit whatever the index
    /// holds. The server counts them when it has found them, and would refuse for some documents what it takes for others.
    #[cfg_attr(not(any(feature = "opensearch", feature = "tantivy")), expect(dead_code, reason = "only backends ask"))]
    pub(crate) fn similar(self) -> usize {
        let left = MAX_CLAUSES.saturating_sub(self.exact + self.fuzzy);
        left.checked_div(self.fuzzy).map_or(MAX_SIMILAR, |share| share.clamp(1, MAX_SIMILAR))
    }
}
