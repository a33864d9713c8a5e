//! What a request may ask of a schema, checked the same way before every backend.

mod documents;

use std::ops::Bound;

use documents::fits;
use statehouse_core::{Error, ErrorKind, Result};

use crate::analysis::TokenStream;
use crate::cursor::{Cursor, damaged};
use crate::limits::{MAX_BOOST, MAX_FUNCTION, MAX_FUZZY_TERM, MAX_POSITIONS, at_most};
use crate::print::print;
use crate::size::{Size, TermCount};
use crate::wildcard::Pattern;
use crate::{
    BoolQuery, DocumentId, Field, FieldBoost, FieldKind, FunctionScoreQuery, Fuzziness, MatchQuery, MinimumMatch,
    MultiMatchQuery, Operator, PhrasePrefixQuery, Projection, Query, Schema, SearchRequest, SortKey, Total, Value,
};

/// What the queries around one multiply its score by.
#[derive(Clone, Copy)]
struct Around {
    /// The product of their boosts.
    boost: f32,
    /// The product of what their functions give at most.
    function: f32,
}

impl Default for Around {
    fn default() -> Self {
        Self { boost: 1.0, function: 1.0 }
    }
}

impl Schema {
    /// Checks that a request fits.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for an unknown field, a wrong type, more of anything than its limit (the constants
    /// `MAX_…` of this crate, [`SearchRequest::MAX_WINDOW`], `MAX_…` of facets), an option outside its range, or options
    /// that contradict each other; [`ErrorKind::TooLarge`] for too many bytes of values;
    /// [`ErrorKind::Unsupported`] for a field that cannot do what is asked of it.
    pub fn check_request(&self, request: &SearchRequest) -> Result<()> {
        self.terms_of_request(request, Size::of_request(request)?).map(drop)
    }

    /// Checks that a request whose size was found to be allowed fits, and counts its terms.
    pub(crate) fn terms_of_request(&self, request: &SearchRequest, size: Size) -> Result<TermCount> {
        check_window(request)?;
        check_total(request.total)?;
        let terms = self.terms_of(request.queries(), size)?;
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
        request.after.as_ref().map_or(Ok(()), |cursor| check_cursor(cursor, self, request))?;
        self.check_counts(request)?;
        self.check_collapse(request)?;
        request.highlight.iter().try_for_each(|highlight| self.check_highlight(&highlight.field))?;
        Ok(terms)
    }

    /// Checks that a query fits.
    ///
    /// # Errors
    /// As [`check_request`](Self::check_request).
    pub fn check_query(&self, query: &Query) -> Result<()> {
        self.terms_of([query], Size::of([query])?).map(drop)
    }

    /// Checks that queries whose size was found to be allowed fit, and counts their terms.
    pub(crate) fn terms_of<'a>(&self, queries: impl IntoIterator<Item = &'a Query>, size: Size) -> Result<TermCount> {
        let mut terms = TermCount::of(size);
        queries.into_iter().try_for_each(|query| self.check_node(query, Around::default(), &mut terms))?;
        Ok(terms)
    }

    fn check_collapse(&self, request: &SearchRequest) -> Result<()> {
        let Some(name) = &request.collapse else { return Ok(()) };
        let field = self.require(name)?;
        let kind = matches!(field.kind(), FieldKind::Keyword { .. } | FieldKind::I64 | FieldKind::U64 | FieldKind::F64);
        if !kind || !field.is_sortable() {
            return Err(unsupported("hits are collapsed by a sortable field of keywords or numbers", name));
        }
        if request.after.is_some() {
            return Err(unsupported("a page of collapsed hits begins at from, not behind a cursor", name));
        }
        Ok(())
    }

    fn check_highlight(&self, name: &str) -> Result<()> {
        let field = self.require(name)?;
        let stored = field.source().and_then(|source| self.field(source)).unwrap_or(field).is_stored();
        if field.is_text() && stored {
            return Ok(());
        }
        Err(unsupported("only a text field whose text is stored can be highlighted", name))
    }

    fn check_node(&self, query: &Query, around: Around, terms: &mut TermCount) -> Result<()> {
        let boost = check_boost(around.boost, boost_of(query))?;
        let around = Around { boost, ..around };
        let inner = |queries: &[Query], terms: &mut TermCount| {
            queries.iter().try_for_each(|query| self.check_node(query, around, terms))
        };
        match query {
            Query::All(_) | Query::None => Ok(()),
            Query::Match(q) => self.check_match(q, terms),
            Query::MultiMatch(q) => self.check_multi_match(q, boost, terms),
            Query::MatchPrefix(q) => {
                check_operator(q.operator, q.minimum_match)?;
                let field = self.require_text(&q.field)?;
                self.check_tokens(field, &q.text, None, terms)
            }
            Query::Phrase(q) => {
                check_positions("slop", q.slop)?;
                let field = self.require_text(&q.field)?;
                self.check_tokens(field, &q.text, None, terms)
            }
            Query::PhrasePrefix(q) => self.check_phrase_prefix(q, terms),
            Query::Prefix(q) => self.check_prefix(&q.field),
            Query::ExactFirst(q) => {
                self.require_text(&q.field)?;
                check_positions("prefix length", q.prefix_length)?;
                check_boost(boost, q.boost)?;
                let expanded = q.expanded(self)?;
                terms.add_queries(Size::of([&expanded])?.queries - 1)?;
                self.check_node(&expanded, around, terms)
            }
            Query::Wildcard(q) => {
                let field = self.require(&q.field)?;
                self.check_prefix(&q.field)?;
                Pattern::of(self, field, &q.pattern).map(drop)
            }
            Query::Fuzzy(q) => {
                check_positions("prefix length", q.prefix_length)?;
                let field = self.require_text(&q.field)?;
                let fuzzy = check_fuzziness(q.fuzziness, &self.normalized(field, &q.text))?;
                fuzzy.map_or(Ok(()), |letters| terms.add_fuzzy(letters))
            }
            Query::Term(q) => self.check_value(self.indexed(&q.field)?, &q.value),
            Query::Terms(q) => self.check_terms(&q.field, &q.values),
            Query::Range(q) => self.check_range(&q.field, [&q.lower, &q.upper]),
            Query::Exists(q) => self.indexed(&q.field).map(drop),
            Query::Ids(q) => q.ids.iter().try_for_each(|id| DocumentId::check(id)),
            Query::Bool(q) => {
                check_bool(q)?;
                [&q.must, &q.should, &q.filter, &q.must_not].into_iter().try_for_each(|all| inner(all, terms))
            }
            Query::DisMax(q) => check_share(q.tie_breaker).and_then(|()| inner(&q.queries, terms)),
            Query::Constant(q) => inner(std::slice::from_ref(&*q.query), terms),
            Query::FunctionScore(q) => {
                q.function.check(self)?;
                let function = check_function(around.function, q)?;
                self.check_node(&q.query, Around { function, ..around }, terms)
            }
        }
    }

    fn check_match(&self, query: &MatchQuery, terms: &mut TermCount) -> Result<()> {
        check_operator(query.operator, query.minimum_match)?;
        check_positions("prefix length", query.prefix_length)?;
        let field = self.indexed(&query.field)?;
        match (field.kind(), query.fuzziness) {
            (FieldKind::Text { .. }, fuzziness) => self.check_tokens(field, &query.text, fuzziness, terms),
            (FieldKind::Keyword { .. }, None) => Ok(()),
            (FieldKind::Keyword { .. }, Some(_)) => {
                Err(unsupported("only text fields can be searched fuzzily", &query.field))
            }
            _ => Err(unsupported("only text and keyword fields take a text; use term or range", &query.field)),
        }
    }

    fn check_multi_match(&self, query: &MultiMatchQuery, boost: f32, terms: &mut TermCount) -> Result<()> {
        check_operator(query.operator, query.minimum_match)?;
        check_positions("prefix length", query.prefix_length)?;
        check_share(query.tie_breaker)?;
        if query.fields.is_empty() {
            return Err(Error::invalid_input("a multi-match needs at least one field"));
        }
        for (at, FieldBoost { field: name, boost: own }) in query.fields.iter().enumerate() {
            check_boost(boost, *own)?;
            let field = self.require_text(name)?;
            if query.fields[..at].iter().any(|earlier| earlier.field == *name) {
                return Err(invalid("a multi-match must name each field once", name));
            }
            terms.add()?;
            self.check_tokens(field, &query.text, query.fuzziness, terms)?;
        }
        Ok(())
    }

    fn check_phrase_prefix(&self, query: &PhrasePrefixQuery, terms: &mut TermCount) -> Result<()> {
        check_positions("slop", query.slop)?;
        if query.max_expansions == 0 {
            return Err(Error::invalid_input("a phrase prefix needs max expansions of at least 1"));
        }
        let field = self.require_text(&query.field)?;
        if self.search_analyzer(field)?.makes_several_terms_of_a_word() {
            // OpenSearch expands each of them in turn, until one has reached the limit.
            let message = "a phrase prefix needs a field whose queries make one term of a word";
            return Err(unsupported(message, &query.field));
        }
        terms.add_terms(query.max_expansions as usize)?;
        self.check_tokens(field, &query.text, None, terms)
    }

    /// Counts the terms of a text, and checks that those that are to have similar ones can.
    fn check_tokens(&self, field: &Field, text: &str, fuzzy: Option<Fuzziness>, terms: &mut TermCount) -> Result<()> {
        let mut tokens = TokenStream::new(self.search_analyzer(field)?, text);
        while tokens.advance() {
            let fuzzy = fuzzy.map_or(Ok(None), |fuzziness| check_fuzziness(fuzziness, &tokens.token().text))?;
            terms.add_term(fuzzy)?;
        }
        Ok(())
    }

    fn check_prefix(&self, name: &str) -> Result<()> {
        match self.indexed(name)?.kind() {
            FieldKind::Text { .. } | FieldKind::Keyword { .. } => Ok(()),
            _ => Err(unsupported("only text and keyword fields have beginnings and patterns", name)),
        }
    }

    fn check_terms(&self, name: &str, values: &[Value]) -> Result<()> {
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

    fn indexed(&self, name: &str) -> Result<&Field> {
        let field = self.require(name)?;
        if field.is_indexed() { Ok(field) } else { Err(unsupported("the field is not indexed", name)) }
    }

    fn require_text(&self, name: &str) -> Result<&Field> {
        let field = self.indexed(name)?;
        if field.is_text() { Ok(field) } else { Err(unsupported("this query is for text fields", name)) }
    }
}

fn check_total(total: Total) -> Result<()> {
    match total {
        Total::AtLeast(most) if most > Total::MAX => {
            let message = format!("a total is counted up to {} or exactly, not up to {most}", Total::MAX);
            Err(Error::invalid_input(message))
        }
        _ => Ok(()),
    }
}

fn check_window(request: &SearchRequest) -> Result<()> {
    let (from, size, most) = (request.from, request.size, SearchRequest::MAX_WINDOW);
    if request.after.is_some() && from > 0 {
        return Err(Error::invalid_input(format!("a page begins behind a cursor or at from ({from}), not at both")));
    }
    if from.checked_add(size).is_some_and(|end| end <= most) {
        return Ok(());
    }
    let instead = match &request.collapse {
        Some(_) => "collapsed hits have no cursors: narrow the search",
        None => "read on behind a cursor instead",
    };
    let message = format!("from ({from}) + size ({size}) must not be over {most}; {instead}");
    Err(Error::invalid_input(message))
}

/// Succeeds if it is a place in the order of a request whose sort keys were checked.
fn check_cursor(cursor: &Cursor, schema: &Schema, request: &SearchRequest) -> Result<()> {
    if cursor.of != print(schema, request) || cursor.sort.len() != request.sort.len() {
        let message = "the cursor is of another request: of another query, filter, order or schema";
        return Err(Error::invalid_input(message));
    }
    let scored = request.sort.is_empty() || request.sort.iter().any(|sort| sort.key == SortKey::Score);
    let score = cursor.score.map_or(!scored, |score| scored && score.is_finite());
    let mut keys = request.sort.iter().zip(&cursor.sort);
    let keys = keys.all(|(sort, value)| match (&sort.key, value) {
        (_, None) => true,
        (SortKey::Score, Some(_)) => false,
        (SortKey::Field(name), Some(value)) => schema.field(name).is_some_and(|field| fits(field, value)),
    });
    if score && keys { Ok(()) } else { Err(damaged()) }
}

/// A boost within that of the queries around it; what scores are multiplied by in the end.
fn check_boost(around: f32, own: f32) -> Result<f32> {
    let boost = around * own;
    // Of the two zeros Lucene refuses the negative one.
    if boost.is_finite() && boost.is_sign_positive() && own.is_sign_positive() && own.max(boost) <= MAX_BOOST {
        return Ok(boost);
    }
    let message = format!("a boost must be from 0 to {MAX_BOOST:e}, also times those around it; found {own:e}");
    Err(Error::invalid_input(message))
}

/// How much the functions around a query give at most, with that around it.
fn check_function(around: f32, query: &FunctionScoreQuery) -> Result<f32> {
    let (own, most) = (query.max_boost, around * query.function.most(query.max_boost));
    if own.is_finite() && own.is_sign_positive() && own.max(most) <= MAX_FUNCTION {
        // A smaller one makes no room for the others.
        return Ok(most.max(around));
    }
    let message = format!(
        "a max boost must be from 0 to {MAX_FUNCTION:e}, also times those of functions around it; found {own:e}"
    );
    Err(Error::invalid_input(message).with_key(query.function.field()))
}

fn check_share(share: f32) -> Result<()> {
    if (0.0..=1.0).contains(&share) { Ok(()) } else { Err(Error::invalid_input("a tie breaker must be from 0 to 1")) }
}

fn check_minimum(minimum: MinimumMatch) -> Result<()> {
    match minimum {
        MinimumMatch::Percent(percent) if !(-100..=100).contains(&percent) => {
            let message = format!("a minimum match must be from -100 to 100 percent, not {percent}");
            Err(Error::invalid_input(message))
        }
        _ => Ok(()),
    }
}

fn check_operator(operator: Operator, minimum: Option<MinimumMatch>) -> Result<()> {
    match minimum {
        Some(_) if operator == Operator::And => {
            Err(Error::invalid_input("a minimum match is for Operator::Or; with Operator::And every term is needed"))
        }
        Some(minimum) => check_minimum(minimum),
        None => Ok(()),
    }
}

fn check_bool(query: &BoolQuery) -> Result<()> {
    match query.minimum_match {
        Some(_) if query.should.is_empty() => {
            Err(Error::invalid_input("a minimum match counts should clauses, of which this bool query has none"))
        }
        Some(minimum) => check_minimum(minimum),
        None => Ok(()),
    }
}

fn check_positions(what: &str, found: u32) -> Result<()> {
    at_most(&format!("positions of {what}"), found as usize, MAX_POSITIONS as usize)
}

/// How long a term is, in code points, that has similar ones.
fn check_fuzziness(fuzziness: Fuzziness, term: &str) -> Result<Option<usize>> {
    let length = term.chars().count();
    match fuzziness {
        Fuzziness::Edits(edits @ 3..) => {
            return Err(Error::invalid_input(format!("fuzziness must be 0, 1 or 2 edits, not {edits}")));
        }
        // A shorter term has similar terms whose similarity is negative, which Lucene fails on.
        Fuzziness::Edits(edits) if length < 2 * usize::from(edits) => {
            let message = "fuzziness needs terms of at least twice as many characters; use Fuzziness::Auto";
            return Err(Error::invalid_input(message));
        }
        _ => {}
    }
    if fuzziness.edits(length) == 0 {
        return Ok(None);
    }
    at_most("characters in a fuzzy term", length, MAX_FUZZY_TERM).map(|()| Some(length))
}

const fn boost_of(query: &Query) -> f32 {
    match query {
        // The tree that it stands for has its boost.
        Query::None | Query::ExactFirst(_) => 1.0,
        Query::All(q) => q.boost,
        Query::Match(q) => q.boost,
        Query::MultiMatch(q) => q.boost,
        Query::MatchPrefix(q) => q.boost,
        Query::Phrase(q) => q.boost,
        Query::PhrasePrefix(q) => q.boost,
        Query::Prefix(q) => q.boost,
        Query::Wildcard(q) => q.boost,
        Query::Fuzzy(q) => q.boost,
        Query::Term(q) => q.boost,
        Query::Terms(q) => q.boost,
        Query::Range(q) => q.boost,
        Query::Exists(q) => q.boost,
        Query::Ids(q) => q.boost,
        Query::Bool(q) => q.boost,
        Query::DisMax(q) => q.boost,
        Query::Constant(q) => q.boost,
        Query::FunctionScore(q) => q.boost,
    }
}

fn invalid(message: &'static str, field: &str) -> Error {
    Error::invalid_input(message).with_key(field)
}

fn unsupported(message: &'static str, field: &str) -> Error {
    Error::new(ErrorKind::Unsupported, message).with_key(field)
}
