//! What a request may ask of a schema, checked the same way before every backend.

use std::ops::Bound;

use statehouse_core::{Error, ErrorKind, Result};

use crate::analysis::Tokenizer;
use crate::schema::MAX_TERM_LEN;
use crate::{
    DocumentId, Facet, Field, FieldBoost, FieldKind, Fuzziness, MatchQuery, MinimumMatch, MultiMatchQuery, Operation,
    Projection, Query, Record, Schema, SearchRequest, SortKey, Value,
};

/// How deep queries may be nested.
pub const MAX_DEPTH: usize = 20;

/// How many queries one tree may have in all; the terms of a text count one each when it is run.
pub const MAX_CLAUSES: usize = 1_024;

/// How many values a `terms` or `ids` query may list, as OpenSearch's `index.max_terms_count`.
pub const MAX_TERMS: usize = 65_536;

/// How long a query's text may be, in bytes.
pub const MAX_QUERY_TEXT: usize = 10_000;

/// The largest external version: OpenSearch counts in signed numbers, and the next version must fit too.
pub const MAX_VERSION: u64 = i64::MAX as u64 - 1;

impl Schema {
    /// Checks that an operation fits.
    ///
    /// # Errors
    /// As [`check_record`](Self::check_record); [`ErrorKind::InvalidInput`] for a version over [`MAX_VERSION`].
    pub fn check_operation(&self, operation: &Operation) -> Result<()> {
        if operation.version().is_some_and(|version| version > MAX_VERSION) {
            return Err(Error::invalid_input("a version must be below 2^63 - 1").with_key(operation.id().as_str()));
        }
        match operation {
            Operation::Upsert(record) => self.check_record(record),
            Operation::Delete { .. } => Ok(()),
        }
    }

    /// Checks that a document fits.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for an unknown field, a value of the wrong type or a number that is not finite,
    /// [`ErrorKind::TooLarge`] for a term over [`MAX_TERM_LEN`] bytes, be it a sub-field's. The value itself is not
    /// repeated.
    pub fn check_record(&self, record: &Record) -> Result<()> {
        for (name, value) in record.iter() {
            let field = self.require(name)?;
            if field.source().is_some() {
                return Err(invalid("a sub-field takes its values from its field", name));
            }
            self.check_value(field, value)?;
            let mut sub_fields = self.fields().iter().filter(|sub| sub.source() == Some(name));
            sub_fields.try_for_each(|sub| self.check_value(sub, value))?;
        }
        Ok(())
    }

    /// Checks that a request fits.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for an unknown field, a wrong type, a window over
    /// [`SearchRequest::MAX_WINDOW`], a facet of none or over [`Facet::MAX_SIZE`] values, a tree that is too deep or too
    /// wide, a boost that is not finite and positive;
    /// [`ErrorKind::Unsupported`] for a field that cannot do what is asked of it.
    pub fn check_request(&self, request: &SearchRequest) -> Result<()> {
        let end = request.from.checked_add(request.size);
        if end.is_none_or(|end| end > SearchRequest::MAX_WINDOW) {
            return Err(Error::invalid_input("from + size must not be over 10000; narrow the query instead"));
        }
        let mut budget = Budget::default();
        for query in request.filters.iter().chain([&request.query]) {
            self.check_node(query, 0, &mut budget)?;
        }
        for sort in &request.sort {
            if let SortKey::Field(name) = &sort.key
                && !self.require(name)?.is_sortable()
            {
                return Err(unsupported("the field is not sortable", name));
            }
        }
        if let Projection::Fields(names) = &request.projection {
            for name in names {
                if !self.require(name)?.is_stored() {
                    return Err(unsupported("the field is not stored", name));
                }
            }
        }
        request.facets.iter().try_for_each(|facet| self.check_facet(facet))?;
        request.highlight.iter().try_for_each(|highlight| self.check_highlight(&highlight.field))
    }

    fn check_facet(&self, facet: &Facet) -> Result<()> {
        if !(1..=Facet::MAX_SIZE).contains(&facet.size) {
            return Err(invalid("a facet must ask for 1 to 1000 values", &facet.field));
        }
        let field = self.require(&facet.field)?;
        if matches!(field.kind(), FieldKind::Keyword { .. }) && field.is_sortable() {
            return Ok(());
        }
        Err(unsupported("only the values of a sortable keyword field can be counted", &facet.field))
    }

    /// Checks that a query fits.
    ///
    /// # Errors
    /// As [`check_request`](Self::check_request).
    pub fn check_query(&self, query: &Query) -> Result<()> {
        self.check_node(query, 0, &mut Budget::default())
    }

    fn check_highlight(&self, name: &str) -> Result<()> {
        let field = self.require(name)?;
        let stored = field.source().and_then(|source| self.field(source)).unwrap_or(field).is_stored();
        if field.is_text() && stored {
            return Ok(());
        }
        Err(unsupported("only a text field whose text is stored can be highlighted", name))
    }

    fn check_node(&self, query: &Query, depth: usize, budget: &mut Budget) -> Result<()> {
        budget.take(depth)?;
        check_boost(boost_of(query))?;
        let mut inner = |queries: &[Query]| queries.iter().try_for_each(|q| self.check_node(q, depth + 1, budget));
        match query {
            Query::All(_) | Query::None => Ok(()),
            Query::Match(q) => self.check_match(q),
            Query::MultiMatch(q) => self.check_multi_match(q),
            Query::MatchPrefix(q) => {
                check_text(&q.text)?;
                check_minimum(q.minimum_match)?;
                self.require_text(&q.field).map(drop)
            }
            Query::Phrase(q) => check_text(&q.text).and(self.require_text(&q.field).map(drop)),
            Query::Prefix(q) => check_text(&q.text).and(self.check_prefix(&q.field)),
            Query::Fuzzy(q) => {
                check_text(&q.text)?;
                let field = self.require_text(&q.field)?;
                check_fuzziness(q.fuzziness, &self.normalized(field, &q.text))
            }
            Query::Term(q) => self.check_value(self.indexed(&q.field)?, &q.value),
            Query::Terms(q) => self.check_terms(&q.field, &q.values),
            Query::Range(q) => self.check_range(&q.field, [&q.lower, &q.upper]),
            Query::Exists(q) => self.indexed(&q.field).map(drop),
            Query::Ids(q) => {
                check_count(q.ids.len())?;
                q.ids.iter().try_for_each(|id| DocumentId::new(id).map(drop))
            }
            Query::Bool(q) => {
                check_minimum(q.minimum_match)?;
                [&q.must, &q.should, &q.filter, &q.must_not].into_iter().try_for_each(|queries| inner(queries))
            }
            Query::DisMax(q) => check_share(q.tie_breaker).and_then(|()| inner(&q.queries)),
            Query::Constant(q) => inner(std::slice::from_ref(&*q.query)),
        }
    }

    fn check_match(&self, query: &MatchQuery) -> Result<()> {
        check_text(&query.text)?;
        check_minimum(query.minimum_match)?;
        let field = self.indexed(&query.field)?;
        match (field.kind(), query.fuzziness) {
            (FieldKind::Text { .. }, Some(fuzziness)) => self.check_fuzzy_terms(field, &query.text, fuzziness),
            (FieldKind::Text { .. }, None) | (FieldKind::Keyword { .. }, None) => Ok(()),
            (FieldKind::Keyword { .. }, Some(_)) => {
                Err(unsupported("only text fields can be searched fuzzily", &query.field))
            }
            _ => Err(unsupported("only text and keyword fields take a text; use term or range", &query.field)),
        }
    }

    fn check_multi_match(&self, query: &MultiMatchQuery) -> Result<()> {
        check_text(&query.text)?;
        check_minimum(query.minimum_match)?;
        check_share(query.tie_breaker)?;
        if query.fields.is_empty() {
            return Err(Error::invalid_input("a multi-match needs at least one field"));
        }
        for (at, FieldBoost { field: name, boost }) in query.fields.iter().enumerate() {
            check_boost(*boost)?;
            let field = self.require_text(name)?;
            if query.fields[..at].iter().any(|earlier| earlier.field == *name) {
                return Err(invalid("a multi-match must name each field once", name));
            }
            if let Some(fuzziness) = query.fuzziness {
                self.check_fuzzy_terms(field, &query.text, fuzziness)?;
            }
        }
        Ok(())
    }

    fn check_fuzzy_terms(&self, field: &Field, text: &str, fuzziness: Fuzziness) -> Result<()> {
        if fuzziness == Fuzziness::Auto {
            return Ok(());
        }
        self.search_tokens(field, text)?.iter().try_for_each(|token| check_fuzziness(fuzziness, &token.text))
    }

    fn check_prefix(&self, name: &str) -> Result<()> {
        match self.indexed(name)?.kind() {
            FieldKind::Text { .. } | FieldKind::Keyword { .. } => Ok(()),
            _ => Err(unsupported("only text and keyword fields have prefixes", name)),
        }
    }

    fn check_terms(&self, name: &str, values: &[Value]) -> Result<()> {
        check_count(values.len())?;
        let field = self.indexed(name)?;
        values.iter().try_for_each(|value| self.check_value(field, value))
    }

    fn check_range(&self, name: &str, bounds: [&Bound<Value>; 2]) -> Result<()> {
        let field = self.indexed(name)?;
        if matches!(field.kind(), FieldKind::Text { .. } | FieldKind::Bool) {
            return Err(unsupported("text and bool fields have no ranges", name));
        }
        bounds.into_iter().try_for_each(|bound| match bound {
            Bound::Included(value) | Bound::Excluded(value) => self.check_value(field, value),
            Bound::Unbounded => Ok(()),
        })
    }

    fn check_value(&self, field: &Field, value: &Value) -> Result<()> {
        if !fits(field, value) {
            let message = format!("a value of kind {} does not fit a field of {}", value.kind(), field.kind().as_str());
            return Err(Error::invalid_input(message).with_key(field.name()));
        }
        match value {
            Value::Text(text) if self.longest_term(field, text) > MAX_TERM_LEN => {
                let message = "a term must not be longer than 32766 bytes";
                Err(Error::new(ErrorKind::TooLarge, message).with_key(field.name()))
            }
            _ => Ok(()),
        }
    }

    /// The bytes of the longest term that a field makes of a text; 0 if it cannot be over the limit.
    fn longest_term(&self, field: &Field, text: &str) -> usize {
        // No step makes a text more than twice as long.
        if text.len() <= MAX_TERM_LEN / 2 {
            return 0;
        }
        match field.kind() {
            FieldKind::Keyword { normalizer } => normalizer.apply(text).len(),
            // Words are cut at 255 UTF-16 units.
            FieldKind::Text { analyzer, .. } if field.is_indexed() => {
                let whole = self.analyzer(analyzer).filter(|analyzer| analyzer.tokenizer() == Tokenizer::Whole);
                let tokens = whole.map_or_else(Vec::new, |analyzer| analyzer.tokens(text));
                tokens.iter().map(|token| token.text.len()).max().unwrap_or(0)
            }
            _ => 0,
        }
    }

    fn indexed(&self, name: &str) -> Result<&Field> {
        let field = self.require(name)?;
        if field.is_indexed() { Ok(field) } else { Err(unsupported("the field is not indexed", name)) }
    }

    fn require_text(&self, name: &str) -> Result<&Field> {
        let field = self.indexed(name)?;
        if field.is_text() { Ok(field) } else { Err(unsupported("this query is for text fields", name)) }
    }
}

#[derive(Default)]
struct Budget {
    clauses: usize,
}

impl Budget {
    fn take(&mut self, depth: usize) -> Result<()> {
        self.clauses += 1;
        if depth > MAX_DEPTH {
            return Err(Error::invalid_input("queries must not be nested more than 20 deep"));
        }
        if self.clauses > MAX_CLAUSES {
            return Err(Error::invalid_input("a query must not have more than 1024 clauses"));
        }
        Ok(())
    }
}

fn fits(field: &Field, value: &Value) -> bool {
    match (field.kind(), value) {
        (FieldKind::Text { .. } | FieldKind::Keyword { .. }, Value::Text(_))
        | (FieldKind::I64, Value::I64(_))
        | (FieldKind::U64, Value::U64(_))
        | (FieldKind::Bool, Value::Bool(_))
        | (FieldKind::Date, Value::Date(_)) => true,
        (FieldKind::F64, Value::F64(number)) => number.is_finite(),
        _ => false,
    }
}

fn check_boost(boost: f32) -> Result<()> {
    if boost.is_finite() && boost >= 0.0 {
        return Ok(());
    }
    Err(Error::invalid_input("a boost must be finite and not negative"))
}

fn check_share(share: f32) -> Result<()> {
    if (0.0..=1.0).contains(&share) { Ok(()) } else { Err(Error::invalid_input("a tie breaker must be from 0 to 1")) }
}

fn check_minimum(minimum: Option<MinimumMatch>) -> Result<()> {
    match minimum {
        Some(MinimumMatch::Percent(percent)) if !(-100..=100).contains(&percent) => {
            Err(Error::invalid_input("a minimum match must be from -100 to 100 percent"))
        }
        _ => Ok(()),
    }
}

fn check_text(text: &str) -> Result<()> {
    if text.len() <= MAX_QUERY_TEXT {
        return Ok(());
    }
    Err(Error::invalid_input("the text of a query must not be longer than 10000 bytes"))
}

fn check_count(count: usize) -> Result<()> {
    if count <= MAX_TERMS {
        return Ok(());
    }
    Err(Error::invalid_input("a query must not list more than 65536 values"))
}

fn check_fuzziness(fuzziness: Fuzziness, term: &str) -> Result<()> {
    let Fuzziness::Edits(edits) = fuzziness else { return Ok(()) };
    if edits > 2 {
        return Err(Error::invalid_input("fuzziness must be 0, 1 or 2 edits"));
    }
    // A shorter term has similar terms whose similarity is negative, which Lucene fails on.
    if term.chars().count() < 2 * usize::from(edits) {
        let message = "fuzziness needs terms of at least twice as many characters; use Fuzziness::Auto";
        return Err(Error::invalid_input(message));
    }
    Ok(())
}

const fn boost_of(query: &Query) -> f32 {
    match query {
        Query::None => 1.0,
        Query::All(q) => q.boost,
        Query::Match(q) => q.boost,
        Query::MultiMatch(q) => q.boost,
        Query::MatchPrefix(q) => q.boost,
        Query::Phrase(q) => q.boost,
        Query::Prefix(q) => q.boost,
        Query::Fuzzy(q) => q.boost,
        Query::Term(q) => q.boost,
        Query::Terms(q) => q.boost,
        Query::Range(q) => q.boost,
        Query::Exists(q) => q.boost,
        Query::Ids(q) => q.boost,
        Query::Bool(q) => q.boost,
        Query::DisMax(q) => q.boost,
        Query::Constant(q) => q.boost,
    }
}

fn invalid(message: &'static str, field: &str) -> Error {
    Error::invalid_input(message).with_key(field)
}

fn unsupported(message: &'static str, field: &str) -> Error {
    Error::new(ErrorKind::Unsupported, message).with_key(field)
}
