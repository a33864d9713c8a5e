//! What a person types into a search box: the options, and what came of the text.

mod build;
mod read;

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use statehouse_core::{Error, ErrorKind, Result};

use super::{FieldBoost, Operator, Query};
use crate::limits::at_most;
use crate::{FieldKind, MAX_QUERY_TEXT, Schema};

/// What a person types into a search box becomes a query by this: whatever the text is, there is one.
///
/// | typed | finds |
/// | --- | --- |
/// | `heart attack` | any of the words, or all of them: see [`operator`](Self::operator) |
/// | `"heart attack"` | the words one behind the other; with `~2` behind it, within two positions |
/// | `+heart` | needed |
/// | `-heart`, `-"heart attack"` | excluded |
/// | `heart OR cardiac`, <code>heart&#124;cardiac</code> | either; binds closer than a space |
/// | `card*` | words that begin so |
/// | `hart~`, `hart~1` | words like it, by [`Fuzziness`](crate::Fuzziness) |
/// | `code:I21`, `code:"I21"`, `code:I21*` | in a field that was [allowed](Self::field), and only there |
/// | `\-`, `\"`, `\*` | the character itself |
///
/// A word of which the analyzer makes several terms needs all of them; one of which it makes none in any field, such as a
/// stop word, is left out, and one that is a stop word in some of them is not needed. Each word is looked for in every field, and scores what it does in the best of them. Keyword
/// fields take a word or a phrase as one exact value.
///
/// What is not understood is taken as text, or left out where it is a sign without a word; either is told as a
/// [`QueryWarning`]. A text that is too long or has too many words is cut, which is told too. The query has at most half of
/// the clauses, terms and text that a request may have, so that filters and other queries have room beside it.
///
/// ```
/// use statehouse_search::{Field, Operator, Query, QueryWarningKind, Schema};
///
/// let schema = Schema::builder().field(Field::text("title")).field(Field::keyword("chapter_code")).build()?;
/// let search_box = Query::simple_query_string(["title"])
///     .operator(Operator::And)
///     .field("title")
///     .field_as("chapter", "chapter_code")
///     .max_clauses(20)
///     .max_len(500);
///
/// let parsed = search_box.parse(&schema, r#"chapter:IX "heart attack" -old"#)?;
/// assert!(parsed.warnings.is_empty());
/// let expected = Query::bool()
///     .must(Query::term("chapter_code", "IX"))
///     .must(Query::phrase("title", "heart attack"))
///     .must_not(Query::matches("title", "old").operator(Operator::And));
/// assert_eq!(parsed.query, expected.into());
///
/// let parsed = search_box.parse(&schema, r#"heart "attack"#)?;
/// assert_eq!(parsed.warnings[0].kind, QueryWarningKind::UnclosedQuote);
/// assert_eq!(parsed.warnings[0].position, 6..7);
/// # Ok::<(), statehouse_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SimpleQueryString {
    /// Where words are looked for.
    pub fields: Vec<FieldBoost>,
    /// The names that may stand before a colon, and the fields that they mean.
    pub named: Vec<(Arc<str>, Arc<str>)>,
    /// See [`operator`](Self::operator).
    pub operator: Operator,
    /// See [`max_len`](Self::max_len).
    pub max_len: usize,
    /// See [`max_clauses`](Self::max_clauses).
    pub max_clauses: usize,
}

impl SimpleQueryString {
    /// In how many fields words may be looked for, and how many may be named.
    pub const MAX_FIELDS: usize = 32;

    /// The largest [`max_clauses`](Self::max_clauses).
    pub const MAX_CLAUSES: usize = 256;

    pub(super) const fn new(fields: Vec<FieldBoost>) -> Self {
        Self { fields, named: Vec::new(), operator: Operator::Or, max_len: 1_000, max_clauses: 64 }
    }

    /// Whether one of the words is enough, as by default, or all are needed.
    #[must_use]
    pub const fn operator(mut self, operator: Operator) -> Self {
        self.operator = operator;
        self
    }

    /// Allows `name:value` for a field: text, keyword, number or bool.
    #[must_use]
    pub fn field(self, name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        self.field_as(Arc::clone(&name), name)
    }

    /// Allows `name:value` for a field that people call otherwise.
    #[must_use]
    pub fn field_as(mut self, name: impl Into<Arc<str>>, field: impl Into<Arc<str>>) -> Self {
        self.named.push((name.into(), field.into()));
        self
    }

    /// How many bytes of the text are read: 1,000 unless set, up to [`MAX_QUERY_TEXT`].
    #[must_use]
    pub const fn max_len(mut self, bytes: usize) -> Self {
        self.max_len = bytes;
        self
    }

    /// How many words and phrases are taken: 64 unless set, up to [`MAX_CLAUSES`](Self::MAX_CLAUSES).
    #[must_use]
    pub const fn max_clauses(mut self, clauses: usize) -> Self {
        self.max_clauses = clauses;
        self
    }

    /// The query that a text means. One without a word finds nothing.
    ///
    /// # Errors
    /// Never because of the text. [`ErrorKind::InvalidInput`] if the options do not fit the schema or are out of their
    /// ranges, [`ErrorKind::Unsupported`] for a field that cannot be searched so: words are looked for in text and keyword
    /// fields, and a date cannot be typed.
    pub fn parse(&self, schema: &Schema, text: &str) -> Result<ParsedQuery> {
        self.check(schema)?;
        let mut warnings = Vec::new();
        let read = read::cut(text, self.max_len);
        if read.len() < text.len() {
            warnings.push(QueryWarning { position: read.len()..text.len(), kind: QueryWarningKind::TooLong });
        }
        let items = read::Reader::new(read, &self.named, &mut warnings).items();
        let query = build::query((self, schema), read, items, &mut warnings)?;
        warnings.sort_by_key(|warning| (warning.position.start, warning.position.end));
        Ok(ParsedQuery { query, warnings })
    }

    fn check(&self, schema: &Schema) -> Result<()> {
        if self.fields.is_empty() {
            return Err(Error::invalid_input("a simple query string needs at least one field"));
        }
        at_most("searched fields", self.fields.len(), Self::MAX_FIELDS)?;
        at_most("named fields", self.named.len(), Self::MAX_FIELDS)?;
        at_most("clauses as the most to take", self.max_clauses, Self::MAX_CLAUSES)?;
        at_most("bytes as the most to read", self.max_len, MAX_QUERY_TEXT)?;
        for FieldBoost { field, boost } in &self.fields {
            // The whole of what a field can be refused for, whatever is typed.
            schema.check_query(&Query::prefix(Arc::clone(field), "").boost(*boost).into())?;
        }
        self.named.iter().try_for_each(|(name, field)| check_named(schema, name, field))
    }
}

fn check_named(schema: &Schema, name: &str, field: &str) -> Result<()> {
    if name.is_empty() || !name.chars().all(is_of_name) {
        let message = "a name to be typed has letters, digits, dots, hyphens and underscores";
        return Err(Error::invalid_input(message).with_key(name));
    }
    let found = schema.require(field)?;
    if !found.is_indexed() {
        return Err(Error::new(ErrorKind::Unsupported, "the field is not indexed").with_key(field));
    }
    match found.kind() {
        FieldKind::Date => Err(Error::new(ErrorKind::Unsupported, "a date cannot be typed").with_key(field)),
        _ => Ok(()),
    }
}

/// Whether it may stand in a name before a colon.
fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '-' | '_')
}

/// What came of a text that a person typed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ParsedQuery {
    /// What to look for. [`Query::None`] if the text has no word.
    pub query: Query,
    /// What was not understood or was cut, in the order of the text.
    pub warnings: Vec<QueryWarning>,
}

impl From<ParsedQuery> for Query {
    fn from(parsed: ParsedQuery) -> Self {
        parsed.query
    }
}

/// A part of a text that does not mean what it may have been meant to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryWarning {
    /// Where in the text, in bytes: between two characters.
    pub position: Range<usize>,
    /// What it is.
    pub kind: QueryWarningKind,
}

/// What is told of a part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QueryWarningKind {
    /// A quotation mark that no other one follows: the words behind it are no phrase.
    UnclosedQuote,
    /// A sign or an `OR` that does not stand where it has a meaning: it is left out, or a word if there is no other.
    Operator,
    /// A name before a colon that is none of those allowed: all of it is a word.
    UnknownField,
    /// What the field before it does not take: all of it is a word.
    Value,
    /// A fuzziness or a slop that is too large, or too large for the word: the automatic one, none on a keyword field.
    Fuzziness,
    /// The text is longer than is read, see [`SimpleQueryString::max_len`].
    TooLong,
    /// The text has more words than are taken, see [`SimpleQueryString::max_clauses`].
    TooManyClauses,
}

impl fmt::Display for QueryWarningKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnclosedQuote => "no quotation mark closes this one",
            Self::Operator => "this sign has no meaning here",
            Self::UnknownField => "there is no such field to search",
            Self::Value => "the field does not take this value",
            Self::Fuzziness => "this cannot be so fuzzy",
            Self::TooLong => "the text is too long and was cut here",
            Self::TooManyClauses => "there are too many words; these were left out",
        })
    }
}

impl fmt::Display for QueryWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (bytes {} to {})", self.kind, self.position.start, self.position.end)
    }
}
