//! How text becomes terms: one definition, run here and compiled to OpenSearch.

mod ascii_folding;
mod definition;
mod stream;
mod synonyms;
mod tokenizer;
mod word_break;

#[cfg(test)]
mod tests;

pub use definition::{Analyzer, Normalizer, Stemmer, TokenFilter, Tokenizer};
use statehouse_core::{Error, ErrorKind, Result};
#[cfg(feature = "tantivy")]
pub(crate) use stream::State;
pub use stream::{Token, TokenStream};
pub use synonyms::SynonymRules;
pub(crate) use synonyms::{lines, rule};

use crate::{Field, FieldKind, Schema};

/// How far apart the values of a field with several are, in positions: the `position_increment_gap` of OpenSearch.
pub const POSITION_GAP: u32 = 100;

impl Schema {
    /// The analyzer of a text field's documents.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if it is not a text field.
    pub fn index_analyzer(&self, field: &Field) -> Result<&Analyzer> {
        match field.kind() {
            FieldKind::Text { analyzer, .. } => self.analyzer(analyzer).ok_or_else(|| no_text(field)),
            _ => Err(no_text(field)),
        }
    }

    /// The analyzer of queries on a text field.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if it is not a text field.
    pub fn search_analyzer(&self, field: &Field) -> Result<&Analyzer> {
        match field.kind() {
            FieldKind::Text { search_analyzer, .. } => self.analyzer(search_analyzer).ok_or_else(|| no_text(field)),
            _ => Err(no_text(field)),
        }
    }

    /// The tokens that a query's text has in a text field.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if it is not a text field.
    pub fn search_tokens(&self, field: &Field, text: &str) -> Result<Vec<Token>> {
        Ok(self.search_analyzer(field)?.tokens(text))
    }

    /// A single term, or the beginning of one, after those steps of a text or keyword field that apply to single terms.
    #[must_use]
    pub fn normalized(&self, field: &Field, text: &str) -> String {
        match field.kind() {
            FieldKind::Keyword { normalizer } => normalizer.apply(text),
            _ => self.search_analyzer(field).map_or_else(|_| text.to_owned(), |found| found.normalizer().apply(text)),
        }
    }
}

fn no_text(field: &Field) -> Error {
    Error::new(ErrorKind::Unsupported, "the field is not a text field").with_key(field.name())
}
