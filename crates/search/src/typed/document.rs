use std::time::{Duration, SystemTime, UNIX_EPOCH};

use statehouse_core::{Error, ErrorKind, Result};

use crate::{Field, Record, Schema, Value};

/// A type that an index holds. Derive it: `#[derive(Document)]` makes the schema, the conversions, and a handle for
/// each field but id, version and what is skipped.
///
/// | attribute | on | means |
/// | --- | --- | --- |
/// | `#[document(analyzers = path)]` | the struct | a function `fn(SchemaBuilder) -> SchemaBuilder` that names analyzers |
/// | `#[document(id)]` | a `String` | the document's id |
/// | `#[document(version)]` | a `u64` | the external version: an older one never replaces a newer one, and deletes take one |
/// | `#[document(text)]` | text | cut into terms and ranked |
/// | `#[document(keyword)]` | text | one exact term, for filters |
/// | `#[document(sort)]` | all but text, id and version | may be sorted by and counted; without it either is `Unsupported` when it is asked |
/// | `#[document(skip)]` | anything with `Default` | not in the index |
/// | `#[document(with = path)]` | with any of the above | a function `fn(Field) -> Field` that refines the field |
///
/// Text is `String`; a field may also be an `Option` or a `Vec` of its type. Numbers (`i32`, `i64`, `u32`, `u64`, `f64`), `bool`, [`Millis`] and
/// `SystemTime` need no attribute, and take neither `text` nor `keyword`. `text` takes `analyzer = "name"`, and all but text take `sort`.
///
#[cfg_attr(feature = "derive", doc = "```")]
#[cfg_attr(not(feature = "derive"), doc = "```ignore")]
/// use statehouse_search::{Document, Field, Query};
///
/// #[derive(Debug, Document)]
/// struct Concept {
///     #[document(id)]
///     code: String,
///     #[document(text, with = sortable)]
///     title: String,
///     #[document(text)]
///     synonyms: Vec<String>,
///     #[document(keyword, sort)]
///     chapter: String,
///     deprecated: bool,
/// }
///
/// /// The title once more as a keyword, to sort by.
/// fn sortable(title: Field) -> Field {
///     title.with_sub_field(Field::keyword("exact").sortable())
/// }
///
/// let query: Query = Concept::title().matches("hart atack").fuzzy().into();
/// let filter: Query = Concept::chapter().is("IX").into();
/// let order = Concept::title().sub_keyword("exact").ascending();
/// # let _ = (query, filter, order);
/// # use statehouse_search::Record;
/// # let concept = Concept { code: "I21".into(), title: "AMI".into(), synonyms: vec!["Heart attack".into()], chapter: "IX".into(), deprecated: false };
/// # Concept::schema()?.check_record(&concept.to_record()?)?;
/// # let back = Concept::from_record(&concept.to_record()?)?;
/// # assert_eq!(back.synonyms, concept.synonyms);
/// # Ok::<(), statehouse_core::Error>(())
/// ```
pub trait Document: Sized + Send + Sync + 'static {
    /// The schema of an index of these documents.
    ///
    /// # Errors
    /// As [`SchemaBuilder::build`](crate::SchemaBuilder::build).
    fn schema() -> Result<Schema>;

    /// The document as the index takes it.
    ///
    /// # Errors
    /// As [`DocumentId::new`](crate::DocumentId::new) for its id.
    fn to_record(&self) -> Result<Record>;

    /// The document as the index returns it.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if a stored field is missing or of another type.
    fn from_record(record: &Record) -> Result<Self>;
}

/// The document that a record is. If it is none, that names the type: of two builds each may have its own of that name.
pub(super) fn read<D: Document>(record: &Record) -> Result<D> {
    D::from_record(record).map_err(|error| error.within(&format!("as {}", std::any::type_name::<D>())))
}

/// A [`Document`] without an external version, which may be deleted without one. The derive macro implements it for
/// structs that have no `#[document(version)]`.
#[diagnostic::on_unimplemented(
    message = "documents of type `{Self}` have a version",
    note = "delete them by `delete_at(id, version)`, with the version of the deletion"
)]
pub trait Unversioned: Document {}

/// A type of which one value can be stored in a field.
pub trait FieldValue: Sized {
    /// The field that holds it.
    fn field(name: &str) -> Field;
    /// The value as an index holds it.
    fn to_value(&self) -> Value;
    /// Back again; `None` if it is of another kind.
    fn from_value(value: &Value) -> Option<Self>;
}

/// A type that is stored in a field as any number of values: a [`FieldValue`], or an `Option` or a `Vec` of one.
pub trait FieldValues: Sized {
    /// What each value is.
    type One: FieldValue;
    /// The values in order.
    fn to_values(&self) -> impl Iterator<Item = Value>;
    /// Back again.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if the values are not of this type, or too few or too many.
    fn from_values<'v>(field: &str, values: impl Iterator<Item = &'v Value>) -> Result<Self>;
}

/// A point in time: milliseconds since the Unix epoch, negative before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a number with a unit")]
pub struct Millis(pub i64);

fn corrupt(field: &str) -> Error {
    Error::new(ErrorKind::Corrupt, "the stored field is missing or not of the document's type").with_key(field)
}

fn one<T: FieldValue>(field: &str, value: &Value) -> Result<T> {
    T::from_value(value).ok_or_else(|| corrupt(field))
}

macro_rules! field_value {
    ($($type:ty, $field:ident, $self:ident => $to:expr, $from:pat => $back:expr;)*) => {$(
        impl FieldValue for $type {
            fn field(name: &str) -> Field {
                Field::$field(name)
            }

            fn to_value(&$self) -> Value {
                $to
            }

            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    $from => $back,
                    _ => None,
                }
            }
        }

        impl FieldValues for $type {
            type One = Self;

            fn to_values(&self) -> impl Iterator<Item = Value> {
                std::iter::once(self.to_value())
            }

            fn from_values<'v>(field: &str, mut values: impl Iterator<Item = &'v Value>) -> Result<Self> {
                match (values.next(), values.next()) {
                    (Some(value), None) => one(field, value),
                    _ => Err(corrupt(field)),
                }
            }
        }
    )*};
}

field_value! {
    String, keyword, self => Value::Text(self.clone()), Value::Text(text) => Some(text.clone());
    i64, i64, self => Value::I64(*self), Value::I64(number) => Some(*number);
    i32, i64, self => Value::I64(i64::from(*self)), Value::I64(number) => i32::try_from(*number).ok();
    u64, u64, self => Value::U64(*self), Value::U64(number) => Some(*number);
    u32, u64, self => Value::U64(u64::from(*self)), Value::U64(number) => u32::try_from(*number).ok();
    f64, f64, self => Value::F64(*self), Value::F64(number) => Some(*number);
    bool, bool, self => Value::Bool(*self), Value::Bool(truth) => Some(*truth);
    Millis, date, self => Value::Date(self.0), Value::Date(millis) => Some(Self(*millis));
    SystemTime, date, self => Value::Date(millis(*self)), Value::Date(millis) => Some(time(*millis));
}

/// Rounded down to the millisecond, also before the epoch.
fn millis(time: SystemTime) -> i64 {
    let clamp = |millis: u128| i64::try_from(millis).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => clamp(after.as_millis()),
        Err(before) => -clamp(before.duration().as_micros().div_ceil(1000)),
    }
}

fn time(millis: i64) -> SystemTime {
    let distance = Duration::from_millis(millis.unsigned_abs());
    if millis < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}

impl<T: FieldValue> FieldValues for Option<T> {
    type One = T;

    fn to_values(&self) -> impl Iterator<Item = Value> {
        self.iter().map(T::to_value)
    }

    fn from_values<'v>(field: &str, mut values: impl Iterator<Item = &'v Value>) -> Result<Self> {
        match (values.next(), values.next()) {
            (value, None) => value.map(|value| one(field, value)).transpose(),
            _ => Err(corrupt(field)),
        }
    }
}

impl<T: FieldValue> FieldValues for Vec<T> {
    type One = T;

    fn to_values(&self) -> impl Iterator<Item = Value> {
        self.iter().map(T::to_value)
    }

    fn from_values<'v>(field: &str, values: impl Iterator<Item = &'v Value>) -> Result<Self> {
        values.map(|value| one(field, value)).collect()
    }
}
