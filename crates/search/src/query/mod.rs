//! The tree of queries and the constructors of its nodes.

mod arithmetic;
mod exact;
mod exact_first;
mod function;
mod minimum;
mod phrase_prefix;
mod simple;
mod synonyms;
mod text;
mod tiers;
mod tree;

#[cfg(feature = "tantivy")]
pub(crate) use self::arithmetic::Prepared;
pub use self::exact::{AllQuery, ExistsQuery, IdsQuery, RangeQuery, TermQuery, TermsQuery};
pub use self::exact_first::ExactFirstQuery;
pub use self::function::{BoostMode, Curve, Decay, FieldValueFactor, Modifier, ScoreFunction};
pub use self::minimum::MinimumMatch;
pub use self::phrase_prefix::PhrasePrefixQuery;
pub use self::simple::{ParsedQuery, QueryWarning, QueryWarningKind, SimpleQueryString};
pub use self::synonyms::Synonyms;
pub use self::text::{
    FieldBoost, Fuzziness, FuzzyQuery, MatchPrefixQuery, MatchQuery, MultiMatchMode, MultiMatchQuery, Operator,
    PhraseQuery, PrefixQuery, PrefixWords, WildcardQuery,
};
pub use self::tree::{BoolQuery, ConstantQuery, DisMaxQuery, FunctionScoreQuery, Query};
