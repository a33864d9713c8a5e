//! The tree of queries and the constructors of its nodes.

mod exact;
mod exact_first;
mod minimum;
mod simple;
mod text;
mod tiers;
mod tree;

pub use self::exact::{AllQuery, ExistsQuery, IdsQuery, RangeQuery, TermQuery, TermsQuery};
pub use self::exact_first::ExactFirstQuery;
pub use self::minimum::MinimumMatch;
pub use self::simple::{ParsedQuery, QueryWarning, QueryWarningKind, SimpleQueryString};
pub use self::text::{
    FieldBoost, Fuzziness, FuzzyQuery, MatchPrefixQuery, MatchQuery, MultiMatchMode, MultiMatchQuery, Operator,
    PhraseQuery, PrefixQuery, PrefixWords, WildcardQuery,
};
pub use self::tree::{BoolQuery, ConstantQuery, DisMaxQuery, Query};
