use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use statehouse_core::{Error, Result};

use super::synonyms::SynonymRules;

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
    /// A token that has a rule becomes what the rule says, all at the token's position.
    Synonyms(SynonymRules),
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

    /// Adds [`TokenFilter::Synonyms`]: words of documents that are found by others, too.
    ///
    /// The rules are those of Solr's synonym files, one a line, for single words:
    ///
    /// | rule | a document with | is found by |
    /// | --- | --- | --- |
    /// | `heart, cardiac` | any of these | all of them |
    /// | `tumor => tumour, neoplasm` | what stands before the arrow | what stands behind it, in place of it |
    /// | `# …`, an empty line | | |
    ///
    /// `\` takes the next character as it is. Both sides are analyzed by the steps before, so rules behind
    /// [`lowercase`](Self::lowercase) or a [stemmer](Self::stem) are of all forms that those make one of. Several rules of
    /// the same word add up; neither their order nor how they are spelt makes another analyzer. What the steps behind make
    /// the same of is there once.
    ///
    /// Synonyms are at the place of their word, so a phrase finds them. A text is as long as its words, and the average
    /// of texts counts all terms, as in Lucene. Stored text stays as it is, and the word is what a highlight marks.
    ///
    /// The rules are part of the schema: other ones need a reindex, and an empty file of them is as none. Say them before stop words, and give the field an analyzer
    /// for queries without them by [`searched_by`](crate::Field::searched_by). What is wrong with a rule is told when the schema
    /// is built: a word of several is, for in an index it would lie over the words behind it, and phrases would find what
    /// nobody wrote. Such rules are [part of a query](crate::Synonyms).
    ///
    #[cfg_attr(feature = "tantivy", doc = "```")]
    #[cfg_attr(not(feature = "tantivy"), doc = "```ignore")]
    /// use statehouse_search::analysis::{Analyzer, Stemmer};
    /// use statehouse_search::{Field, Query, Record, Schema, SearchIndex, SearchIndexExt, SearchRequest, TantivyConfig};
    /// # use statehouse_search::{BulkOptions, Operation, Refresh};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), statehouse_core::Error> {
    /// let english = Analyzer::standard().lowercase();
    /// let rules = "heart, cardiac\n tumor => tumour, neoplasm";
    /// let schema = Schema::builder()
    ///     .analyzer("documents", english.clone().synonyms(rules).stop_words(["of"]).stem(Stemmer::Porter2))
    ///     .analyzer("queries", english.stop_words(["of"]).stem(Stemmer::Porter2))
    ///     .field(Field::text("title").analyzed_by("documents").searched_by("queries"))
    ///     .build()?;
    ///
    /// let index = TantivyConfig::memory().open(schema).await?;
    /// # let document = Operation::Upsert(Record::new("1")?.with("title", "Tumor of the heart"));
    /// # index.bulk_with(vec![document], BulkOptions::default().with_refresh(Refresh::Now)).await?.check()?;
    /// for text in ["cardiac", "neoplasms", "tumours of the heart"] {
    ///     assert_eq!(index.search(&SearchRequest::new(Query::phrase("title", text))).await?.ids(), ["1"], "{text}");
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn synonyms(self, rules: &str) -> Self {
        let terms = |word: &str| self.tokens(word).into_iter().map(|token| token.text).collect();
        let rules = SynonymRules::parse(&terms, rules);
        if rules.is_empty() && rules.wrong().is_none() {
            return self;
        }
        self.with(TokenFilter::Synonyms(rules))
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
        self.has_synonyms() || self.makes_beginnings()
    }

    pub(crate) fn makes_beginnings(&self) -> bool {
        self.filters.iter().any(|filter| matches!(filter, TokenFilter::EdgeNgram { .. }))
    }

    /// Whether words have others at their place, which a text is not longer by.
    pub(crate) fn has_synonyms(&self) -> bool {
        self.synonym_rules().is_some()
    }

    pub(crate) fn synonym_rules(&self) -> Option<&SynonymRules> {
        self.filters.iter().find_map(|filter| match filter {
            TokenFilter::Synonyms(rules) if !rules.is_empty() => Some(rules),
            _ => None,
        })
    }

    /// The same without rules.
    pub(crate) fn without_synonyms(&self) -> Self {
        let others = self.filters.iter().filter(|filter| !matches!(filter, TokenFilter::Synonyms(_)));
        Self { tokenizer: self.tokenizer, filters: others.cloned().collect() }
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
            if let TokenFilter::Synonyms(rules) = filter {
                self.check_synonyms(at, rules)?;
            }
        }
        Ok(())
    }
}

impl Analyzer {
    fn check_synonyms(&self, at: usize, rules: &SynonymRules) -> Result<()> {
        let before = &self.filters[..at];
        if before.iter().any(|filter| matches!(filter, TokenFilter::Stop(_))) {
            // Lucene's filter forgets how many words were dropped before one that it replaces.
            return Err(Error::invalid_input("synonyms must come before stop words"));
        }
        if before.iter().any(|filter| matches!(filter, TokenFilter::Synonyms(_))) {
            return Err(Error::invalid_input("synonyms can be said once; rules of the same word add up"));
        }
        rules.wrong().map_or(Ok(()), |wrong| Err(Error::invalid_input(wrong.to_owned())))
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
