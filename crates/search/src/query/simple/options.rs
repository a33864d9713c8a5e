//! What a search box takes.

use std::sync::Arc;

use crate::query::text::{FieldBoost, Operator};

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
/// [`QueryWarning`](crate::QueryWarning). A text that is too long or has too many words is cut, which is told too. The query has at most half of
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

    /// How many bytes of the text are read: 1,000 unless set, up to [`MAX_QUERY_TEXT`](crate::MAX_QUERY_TEXT).
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
}
