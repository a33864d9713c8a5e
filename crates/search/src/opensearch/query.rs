//! A [`Query`] in OpenSearch's query language.
//!
//! Only kinds that score by BM25 are left to score by themselves. The others are wrapped as constants: the server ranks
//! some of them by term statistics, for example a `term` on a boolean field.

use std::cell::Cell;
use std::ops::Bound;

use serde_json::{Map, Value as Json, json};
use statehouse_core::Result;

use super::function;
use super::mapping::{ID, biased, needs_presence, presence};
use crate::size::TermCount;
use crate::wildcard::Pattern;
use crate::{
    BoolQuery, Field, FieldBoost, FieldKind, FunctionScoreQuery, Fuzziness, MatchPrefixQuery, MatchQuery, MinimumMatch,
    MultiMatchMode, MultiMatchQuery, Operator, PrefixWords, Query, RangeQuery, Schema, Value,
};

/// The query as the server takes it. It must have passed [`Schema::check_query`].
pub(super) fn compile(schema: &Schema, query: &Query, terms: TermCount) -> Result<Json> {
    Compiler { schema, similar: terms.similar(), functions: Cell::new(0) }.query(query)
}

struct Compiler<'a> {
    schema: &'a Schema,
    /// How many similar terms may stand for one.
    similar: usize,
    /// How many function scores there were.
    functions: Cell<usize>,
}

impl Compiler<'_> {
    fn query(&self, query: &Query) -> Result<Json> {
        Ok(match query {
            Query::All(q) => json!({ "match_all": { "boost": q.boost } }),
            Query::None => nothing(),
            Query::Match(q) => self.matches(q)?,
            Query::MultiMatch(q) => self.multi_match(q)?,
            Query::MatchPrefix(q) => self.match_prefix(q)?,
            Query::Phrase(q) => {
                on(&q.field, "match_phrase", json!({ "query": q.text, "slop": q.slop, "boost": q.boost }))
            }
            Query::PhrasePrefix(q) => {
                let (slop, most) = (q.slop, q.max_expansions);
                let options = json!({ "query": q.text, "slop": slop, "max_expansions": most, "boost": q.boost });
                on(&q.field, "match_phrase_prefix", options)
            }
            Query::Prefix(q) => {
                let text = self.schema.normalized(self.field(&q.field)?, &q.text);
                on(&q.field, "prefix", json!({ "value": text, "boost": q.boost }))
            }
            Query::ExactFirst(q) => self.query(&q.expanded(self.schema)?)?,
            Query::Wildcard(q) => {
                let pattern = Pattern::of(self.schema, self.field(&q.field)?, &q.pattern)?;
                constant(on(&q.field, "wildcard", json!({ "value": pattern.escaped() })), q.boost)
            }
            Query::Fuzzy(q) => {
                let text = self.schema.normalized(self.field(&q.field)?, &q.text);
                self.fuzzy(&q.field, &text, (q.fuzziness, q.prefix_length), q.boost)
            }
            Query::Term(q) => self.term(&q.field, &q.value, q.boost)?,
            Query::Terms(q) => {
                let field = self.field(&q.field)?;
                let values: Vec<_> = q.values.iter().map(|value| self.value(field, value)).collect();
                constant(json!({ "terms": { &*q.field: values } }), q.boost)
            }
            Query::Range(q) => self.range(q)?,
            Query::Exists(q) => {
                let field = self.field(&q.field)?;
                let name = if needs_presence(field) { presence(field) } else { field.name().to_owned() };
                constant(json!({ "exists": { "field": name } }), q.boost)
            }
            Query::Ids(q) => constant(json!({ "ids": { "values": q.ids } }), q.boost),
            Query::Bool(q) => self.bool(q)?,
            Query::DisMax(q) if q.queries.is_empty() => nothing(),
            Query::DisMax(q) => json!({ "dis_max": {
                "queries": self.queries(&q.queries)?, "tie_breaker": q.tie_breaker, "boost": q.boost,
            } }),
            Query::Constant(q) => constant(self.query(&q.query)?, q.boost),
            Query::FunctionScore(q) => self.function_score(q)?,
        })
    }

    fn queries(&self, queries: &[Query]) -> Result<Vec<Json>> {
        queries.iter().map(|query| self.query(query)).collect()
    }

    fn field(&self, name: &str) -> Result<&Field> {
        self.schema.require(name)
    }

    /// A value as the field's terms are: text normalised, because the server takes it as it is.
    fn value(&self, field: &Field, value: &Value) -> Json {
        match value {
            Value::Text(text) => self.schema.normalized(field, text).into(),
            other => json(other),
        }
    }

    fn term(&self, name: &str, value: &Value, boost: f32) -> Result<Json> {
        let field = self.field(name)?;
        let value = self.value(field, value);
        Ok(if field.is_text() {
            on(name, "term", json!({ "value": value, "boost": boost }))
        } else {
            constant(json!({ "term": { name: value } }), boost)
        })
    }

    fn matches(&self, query: &MatchQuery) -> Result<Json> {
        let field = self.field(&query.field)?;
        if matches!(field.kind(), FieldKind::Keyword { .. }) {
            return self.term(&query.field, &Value::Text(query.text.clone()), query.boost);
        }
        if let Some(fuzziness) = query.fuzziness {
            let clauses = Clauses { operator: query.operator, minimum: query.minimum_match, boost: query.boost };
            return self.fuzzy_match(field, &query.text, (fuzziness, query.prefix_length), &clauses);
        }
        let mut options = json!({ "query": query.text, "boost": query.boost });
        set_terms(&mut options, query.operator, query.minimum_match);
        Ok(on(&query.field, "match", options))
    }

    /// A term, and those that are similar to it. Apart from what it stands in: Lucene makes one of equal terms, which
    /// here carry statistics that are not their own, and takes those of either. Nothing has the second id.
    fn fuzzy(&self, field: &str, term: &str, (fuzziness, prefix_length): (Fuzziness, u32), boost: f32) -> Json {
        if fuzziness.edits(term.chars().count()) == 0 {
            return on(field, "term", json!({ "value": term, "boost": boost }));
        }
        let mut options = json!({ "value": term, "max_expansions": self.similar });
        options["fuzziness"] = match fuzziness {
            Fuzziness::Auto => "AUTO".into(),
            Fuzziness::Edits(edits) => edits.into(),
        };
        options["prefix_length"] = prefix_length.into();
        let nothing = on(ID, "term", json!({ "value": "\u{0}", "boost": 0.0 }));
        json!({ "dis_max": { "queries": [on(field, "fuzzy", options), nothing], "boost": boost } })
    }

    /// The terms of a text, each with those that are similar to it.
    fn fuzzy_match(&self, field: &Field, text: &str, fuzzy: (Fuzziness, u32), clauses: &Clauses) -> Result<Json> {
        let tokens = self.schema.search_tokens(field, text)?;
        Ok(match tokens.as_slice() {
            [] => nothing(),
            [one] => self.fuzzy(field.name(), &one.text, fuzzy, clauses.boost),
            several => clauses.of(several.iter().map(|token| self.fuzzy(field.name(), &token.text, fuzzy, 1.0))),
        })
    }

    fn multi_match(&self, query: &MultiMatchQuery) -> Result<Json> {
        let Some(fuzziness) = query.fuzziness else { return Ok(multi_match(query)) };
        let fields = query.fields.iter().map(|FieldBoost { field, boost }| {
            let clauses = Clauses { operator: query.operator, minimum: query.minimum_match, boost: *boost };
            self.fuzzy_match(self.field(field)?, &query.text, (fuzziness, query.prefix_length), &clauses)
        });
        let fields = fields.collect::<Result<Vec<_>>>()?;
        let tie_breaker = match query.mode {
            MultiMatchMode::BestFields => query.tie_breaker,
            MultiMatchMode::MostFields => 1.0,
        };
        Ok(json!({ "dis_max": { "queries": fields, "tie_breaker": tie_breaker, "boost": query.boost } }))
    }

    fn match_prefix(&self, query: &MatchPrefixQuery) -> Result<Json> {
        let mut options = json!({ "query": query.text, "boost": query.boost });
        if query.words == PrefixWords::Last {
            set_terms(&mut options, query.operator, query.minimum_match);
            return Ok(on(&query.field, "match_bool_prefix", options));
        }
        let tokens = self.schema.search_tokens(self.field(&query.field)?, &query.text)?;
        let beginning = |text: &str| on(&query.field, "prefix", json!({ "value": text }));
        let words: Vec<_> = tokens.iter().map(|token| beginning(&token.text)).collect();
        if words.is_empty() {
            return Ok(nothing());
        }
        let clauses = Clauses { operator: query.operator, minimum: query.minimum_match, boost: query.boost };
        Ok(clauses.of(words.into_iter()))
    }

    fn range(&self, query: &RangeQuery) -> Result<Json> {
        let field = self.field(&query.field)?;
        let mut bounds = Map::new();
        let (lower, upper) = (["gte", "gt"], ["lte", "lt"]);
        for (bound, [included, excluded]) in [(&query.lower, lower), (&query.upper, upper)] {
            match bound {
                Bound::Included(value) => bounds.insert(included.to_owned(), self.value(field, value)),
                Bound::Excluded(value) => bounds.insert(excluded.to_owned(), self.value(field, value)),
                Bound::Unbounded => None,
            };
        }
        Ok(constant(json!({ "range": { &*query.field: bounds } }), query.boost))
    }

    /// Lucene makes one of equal clauses, with the sum of their boosts; of function scores that is another sum than that of their
    /// scores. So each but the first stands beside something else that nothing has.
    fn function_score(&self, query: &FunctionScoreQuery) -> Result<Json> {
        let own = function::compile(query, &self.query(&query.query)?);
        let number = self.functions.replace(self.functions.get() + 1);
        if number == 0 {
            return Ok(own);
        }
        let nothing = on(ID, "term", json!({ "value": format!("\u{0}{number}"), "boost": 0.0 }));
        Ok(json!({ "dis_max": { "queries": [own, nothing] } }))
    }

    fn bool(&self, query: &BoolQuery) -> Result<Json> {
        let mut clauses = json!({ "boost": query.boost });
        let occurrences = [
            ("must", &query.must),
            ("should", &query.should),
            ("filter", &query.filter),
            ("must_not", &query.must_not),
        ];
        for (occurrence, queries) in occurrences.into_iter().filter(|(_, queries)| !queries.is_empty()) {
            clauses[occurrence] = self.queries(queries)?.into();
        }
        if let Some(minimum) = query.minimum_match {
            clauses["minimum_should_match"] = minimum.of(query.should.len()).into();
        }
        Ok(json!({ "bool": clauses }))
    }
}

/// How the terms of a text are combined.
struct Clauses {
    operator: Operator,
    minimum: Option<MinimumMatch>,
    boost: f32,
}

impl Clauses {
    fn of(&self, words: impl ExactSizeIterator<Item = Json>) -> Json {
        let count = words.len();
        let words: Vec<_> = words.collect();
        let needed = match self.minimum {
            _ if count == 1 => 1,
            Some(minimum) => minimum.of(count).max(1),
            None => 1,
        };
        match self.operator {
            Operator::And => json!({ "bool": { "must": words, "boost": self.boost } }),
            Operator::Or => {
                json!({ "bool": { "should": words, "minimum_should_match": needed, "boost": self.boost } })
            }
        }
    }
}

fn multi_match(query: &MultiMatchQuery) -> Json {
    let fields: Vec<_> = query.fields.iter().map(|field| format!("{}^{}", field.field, field.boost)).collect();
    let mut options = json!({ "query": query.text, "fields": fields, "boost": query.boost });
    options["type"] = match query.mode {
        MultiMatchMode::BestFields => "best_fields".into(),
        MultiMatchMode::MostFields => "most_fields".into(),
    };
    if query.mode == MultiMatchMode::BestFields {
        options["tie_breaker"] = query.tie_breaker.into();
    }
    set_terms(&mut options, query.operator, query.minimum_match);
    json!({ "multi_match": options })
}

fn set_terms(options: &mut Json, operator: Operator, minimum: Option<MinimumMatch>) {
    options["operator"] = match operator {
        Operator::Or => "or".into(),
        Operator::And => "and".into(),
    };
    options["minimum_should_match"] = match minimum {
        Some(MinimumMatch::Count(count)) => count.to_string().into(),
        Some(MinimumMatch::Percent(percent)) => format!("{percent}%").into(),
        None => return,
    };
}

fn on(field: &str, kind: &str, options: Json) -> Json {
    object([(kind, object([(field, options)]))])
}

fn constant(filter: Json, boost: f32) -> Json {
    object([("constant_score", object([("filter", filter), ("boost", boost.into())]))])
}

fn object<const N: usize>(entries: [(&str, Json); N]) -> Json {
    Json::Object(entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn nothing() -> Json {
    json!({ "match_none": {} })
}

/// A value as it stands in a document and in a query.
fn json(value: &Value) -> Json {
    match value {
        Value::Text(text) => text.as_str().into(),
        Value::I64(number) | Value::Date(number) => (*number).into(),
        Value::U64(number) => biased(*number).into(),
        Value::F64(number) => (*number).into(),
        Value::Bool(truth) => (*truth).into(),
    }
}
