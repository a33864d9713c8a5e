//! How text becomes terms: one definition, run here and compiled to OpenSearch.

mod definition;

pub use definition::{Analyzer, Normalizer, Stemmer, TokenFilter, Tokenizer};

/// How far apart the values of a field with several are, in positions: the `position_increment_gap` of OpenSearch.
pub const POSITION_GAP: u32 = 100;
