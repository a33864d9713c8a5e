use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use statehouse_core::{Error, Result};

/// How text becomes terms: a tokenizer, then filters in order.
///
/// The same definition runs here (for tantivy and for highlighting) and becomes a `custom` analyzer of OpenSearch.
///
/// ```
/// use statehouse_search::analysis::{Analyzer, Stemmer};
///
/// let analyzer = Analyzer::standard().lowercase().ascii_folding().stop_words(["the", "of"]).stem(Stemmer::Porter2);
/// let terms: Vec<_> = analyzer.tokens("Fractures of the Fémur").into_iter().map(|token| token.text).collect();
/// assert_eq!(terms, ["fractur", "femur"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Analyzer {
    tokenizer: Tokenizer,
    filters: Vec<TokenFilter>,
}

/// How text is cut into tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Tokenizer {
    /// Words by the rules of Unicode (UAX#29) as of Unicode 12.1, as Lucene's `StandardTokenizer` applies them: runs of
    /// word characters, at most 255 UTF-16 units each; emoji and ideographs one by one.
    Standard,
    /// The whole text as one token.
    Whole,
}

/// One step behind the tokenizer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TokenFilter {
    /// Each code point in lowercase, one for one.
    Lowercase,
    /// Letters with marks and other variants become plain ASCII where there is a customary spelling: `é` becomes `e`,
    /// `ß` becomes `ss`.
    AsciiFolding,
    /// These tokens are dropped; the others keep their positions.
    Stop(BTreeSet<Arc<str>>),
    /// Each token becomes its stem.
    Stem(Stemmer),
    /// Each token becomes its beginnings of `min` to `max` code points, all at the token's position. The token itself is
    /// not kept if it is longer.
    EdgeNgram {
        /// The shortest beginning.
        min: usize,
        /// The longest beginning.
        max: usize,
    },
}

/// An algorithm that removes endings. Each is the Snowball algorithm of that language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Stemmer {
    /// English, Porter's second algorithm. OpenSearch calls it `porter2`; its `english` is Porter's first.
    Porter2,
}

impl Stemmer {
    /// What OpenSearch calls it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Porter2 => "porter2",
        }
    }
}

impl Analyzer {
    /// The name of the analyzer that every schema has.
    pub const STANDARD: &'static str = "standard";

    /// The longest beginning that an edge n-gram filter may make, in code points.
    pub const MAX_NGRAM: usize = 50;

    /// Cuts into words; add at least [`lowercase`](Self::lowercase).
    #[must_use]
    pub const fn standard() -> Self {
        Self { tokenizer: Tokenizer::Standard, filters: Vec::new() }
    }

    /// Takes the whole text as one token.
    #[must_use]
    pub const fn whole() -> Self {
        Self { tokenizer: Tokenizer::Whole, filters: Vec::new() }
    }

    /// Adds [`TokenFilter::Lowercase`].
    #[must_use]
    pub fn lowercase(self) -> Self {
        self.with(TokenFilter::Lowercase)
    }

    /// Adds [`TokenFilter::AsciiFolding`].
    #[must_use]
    pub fn ascii_folding(self) -> Self {
        self.with(TokenFilter::AsciiFolding)
    }

    /// Adds [`TokenFilter::Stop`] with these words, compared as they are at this step.
    #[must_use]
    pub fn stop_words<'a>(self, words: impl IntoIterator<Item = &'a str>) -> Self {
        self.with(TokenFilter::Stop(words.into_iter().map(Arc::from).collect()))
    }

    /// Adds [`TokenFilter::Stem`].
    #[must_use]
    pub fn stem(self, stemmer: Stemmer) -> Self {
        self.with(TokenFilter::Stem(stemmer))
    }

    /// Adds [`TokenFilter::EdgeNgram`], which must be the last filter. Search such a field with an analyzer without it.
    #[must_use]
    pub fn edge_ngram(self, min: usize, max: usize) -> Self {
        self.with(TokenFilter::EdgeNgram { min, max })
    }

    fn with(mut self, filter: TokenFilter) -> Self {
        self.filters.push(filter);
        self
    }

    /// The tokenizer.
    #[must_use]
    pub const fn tokenizer(&self) -> Tokenizer {
        self.tokenizer
    }

    /// The filters, in order.
    #[must_use]
    pub fn filters(&self) -> &[TokenFilter] {
        &self.filters
    }

    /// Whether one word may become several terms at one position.
    #[must_use]
    pub fn makes_several_terms_of_a_word(&self) -> bool {
        self.filters.iter().any(|filter| matches!(filter, TokenFilter::EdgeNgram { .. }))
    }

    /// The steps that also apply to a single exact or partial term, such as the text of a prefix query.
    #[must_use]
    pub fn normalizer(&self) -> Normalizer {
        let single = |filter: &&TokenFilter| matches!(filter, TokenFilter::Lowercase | TokenFilter::AsciiFolding);
        Normalizer { filters: self.filters.iter().filter(single).cloned().collect() }
    }

    pub(crate) fn check(&self) -> Result<()> {
        for (at, filter) in self.filters.iter().enumerate() {
            if let TokenFilter::EdgeNgram { min, max } = filter {
                if *min == 0 || min > max || *max > Self::MAX_NGRAM {
                    return Err(Error::invalid_input("edge n-grams need 1 <= min <= max <= 50"));
                }
                if at + 1 != self.filters.len() {
                    return Err(Error::invalid_input("edge n-grams must be the last filter"));
                }
            }
        }
        Ok(())
    }
}

/// What is done to a keyword before it is a term, in documents and in queries. The default does nothing.
///
/// ```
/// use statehouse_search::analysis::Normalizer;
/// assert_eq!(Normalizer::default().lowercase().ascii_folding().apply("CAFÉ"), "cafe");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Normalizer {
    filters: Vec<TokenFilter>,
}

impl Normalizer {
    /// Adds [`TokenFilter::Lowercase`].
    #[must_use]
    pub fn lowercase(mut self) -> Self {
        self.filters.push(TokenFilter::Lowercase);
        self
    }

    /// Adds [`TokenFilter::AsciiFolding`].
    #[must_use]
    pub fn ascii_folding(mut self) -> Self {
        self.filters.push(TokenFilter::AsciiFolding);
        self
    }

    /// The steps, in order: only lowercase and ASCII folding.
    #[must_use]
    pub fn filters(&self) -> &[TokenFilter] {
        &self.filters
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.filters.is_empty()
    }
}
