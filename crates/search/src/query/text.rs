//! Queries of analyzed text.

use std::sync::Arc;

use super::minimum::MinimumMatch;

/// Whether one or all of the terms are needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operator {
    /// One term is enough.
    #[default]
    Or,
    /// Every term is needed.
    And,
}

/// How many letters may differ: inserted, removed, replaced, or two neighbours swapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
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
/// On a keyword field it is a [`TermQuery`](crate::TermQuery) and takes no fuzziness; other fields refuse it.
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
///
/// All that it can be told stands in the example of [`Query`](crate::Query).
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

            /// How many of the terms are needed. With [`Operator::And`], which needs all of them, it is refused.
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
            /// Also finds similar terms, by [`Fuzziness::Auto`]: the 50 most similar ones for each term, fewer where the
            /// request has more than about 20 such terms, see [`MAX_CLAUSES`](crate::MAX_CLAUSES). They may have
            /// [`MAX_FUZZY_TEXT`](crate::MAX_FUZZY_TEXT) code points in all.
            #[must_use]
            pub const fn fuzzy(self) -> Self {
                self.fuzziness(Fuzziness::Auto)
            }

            /// Also finds similar terms: as [`fuzzy`](Self::fuzzy).
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
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

/// Terms that fit a pattern: `*` is any text, also none, and `?` any one character; a backslash makes the character behind it
/// an ordinary one. Text and keyword fields; each hit scores 1.
///
/// A pattern that begins with a sign is compared with every term of the field. One has at most
/// [`MAX_PATTERN`](crate::MAX_PATTERN) characters and [`MAX_PATTERN_ASTERISKS`](crate::MAX_PATTERN_ASTERISKS) asterisks; one
/// whose automaton is large, as of an asterisk with a dozen question marks behind it, is refused.
///
#[cfg_attr(feature = "tantivy", doc = "```")]
#[cfg_attr(not(feature = "tantivy"), doc = "```ignore")]
/// use statehouse_search::{BulkOptions, Field, Operation, Query, Record, Refresh, Schema};
/// use statehouse_search::{SearchIndex as _, SearchIndexExt as _, SearchRequest, TantivyConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), statehouse_core::Error> {
/// let index = TantivyConfig::memory().open(Schema::builder().field(Field::keyword("code")).build()?).await?;
/// let codes = ["I21.0", "I21.11", "J21.0"].map(|code| Operation::Upsert(Record::new(code).unwrap().with("code", code)));
/// index.bulk_with(codes.into(), BulkOptions::default().with_refresh(Refresh::Now)).await?.check()?;
///
/// let found = index.search(&SearchRequest::new(Query::wildcard("code", "?21.*0").boost(2.0))).await?;
/// assert_eq!(found.ids(), ["I21.0", "J21.0"]);
/// assert_eq!(found.hits[0].score, Some(2.0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WildcardQuery {
    /// The field.
    pub field: Arc<str>,
    /// The pattern.
    pub pattern: String,
    /// See [`boost`](Self::boost).
    pub boost: f32,
}

/// Terms similar to one: the 50 most similar, see [`MatchQuery::fuzzy`]. Text fields only, and a term of at most
/// [`MAX_FUZZY_TERM`](crate::MAX_FUZZY_TERM) code points.
///
/// All that it can be told stands in the example of [`Query`](crate::Query).
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
