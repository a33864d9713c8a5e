//! A [`Query`] in OpenSearch's query language.
//!
//! Only kinds that score by BM25 are left to score by themselves. The others are wrapped as constants: the server ranks
//! some of them by term statistics, for example a `term` on a boolean field.

use std::ops::Bound;

use serde_json::{Map, Value as Json, json};
use statehouse_core::Result;

use super::mapping::{needs_presence, presence};
use crate::{
    BoolQuery, Field, FieldKind, Fuzziness, MatchPrefixQuery, MatchQuery, MinimumMatch, MultiMatchMode,
    MultiMatchQuery, Operator, PrefixWords, Query, RangeQuery, Schema, Value,
};

/// The query as the server takes it. It must have passed [`Schema::check_query`].
pub(super) fn compile(schema: &Schema, query: &Query) -> Result<Json> {
    Compiler { schema }.query(query)
}

struct Compiler<'a> {
    schema: &'a Schema,
}

impl Compiler<'_> {
    fn query(&self, query: &Query) -> Result<Json> {
        Ok(match query {
            Query::All(q) => json!({ "match_all": { "boost": q.boost } }),
            Query::None => nothing(),
            Query::Match(q) => self.matches(q)?,
            Query::MultiMatch(q) => multi_match(q),
            Query::MatchPrefix(q) => self.match_prefix(q)?,
            Query::Phrase(q) => {
                on(&q.field, "match_phrase", json!({ "query": q.text, "slop": q.slop, "boost": q.boost }))
            }
            Query::Prefix(q) => {
                let text = self.schema.normalized(self.field(&q.field)?, &q.text);
                on(&q.field, "prefix", json!({ "value": text, "boost": q.boost }))
            }
            Query::Fuzzy(q) => {
                let text = self.schema.normalized(self.field(&q.field)?, &q.text);
                let mut options = json!({ "value": text, "boost": q.boost });
                set_fuzziness(&mut options, q.fuzziness, q.prefix_length);
                on(&q.field, "fuzzy", options)
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
        let mut options = json!({ "query": query.text, "boost": query.boost });
        set_terms(&mut options, query.operator, query.minimum_match);
        if let Some(fuzziness) = query.fuzziness {
            set_fuzziness(&mut options, fuzziness, query.prefix_length);
        }
        Ok(on(&query.field, "match", options))
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
        let needed = match (query.operator, query.minimum_match) {
            _ if words.len() == 1 => 1,
            (Operator::And, _) => words.len(),
            (Operator::Or, Some(minimum)) => minimum.of(words.len()).max(1),
            (Operator::Or, None) => 1,
        };
        Ok(json!({ "bool": { "should": words, "minimum_should_match": needed, "boost": query.boost } }))
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
    if let Some(fuzziness) = query.fuzziness {
        set_fuzziness(&mut options, fuzziness, query.prefix_length);
    }
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

fn set_fuzziness(options: &mut Json, fuzziness: Fuzziness, prefix_length: u32) {
    options["fuzziness"] = match fuzziness {
        Fuzziness::Auto => "AUTO".into(),
        Fuzziness::Edits(edits) => edits.into(),
    };
    options["prefix_length"] = prefix_length.into();
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
        Value::U64(number) => (*number).into(),
        Value::F64(number) => (*number).into(),
        Value::Bool(truth) => (*truth).into(),
    }
}
