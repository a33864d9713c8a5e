//! A document as OpenSearch keeps it: JSON with one array or value per field.

use std::borrow::Cow;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer as _};
use serde_json::value::RawValue;
use statehouse_core::{Error, ErrorKind, Result};

use super::error::{BACKEND, Exception, of_broken_body, of_exception, of_other_question};
use super::mapping::{ID, biased, unbiased};
use crate::{DocumentId, Field, FieldKind, Projection, Record, Schema, Value};

/// Writes a document as one line of JSON, straight into `line`.
pub(super) fn write(record: &Record, line: &mut Vec<u8>) {
    line.extend_from_slice(b"{\"");
    line.extend_from_slice(ID.as_bytes());
    line.extend_from_slice(b"\":");
    write_text(record.id().as_str(), line);
    let mut previous = None;
    for (at, (name, value)) in record.iter().enumerate() {
        // Values of one field usually stand together; those that do not are brought together at the first.
        if previous == Some(name) || (previous.is_some() && record.iter().take(at).any(|(earlier, _)| earlier == name))
        {
            continue;
        }
        previous = Some(name);
        line.push(b',');
        write_text(name, line);
        line.push(b':');
        write_values(record, at, name, value, line);
    }
    line.extend_from_slice(b"}\n");
}

fn write_values(record: &Record, at: usize, name: &str, first: &Value, line: &mut Vec<u8>) {
    let mut more = record.iter().skip(at + 1).filter(|(field, _)| *field == name).map(|(_, value)| value).peekable();
    if more.peek().is_none() {
        return write_value(first, line);
    }
    line.push(b'[');
    write_value(first, line);
    for value in more {
        line.push(b',');
        write_value(value, line);
    }
    line.push(b']');
}

fn write_value(value: &Value, line: &mut Vec<u8>) {
    match value {
        Value::Text(text) => write_text(text, line),
        Value::I64(number) | Value::Date(number) => write_json(number, line),
        Value::U64(number) => write_json(&biased(*number), line),
        Value::F64(number) => write_json(number, line),
        Value::Bool(truth) => write_json(truth, line),
    }
}

pub(super) fn write_text(text: &str, line: &mut Vec<u8>) {
    write_json(text, line);
}

pub(super) fn write_json(value: &(impl serde::Serialize + ?Sized), line: &mut Vec<u8>) {
    serde_json::to_writer(line, value).expect("a text or number can be written to memory");
}

/// A document that was found.
pub(super) enum Read {
    Ours(Record),
    /// It was written by something else, straight into the index.
    Foreign,
}

/// Reads a document. Fields that are not stored are left out by [`project`].
pub(super) fn record(schema: &Schema, id: &str, version: Option<u64>, source: Option<&RawValue>) -> Result<Read> {
    let Ok(known) = DocumentId::new(id) else { return Ok(Read::Foreign) };
    let mut record = Record::with_id(known);
    if let Some(version) = version {
        record = record.with_version(version);
    }
    if let Some(source) = source {
        if !is_ours(id, source) {
            return Ok(Read::Foreign);
        }
        let mut json = serde_json::Deserializer::from_str(source.get());
        let fields = Fields { schema, record: &mut record };
        json.deserialize_map(fields).map_err(|error| corrupt(id).with_source(of_broken_body(error)))?;
    }
    Ok(Read::Ours(record))
}

/// Whether a document says its id once more, as all do that we write.
fn is_ours(id: &str, source: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Signed<'a> {
        #[serde(rename = "_sid", borrow)]
        id: Option<Cow<'a, str>>,
    }
    // We write it first, so that it need not be looked for.
    let first = source.get().strip_prefix("{\"_sid\":\"").and_then(|rest| rest.strip_prefix(id));
    if first.is_some_and(|rest| rest.starts_with('"')) {
        return true;
    }
    serde_json::from_str::<Signed<'_>>(source.get()).is_ok_and(|signed| signed.id.as_deref() == Some(id))
}

#[derive(Deserialize)]
struct Found<'a> {
    #[serde(borrow)]
    docs: [FoundDocument<'a>; 1],
}

/// What the server says of a document that it was asked for by id.
#[derive(Deserialize)]
pub(super) struct FoundDocument<'a> {
    #[serde(rename = "_index", borrow)]
    pub(super) index: Option<Cow<'a, str>>,
    #[serde(rename = "_id", borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(rename = "_version")]
    pub(super) version: Option<u64>,
    pub(super) found: Option<bool>,
    #[serde(rename = "_source", borrow)]
    pub(super) source: Option<&'a RawValue>,
    pub(super) error: Option<Exception>,
}

/// The one document of `index` that was asked for by id, if it is there.
pub(super) fn found(schema: &Schema, index: &str, id: &DocumentId, body: &[u8]) -> Result<Option<Record>> {
    let Found { docs: [document] } = serde_json::from_slice(body).map_err(of_broken_body)?;
    if *document.id != *id.as_str() {
        return Err(
            of_other_question("OpenSearch answered with another document than was asked for").with_key(id.as_str())
        );
    }
    if let Some(exception) = &document.error {
        // It comes without a status of its own.
        return Err(of_exception(500, Some(exception)));
    }
    check_index(index, document.index.as_deref())?;
    match (document.found, document.source) {
        (Some(false), _) => Ok(None),
        (Some(true), Some(source)) => match record(schema, &document.id, document.version, Some(source))? {
            Read::Ours(record) => Ok(Some(record)),
            Read::Foreign => Err(foreign(&document.id)),
        },
        _ => Err(of_other_question("OpenSearch did not say whether the document is there").with_key(id.as_str())),
    }
}

/// Refuses what comes from another index than the one that was opened.
pub(super) fn check_index(opened: &str, found: Option<&str>) -> Result<()> {
    match found {
        Some(found) if found != opened => {
            let message =
                format!("the alias answers from the index {found} and was opened with {opened}: open it anew");
            Err(Error::new(ErrorKind::Conflict, message).with_backend(BACKEND))
        }
        _ => Ok(()),
    }
}

fn foreign(id: &str) -> Error {
    let message = "the document was written by something else than statehouse";
    Error::new(ErrorKind::Corrupt, message).with_backend(BACKEND).with_key(id)
}

fn corrupt(id: &str) -> Error {
    let message = "the stored document does not fit the schema";
    Error::new(ErrorKind::Corrupt, message).with_backend(BACKEND).with_key(id)
}

/// Leaves of a document what was asked for and is meant to be returned.
pub(super) fn project(record: Record, schema: &Schema, projection: &Projection) -> Record {
    let wanted = |name: &str| match projection {
        Projection::All => schema.field(name).is_some_and(Field::is_stored),
        Projection::Id => false,
        Projection::Fields(names) => names.iter().any(|wanted| **wanted == *name),
    };
    record.retain(wanted)
}

/// All fields of one document.
struct Fields<'a> {
    schema: &'a Schema,
    record: &'a mut Record,
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a document")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            if name == ID {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            match self.schema.field(&name) {
                Some(field) => map.next_value_seed(Values { field, record: self.record })?,
                // The mapping is strict, so it is one of a build that has more fields.
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// The one value of a field, or all of them.
struct Values<'a> {
    field: &'a Field,
    record: &'a mut Record,
}

impl Values<'_> {
    fn push<E: serde::de::Error>(self, value: Option<Value>) -> Result<(), E> {
        let value = value.ok_or_else(|| E::custom("a value of another type than the field's"))?;
        self.record.push(self.field.name().to_owned(), value);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "values of a field of {}", self.field.kind().as_str())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        while values.next_element_seed(Values { field: self.field, record: self.record })?.is_some() {}
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        let fits = matches!(self.field.kind(), FieldKind::Text { .. } | FieldKind::Keyword { .. });
        self.push(fits.then(|| Value::Text(text.to_owned())))
    }

    fn visit_bool<E: serde::de::Error>(self, truth: bool) -> Result<(), E> {
        let fits = matches!(self.field.kind(), FieldKind::Bool);
        self.push(fits.then_some(Value::Bool(truth)))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        let value = match self.field.kind() {
            FieldKind::I64 => Some(Value::I64(number)),
            FieldKind::Date => Some(Value::Date(number)),
            FieldKind::U64 => Some(Value::U64(unbiased(number))),
            _ => None,
        };
        self.push(value)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        match i64::try_from(number) {
            Ok(number) => self.visit_i64(number),
            Err(_) => self.push(None),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        let fits = matches!(self.field.kind(), FieldKind::F64);
        self.push(fits.then_some(Value::F64(number)))
    }
}
