//! A document as tantivy takes it: the values of its fields, and how many terms each of its texts has.
//!
//! Tantivy keeps the length of a text in one byte, which is exact up to 40 terms. What it adds up of such bytes when it
//! merges is an estimate, and scores depend on the sum. So each text has a number beside it, the exact one. Synonyms are terms,
//! too, and make no text longer: where a field has some, that number says how many terms are such.

use std::cell::RefCell;
use std::iter::Empty;

use tantivy::schema::document::{ReferenceValue, ReferenceValueLeaf};
use tantivy::schema::{Field as Slot, Value};

thread_local! {
    /// For each place in the schema, how long the last text was that this thread analysed for it.
    static LENGTHS: RefCell<Vec<Length>> = const { RefCell::new(Vec::new()) };
}

/// How many terms a text has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Length {
    pub(super) terms: u32,
    /// Those of them that stand at the place of another one, in a field that has synonyms.
    pub(super) over_others: u32,
}

impl Length {
    /// As it stands in its column: the number of terms alone where none is over another.
    const fn number(self) -> u64 {
        (self.over_others as u64) << 32 | self.terms as u64
    }

    #[expect(clippy::cast_possible_truncation, reason = "it is two numbers of 32 bits")]
    pub(super) const fn of(number: u64) -> Self {
        Self { terms: number as u32, over_others: (number >> 32) as u32 }
    }

    /// The length that scores go by.
    pub(super) const fn words(self) -> u32 {
        self.terms.saturating_sub(self.over_others)
    }
}

/// Says how long a text of the field at this place was.
pub(super) fn set_length(place: usize, length: Length) {
    LENGTHS.with_borrow_mut(|lengths| {
        if lengths.len() <= place {
            lengths.resize(place + 1, Length::default());
        }
        lengths[place] = length;
    });
}

fn length(place: usize) -> u64 {
    LENGTHS.with_borrow(|lengths| lengths.get(place).copied().unwrap_or_default().number())
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
