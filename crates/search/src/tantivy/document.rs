//! A document as tantivy takes it: the values of its fields, and how many terms each of its texts has.
//!
//! Tantivy keeps the length of a text in one byte, which is exact up to 40 terms. What it adds up of such bytes when it
//! merges is an estimate, and scores depend on the sum. So each text has a number beside it, the exact one.

use std::cell::RefCell;
use std::iter::Empty;

use tantivy::schema::document::{ReferenceValue, ReferenceValueLeaf};
use tantivy::schema::{Field as Slot, Value};

thread_local! {
    /// For each place in the schema, how many terms the last text had that this thread analysed for it.
    static LENGTHS: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Says how many terms a text of the field at this place had.
pub(super) fn set_length(place: usize, terms: u64) {
    LENGTHS.with_borrow_mut(|lengths| {
        if lengths.len() <= place {
            lengths.resize(place + 1, 0);
        }
        lengths[place] = terms;
    });
}

fn length(place: usize) -> u64 {
    LENGTHS.with_borrow(|lengths| lengths.get(place).copied().unwrap_or_default())
}

/// Values in their slots.
#[derive(Debug, Default)]
pub(super) struct Document(Vec<(Slot, Content)>);

#[derive(Debug)]
pub(super) enum Content {
    Text(String),
    Bytes(Vec<u8>),
    U64(u64),
    I64(i64),
    F64(f64),
    Bool(bool),
    /// How many terms the text of the field at this place has. Known once it was analysed: tantivy indexes the texts of a
    /// document, then, on the same thread, writes its columns.
    LengthOf(usize),
}

impl Document {
    pub(super) fn add(&mut self, slot: Slot, content: Content) {
        self.0.push((slot, content));
    }
}

impl tantivy::Document for Document {
    type Value<'a> = &'a Content;
    type FieldsValuesIter<'a> = Values<'a>;

    fn iter_fields_and_values(&self) -> Values<'_> {
        Values(self.0.iter())
    }
}

pub(super) struct Values<'a>(std::slice::Iter<'a, (Slot, Content)>);

impl<'a> Iterator for Values<'a> {
    type Item = (Slot, &'a Content);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(slot, content)| (*slot, content))
    }
}

impl<'a> Value<'a> for &'a Content {
    type ArrayIter = Empty<Self>;
    type ObjectIter = Empty<(&'a str, Self)>;

    fn as_value(&self) -> ReferenceValue<'a, Self> {
        ReferenceValue::Leaf(match *self {
            Content::Text(text) => ReferenceValueLeaf::Str(text),
            Content::Bytes(bytes) => ReferenceValueLeaf::Bytes(bytes),
            Content::U64(number) => ReferenceValueLeaf::U64(*number),
            Content::I64(number) => ReferenceValueLeaf::I64(*number),
            Content::F64(number) => ReferenceValueLeaf::F64(*number),
            Content::Bool(truth) => ReferenceValueLeaf::Bool(*truth),
            Content::LengthOf(place) => ReferenceValueLeaf::U64(length(*place)),
        })
    }
}
