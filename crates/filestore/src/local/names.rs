//! The names of one directory in memory: sorted, packed, and with what is known of the files behind them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use statehouse_core::Timestamp;

use super::format::Trailer;
use crate::key::FileKey;
use crate::meta::{ETag, Entry};

/// What each thing in a directory adds to the keys, in their order: a segment, and for a directory the slash behind it.
#[derive(Debug, Default)]
pub(super) struct Names {
    text: String,
    spans: Vec<Span>,
    /// How much of the text no span has any more.
    unused: usize,
    lines: Mutex<Lines>,
}

/// What is known of the files: of all, or of none yet.
#[derive(Debug, Default)]
struct Lines {
    all: Vec<Line>,
    /// How often something was forgotten.
    age: u64,
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

/// How often something had been forgotten when a file was looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Age(u64);

impl Default for Line {
    fn default() -> Self {
        Self { etag: [0; 16], len: 0, modified: UNKNOWN }
    }
}

/// What a name takes besides its bytes, and what all that may become known of it takes.
const OVERHEAD: usize = size_of::<Span>();
const KNOWN: usize = size_of::<Line>();

impl Names {
    /// Adds one, in no order. Call [`sort`](Self::sort) before anything is looked for.
    pub(super) fn push(&mut self, adds: &str) {
        self.spans.extend(Span::new(self.text.len(), adds.len()));
        self.text.push_str(adds);
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
        self.unused = 0;
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

    // Nothing panics while it is locked.
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A listing's line, if somebody has looked; else what [`learn`](Self::learn) takes.
    pub(super) fn entry(&self, at: usize, key: &FileKey) -> Result<Entry, Age> {
        let lines = self.lines();
        let line = lines.all.get(at).filter(|line| line.modified != UNKNOWN).ok_or(Age(lines.age))?;
        let modified = Timestamp::from_micros(line.modified);
        Ok(Entry::new(key.clone(), line.len, ETag::of_put(&line.etag), modified))
    }

    /// Keeps what a file said, unless something was forgotten since: it may have been that.
    pub(super) fn learn(&self, at: usize, age: Age, trailer: &Trailer, modified: Timestamp) {
        let mut lines = self.lines();
        if lines.age != age.0 {
            return;
        }
        if lines.all.is_empty() {
            lines.all.resize(self.spans.len(), Line::default());
        }
        if let Some(line) = lines.all.get_mut(at) {
            *line = Line { etag: trailer.etag, len: trailer.len, modified: modified.as_micros() };
        }
    }

    /// Takes over which of these are there now. What was known of them is forgotten.
    ///
    /// Those who still have the names as they were keep them, unless none has come or gone.
    pub(super) fn change(names: &mut Arc<Self>, changed: &BTreeMap<String, bool>) {
        let is_at = |at: usize, adds: &str| names.get(at) == Some(adds);
        let places: Vec<_> = changed.keys().map(|adds| (names.position(adds), adds.as_str())).collect();
        if places.iter().zip(changed.values()).all(|((at, adds), there)| is_at(*at, adds) == *there) {
            let mut lines = names.lines();
            lines.age += 1;
            for (at, _) in places.into_iter().filter(|(at, adds)| is_at(*at, adds)) {
                lines.all.get_mut(at).into_iter().for_each(|line| *line = Line::default());
            }
            return;
        }
        let new = names.with(places.into_iter().zip(changed.values().copied()));
        *names = Arc::new(new);
    }

    fn with<'c>(&self, changed: impl Iterator<Item = ((usize, &'c str), bool)>) -> Self {
        let lines = self.lines();
        let mut new = Self { text: self.text.clone(), unused: self.unused, ..Self::default() };
        new.spans.reserve(self.len() + 1);
        let known = new.lines.get_mut().unwrap_or_else(PoisonError::into_inner);
        known.all.reserve(lines.all.len() + 1);
        let mut from = 0;
        for ((at, adds), there) in changed {
            new.spans.extend_from_slice(&self.spans[from..at]);
            known.all.extend_from_slice(lines.all.get(from..at).unwrap_or_default());
            from = at;
            if self.get(at) == Some(adds) {
                new.unused += adds.len();
                from += 1;
            }
            if there {
                let start = new.text.len();
                new.text.push_str(adds);
                new.spans.extend(Span::new(start, adds.len()));
                known.all.extend((!lines.all.is_empty()).then(Line::default));
            }
        }
        new.spans.extend_from_slice(&self.spans[from..]);
        known.all.extend_from_slice(lines.all.get(from..).unwrap_or_default());
        if new.unused > new.text.len() / 2 {
            new.pack();
        }
        new
    }
}

impl Span {
    /// A directory's names are far from filling this: the caller bounds them to a few MiB.
    fn new(start: usize, len: usize) -> Option<Self> {
        Some(Self { start: u32::try_from(start).ok()?, len: u32::try_from(len).ok()? })
    }

    fn of(self, text: &str) -> &str {
        let start = self.start as usize;
        &text[start..start + self.len as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::local::format::Description;

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

    fn trailer(len: u64) -> Trailer {
        let description = Description { content_type: None, user: BTreeMap::new() };
        Trailer { len, digest: Digest::of(b""), crc: 0, etag: [7; 16], description }
    }

    /// What a file said, by a number for it.
    fn say(names: &Names, at: usize, len: u64) {
        let age = names.entry(at, &FileKey::new("k").unwrap()).expect_err("nothing is known of it");
        names.learn(at, age, &trailer(len), Timestamp::from_micros(len));
    }

    fn known(names: &Names) -> Vec<Option<u64>> {
        let key = FileKey::new("k").unwrap();
        (0..names.len()).map(|at| names.entry(at, &key).ok().map(|entry| entry.len)).collect()
    }

    #[test]
    fn what_is_known_stays_with_its_name_when_others_come_and_go() {
        for known_before in [false, true] {
            let mut some = names(&["b", "d", "f", "h"]);
            some.sort();
            let mut some = Arc::new(some);
            let told = |len| known_before.then_some(len);
            if known_before {
                (0..4).for_each(|at| say(&some, at, at as u64));
            }
            let before = Arc::clone(&some);
            let change = |some: &mut Arc<Names>, changed: &[(&str, bool)]| {
                Names::change(some, &changed.iter().map(|(adds, there)| ((*adds).to_owned(), *there)).collect());
            };
            change(&mut some, &[("a", true), ("b", true), ("d", false), ("e", true), ("g", false), ("i", true)]);
            assert_eq!(all(&some), ["a", "b", "e", "f", "h", "i"]);
            assert_eq!(known(&some), [None, None, None, told(2), told(3), None]);
            assert_eq!((all(&before), known(&before)), (vec!["b", "d", "f", "h"], [0, 1, 2, 3].map(told).to_vec()));
            let same = Arc::clone(&some);
            change(&mut some, &[("c", false), ("f", true)]);
            assert!(Arc::ptr_eq(&some, &same), "no name has come or gone");
            assert_eq!(known(&some), [None, None, None, None, told(3), None]);
            // Most of the text is of names that have gone.
            change(&mut some, &["a", "b", "e", "f", "h"].map(|name| (name, false)));
            assert_eq!((all(&some), some.text.as_str()), (vec!["i"], "i"));
            change(&mut some, &[("i", false)]);
            assert_eq!(some.bytes(), 0);
        }
    }

    #[test]
    fn what_was_read_before_its_file_was_replaced_is_not_kept() {
        let mut some = Arc::new(names(&["a", "b"]));
        let age = some.entry(0, &FileKey::new("a").unwrap()).unwrap_err();
        Names::change(&mut some, &BTreeMap::from([("a".to_owned(), true)]));
        some.learn(0, age, &trailer(1), Timestamp::from_micros(1));
        assert_eq!(known(&some), [None, None]);
    }
}
