//! The names of one directory in memory: sorted, packed, and with what is known of the files behind them.

use std::sync::{Mutex, PoisonError};

use statehouse_core::Timestamp;

use super::trailer::Trailer;
use crate::key::FileKey;
use crate::meta::{ETag, Entry};

/// What each thing in a directory adds to the keys, in their order: a segment, and for a directory the slash behind it.
#[derive(Debug, Default)]
pub(super) struct Names {
    text: String,
    spans: Vec<Span>,
    lines: Mutex<Vec<Line>>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    len: u32,
}

/// What a listing says of a file.
#[derive(Clone, Copy, Debug)]
struct Line {
    etag: [u8; 16],
    len: u64,
    /// `UNKNOWN` as long as nobody has looked.
    modified: u64,
}

const UNKNOWN: u64 = u64::MAX;

/// What a name takes besides its bytes, and what all that may become known of it takes.
const OVERHEAD: usize = size_of::<Span>();
const KNOWN: usize = size_of::<Line>();

impl Names {
    /// Adds one, in no order. Call [`sort`](Self::sort) before anything is looked for.
    pub(super) fn push(&mut self, adds: &str) {
        // A directory's names are far from filling this: the caller bounds them to a few MiB.
        let (Ok(start), Ok(len)) = (u32::try_from(self.text.len()), u32::try_from(adds.len())) else { return };
        self.text.push_str(adds);
        self.spans.push(Span { start, len });
    }

    pub(super) fn sort(&mut self) {
        let text = &self.text;
        self.spans.sort_unstable_by(|a, b| a.of(text).cmp(b.of(text)));
    }

    /// Forgets the greater half, and gives the greatest that is left.
    pub(super) fn halve(&mut self) -> Option<String> {
        let middle = self.spans.len().checked_sub(1)? / 2;
        let text = &self.text;
        let (_, last, _) = self.spans.select_nth_unstable_by(middle, |a, b| a.of(text).cmp(b.of(text)));
        let last = last.of(text).to_owned();
        self.spans.truncate(middle + 1);
        self.pack();
        Some(last)
    }

    /// Forgets what is not wanted.
    pub(super) fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        let text = &self.text;
        self.spans.retain(|span| wanted(span.of(text)));
        self.pack();
    }

    fn pack(&mut self) {
        let (old, spans) = (std::mem::take(&mut self.text), std::mem::take(&mut self.spans));
        self.text.reserve(spans.iter().map(|span| span.len as usize).sum());
        spans.into_iter().for_each(|span| self.push(span.of(&old)));
    }

    pub(super) const fn len(&self) -> usize {
        self.spans.len()
    }

    pub(super) fn get(&self, at: usize) -> Option<&str> {
        self.spans.get(at).map(|span| span.of(&self.text))
    }

    /// Where a text stands, or the first that is greater than it.
    pub(super) fn position(&self, text: &str) -> usize {
        self.spans.partition_point(|span| span.of(&self.text) < text)
    }

    /// What the names take in memory.
    pub(super) const fn bytes(&self) -> usize {
        self.text.len() + self.spans.len() * OVERHEAD
    }

    /// What they take when all is known of their files.
    pub(super) const fn bytes_when_known(&self) -> usize {
        self.bytes() + self.spans.len() * KNOWN
    }

    /// A listing's line, if somebody has looked.
    pub(super) fn entry(&self, at: usize, key: &FileKey) -> Option<Entry> {
        let line = *self.lines.lock().unwrap_or_else(PoisonError::into_inner).get(at)?;
        let known = line.modified != UNKNOWN;
        known.then(|| {
            let modified = Timestamp::from_micros(line.modified);
            Entry::new(key.clone(), line.len, ETag::of_put(&line.etag), modified)
        })
    }

    /// Keeps what a file said.
    pub(super) fn learn(&self, at: usize, trailer: &Trailer, modified: Timestamp) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.is_empty() {
            lines.resize(self.spans.len(), Line { etag: [0; 16], len: 0, modified: UNKNOWN });
        }
        if let Some(line) = lines.get_mut(at) {
            *line = Line { etag: trailer.etag, len: trailer.len, modified: modified.as_micros() };
        }
    }
}

impl Span {
    fn of(self, text: &str) -> &str {
        let start = self.start as usize;
        &text[start..start + self.len as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[&str]) -> Names {
        let mut names = Names::default();
        all.iter().for_each(|name| names.push(name));
        names
    }

    fn all(names: &Names) -> Vec<&str> {
        (0..names.len()).filter_map(|at| names.get(at)).collect()
    }

    #[test]
    fn names_are_sorted_found_halved_and_left_out() {
        let mut some = names(&["d", "b/", "a", "é", "b-", "c"]);
        some.sort();
        assert_eq!(all(&some), ["a", "b-", "b/", "c", "d", "é"]);
        assert_eq!(["", "a", "b", "b/x", "zz", "é", "ê"].map(|text| some.position(text)), [0, 0, 1, 3, 5, 5, 6]);
        some.retain(|name| !name.starts_with('b'));
        assert_eq!(all(&some), ["a", "c", "d", "é"]);
        let mut some = names(&["d", "b/", "a", "é", "b-"]);
        assert_eq!(some.halve().as_deref(), Some("b/"));
        some.sort();
        assert_eq!((all(&some), some.bytes()), (vec!["a", "b-", "b/"], 5 + 3 * OVERHEAD));
        assert_eq!(Names::default().halve(), None);
    }
}
