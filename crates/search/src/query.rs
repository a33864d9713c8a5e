use std::ops::Bound;
use std::sync::Arc;

use crate::Value;

/// What to look for: one tree, compiled to tantivy and to OpenSearch.
///
/// A query that scores follows Lucene's BM25 (k1 = 1.2, b = 0.75) on text fields. Everything else scores a constant 1,
/// times its boost. Build one with the constructors here or with typed field handles; each variant's own struct has the
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
    ConstantQuery => Constant,
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

    /// Terms that begin with `text`, to which only the field's lowercase and folding steps are applied.
    #[must_use]
    pub fn prefix(field: impl Into<Name>, text: impl Into<String>) -> PrefixQuery {
        PrefixQuery { field: field.into(), text: text.into(), boost: 1.0 }
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

    /// The hits of another query, each scoring 1.
    #[must_use]
    pub fn constant(query: impl Into<Self>) -> ConstantQuery {
        ConstantQuery { query: Box::new(query.into()), boost: 1.0 }
    }
}

/// Every document.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AllQuery {
    /// See [`boost`](Self::boost).
    pub boost: f32,
}

/// Whether one or all of the terms are needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operator {
    /// One term is enough.
    #[default]
    Or,
    /// Every term is needed.
    And,
}

/// How many of the optional clauses must match.
///
/// Follows `minimum_should_match` of OpenSearch. For a text of a single term it is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// How many letters may differ: inserted, removed, replaced, or two neighbours swapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fuzziness {
    /// None in terms of 1 or 2 code points, one in those of 3 to 5, two in longer ones.
    #[default]
    Auto,
    /// 0, 1 or 2. A term must have at least twice as many code points.
    Edits(u8),
}

impl Fuzziness {
    /// How many edits a term of this many code points is given.
    #[must_use]
    pub const fn edits(self, code_points: usize) -> u8 {
        match self {
            Self::Auto => match code_points {
                0..=2 => 0,
                3..=5 => 1,
                _ => 2,
            },
            Self::Edits(edits) => edits,
        }
    }
}

/// The terms of a text in one field. The field's search analyzer makes the terms; a text without terms finds nothing.
/// On a keyword field it is a [`TermQuery`] and takes no fuzziness; other fields refuse it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MatchQuery {
    /// The field.
    pub field: Arc<str>,
    /// What the user typed.
    pub text: String,
    /// See [`operator`](Self::operator).
    pub operator: Operator,
    /// See [`minimum_match`](Self::minimum_match).
    pub minimum_match: Option<MinimumMatch>,
    /// See [`fuzziness`](Self::fuzziness).
    pub fuzziness: Option<Fuzziness>,
    /// See [`prefix_length`](Self::prefix_length).
    pub prefix_length: u32,
    /// See [`boost`](Self::boost).
    pub boost: f32,
}

/// The same text in several fields, each with its own boost. All fields must be text fields.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MultiMatchQuery {
    /// The fields.
    pub fields: Vec<FieldBoost>,
    /// What the user typed.
    pub text: String,
    /// See [`most_fields`](Self::most_fields).
    pub mode: MultiMatchMode,
    /// See [`tie_breaker`](Self::tie_breaker).
    pub tie_breaker: f32,
    /// See [`operator`](Self::operator).
    pub operator: Operator,
    /// See [`minimum_match`](Self::minimum_match).
    pub minimum_match: Option<MinimumMatch>,
    /// See [`fuzziness`](Self::fuzziness).
    pub fuzziness: Option<Fuzziness>,
    /// See [`prefix_length`](Self::prefix_length).
    pub prefix_length: u32,
    /// See [`boost`](Self::boost).
    pub boost: f32,
}

macro_rules! match_options {
    ($($kind:ident),*) => {$(
        impl $kind {
            /// Whether one or all of the terms are needed.
            #[must_use]
            pub const fn operator(mut self, operator: Operator) -> Self {
                self.operator = operator;
                self
            }

            /// How many of the terms are needed, with [`Operator::Or`].
            #[must_use]
            pub const fn minimum_match(mut self, minimum: MinimumMatch) -> Self {
                self.minimum_match = Some(minimum);
                self
            }
        }
    )*};
}
match_options!(MatchQuery, MultiMatchQuery, MatchPrefixQuery);

macro_rules! fuzzy_options {
    ($($kind:ident),*) => {$(
        impl $kind {
            /// Also finds similar terms, by [`Fuzziness::Auto`]: the 50 most similar ones for each term.
            #[must_use]
            pub const fn fuzzy(self) -> Self {
                self.fuzziness(Fuzziness::Auto)
            }

            /// Also finds similar terms: the 50 most similar ones for each term.
            #[must_use]
            pub const fn fuzziness(mut self, fuzziness: Fuzziness) -> Self {
                self.fuzziness = Some(fuzziness);
                self
            }

            /// How many code points at a term's beginning must be equal, when fuzzy.
            #[must_use]
            pub const fn prefix_length(mut self, code_points: u32) -> Self {
                self.prefix_length = code_points;
                self
            }
        }
    )*};
}
fuzzy_options!(MatchQuery, MultiMatchQuery);

impl MultiMatchQuery {
    /// Adds up the scores of the fields instead of taking the best.
    #[must_use]
    pub const fn most_fields(mut self) -> Self {
        self.mode = MultiMatchMode::MostFields;
        self
    }

    /// With the best field, adds this share of the other fields' scores: 0 to 1.
    #[must_use]
    pub const fn tie_breaker(mut self, share: f32) -> Self {
        self.tie_breaker = share;
        self
    }
}

/// How the scores of several fields become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MultiMatchMode {
    /// The best field's, plus a share of the others'.
    #[default]
    BestFields,
    /// The sum.
    MostFields,
}

/// A field and what its score is multiplied by.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FieldBoost {
    /// The field.
    pub field: Arc<str>,
    /// The factor. Finite and not negative.
    pub boost: f32,
}

impl<N: Into<Arc<str>>> From<N> for FieldBoost {
    fn from(field: N) -> Self {
        Self { field: field.into(), boost: 1.0 }
    }
}

impl FieldBoost {
    /// A field with a boost.
    #[must_use]
    pub fn new(field: impl Into<Arc<str>>, boost: f32) -> Self {
        Self { field: field.into(), boost }
    }
}

/// Which words of a text are beginnings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PrefixWords {
    /// The last one, if the text ends with it: a space, a dot or a dropped stop word behind it completes the word.
    #[default]
    Last,
    /// All of them.
    All,
}

/// The terms of a text, some of them as beginnings. Beginnings score a constant 1.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MatchPrefixQuery {
    /// The field: a text field.
    pub field: Arc<str>,
    /// What the user typed.
    pub text: String,
    /// Which words are beginnings.
    pub words: PrefixWords,
    /// See [`operator`](Self::operator).
    pub operator: Operator,
    /// See [`minimum_match`](Self::minimum_match).
    pub minimum_match: Option<MinimumMatch>,
    /// See [`boost`](Self::boost).
    pub boost: f32,
}

/// The terms of a text in order. The values of a field with several are 100 positions apart.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PhraseQuery {
    /// The field: a text field.
    pub field: Arc<str>,
    /// What the user typed.
    pub text: String,
    /// See [`slop`](Self::slop).
    pub slop: u32,
    /// See [`boost`](Self::boost).
    pub boost: f32,
}

impl PhraseQuery {
    /// How many positions the terms may be moved in all; two neighbours swapped cost 2.
    #[must_use]
    pub const fn slop(mut self, positions: u32) -> Self {
        self.slop = positions;
        self
    }
}

/// Terms that begin with a text. Text and keyword fields.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PrefixQuery {
    /// The field.
    pub field: Arc<str>,
    /// The beginning.
    pub text: String,
    /// See [`boost`](Self::boost).
    pub boost: f32,
}

/// Terms similar to one: the 50 most similar. Text fields only.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FuzzyQuery {
    /// The field.
    pub field: Arc<str>,
    /// The term.
    pub text: String,
    /// See [`fuzziness`](Self::fuzziness).
    pub fuzziness: Fuzziness,
    /// See [`prefix_length`](Self::prefix_length).
    pub prefix_length: u32,
    /// See [`boost`](Self::boost).
    pub boost: f32,
}

impl FuzzyQuery {
    /// How many letters may differ.
    #[must_use]
    pub const fn fuzziness(mut self, fuzziness: Fuzziness) -> Self {
        self.fuzziness = fuzziness;
        self
    }

    /// How many code points at the beginning must be equal.
    #[must_use]
    pub const fn prefix_length(mut self, code_points: u32) -> Self {
        self.prefix_length = code_points;
        self
    }
}

/// One exact value.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TermQuery {
    /// The field.
    pub field: Arc<str>,
    /// The value, of the field's type.
    pub value: Value,
    /// See [`boost`](Self::boost).
    pub boost: f32,
}

/// Any of several exact values; scores 1 however many match.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TermsQuery {
    /// The field.
    pub field: Arc<str>,
    /// The values, of the field's type.
    pub values: Vec<Value>,
    /// See [`boost`](Self::boost).
    pub boost: f32,
}

/// Values between two bounds. Keywords are compared as UTF-8 bytes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RangeQuery {
    /// The field.
    pub field: Arc<str>,
    /// The lower bound.
    pub lower: Bound<Value>,
    /// The upper bound.
    pub upper: Bound<Value>,
    /// See [`boost`](Self::boost).
    pub boost: f32,
}

impl RangeQuery {
    /// Only values at or above this.
    #[must_use]
    pub fn at_least(mut self, value: impl Into<Value>) -> Self {
        self.lower = Bound::Included(value.into());
        self
    }

    /// Only values above this.
    #[must_use]
    pub fn above(mut self, value: impl Into<Value>) -> Self {
        self.lower = Bound::Excluded(value.into());
        self
    }

    /// Only values at or below this.
    #[must_use]
    pub fn at_most(mut self, value: impl Into<Value>) -> Self {
        self.upper = Bound::Included(value.into());
        self
    }

    /// Only values below this.
    #[must_use]
    pub fn below(mut self, value: impl Into<Value>) -> Self {
        self.upper = Bound::Excluded(value.into());
        self
    }
}

/// Documents that have a value in a field.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ExistsQuery {
    /// The field.
    pub field: Arc<str>,
    /// See [`boost`](Self::boost).
    pub boost: f32,
}

/// Documents by their ids.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct IdsQuery {
    /// The ids.
    pub ids: Vec<String>,
    /// See [`boost`](Self::boost).
    pub boost: f32,
}

/// Other queries combined.
///
/// A document is a hit if it matches all of `must` and `filter`, none of `must_not`, and enough of `should`: one if
/// there is neither `must` nor `filter`, else none, unless [`minimum_match`](Self::minimum_match) says otherwise. Its
/// score is the sum over what it matches of `must` and `should`. Without any clause every document matches.
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

    /// How many of the `should` queries are needed.
    #[must_use]
    pub const fn minimum_match(mut self, minimum: MinimumMatch) -> Self {
        self.minimum_match = Some(minimum);
        self
    }
}

/// The best of several queries, plus a share of the others.
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
