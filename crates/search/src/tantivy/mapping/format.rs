//! The stored form of a document: what tantivy keeps of it in the one field that it stores, `_source`.
//!
//! All numbers are little-endian. Those of a *varint* are in groups of seven bits, the lowest first, a byte each, whose highest
//! bit says that another follows; those of a *zigzag* are first doubled, or of a negative one doubled, negated and less one.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 1 | format, 1 |
//! | 1 | varint | length of the id, *n* |
//! | | *n* | the id, in UTF-8 |
//! | | varint | how many values follow, in the order in which they were given |
//! | | | for each: the place of its field in the schema that is stored with the index (varint), its kind (varint), what that says |
//!
//! | kind | holds |
//! | --- | --- |
//! | 0 | a text: its length (varint), UTF-8 |
//! | 1 | a signed whole number (zigzag) |
//! | 2 | an unsigned whole number (varint) |
//! | 3 | a number of IEEE 754 (8 bytes) |
//! | 4 | a truth value: 0 or 1 |
//! | 5 | a date, in milliseconds since 1970 (zigzag) |
//!
//! A number has as few bytes as it needs, and nothing stands behind the last value. What is so are the structures below in
//! [postcard](https://postcard.jamesmunns.com/wire-format), whose later fields and kinds go to the end, with another format.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use statehouse_core::{Error, ErrorKind, Result};

use super::super::error::BACKEND;
use crate::Value;

/// The first byte of the stored form.
const FORMAT: u8 = 1;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Source<'a> {
    pub(super) id: &'a str,
    #[serde(borrow)]
    pub(super) values: Vec<StoredValue<'a>>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredValue<'a> {
    /// The field's place in the schema, which is stored with the index.
    pub(super) place: u16,
    pub(super) value: Cow<'a, Value>,
}

pub(super) fn encode(source: &Source<'_>) -> Result<Vec<u8>> {
    let failed = |error| Error::new(ErrorKind::Unexpected, "a document cannot be encoded").with_source(error);
    postcard::to_extend(source, vec![FORMAT]).map_err(failed)
}

pub(super) fn decode(bytes: &[u8]) -> Result<Source<'_>> {
    let source = bytes.strip_prefix(&[FORMAT]).ok_or_else(damaged)?;
    postcard::from_bytes(source).map_err(|error| damaged().with_source(error))
}

pub(super) fn damaged() -> Error {
    Error::new(ErrorKind::Corrupt, "a stored document is damaged; rebuild the index from its source")
        .with_backend(BACKEND)
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    /// What every later version reads in a folder of this one.
    const GOLDEN: &[u8] = b"\x01\x03I21\
        \x07\
        \x00\x00\x06Herz\xc3\x9f\
        \x01\x01\x03\
        \x01\x01\xac\x02\
        \x02\x02\xac\x02\
        \x03\x03\0\0\0\0\0\0\xf8\x3f\
        \x80\x01\x04\x01\
        \x05\x05\xff\x0f";

    fn source() -> Source<'static> {
        let value = |place, value| StoredValue { place, value: Cow::Owned(value) };
        Source {
            id: "I21",
            values: vec![
                value(0, Value::Text("Herzß".to_owned())),
                value(1, Value::I64(-2)),
                value(1, Value::I64(150)),
                value(2, Value::U64(300)),
                value(3, Value::F64(1.5)),
                value(128, Value::Bool(true)),
                value(5, Value::Date(-1024)),
            ],
        }
    }

    #[test]
    fn the_golden_bytes_are_what_the_table_says() {
        assert_eq!(encode(&source()).unwrap(), GOLDEN);
        assert_eq!(decode(GOLDEN).unwrap(), source());
        for at in 0..GOLDEN.len() {
            assert_eq!(decode(&GOLDEN[..at]).unwrap_err().kind(), ErrorKind::Corrupt, "cut at {at}");
        }
        let of_later = [&[2], &GOLDEN[1..]].concat();
        assert_eq!(decode(&of_later).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
