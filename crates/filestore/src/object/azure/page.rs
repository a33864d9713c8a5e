//! A page of a listing. Azure knows no key to begin behind, only markers of its own, and does not say by what order it lists: by
//! that of the bytes, or of the words of UTF-16, which differ where a character of more than two bytes in UTF-16 meets one of
//! the last of those that have two. So a page ends only where nothing that is still to come can belong before its end; where
//! the order is neither, as in accounts with a hierarchical namespace, all of the listing is read for it.

use std::collections::BTreeMap;

use statehouse_core::Result;

use super::super::client::{Nesting, Remote};
use super::super::connection::Native;
use super::super::listed::{Asked, Listed, is_prefix, read_token, write_token};
use super::super::request::astray;
use super::blob_name::{self, least_behind};
use crate::meta::Entry;
use crate::options::{Depth, ListOptions, Page, Start};

/// The most names that Azure gives in one answer.
const MOST: usize = 5000;

/// How many answers without any name may come one behind the other.
const MAX_EMPTY: u32 = 50;

/// What has been read.
struct Reading<'a> {
    remote: &'a Remote,
    options: &'a ListOptions,
    whole: String,
    /// What the names of this store begin with, as Azure has them.
    before: String,
    /// The name that everything wanted is behind.
    start: String,
    /// What is wanted, of which there may be one more than the page has: a file, or none for what is gathered.
    found: BTreeMap<String, Option<Entry>>,
    foreign: Vec<String>,
    /// For each answer, how it was asked for and the last name in it that is wanted.
    answers: Vec<(Option<String>, String)>,
    /// The last name as Azure has it, wanted or not.
    last: String,
    /// No name that is still to come is before this.
    bound: String,
    in_order: bool,
}

impl Remote {
    pub(in super::super) async fn list_blobs(&self, native: &Native, options: &ListOptions) -> Result<Page> {
        let (start, marker) = match &options.start {
            Start::First => (String::new(), None),
            Start::After(text) => (text.clone(), None),
            Start::Token(token) => read_token(token)?,
        };
        let mut reading = Reading::new(self, options, start, self.nesting == Nesting::Kept);
        let (mut resumed, mut next, mut empty) = (marker.is_some(), marker, 0);
        loop {
            let asked = Asked {
                one_level: options.depth == Depth::OneLevel,
                most: Some(if reading.in_order { reading.limit().clamp(1, MOST) } else { MOST }),
                token: next.as_deref(),
                ..Asked::of(&reading.whole)
            };
            let (listed, _) = Listed::ask(native, &asked).await?;
            let given = listed.contents.len() + listed.common_prefixes.len();
            reading.take(&listed, next.clone())?;
            if resumed && !reading.in_order {
                // Where the page before has ended says nothing then.
                reading = Reading::new(self, options, reading.start, false);
                (resumed, next) = (false, None);
                continue;
            }
            empty = if given == 0 { empty + 1 } else { 0 };
            let to_come = listed.next_continuation_token;
            if to_come.is_none() || reading.is_full() {
                return Ok(reading.finish(to_come));
            }
            if empty > MAX_EMPTY || to_come == next {
                return Err(astray("a listing does not get on: the server gives nothing but markers"));
            }
            next = to_come;
        }
    }
}

impl<'a> Reading<'a> {
    fn new(remote: &'a Remote, options: &'a ListOptions, start: String, in_order: bool) -> Self {
        Self {
            remote,
            options,
            whole: format!("{}{}", remote.prefix, options.prefix),
            before: blob_name::encode(&remote.prefix),
            start,
            found: BTreeMap::new(),
            foreign: Vec::new(),
            answers: Vec::new(),
            last: String::new(),
            bound: String::new(),
            in_order,
        }
    }

    fn limit(&self) -> usize {
        usize::from(self.options.limit)
    }

    fn take(&mut self, listed: &Listed, marker: Option<String>) -> Result<()> {
        let mut last_wanted = String::new();
        let contents: Vec<_> = listed.contents.iter().map(|content| content.key.as_str()).collect();
        let prefixes: Vec<_> = listed.common_prefixes.iter().map(|common| common.prefix.as_str()).collect();
        self.in_order &= contents.is_sorted_by(|one, other| is_before(one, other));
        self.in_order &= prefixes.is_sorted_by(|one, other| is_before(one, other));
        let names = listed.contents.iter().map(|content| (&content.key, Some(content)));
        let mut all: Vec<_> = names.chain(listed.common_prefixes.iter().map(|common| (&common.prefix, None))).collect();
        // Files and what is gathered come in one order, of which only that of each of both is left here.
        all.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
        for (text, content) in all {
            self.pass(text);
            let key = listed.decode(text);
            if self.remote.is_own(&key) {
                continue;
            }
            let name = key.strip_prefix(&self.remote.prefix).filter(|_| key.starts_with(&self.whole));
            let Some(name) = name.filter(|name| *name > self.start.as_str()) else { continue };
            let file = content.map(|content| content.entry(name)).transpose()?;
            let file = match file {
                Some(Some(entry)) => Some(entry),
                None if is_prefix(name) => None,
                _ => {
                    self.foreign.push(name.to_owned());
                    continue;
                }
            };
            if name > last_wanted.as_str() {
                name.clone_into(&mut last_wanted);
            }
            self.found.insert(name.to_owned(), file);
        }
        while self.found.len() > self.limit() + 1 {
            self.found.pop_last();
        }
        self.answers.push((marker, last_wanted));
        Ok(())
    }

    /// Looks at the order of the names as Azure has them.
    fn pass(&mut self, text: &str) {
        self.in_order &= is_before(&self.last, text);
        text.clone_into(&mut self.last);
        // Before one that has no character of more than two bytes in UTF-16, nothing comes later in either order.
        if text.chars().all(|c| c.len_utf16() == 1) {
            let bound = least_behind(text.strip_prefix(&self.before).unwrap_or_default());
            self.bound = std::mem::take(&mut self.bound).max(bound);
        }
    }

    /// Whether the page has all that it may have, and nothing to come belongs into it.
    fn is_full(&self) -> bool {
        let last = self.found.keys().nth(self.limit().saturating_sub(1));
        self.in_order && last.is_some_and(|last| *last <= self.bound)
    }

    fn finish(mut self, to_come: Option<String>) -> Page {
        let mut page = Page::default();
        let more = self.found.len() > self.limit() || to_come.is_some();
        while self.found.len() > self.limit() {
            self.found.pop_last();
        }
        let last = self.found.keys().next_back().cloned().unwrap_or_default();
        let skipped = self.foreign.iter().filter(|name| !more || **name <= last).count();
        if more {
            // Where the first answer was asked for that has what is behind the end of this page.
            let answer = self.answers.iter().find(|(_, wanted)| *wanted > last);
            let marker = answer.map_or(to_come, |(marker, _)| marker.clone()).filter(|_| self.in_order);
            page.next = Some(write_token(&last, marker.as_deref().unwrap_or_default()));
        }
        for (name, file) in self.found {
            match file {
                Some(entry) => page.entries.push(entry),
                None => page.prefixes.push(name),
            }
        }
        page.with_skipped(u64::try_from(skipped).unwrap_or(u64::MAX))
    }
}

/// In either of the two orders.
fn is_before(one: &str, other: &str) -> bool {
    one <= other || one.encode_utf16().lt(other.encode_utf16())
}
