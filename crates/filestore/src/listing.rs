//! The order and paging of listings, the same for every backend that lists by itself.

use std::ops::Bound;

use statehouse_core::{Error, Result};

use crate::key::FileKey;
use crate::meta::Entry;
use crate::options::{Depth, ListOptions, Page, PageToken, Start};

/// Where a listing goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Resume {
    /// Behind this text.
    After(String),
    /// Behind everything that begins with this text.
    Past(String),
}

/// Takes the keys of a listing in order and makes a page of them.
#[derive(Debug)]
pub(crate) struct Collector<'a> {
    options: &'a ListOptions,
    resume: Resume,
    page: Page,
    last: Last,
    full: bool,
}

/// Of what kind the last of a page is.
#[derive(Clone, Copy, Debug)]
enum Last {
    Entry,
    Prefix,
}

impl<'a> Collector<'a> {
    pub(crate) fn new(options: &'a ListOptions) -> Result<Self> {
        let resume = match &options.start {
            Start::First => Resume::After(String::new()),
            Start::After(key) => Resume::After(key.clone()),
            Start::Token(token) => read_token(token)?,
        };
        Ok(Self { options, resume, page: Page::default(), last: Last::Entry, full: false })
    }

    /// A text that no key still to come is less than.
    pub(crate) fn seek(&self) -> &str {
        let (Resume::After(text) | Resume::Past(text)) = &self.resume;
        text.as_str().max(&self.options.prefix)
    }

    /// Whether the page has all that it may have and more is to come.
    pub(crate) const fn is_full(&self) -> bool {
        self.full
    }

    /// Whether neither this key nor any greater one is one of the listing's.
    #[cfg(unix)]
    pub(crate) fn is_beyond(&self, key: &str) -> bool {
        key > self.options.prefix.as_str() && !key.starts_with(&self.options.prefix)
    }

    /// Whether any key that begins with this text may be wanted still.
    #[cfg(unix)]
    pub(crate) fn wants_below(&self, text: &str) -> bool {
        if !text.starts_with(&self.options.prefix) && !self.options.prefix.starts_with(text) {
            return false;
        }
        if self.gathers(text).is_some_and(|prefix| self.is_passed(prefix)) {
            return false;
        }
        match &self.resume {
            Resume::After(after) => after.as_str() <= text || after.starts_with(text),
            Resume::Past(past) => !text.starts_with(past) && (past.as_str() <= text || past.starts_with(text)),
        }
    }

    /// Whether the page has the common prefix that all keys below this text are gathered in: none of them matters.
    #[cfg(unix)]
    pub(crate) fn has_gathered(&self, text: &str) -> bool {
        self.page.prefixes.last().is_some_and(|last| text.starts_with(last))
    }

    /// Where to go on behind this key, which has been offered: keys that are gathered with it do not matter any more.
    pub(crate) fn behind(&self, key: &FileKey) -> Bound<String> {
        match self.gathers(key.as_str()).and_then(|prefix| prefix.strip_suffix('/')) {
            // The character behind the slash.
            Some(gathered) => Bound::Included(format!("{gathered}0")),
            None => Bound::Excluded(key.as_str().to_owned()),
        }
    }

    fn gathers<'k>(&self, key: &'k str) -> Option<&'k str> {
        if self.options.depth == Depth::All {
            return None;
        }
        let rest = key.strip_prefix(self.options.prefix.as_str())?;
        let slash = rest.find('/')?;
        Some(&key[..self.options.prefix.len() + slash + 1])
    }

    /// Whether a key is one of the listing's and behind where it goes on.
    pub(crate) fn wants(&self, key: &str) -> bool {
        key.starts_with(&self.options.prefix) && !self.is_passed(key)
    }

    /// Offers the next key. The entry is made only if it is wanted.
    pub(crate) fn offer(&mut self, key: &str, entry: impl FnOnce() -> Option<Entry>) {
        if !self.wants(key) {
            return;
        }
        if let Some(prefix) = self.gathers(key) {
            return self.offer_prefix(prefix);
        }
        if self.room()
            && let Some(entry) = entry()
        {
            self.last = Last::Entry;
            self.page.entries.push(entry);
        }
    }

    fn offer_prefix(&mut self, prefix: &str) {
        // A prefix that the text lies in comes before the text.
        if !self.is_passed(prefix) && self.page.prefixes.last().is_none_or(|last| last != prefix) && self.room() {
            self.last = Last::Prefix;
            self.page.prefixes.push(prefix.to_owned());
        }
    }

    /// Whether a key or common prefix is at or before where the listing goes on.
    fn is_passed(&self, key: &str) -> bool {
        match &self.resume {
            Resume::After(after) => key <= after.as_str(),
            Resume::Past(past) => key <= past.as_str() || key.starts_with(past),
        }
    }

    fn room(&mut self) -> bool {
        self.full = self.page.entries.len() + self.page.prefixes.len() >= usize::from(self.options.limit);
        !self.full
    }

    pub(crate) fn finish(self) -> Page {
        let Self { mut page, last, full, .. } = self;
        let token = match last {
            Last::Entry => page.entries.last().map(|entry| format!("k{}", entry.key)),
            Last::Prefix => page.prefixes.last().map(|prefix| format!("p{prefix}")),
        };
        page.next = token.filter(|_| full).map(PageToken::new);
        page
    }
}

fn read_token(token: &PageToken) -> Result<Resume> {
    let text = token.as_str();
    match (text.strip_prefix('k'), text.strip_prefix('p')) {
        (Some(key), _) => Ok(Resume::After(key.to_owned())),
        (_, Some(prefix)) => Ok(Resume::Past(prefix.to_owned())),
        _ => Err(Error::invalid_input("the page token is not one of this store's")),
    }
}
