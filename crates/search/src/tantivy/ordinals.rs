//! The values of a field over several segments, numbered in order: what each segment numbers on its own is added up by these
//! numbers, without a look at the values.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use statehouse_core::{Error, ErrorKind, Result};
use tantivy::columnar::StrColumn;

use super::error::{BACKEND, map_io};
use crate::work::Stop;

/// How many values to read before asking whether the work is in vain.
const STRETCH: usize = 4_096;

/// The numbers that the values of one field have over all segments.
#[derive(Debug, Default)]
pub(super) struct Ordinals {
    /// For each segment, the number of each of its values.
    of: Vec<Vec<u32>>,
    /// For each number, a segment that has the value, and its ordinal there.
    home: Vec<(u32, u32)>,
}

impl Ordinals {
    /// Reads the dictionaries of all segments side by side.
    pub(super) fn new(columns: &[Option<StrColumn>], stop: &Stop) -> Result<Self> {
        let mut ordinals = Self { of: vec![Vec::new(); columns.len()], home: Vec::new() };
        let (mut streams, mut heads) = (Vec::new(), BinaryHeap::new());
        for (segment, column) in columns.iter().enumerate() {
            let mut stream = column.as_ref().map(|column| column.dictionary().stream()).transpose().map_err(map_io)?;
            if let Some(stream) = &mut stream
                && stream.advance()
            {
                heads.push(Reverse((stream.key().to_vec(), segment)));
            }
            streams.push(stream);
        }
        let mut last = Vec::new();
        while let Some(mut head) = heads.peek_mut() {
            let Reverse((value, segment)) = &mut *head;
            let local = ordinals.of[*segment].len();
            if ordinals.home.is_empty() || *value != last {
                ordinals.home.push((number(*segment)?, number(local)?));
                last.clone_from(value);
            }
            ordinals.of[*segment].push(number(ordinals.home.len() - 1)?);
            if local.is_multiple_of(STRETCH) {
                stop.check()?;
            }
            let more = streams[*segment].as_mut().is_some_and(|stream| stream.advance());
            match &streams[*segment] {
                Some(stream) if more => {
                    value.clear();
                    value.extend_from_slice(stream.key());
                }
                _ => drop(std::collections::binary_heap::PeekMut::pop(head)),
            }
        }
        Ok(ordinals)
    }

    /// How many values there are in all.
    pub(super) const fn count(&self) -> usize {
        self.home.len()
    }

    /// The numbers of a segment's values.
    pub(super) fn of(&self, segment: usize) -> &[u32] {
        &self.of[segment]
    }

    /// A segment that has the value of a number, and its ordinal there.
    pub(super) fn home(&self, number: u64) -> Option<(usize, u64)> {
        let (segment, ordinal) = self.home.get(usize::try_from(number).ok()?)?;
        Some((*segment as usize, (*ordinal).into()))
    }
}

fn number(at: usize) -> Result<u32> {
    u32::try_from(at).map_err(|_| {
        Error::new(ErrorKind::Unsupported, "a field has over 4,294,967,295 different values").with_backend(BACKEND)
    })
}
