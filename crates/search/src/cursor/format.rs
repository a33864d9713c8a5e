//! A cursor as text, in lowercase hexadecimal digits: fit for a URL as it is. All numbers are little-endian.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 1 | format, 1 |
//! | 1 | 8 | the request that it is of, a hash over query, filters, order, and the fields that they name |
//! | 9 | 1 | whether there is a score, 1 or 0 |
//! | 10 | 4 or 0 | the bits of the score |
//! | | 1 | how many sort keys there are, 16 at most |
//! | | | of each sort key: 0 for a missing value and for the score; else its kind, and the value |
//! | | 2, *n* | the length of the id in bytes, and the id in UTF-8 |
//! | | 4 | check: the lower half of the same hash over all before |
//!
//! The kinds: 1, a text, 2 bytes with its length and the text in UTF-8; 2, a signed number; 3, an unsigned one; 4, the
//! bits of a double; 6, a date: 8 bytes each; 5, a truth value: a byte, 0 or 1.

use std::hash::Hasher as _;

use statehouse_core::{Error, Result};

use super::fnv::Fnv;
use crate::{DocumentId, Value};

const FORMAT: u8 = 1;

/// As many as a request may have.
pub(super) const MOST_KEYS: usize = 16;

/// What a cursor holds.
pub(super) type Parts = (u64, Option<f32>, Vec<Option<Value>>, DocumentId);

pub(super) fn write(of: u64, score: Option<f32>, sort: &[Option<Value>], id: &DocumentId) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    bytes.extend(of.to_le_bytes());
    match score {
        None => bytes.push(0),
        Some(score) => {
            bytes.push(1);
            bytes.extend(score.to_bits().to_le_bytes());
        }
    }
    bytes.push(u8::try_from(sort.len()).unwrap_or(u8::MAX));
    sort.iter().for_each(|value| write_value(value.as_ref(), &mut bytes));
    write_text(id.as_str(), &mut bytes);
    let check = check(&bytes);
    bytes.extend(check);
    bytes
}

fn write_value(value: Option<&Value>, bytes: &mut Vec<u8>) {
    let number = |kind: u8, number: [u8; 8]| std::iter::once(kind).chain(number);
    match value {
        None => bytes.push(0),
        Some(Value::Text(text)) => {
            bytes.push(1);
            write_text(text, bytes);
        }
        Some(Value::I64(found)) => bytes.extend(number(2, found.to_le_bytes())),
        Some(Value::U64(found)) => bytes.extend(number(3, found.to_le_bytes())),
        Some(Value::F64(found)) => bytes.extend(number(4, found.to_bits().to_le_bytes())),
        Some(Value::Bool(truth)) => bytes.extend([5, u8::from(*truth)]),
        Some(Value::Date(found)) => bytes.extend(number(6, found.to_le_bytes())),
    }
}

/// No sort key and no id is longer than two bytes can say.
fn write_text(text: &str, bytes: &mut Vec<u8>) {
    bytes.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
    bytes.extend(text.as_bytes());
}

pub(super) fn check(bytes: &[u8]) -> [u8; 4] {
    let mut hash = Fnv::default();
    hash.write(bytes);
    let [a, b, c, d, ..] = hash.finish().to_le_bytes();
    [a, b, c, d]
}

pub(super) fn read(bytes: &[u8]) -> Result<Parts> {
    let (said, end) = bytes.split_last_chunk().ok_or_else(damaged)?;
    if *end != check(said) {
        return Err(damaged());
    }
    let mut rest = Rest(said);
    if rest.byte()? != FORMAT {
        return Err(Error::invalid_input("the cursor is of another release: begin with the first page"));
    }
    let of = u64::from_le_bytes(rest.bytes()?);
    let score = if rest.truth()? { Some(f32::from_bits(u32::from_le_bytes(rest.bytes()?))) } else { None };
    let keys = usize::from(rest.byte()?);
    if keys > MOST_KEYS {
        return Err(damaged());
    }
    let sort = (0..keys).map(|_| rest.value()).collect::<Result<_>>()?;
    let id = DocumentId::new(rest.text()?).map_err(|_| damaged())?;
    if rest.0.is_empty() { Ok((of, score, sort, id)) } else { Err(damaged()) }
}

/// What was not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk().ok_or_else(damaged)?;
        self.0 = rest;
        Ok(*first)
    }

    fn byte(&mut self) -> Result<u8> {
        self.bytes().map(|[byte]| byte)
    }

    fn truth(&mut self) -> Result<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(damaged()),
        }
    }

    fn text(&mut self) -> Result<&'a str> {
        let length = usize::from(u16::from_le_bytes(self.bytes()?));
        let (text, rest) = self.0.split_at_checked(length).ok_or_else(damaged)?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| damaged())
    }

    fn value(&mut self) -> Result<Option<Value>> {
        Ok(Some(match self.byte()? {
            0 => return Ok(None),
            1 => Value::Text(self.text()?.to_owned()),
            2 => Value::I64(i64::from_le_bytes(self.bytes()?)),
            3 => Value::U64(u64::from_le_bytes(self.bytes()?)),
            4 => Value::F64(f64::from_bits(u64::from_le_bytes(self.bytes()?))),
            5 => Value::Bool(self.truth()?),
            6 => Value::Date(i64::from_le_bytes(self.bytes()?)),
            _ => return Err(damaged()),
        }))
    }
}

pub(crate) fn damaged() -> Error {
    Error::invalid_input("this is no cursor, or not all of one: begin with the first page")
}
