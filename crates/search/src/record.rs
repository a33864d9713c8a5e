use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use statehouse_core::{Error, Result};

/// The name of one document in an index: 1 to 512 bytes of UTF-8 without control characters.
///
/// 512 bytes is OpenSearch's limit for `_id`. Ties in any order are broken by it, as UTF-8 bytes. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentId(Arc<str>);

impl DocumentId {
    /// The longest id, in bytes.
    pub const MAX_LEN: usize = 512;

    /// Checks the text and takes it as an id.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput), saying which rule the text breaks.
    pub fn new(text: impl AsRef<str>) -> Result<Self> {
        let text = text.as_ref();
        Self::check(text)?;
        Ok(Self(text.into()))
    }

    pub(crate) fn check(text: &str) -> Result<()> {
        let reason = if text.is_empty() {
            "a document id must not be empty"
        } else if text.len() > Self::MAX_LEN {
            "a document id must not be longer than 512 bytes"
        } else if text.chars().any(char::is_control) {
            "a document id must not contain control characters"
        } else {
            return Ok(());
        };
        Err(Error::invalid_input(reason).with_key(text))
    }
}

statehouse_core::checked_text!(DocumentId);

impl TryFrom<String> for DocumentId {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::new(text)
    }
}

/// One value of a field.
///
/// Equality of numbers is equality of what was given: `I64(1)` is not `F64(1.0)`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Value {
    /// The text of a text or keyword field.
    Text(String),
    /// A signed whole number.
    I64(i64),
    /// An unsigned whole number.
    U64(u64),
    /// A finite number.
    F64(f64),
    /// A truth value.
    Bool(bool),
    /// A point in time: milliseconds since the Unix epoch, negative before it.
    Date(i64),
}

impl Value {
    /// What kind of value this is, in a word.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::I64(_) => "i64",
            Self::U64(_) => "u64",
            Self::F64(_) => "f64",
            Self::Bool(_) => "bool",
            Self::Date(_) => "date",
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Prints the kind only: values of documents never reach logs.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value::{}(..)", self.kind())
    }
}

macro_rules! value_from {
    ($($from:ty => $variant:ident),* $(,)?) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}
value_from!(&str => Text, String => Text, i64 => I64, i32 => I64, u64 => U64, u32 => U64, f64 => F64, f32 => F64, bool => Bool);

/// One document as an index takes and returns it: an id, perhaps a version, and fields with one or more values each,
/// in the order given.
///
/// Applications usually meet their own type instead, through the `Document` trait.
///
/// ```
/// use statehouse_search::Record;
///
/// let record = Record::new("I21.9")?
///     .with_version(7)
///     .with("title", "Acute myocardial infarction, unspecified")
///     .with("synonym", "Myocardial infarction (acute) NOS")
///     .with("synonym", "Heart attack");
/// assert_eq!(record.values("synonym").count(), 2);
/// # Ok::<(), statehouse_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    id: DocumentId,
    version: Option<u64>,
    values: Vec<(Cow<'static, str>, Value)>,
}

impl Record {
    /// A document without fields.
    ///
    /// # Errors
    /// As [`DocumentId::new`].
    pub fn new(id: impl AsRef<str>) -> Result<Self> {
        Ok(Self::with_id(DocumentId::new(id)?))
    }

    /// A document without fields.
    #[must_use]
    pub const fn with_id(id: DocumentId) -> Self {
        Self { id, version: None, values: Vec::new() }
    }

    /// The same with an external version, for example the row version of the database it comes from: it is written
    /// only over an older one.
    #[must_use]
    pub const fn with_version(mut self, version: u64) -> Self {
        self.version = Some(version);
        self
    }

    /// The same with one more value of a field.
    #[must_use]
    pub fn with(mut self, field: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        self.push(field, value);
        self
    }

    /// Adds one more value of a field, behind those that it has: they stand together, as every backend gives them back.
    pub fn push(&mut self, field: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        let field = field.into();
        let last = self.values.iter().rposition(|(name, _)| *name == field);
        let place = last.map_or(self.values.len(), |last| last + 1);
        self.values.insert(place, (field, value.into()));
    }

    /// The same with only the fields that `keep` accepts.
    ///
    /// ```
    /// use statehouse_search::Record;
    ///
    /// let record = Record::new("7")?.with("title", "Cholera").with("notes", "internal");
    /// assert_eq!(record.retain(|field| field != "notes").iter().count(), 1);
    /// # Ok::<(), statehouse_core::Error>(())
    /// ```
    #[must_use]
    pub fn retain(mut self, keep: impl Fn(&str) -> bool) -> Self {
        self.values.retain(|(field, _)| keep(field));
        self
    }

    /// The id.
    #[must_use]
    pub const fn id(&self) -> &DocumentId {
        &self.id
    }

    /// The version: the external one on the way in, the stored one on the way out.
    #[must_use]
    pub const fn version(&self) -> Option<u64> {
        self.version
    }

    /// All values, each with the name of its field: field by field, and of each in the order given.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(field, value)| (field.as_ref(), value))
    }

    /// The values of one field, in order.
    pub fn values<'a>(&'a self, field: &'a str) -> impl Iterator<Item = &'a Value> + 'a {
        self.values.iter().filter(move |(name, _)| name == field).map(|(_, value)| value)
    }

    /// The first value of one field.
    #[must_use]
    pub fn value(&self, field: &str) -> Option<&Value> {
        self.values.iter().find(|(name, _)| name == field).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_one_field_stand_together_in_the_order_in_which_they_came() {
        let record = Record::new("a").unwrap().with("x", 1_u64).with("y", "b").with("x", 0_u64).with("y", "a");
        let grouped = Record::new("a").unwrap().with("x", 1_u64).with("x", 0_u64).with("y", "b").with("y", "a");
        assert_eq!(record, grouped);
        assert_ne!(record, grouped.with("x", 0_u64));
    }
}
