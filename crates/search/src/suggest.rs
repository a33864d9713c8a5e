//! What somebody may have meant: words of a field in place of those that were typed.

#[cfg(any(feature = "opensearch", feature = "tantivy"))]
pub(crate) mod words;

use std::ops::Range;
use std::sync::Arc;

use statehouse_core::{Error, ErrorKind, Result};

use crate::analysis::TokenFilter;
use crate::limits::{MAX_QUERY_TEXT, at_most};
use crate::{Field, Schema};

/// A text whose words are to be corrected by those that a field has: "did you mean".
///
/// Each word of at least four code points may be misspelt by one edit or two, its first letter excepted: a letter inserted,
/// left out or replaced, or two neighbors swapped. The suggestions for it are the terms of the field that are so near, the
/// nearest first (by edits over the length of the shorter one, and only where that is at most a half), then those of most
/// documents, then by their bytes. That is how OpenSearch's term suggester ranks.
///
/// The field's terms must be words, so its analyzer has no stemmer; that of a sub-field beside one with a stemmer, say.
/// Suggestions are terms as the field has them, in lower case where it has.
///
/// Any text up to [`MAX_QUERY_TEXT`](crate::MAX_QUERY_TEXT) may be pasted in: of its words the first [`MAX_WORDS`](Self::MAX_WORDS) different ones
/// are corrected, and none over [`MAX_FUZZY_TERM`](crate::MAX_FUZZY_TERM); the others stay as they are. Documents are counted
/// as searches find them, without what was deleted.
///
/// A large OpenSearch index may have more terms near a short word than its servers tell the most frequent of: where it
/// is not certain which come first, that is `Unsupported`, and one edit instead of two is near less.
///
#[cfg_attr(feature = "tantivy", doc = "```")]
#[cfg_attr(not(feature = "tantivy"), doc = "```ignore")]
/// use statehouse_search::{Field, Record, Schema, SearchIndexExt, Suggest, SuggestMode, TantivyConfig};
/// # use statehouse_search::{BulkOptions, Operation, Refresh, SearchIndex};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), statehouse_core::Error> {
/// let index = TantivyConfig::memory().open(Schema::builder().field(Field::text("title")).build()?).await?;
/// # let titles = ["Heart attack", "Heart failure", "Panic attack", "Hart"];
/// # let titles = titles.map(|title| Operation::Upsert(Record::new(title).unwrap().with("title", title)));
/// # index.bulk_with(titles.to_vec(), BulkOptions::default().with_refresh(Refresh::Now)).await?.check()?;
/// let typed = Suggest::new("title", "acute haert atack");
/// let found = index.suggest(&typed).await?;
/// assert_eq!(found.corrected().as_deref(), Some("acute heart attack"));
/// let words: Vec<_> = found.words.iter().map(|word| (&typed.text[word.range.clone()], &*word.suggestions[0].text)).collect();
/// assert_eq!(words, [("haert", "heart"), ("atack", "attack")]);
///
/// // A word that is there may be meant for one that more documents have.
/// let rare = Suggest::new("title", "hart").with_mode(SuggestMode::Popular).with_size(1).with_max_edits(1);
/// assert_eq!(index.suggest(&rare).await?.corrected().as_deref(), Some("heart"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Suggest {
    /// The field: an indexed text field without a stemmer.
    pub field: Arc<str>,
    /// What was typed.
    pub text: String,
    /// Which words are to be corrected: [`SuggestMode::Missing`] unless set.
    pub mode: SuggestMode,
    /// How many suggestions there are for a word at most: 5 unless set, 1 to [`MAX_SIZE`](Self::MAX_SIZE).
    pub size: usize,
    /// How many edits a word may be away: 2 unless set, or 1.
    pub max_edits: u8,
}

/// Which words are to be corrected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SuggestMode {
    /// Those that no document has.
    #[default]
    Missing,
    /// Each, by words that more documents have.
    Popular,
}

/// What may have been meant: the answer to a [`Suggest`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Suggestions {
    /// What was typed.
    pub text: String,
    /// The words for which there are suggestions, in their order.
    pub words: Vec<Correction>,
}

/// A word for which there are suggestions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Correction {
    /// Where it stands in the text, in bytes.
    pub range: Range<usize>,
    /// What may have been meant, the best first.
    pub suggestions: Vec<Suggestion>,
}

/// A term of a field that may have been meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Suggestion {
    /// The term.
    pub text: String,
    /// How many documents have it.
    pub documents: u64,
}

impl Suggest {
    /// How many suggestions a word may have.
    pub const MAX_SIZE: usize = 50;
    /// How many different words of a text are corrected: the first.
    pub const MAX_WORDS: usize = 32;
    /// How many code points a word has that may be corrected.
    #[cfg(any(feature = "opensearch", feature = "tantivy"))]
    pub(crate) const LEAST_LETTERS: usize = 4;
    /// How many at its beginning stay.
    #[cfg(any(feature = "opensearch", feature = "tantivy"))]
    pub(crate) const PREFIX: usize = 1;
    /// How similar a term is at least.
    #[cfg(any(feature = "opensearch", feature = "tantivy"))]
    pub(crate) const LEAST_SIMILARITY: f32 = 0.5;

    /// Corrects the words of a text by those of a field.
    #[must_use]
    pub fn new(field: impl Into<Arc<str>>, text: impl Into<String>) -> Self {
        Self { field: field.into(), text: text.into(), mode: SuggestMode::Missing, size: 5, max_edits: 2 }
    }

    /// Sets which words are to be corrected.
    #[must_use]
    pub const fn with_mode(mut self, mode: SuggestMode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets how many suggestions there are for a word at most.
    #[must_use]
    pub const fn with_size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// Sets how many edits a word may be away.
    #[must_use]
    pub const fn with_max_edits(mut self, edits: u8) -> Self {
        self.max_edits = edits;
        self
    }
}

impl Suggestions {
    /// An answer; backends make it.
    #[must_use]
    pub const fn new(text: String, words: Vec<Correction>) -> Self {
        Self { text, words }
    }

    /// The text with the best suggestion in the place of each of these words; `None` if there is nothing to correct.
    #[must_use]
    pub fn corrected(&self) -> Option<String> {
        let mut corrected = String::with_capacity(self.text.len());
        let mut at = 0;
        for Correction { range, suggestions } in &self.words {
            if let (Some(before), Some(best)) = (self.text.get(at..range.start), suggestions.first()) {
                corrected.extend([before, &best.text]);
                at = range.end;
            }
        }
        corrected.push_str(self.text.get(at..).unwrap_or_default());
        (at > 0).then_some(corrected)
    }
}

impl Correction {
    /// A correction; backends make it.
    #[must_use]
    pub const fn new(range: Range<usize>, suggestions: Vec<Suggestion>) -> Self {
        Self { range, suggestions }
    }
}

impl Suggestion {
    /// A suggestion; backends make it.
    #[must_use]
    pub const fn new(text: String, documents: u64) -> Self {
        Self { text, documents }
    }
}

impl Schema {
    /// Checks that a text can be corrected by a field.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for an unknown field, a text over the limit of queries, or an option out of its range;
    /// [`ErrorKind::Unsupported`] for a field whose terms are no words.
    pub fn check_suggest(&self, suggest: &Suggest) -> Result<()> {
        at_most("bytes in the text of a query", suggest.text.len(), MAX_QUERY_TEXT)?;
        let field = self.require(&suggest.field)?;
        if !has_words(self, field) {
            let message = "only words of an indexed text field without a stemmer are suggested; make it a sub-field";
            return Err(Error::new(ErrorKind::Unsupported, message).with_key(&suggest.field));
        }
        if !(1..=Suggest::MAX_SIZE).contains(&suggest.size) {
            let message = format!("a word has 1 to {} suggestions, not {}", Suggest::MAX_SIZE, suggest.size);
            return Err(Error::invalid_input(message));
        }
        if !(1..=2).contains(&suggest.max_edits) {
            return Err(Error::invalid_input(format!("a word is 1 or 2 edits away, not {}", suggest.max_edits)));
        }
        Ok(())
    }
}

/// Whether the terms of a field are what somebody would type.
fn has_words(schema: &Schema, field: &Field) -> bool {
    let single = |filter: &TokenFilter| !matches!(filter, TokenFilter::Stem(_) | TokenFilter::EdgeNgram { .. });
    let crate::FieldKind::Text { analyzer, search_analyzer, .. } = field.kind() else { return false };
    let mut both = [analyzer, search_analyzer].into_iter().map(|name| schema.analyzer(name));
    field.is_indexed() && both.all(|analyzer| analyzer.is_some_and(|analyzer| analyzer.filters().iter().all(single)))
}
