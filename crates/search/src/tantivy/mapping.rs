//! What our schema and documents are in tantivy.

mod format;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use statehouse_core::{Error, ErrorKind, Result};
use tantivy::schema::document::{
    DeserializeError, DocumentDeserialize, DocumentDeserializer, ValueDeserialize, ValueDeserializer,
};
use tantivy::schema::{
    BytesOptions, Field as Slot, IndexRecordOption, NumericOptions, STORED, SchemaBuilder, TextFieldIndexing,
    TextOptions,
};
use tantivy::tokenizer::{TextAnalyzer, TokenizerManager};

use self::format::{Source, StoredValue, damaged, decode, encode};
use super::document::{Content, Document};
use super::error::BACKEND;
use super::tokens::{AnalyzerTokenizer, joined};
use crate::analysis::{Analyzer, TokenStream};
use crate::{DocumentId, Field, FieldKind, Record, Schema, Value};

/// The name of the untouched-text tokenizer in tantivy.
const RAW: &str = "raw";

/// A schema with its place in tantivy: one slot per indexed field, and our own beside them.
#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) schema: Arc<Schema>,
    /// How many fields there were before each time that some were added.
    pub(super) layers: Vec<usize>,
    pub(super) inner: tantivy::schema::Schema,
    /// For each field of the schema, in order.
    pub(super) slots: Vec<Option<Slot>>,
    /// For each field that is a text, where the number of its terms goes.
    lengths: Vec<Option<Slot>>,
    pub(super) id: Slot,
    version: Slot,
    source: Slot,
    /// Names of fields that have a value no other structure tells of.
    pub(super) present: Slot,
    places: HashMap<Arc<str>, usize>,
    /// For each field, the fields that index its values: itself and its sub-fields.
    targets: Vec<Vec<usize>>,
}

pub(super) const ID: &str = "_id";
pub(super) const VERSION: &str = "_version";

impl Mapping {
    /// The mapping of a schema whose first fields were there before others were added to the index, in layers. Those have
    /// their slots behind all that were there: a slot is a number in every file of tantivy's.
    pub(super) fn new(schema: Arc<Schema>, layers: Vec<usize>) -> Self {
        let mut builder = tantivy::schema::Schema::builder();
        let exact = TextFieldIndexing::default()
            .set_tokenizer(RAW)
            .set_fieldnorms(false)
            .set_index_option(IndexRecordOption::Basic);
        let exact = TextOptions::default().set_indexing_options(exact);
        let id = builder.add_text_field(ID, exact.clone().set_fast(RAW));
        let version = builder.add_u64_field(VERSION, NumericOptions::default().set_fast());
        let source = builder.add_bytes_field("_source", BytesOptions::from(STORED));
        let present = builder.add_text_field("_present", exact.clone());
        let (mut slots, mut lengths) = (Vec::new(), Vec::new());
        let ends = layers.iter().copied().chain([schema.fields().len()]);
        for (layer, end) in ends.enumerate() {
            let added = || schema.fields().iter().enumerate().take(end);
            let indexed = added().skip(slots.len());
            let norms = |field| layer == 0 && !has_synonyms(&schema, field);
            slots.extend(indexed.map(|(at, f)| f.is_indexed().then(|| add(&mut builder, at, f, (&exact, norms(f))))));
            let texts = added().skip(lengths.len());
            let texts = texts.map(|(at, f)| (f.is_indexed() && f.is_text()).then(|| add_length(&mut builder, at)));
            lengths.extend(texts);
        }
        let places: HashMap<_, _> =
            schema.fields().iter().enumerate().map(|(at, f)| (Arc::from(f.name()), at)).collect();
        let targets = schema.fields().iter().enumerate().map(|(at, field)| {
            let subs = schema.fields().iter().enumerate().filter(|(_, sub)| sub.source() == Some(field.name()));
            [at].into_iter().chain(subs.map(|(sub, _)| sub)).collect()
        });
        let targets = targets.collect();
        Self { inner: builder.build(), layers, slots, lengths, id, version, source, present, places, targets, schema }
    }

    /// The same with the fields of another schema that it lacks.
    pub(super) fn extended_by(&self, wanted: &Schema) -> Self {
        let before = self.schema.fields().len();
        let layers = self.layers.iter().copied().chain([before]).collect();
        Self::new(Arc::new(self.schema.extended_by(wanted)), layers)
    }

    /// As it was before fields were added the last time, if some were.
    pub(super) fn before(&self) -> Option<tantivy::schema::Schema> {
        let (last, layers) = self.layers.split_last()?;
        let fields = self.schema.fields()[..*last].to_vec();
        Some(Self::new(Arc::new(self.schema.of_fields(fields)), layers.to_vec()).inner)
    }

    /// Whether tantivy keeps the lengths of a text field. Of one that was added it would miss them in every segment that was
    /// there before, and it would count synonyms.
    pub(super) fn has_norms(&self, place: usize) -> bool {
        let synonyms = has_synonyms(&self.schema, &self.schema.fields()[place]);
        !synonyms && self.layers.first().is_none_or(|first| place < *first)
    }

    /// The analyzers under the names that the slots use.
    pub(super) fn tokenizers(&self) -> TokenizerManager {
        // Has `raw`, and `default`, which tantivy asks for even where nothing is cut.
        let manager = TokenizerManager::default();
        for (place, field) in self.schema.fields().iter().enumerate().filter(|(_, field)| field.is_text()) {
            if let Ok(analyzer) = self.schema.index_analyzer(field) {
                let tokenizer = AnalyzerTokenizer::new(analyzer.clone(), place);
                manager.register(&tokenizer_name(place), TextAnalyzer::from(tokenizer));
            }
        }
        manager
    }

    /// The place of a field, and its slot if it is indexed.
    pub(super) fn slot(&self, name: &str) -> Result<(usize, Slot)> {
        let place = self.places.get(name).copied();
        place.and_then(|place| Some((place, self.slots[place]?))).ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "the field is not indexed").with_backend(BACKEND).with_key(name)
        })
    }

    /// The document that tantivy indexes, and how long the stored form of the record is.
    pub(super) fn document(&self, record: &Record, version: u64) -> Result<(Document, usize)> {
        let mut document = Document::default();
        document.add(self.id, Content::Text(record.id().as_str().to_owned()));
        document.add(self.version, Content::U64(version));
        let mut texts: Vec<(usize, Vec<&str>)> = Vec::new();
        let mut stored = Vec::new();
        for (name, value) in record.iter() {
            let place = *self.places.get(name).ok_or_else(|| Error::invalid_input("the schema has no such field"))?;
            if self.schema.fields()[place].is_stored() {
                stored
                    .push(StoredValue { place: u16::try_from(place).unwrap_or(u16::MAX), value: Cow::Borrowed(value) });
            }
            for &target in &self.targets[place] {
                self.index(&mut document, target, value, &mut texts);
            }
        }
        for (target, values) in texts {
            self.index_text(&mut document, target, &values);
        }
        let source = encode(&Source { id: record.id().as_str(), values: stored })?;
        let length = source.len();
        document.add(self.source, Content::Bytes(source));
        Ok((document, length))
    }

    /// A record in the form in which it is stored, with what is not stored, too.
    pub(super) fn whole(&self, record: &Record) -> Result<Vec<u8>> {
        let values = record.iter().map(|(name, value)| {
            let place = *self.places.get(name).ok_or_else(|| Error::invalid_input("the schema has no such field"))?;
            Ok(StoredValue { place: u16::try_from(place).unwrap_or(u16::MAX), value: Cow::Borrowed(value) })
        });
        encode(&Source { id: record.id().as_str(), values: values.collect::<Result<_>>()? })
    }

    fn index<'a>(
        &self,
        document: &mut Document,
        place: usize,
        value: &'a Value,
        texts: &mut Vec<(usize, Vec<&'a str>)>,
    ) {
        let (field, Some(slot)) = (&self.schema.fields()[place], self.slots[place]) else { return };
        match (field.kind(), value) {
            (FieldKind::Text { .. }, Value::Text(text)) => {
                match texts.iter_mut().find(|(given, _)| *given == place) {
                    Some((_, values)) => values.push(text),
                    None => texts.push((place, vec![text])),
                }
                return;
            }
            (FieldKind::Keyword { normalizer }, Value::Text(text)) => {
                document.add(slot, Content::Text(normalizer.apply(text)));
            }
            (FieldKind::U64, Value::U64(number)) => document.add(slot, Content::U64(*number)),
            (FieldKind::F64, Value::F64(number)) => document.add(slot, Content::F64(*number)),
            (FieldKind::Bool, Value::Bool(truth)) => document.add(slot, Content::Bool(*truth)),
            (_, Value::I64(number) | Value::Date(number)) => document.add(slot, Content::I64(*number)),
            _ => return,
        }
        if !field.is_sortable() {
            document.add(self.present, Content::Text(field.name().to_owned()));
        }
    }

    fn index_text(&self, document: &mut Document, place: usize, values: &[&str]) {
        let (field, Some(slot), Some(length)) = (&self.schema.fields()[place], self.slots[place], self.lengths[place])
        else {
            return;
        };
        document.add(slot, Content::Text(joined(values)));
        document.add(length, Content::LengthOf(place));
        let has_terms = |text: &&str| {
            self.schema.index_analyzer(field).is_ok_and(|analyzer| TokenStream::new(analyzer, text).advance())
        };
        if !values.iter().any(has_terms) {
            document.add(self.present, Content::Text(field.name().to_owned()));
        }
    }

    /// The record that a stored form is.
    pub(super) fn record(&self, version: u64, source: &[u8], wanted: Wanted<'_>) -> Result<Record> {
        let source = decode(source)?;
        let id = DocumentId::new(source.id).map_err(|error| damaged().with_source(error))?;
        let mut record = Record::with_id(id).with_version(version);
        for StoredValue { place, value } in source.values {
            let field = self.schema.fields().get(usize::from(place)).ok_or_else(damaged)?;
            if wanted.has(field.name()) {
                record.push(field.name().to_owned(), value.into_owned());
            }
        }
        Ok(record)
    }
}

/// The stored form of a document, as tantivy hands it out.
pub(super) struct StoredForm(pub(super) Vec<u8>);

impl DocumentDeserialize for StoredForm {
    fn deserialize<'de, D: DocumentDeserializer<'de>>(mut document: D) -> Result<Self, DeserializeError> {
        // Nothing else is stored.
        let field = document.next_field::<Bytes>()?;
        field.map(|(_, Bytes(bytes))| Self(bytes)).ok_or_else(|| DeserializeError::custom("no stored form"))
    }
}

struct Bytes(Vec<u8>);

impl ValueDeserialize for Bytes {
    fn deserialize<'de, D: ValueDeserializer<'de>>(value: D) -> Result<Self, DeserializeError> {
        value.deserialize_bytes().map(Self)
    }
}

/// Which stored fields to return.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted<'a> {
    All,
    None,
    Fields(&'a [Arc<str>]),
    /// All that a schema knows, of an index that may have more.
    Of(&'a Schema),
}

impl Wanted<'_> {
    pub(super) fn has(self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Of(schema) => schema.field(name).is_some(),
            Self::Fields(names) => names.iter().any(|wanted| **wanted == *name),
        }
    }
}

fn add(builder: &mut SchemaBuilder, place: usize, field: &Field, (exact, norms): (&TextOptions, bool)) -> Slot {
    // Names of ours may hold dots, which are paths to tantivy.
    let name = slot_name(place);
    let numeric = || {
        let options = NumericOptions::default().set_indexed();
        if field.is_sortable() { options.set_fast() } else { options }
    };
    match field.kind() {
        FieldKind::Text { .. } => {
            // Field norms tell which documents have a term, whether or not lengths count.
            let indexing = TextFieldIndexing::default()
                .set_tokenizer(&tokenizer_name(place))
                .set_fieldnorms(norms)
                .set_index_option(IndexRecordOption::WithFreqsAndPositions);
            builder.add_text_field(&name, TextOptions::default().set_indexing_options(indexing))
        }
        FieldKind::Keyword { .. } if field.is_sortable() => builder.add_text_field(&name, exact.clone().set_fast(RAW)),
        FieldKind::Keyword { .. } => builder.add_text_field(&name, exact.clone()),
        FieldKind::U64 => builder.add_u64_field(&name, numeric()),
        FieldKind::F64 => builder.add_f64_field(&name, numeric()),
        FieldKind::Bool => builder.add_bool_field(&name, numeric()),
        FieldKind::I64 | FieldKind::Date => builder.add_i64_field(&name, numeric()),
    }
}

fn has_synonyms(schema: &Schema, field: &Field) -> bool {
    schema.index_analyzer(field).is_ok_and(Analyzer::has_synonyms)
}

pub(super) fn slot_name(place: usize) -> String {
    format!("f{place}")
}

/// Where the number of terms of a text is.
pub(super) fn length_name(place: usize) -> String {
    format!("n{place}")
}

fn add_length(builder: &mut SchemaBuilder, place: usize) -> Slot {
    builder.add_u64_field(&length_name(place), NumericOptions::default().set_fast())
}

fn tokenizer_name(place: usize) -> String {
    format!("statehouse.{place}")
}
