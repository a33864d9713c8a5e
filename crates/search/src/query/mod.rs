//! The tree of queries and the constructors of its nodes.

mod exact;
mod minimum;
mod text;
mod tree;

pub use self::exact::{AllQuery, ExistsQuery, IdsQuery, RangeQuery, TermQuery, TermsQuery};
pub use self::minimum::MinimumMatch;
pub use self::text::{
    FieldBoost, Fuzziness, FuzzyQuery, MatchPrefixQuery, MatchQuery, MultiMatchMode, MultiMatchQuery, Operator,
    PhraseQuery, PrefixQuery, PrefixWords,
};
pub use self::tree::{BoolQuery, ConstantQuery, DisMaxQuery, Query};
