//! What a cursor belongs to: a query, filters and an order, and the fields that they name as the schema has them.

use std::hash::{Hash, Hasher};
use std::ops::Bound;

use crate::cursor::Fnv;
use crate::{
    BoolQuery, ConstantQuery, Decay, DisMaxQuery, ExactFirstQuery, FieldKind, FieldValueFactor, FunctionScoreQuery,
    FuzzyQuery, MatchPrefixQuery, MatchQuery, MultiMatchQuery, PhrasePrefixQuery, PhraseQuery, PrefixQuery, Query,
    RangeQuery, Schema, ScoreFunction, SearchRequest, SearchResponse, SortKey, TermQuery, TermsQuery, Value,
    WildcardQuery,
};

/// The same for the same request in every process, whatever page of it is asked for. It guards against mistakes, not
/// against forgery: a cursor that is made up only begins a page elsewhere.
pub(crate) fn print(schema: &Schema, request: &SearchRequest) -> u64 {
    let mut print = Print { schema, hash: Fnv::default() };
    print.query(&request.query);
    print.queries(&request.filters);
    print.hash.write_usize(request.sort.len());
    for sort in &request.sort {
        (sort.order, sort.missing).hash(&mut print.hash);
        match &sort.key {
            SortKey::Score => print.hash.write_u8(0),
            SortKey::Field(name) => print.field(name),
        }
    }
    // Those that have none have the print that they had before there were any.
    if !request.post_filters.is_empty() {
        print.queries(&request.post_filters);
    }
    if let Some(field) = &request.collapse {
        print.hash.write_u8(0);
        print.field(field);
    }
    print.hash.finish()
}

impl SearchResponse {
    /// Lets its hits give cursors of this request; a backend that was not made here calls it last.
    ///
    /// ```
    /// use statehouse_search::{Field, Hit, Query, Record, Schema, SearchRequest, SearchResponse};
    ///
    /// let schema = Schema::builder().field(Field::text("title")).build()?;
    /// let request = SearchRequest::new(Query::matches("title", "cholera"));
    /// let answer = SearchResponse::new(1, vec![Hit::new(Record::new("A00")?, Some(1.5))]);
    /// let answer = answer.with_cursors(&schema, &request);
    /// schema.check_request(&request.with_after(answer.hits[0].cursor()))?;
    /// # Ok::<(), statehouse_core::Error>(())
    /// ```
    #[must_use]
    pub fn with_cursors(mut self, schema: &Schema, request: &SearchRequest) -> Self {
        let of = print(schema, request);
        self.hits.iter_mut().for_each(|hit| hit.of = of);
        self
    }
}

struct Print<'a> {
    schema: &'a Schema,
    hash: Fnv,
}

impl Print<'_> {
    /// A field by its name and by what makes its terms and its order.
    fn field(&mut self, name: &str) {
        name.hash(&mut self.hash);
        let Some(field) = self.schema.field(name) else { return };
        field.kind().hash(&mut self.hash);
        if let FieldKind::Text { analyzer, search_analyzer, .. } = field.kind() {
            [analyzer, search_analyzer].map(|name| self.schema.analyzer(name)).hash(&mut self.hash);
        }
    }

    fn number(&mut self, number: f32) {
        self.hash.write(&number.to_bits().to_le_bytes());
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Text(text) => (0_u8, text).hash(&mut self.hash),
            Value::I64(number) => (1_u8, number).hash(&mut self.hash),
            Value::U64(number) => (2_u8, number).hash(&mut self.hash),
            Value::F64(number) => (3_u8, number.to_bits()).hash(&mut self.hash),
            Value::Bool(truth) => (4_u8, truth).hash(&mut self.hash),
            Value::Date(millis) => (5_u8, millis).hash(&mut self.hash),
        }
    }

    fn bound(&mut self, bound: &Bound<Value>) {
        std::mem::discriminant(bound).hash(&mut self.hash);
        if let Bound::Included(value) | Bound::Excluded(value) = bound {
            self.value(value);
        }
    }

    fn queries(&mut self, queries: &[Query]) {
        self.hash.write_usize(queries.len());
        queries.iter().for_each(|query| self.query(query));
    }

    fn query(&mut self, query: &Query) {
        std::mem::discriminant(query).hash(&mut self.hash);
        let hash = &mut self.hash;
        let boost = match query {
            Query::None => 1.0,
            Query::All(query) => query.boost,
            Query::Match(query) => self.matches(query),
            Query::MultiMatch(query) => self.multi_match(query),
            Query::MatchPrefix(MatchPrefixQuery { field, text, words, operator, minimum_match, boost }) => {
                (text, words, operator, minimum_match).hash(hash);
                self.of_field(field, *boost)
            }
            Query::Phrase(PhraseQuery { field, text, slop, boost }) => {
                (text, slop).hash(hash);
                self.of_field(field, *boost)
            }
            Query::PhrasePrefix(PhrasePrefixQuery { field, text, slop, max_expansions, boost }) => {
                (text, slop, max_expansions).hash(hash);
                self.of_field(field, *boost)
            }
            Query::Prefix(PrefixQuery { field, text, boost }) => {
                text.hash(hash);
                self.of_field(field, *boost)
            }
            Query::ExactFirst(query) => self.exact_first(query),
            Query::Wildcard(WildcardQuery { field, pattern, boost }) => {
                pattern.hash(hash);
                self.of_field(field, *boost)
            }
            Query::Fuzzy(FuzzyQuery { field, text, fuzziness, prefix_length, boost }) => {
                (text, fuzziness, prefix_length).hash(hash);
                self.of_field(field, *boost)
            }
            Query::Exists(query) => self.of_field(&query.field, query.boost),
            Query::Ids(query) => {
                query.ids.hash(hash);
                query.boost
            }
            Query::Term(_) | Query::Terms(_) | Query::Range(_) => self.valued(query),
            Query::Bool(_) | Query::DisMax(_) | Query::Constant(_) => self.nested(query),
            Query::FunctionScore(query) => self.function_score(query),
        };
        self.number(boost);
    }

    fn of_field(&mut self, name: &str, boost: f32) -> f32 {
        self.field(name);
        boost
    }

    fn matches(&mut self, query: &MatchQuery) -> f32 {
        let MatchQuery { field, text, operator, minimum_match, fuzziness, prefix_length, boost } = query;
        (text, operator, minimum_match, fuzziness, prefix_length).hash(&mut self.hash);
        self.of_field(field, *boost)
    }

    fn multi_match(&mut self, query: &MultiMatchQuery) -> f32 {
        let MultiMatchQuery { fields, text, mode, tie_breaker, .. } = query;
        let MultiMatchQuery { operator, minimum_match, fuzziness, prefix_length, boost, .. } = query;
        (text, mode, operator, minimum_match, fuzziness, prefix_length).hash(&mut self.hash);
        self.number(*tie_breaker);
        self.hash.write_usize(fields.len());
        for field in fields {
            self.field(&field.field);
            self.number(field.boost);
        }
        *boost
    }

    fn exact_first(&mut self, query: &ExactFirstQuery) -> f32 {
        let ExactFirstQuery { field, text, operator, fuzziness, prefix_length, completions, boost } = query;
        (text, operator, fuzziness, prefix_length, completions).hash(&mut self.hash);
        self.of_field(field, *boost)
    }

    fn function_score(&mut self, query: &FunctionScoreQuery) -> f32 {
        let FunctionScoreQuery { query, function, boost_mode, max_boost, boost } = query;
        (boost_mode, std::mem::discriminant(function)).hash(&mut self.hash);
        self.number(*max_boost);
        let reals = match function {
            ScoreFunction::FieldValue(FieldValueFactor { field, factor, modifier, missing }) => {
                self.field(field);
                self.number(*factor);
                modifier.hash(&mut self.hash);
                [*missing, 0.0, 0.0]
            }
            ScoreFunction::Decay(Decay { field, origin, scale, offset, decay, curve }) => {
                self.field(field);
                self.value(origin);
                curve.hash(&mut self.hash);
                [*scale, *offset, *decay]
            }
        };
        reals.map(f64::to_bits).hash(&mut self.hash);
        self.query(query);
        *boost
    }

    fn valued(&mut self, query: &Query) -> f32 {
        match query {
            Query::Term(TermQuery { field, value, boost }) => {
                self.value(value);
                self.of_field(field, *boost)
            }
            Query::Terms(TermsQuery { field, values, boost }) => {
                self.hash.write_usize(values.len());
                values.iter().for_each(|value| self.value(value));
                self.of_field(field, *boost)
            }
            Query::Range(RangeQuery { field, lower, upper, boost }) => {
                self.bound(lower);
                self.bound(upper);
                self.of_field(field, *boost)
            }
            _ => 1.0,
        }
    }

    fn nested(&mut self, query: &Query) -> f32 {
        match query {
            Query::Bool(BoolQuery { must, should, filter, must_not, minimum_match, boost }) => {
                minimum_match.hash(&mut self.hash);
                [must, should, filter, must_not].into_iter().for_each(|queries| self.queries(queries));
                *boost
            }
            Query::DisMax(DisMaxQuery { queries, tie_breaker, boost }) => {
                self.number(*tie_breaker);
                self.queries(queries);
                *boost
            }
            Query::Constant(ConstantQuery { query, boost }) => {
                self.query(query);
                *boost
            }
            _ => 1.0,
        }
    }
}
