//! From the text to the query.

use std::sync::Arc;

use statehouse_core::{Error, ErrorKind, Result};

use super::build;
use super::options::SimpleQueryString;
use super::read::{self, is_of_name};
use super::warning::{ParsedQuery, QueryWarning, QueryWarningKind};
use crate::limits::{MAX_QUERY_TEXT, at_most};
use crate::query::text::FieldBoost;
use crate::query::tree::Query;
use crate::{FieldKind, Schema};

impl Query {
    /// What a person typed into a search box, with the signs that they know; see [`SimpleQueryString`].
    #[must_use]
    pub fn simple_query_string<F: Into<FieldBoost>>(fields: impl IntoIterator<Item = F>) -> SimpleQueryString {
        SimpleQueryString::new(fields.into_iter().map(Into::into).collect())
    }
}

impl SimpleQueryString {
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
    if !name.starts_with(char::is_alphabetic) || !name.chars().all(is_of_name) {
        let message = "a name to be typed begins with a letter and has letters, digits, dots, hyphens and underscores";
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
