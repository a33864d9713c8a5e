//! The tree: any query, those made of others, and the constructors of all.

use std::ops::Bound;
use std::sync::Arc;

use super::exact::{AllQuery, ExistsQuery, IdsQuery, RangeQuery, TermQuery, TermsQuery};
use super::exact_first::ExactFirstQuery;
use super::function::{BoostMode, ScoreFunction};
use super::minimum::MinimumMatch;
use super::phrase_prefix::PhrasePrefixQuery;
use super::text::{
    FieldBoost, Fuzziness, FuzzyQuery, MatchPrefixQuery, MatchQuery, MultiMatchMode, MultiMatchQuery, Operator,
    PhraseQuery, PrefixQuery, PrefixWords, WildcardQuery,
};
use crate::Value;
use crate::limits::MAX_FUNCTION;

/// What to look for: one tree, compiled to tantivy and to OpenSearch.
///
/// A query that scores follows Lucene's BM25 (k1 = 1.2, b = 0.75) on text fields. Everything else scores a constant 1,
/// times its boost, unless a [function](FunctionScoreQuery) of a field's values has a part in it. Build one with the constructors here or with typed field handles; each variant's own struct has the
/// options.
///
/// ```
/// use statehouse_search::{Operator, Query};
///
/// let query = Query::bool()
///     .must(Query::matches("title", "hart atack").fuzzy().operator(Operator::And))
///     .should(Query::phrase("title", "heart attack").boost(2.0))
///     .filter(Query::term("chapter", "9"));
/// # let _: Query = query.into();
/// ```
///
/// Each constructor gives a query of a type of its own, with the options that it has. Where a variable or a branch needs one
/// type, `into` makes a `Query` of it:
///
/// ```
/// use statehouse_search::{Fuzziness, MinimumMatch, Query};
///
/// let everything: Query = Query::all().into();
/// let typed: Query = Query::matches("title", "acute hart atack")
///     .fuzziness(Fuzziness::Edits(1))
///     .prefix_length(1)
///     .minimum_match(MinimumMatch::Percent(60))
///     .into();
/// let close = Query::phrase("title", "attack heart").slop(2);
/// let recent = Query::range("edition").at_least(2024_u64).below(2026_u64);
/// let early = Query::range("edition").above(1999_u64).at_most(2009_u64);
/// let similar = Query::fuzzy("title", "infraction").fuzziness(Fuzziness::Edits(1)).prefix_length(2);
/// let anywhere = Query::multi_match(["title", "synonyms"], "heart attack").most_fields();
/// let somewhere = Query::multi_match(["title", "synonyms"], "heart attack").tie_breaker(0.3);
/// let best = Query::dis_max([typed, close.into(), similar.into()]).tie_breaker(0.1);
/// let query = Query::bool()
///     .must(best)
///     .should(anywhere)
///     .should(somewhere)
///     .minimum_match(MinimumMatch::Count(1))
///     .must_not(early)
///     .filter(recent);
/// # let _ = (everything, Query::from(query));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Query {
    /// Every document.
    All(AllQuery),
    /// No document.
    None,
    /// The terms of a text in one field.
    Match(MatchQuery),
    /// The terms of a text in several fields.
    MultiMatch(MultiMatchQuery),
    /// The terms of a text, the last one as a beginning.
    MatchPrefix(MatchPrefixQuery),
    /// The terms of a text, in order and close together.
    Phrase(PhraseQuery),
    /// Terms that begin with a text.
    Prefix(PrefixQuery),
    /// Terms similar to one.
    Fuzzy(FuzzyQuery),
    /// One exact value.
    Term(TermQuery),
    /// Any of several exact values.
    Terms(TermsQuery),
    /// Values between two bounds.
    Range(RangeQuery),
    /// Documents that have a value in a field.
    Exists(ExistsQuery),
    /// Documents by their ids.
    Ids(IdsQuery),
    /// Other queries combined.
    Bool(BoolQuery),
    /// The best of several queries.
    DisMax(DisMaxQuery),
    /// Another query with every hit scoring the same.
    Constant(ConstantQuery),
    // What comes later stands at the end: a cursor knows a kind by its number.
    /// Terms that fit a pattern.
    Wildcard(WildcardQuery),
    /// The terms of a text and those like them, the exact ones first.
    ExactFirst(ExactFirstQuery),
    /// The terms of a text, in order and close together, the last one as a beginning.
    PhrasePrefix(PhrasePrefixQuery),
    /// Another query with scores that the values of documents have a part in.
    FunctionScore(FunctionScoreQuery),
}

macro_rules! query_kinds {
    ($($kind:ident => $variant:ident),* $(,)?) => {$(
        impl From<$kind> for Query {
            fn from(query: $kind) -> Self {
                Self::$variant(query)
            }
        }
        impl $kind {
            /// Multiplies the score. Finite and not negative.
            #[must_use]
            pub const fn boost(mut self, boost: f32) -> Self {
                self.boost = boost;
                self
            }
        }
    )*};
}
query_kinds!(
    AllQuery => All, MatchQuery => Match, MultiMatchQuery => MultiMatch, MatchPrefixQuery => MatchPrefix,
    PhraseQuery => Phrase, PrefixQuery => Prefix, FuzzyQuery => Fuzzy, TermQuery => Term, TermsQuery => Terms,
    RangeQuery => Range, ExistsQuery => Exists, IdsQuery => Ids, BoolQuery => Bool, DisMaxQuery => DisMax,
    ConstantQuery => Constant, WildcardQuery => Wildcard, ExactFirstQuery => ExactFirst,
    PhrasePrefixQuery => PhrasePrefix, FunctionScoreQuery => FunctionScore,
);

type Name = Arc<str>;

impl Query {
    /// Every document, scoring 1.
    #[must_use]
    pub const fn all() -> AllQuery {
        AllQuery { boost: 1.0 }
    }

    /// Documents whose `field` has any of the terms of `text`; see [`MatchQuery`].
    #[must_use]
    pub fn matches(field: impl Into<Name>, text: impl Into<String>) -> MatchQuery {
        MatchQuery {
            field: field.into(),
            text: text.into(),
            operator: Operator::Or,
            minimum_match: None,
            fuzziness: None,
            prefix_length: 0,
            boost: 1.0,
        }
    }

    /// Documents whose `field` has any of the terms of `text` or one like it, those first that have it as it is; see
    /// [`ExactFirstQuery`].
    #[must_use]
    pub fn exact_first(field: impl Into<Name>, text: impl Into<String>) -> ExactFirstQuery {
        ExactFirstQuery::new(field.into(), text.into())
    }

    /// The same text in several fields; see [`MultiMatchQuery`].
    #[must_use]
    pub fn multi_match<F: Into<FieldBoost>>(
        fields: impl IntoIterator<Item = F>,
        text: impl Into<String>,
    ) -> MultiMatchQuery {
        MultiMatchQuery {
            fields: fields.into_iter().map(Into::into).collect(),
            text: text.into(),
            mode: MultiMatchMode::BestFields,
            tie_breaker: 0.0,
            operator: Operator::Or,
            minimum_match: None,
            fuzziness: None,
            prefix_length: 0,
            boost: 1.0,
        }
    }

    /// Text as it is being typed: `"acute hea"` finds *acute heart failure*; see [`MatchPrefixQuery`].
    #[must_use]
    pub fn matches_prefix(field: impl Into<Name>, text: impl Into<String>) -> MatchPrefixQuery {
        MatchPrefixQuery {
            field: field.into(),
            text: text.into(),
            words: PrefixWords::Last,
            operator: Operator::Or,
            minimum_match: None,
            boost: 1.0,
        }
    }

    /// Every word a beginning and all of them needed, in any order: `"hea att"` finds *heart attack*.
    #[must_use]
    pub fn starts_with_words(field: impl Into<Name>, text: impl Into<String>) -> MatchPrefixQuery {
        MatchPrefixQuery { words: PrefixWords::All, operator: Operator::And, ..Self::matches_prefix(field, text) }
    }

    /// The terms of `text` one after another.
    #[must_use]
    pub fn phrase(field: impl Into<Name>, text: impl Into<String>) -> PhraseQuery {
        PhraseQuery { field: field.into(), text: text.into(), slop: 0, boost: 1.0 }
    }

    /// The terms of `text` one after another, the last one only begun; see [`PhrasePrefixQuery`].
    #[must_use]
    pub fn phrase_prefix(field: impl Into<Name>, text: impl Into<String>) -> PhrasePrefixQuery {
        PhrasePrefixQuery::new(field.into(), text.into())
    }

    /// Terms that begin with `text`, to which only the field's lowercase and folding steps are applied.
    #[must_use]
    pub fn prefix(field: impl Into<Name>, text: impl Into<String>) -> PrefixQuery {
        PrefixQuery { field: field.into(), text: text.into(), boost: 1.0 }
    }

    /// Terms that fit `pattern`, to which between its signs the field's lowercase and folding steps are applied.
    #[must_use]
    pub fn wildcard(field: impl Into<Name>, pattern: impl Into<String>) -> WildcardQuery {
        WildcardQuery { field: field.into(), pattern: pattern.into(), boost: 1.0 }
    }

    /// Terms of a text field similar to `text`, to which only the lowercase and folding steps are applied.
    #[must_use]
    pub fn fuzzy(field: impl Into<Name>, text: impl Into<String>) -> FuzzyQuery {
        FuzzyQuery { field: field.into(), text: text.into(), fuzziness: Fuzziness::Auto, prefix_length: 0, boost: 1.0 }
    }

    /// One exact value. On a text field the value is one term, after the lowercase and folding steps, and is ranked.
    #[must_use]
    pub fn term(field: impl Into<Name>, value: impl Into<Value>) -> TermQuery {
        TermQuery { field: field.into(), value: value.into(), boost: 1.0 }
    }

    /// Any of several exact values.
    #[must_use]
    pub fn terms<V: Into<Value>>(field: impl Into<Name>, values: impl IntoIterator<Item = V>) -> TermsQuery {
        TermsQuery { field: field.into(), values: values.into_iter().map(Into::into).collect(), boost: 1.0 }
    }

    /// Values between two bounds, which are open until they are set. Not for text and bool fields.
    #[must_use]
    pub fn range(field: impl Into<Name>) -> RangeQuery {
        RangeQuery { field: field.into(), lower: Bound::Unbounded, upper: Bound::Unbounded, boost: 1.0 }
    }

    /// Documents that have at least one value in a field, be it an empty text.
    #[must_use]
    pub fn exists(field: impl Into<Name>) -> ExistsQuery {
        ExistsQuery { field: field.into(), boost: 1.0 }
    }

    /// Documents by their ids. Unknown ones are no error.
    #[must_use]
    pub fn ids<I: Into<String>>(ids: impl IntoIterator<Item = I>) -> IdsQuery {
        IdsQuery { ids: ids.into_iter().map(Into::into).collect(), boost: 1.0 }
    }

    /// Other queries combined; see [`BoolQuery`].
    #[must_use]
    pub const fn bool() -> BoolQuery {
        BoolQuery {
            must: Vec::new(),
            should: Vec::new(),
            filter: Vec::new(),
            must_not: Vec::new(),
            minimum_match: None,
            boost: 1.0,
        }
    }

    /// The best of several queries.
    #[must_use]
    pub fn dis_max<Q: Into<Self>>(queries: impl IntoIterator<Item = Q>) -> DisMaxQuery {
        DisMaxQuery { queries: queries.into_iter().map(Into::into).collect(), tie_breaker: 0.0, boost: 1.0 }
    }

    /// The hits of another query, with scores that a value of each has a part in; see [`FunctionScoreQuery`].
    #[must_use]
    pub fn function_score(query: impl Into<Self>, function: impl Into<ScoreFunction>) -> FunctionScoreQuery {
        FunctionScoreQuery::new(Box::new(query.into()), function.into())
    }

    /// The hits of another query, each scoring 1.
    #[must_use]
    pub fn constant(query: impl Into<Self>) -> ConstantQuery {
        ConstantQuery { query: Box::new(query.into()), boost: 1.0 }
    }
}

/// Other queries combined.
///
/// A document is a hit if it matches all of `must` and `filter`, none of `must_not`, and enough of `should`: one if
/// there is neither `must` nor `filter`, else none, unless [`minimum_match`](Self::minimum_match) says otherwise. Its
/// score is the sum over what it matches of `must` and `should`. Without any clause every document matches.
///
/// All that it can be told stands in the example of [`Query`].
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
///
/// All that it can be told stands in the example of [`Query`].
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

/// The hits of another query, with scores that a value of each has a part in: how popular it is, how recent, how near.
///
/// The function gives each hit a number, of which at most [`max_boost`](Self::max_boost) counts, and the
/// [`boost_mode`](Self::boost_mode) says what becomes of the query's own score. Several functions are function scores within each other.
/// A boost multiplies the score that goes into the function, and not what comes out of it.
///
/// Functions read sortable fields of signed numbers, of numbers of double precision and, but for a
/// [`FieldValueFactor`](crate::FieldValueFactor), of dates. Unsigned numbers are `Unsupported`: OpenSearch has nothing to count with them.
///
/// The arithmetic is in double precision on every backend, and the score is rounded to single precision in the end. Where it takes a
/// logarithm or a power of *e*, the last bits of those are the machine's.
///
#[cfg_attr(feature = "tantivy", doc = "```")]
#[cfg_attr(not(feature = "tantivy"), doc = "```ignore")]
/// use std::time::Duration;
///
/// use statehouse_search::{BoostMode, Curve, Decay, Field, FieldValueFactor, Modifier, Query, Record, Schema, SearchRequest, Value};
/// use statehouse_search::{BulkOptions, Operation, Refresh, SearchIndex as _, SearchIndexExt as _, TantivyConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), statehouse_core::Error> {
/// let schema = Schema::builder()
///     .field(Field::text("title"))
///     .field(Field::i64("sold").sortable())
///     .field(Field::f64("price").sortable())
///     .field(Field::date("since").sortable());
/// let index = TantivyConfig::memory().open(schema.build()?).await?;
/// let lamp = |id: &str, sold: i64, price: f64, days: i64| {
///     let record = Record::new(id).unwrap().with("title", "lamp").with("sold", sold).with("price", price);
///     Operation::Upsert(record.with("since", Value::Date(days * 86_400_000)))
/// };
/// let lamps = vec![lamp("old", 999, 40.0, 0), lamp("new", 99, 20.0, 90), lamp("none", 0, 60.0, 100)];
/// index.bulk_with(lamps, BulkOptions::default().with_refresh(Refresh::Now)).await?.check()?;
///
/// // Ten times as many sold are one more.
/// let sold = FieldValueFactor::new("sold").modifier(Modifier::Log1p);
/// let popular = Query::function_score(Query::constant(Query::matches("title", "lamp")), sold);
/// let found = index.search(&SearchRequest::new(popular.clone())).await?;
/// assert_eq!(found.hits.iter().map(|hit| hit.score).collect::<Vec<_>>(), [Some(3.0), Some(2.0), Some(0.0)]);
///
/// // And half as much with every thirty days that have passed: on day 100 the old one counts a tenth.
/// let now = Value::Date(100 * 86_400_000);
/// let recent = Query::function_score(popular, Decay::recency("since", now, Duration::from_secs(30 * 86_400)));
/// assert_eq!(index.search(&SearchRequest::new(recent)).await?.ids(), ["new", "old", "none"]);
///
/// // By how near the price is alone.
/// let near = Decay::new("price", 50.0, 20.0).curve(Curve::Linear).offset(5.0).decay(0.25);
/// let near = Query::function_score(Query::all(), near).boost_mode(BoostMode::Replace).max_boost(0.9);
/// assert_eq!(index.search(&SearchRequest::new(near)).await?.ids(), ["none", "old", "new"]);
///
/// let dear = FieldValueFactor::new("price").factor(0.1).missing(10.0);
/// let dear = Query::function_score(Query::all().boost(2.0), dear).boost_mode(BoostMode::Sum);
/// assert_eq!(index.search(&SearchRequest::new(dear)).await?.hits[0].score, Some(2.0 + 6.0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FunctionScoreQuery {
    /// The query.
    pub query: Box<Query>,
    /// The function.
    pub function: ScoreFunction,
    /// See [`boost_mode`](Self::boost_mode).
    pub boost_mode: BoostMode,
    /// See [`max_boost`](Self::max_boost).
    pub max_boost: f32,
    /// Multiplies the score of the query, and so neither what a [sum](BoostMode::Sum) adds to it nor what
    /// [replaces](BoostMode::Replace) it.
    pub boost: f32,
}

impl FunctionScoreQuery {
    const fn new(query: Box<Query>, function: ScoreFunction) -> Self {
        let (boost_mode, max_boost) = (BoostMode::Multiply, MAX_FUNCTION);
        Self { query, function, boost_mode, max_boost, boost: 1.0 }
    }

    /// What becomes of the score and the function: multiplied, unless set.
    #[must_use]
    pub const fn boost_mode(mut self, mode: BoostMode) -> Self {
        self.boost_mode = mode;
        self
    }

    /// How much of the function counts at most: [`MAX_FUNCTION`](crate::MAX_FUNCTION) unless set, and no more than that. Of
    /// function scores within each other the product is no more than that either, where a [`Decay`](crate::Decay) counts 1.
    #[must_use]
    pub const fn max_boost(mut self, most: f32) -> Self {
        self.max_boost = most;
        self
    }
}
