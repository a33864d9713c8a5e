use std::time::Duration;

use statehouse_core::{Error, Result};

use crate::key::FileKey;
use crate::meta::Entry;

/// Options of a listing: which files it has.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListOptions {
    /// What keys begin with; any text, not only whole segments.
    pub prefix: String,
    /// Whether keys below a further slash are listed or gathered.
    pub depth: Depth,
    /// Where the listing goes on.
    pub start: Start,
    /// The most entries and prefixes of the page, 1 to 1,000.
    pub limit: u16,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

/// Whether keys with a further slash behind the prefix are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Depth {
    /// Every key that begins with the prefix.
    #[default]
    All,
    /// Keys without a further slash; the others are gathered into common prefixes that end with it.
    OneLevel,
}

/// Where a listing begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// At the first key.
    #[default]
    First,
    /// Behind this text, in the order of bytes: at most 400 of them, and no control characters. A common prefix is behind the text if it is greater than it, so one
    /// that the text lies in is not listed.
    After(String),
    /// Where the page that gave out this token ended.
    Token(PageToken),
}

/// Where a page ended: handed back unchanged, to the same store and with the same options, it gives the next page.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PageToken(String);

impl PageToken {
    /// A token from its text, for one that travelled through a web page.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The token's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ListOptions {
    /// The most entries and prefixes of a page.
    pub const MAX_LIMIT: u16 = 1000;

    /// All files whose keys begin with the prefix.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), depth: Depth::All, start: Start::First, limit: Self::MAX_LIMIT, deadline: None }
    }

    /// With a depth.
    #[must_use]
    pub const fn with_depth(mut self, depth: Depth) -> Self {
        self.depth = depth;
        self
    }

    /// With where the listing begins.
    #[must_use]
    pub fn with_start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// With the most entries and prefixes of the page.
    #[must_use]
    pub const fn with_limit(mut self, limit: u16) -> Self {
        self.limit = limit;
        self
    }

    statehouse_core::with_deadline!();

    /// Refuses what no backend takes. Every backend calls this before anything else.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput), naming the rule.
    pub fn check(&self) -> Result<()> {
        if self.limit == 0 || self.limit > Self::MAX_LIMIT {
            return Err(Error::invalid_input("a page has 1 to 1000 entries"));
        }
        if self.prefix.len() > FileKey::MAX_LEN || self.prefix.chars().any(char::is_control) {
            return Err(Error::invalid_input("a prefix has at most 400 bytes and no control characters"));
        }
        if let Start::After(text) = &self.start
            && (text.len() > FileKey::MAX_LEN || text.chars().any(char::is_control))
        {
            let message = "a listing begins behind a text of at most 400 bytes without control characters";
            return Err(Error::invalid_input(message));
        }
        Ok(())
    }
}

impl Default for ListOptions {
    fn default() -> Self {
        Self::new("")
    }
}

/// One page of a listing: entries and common prefixes, each in the order of their bytes.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Page {
    /// The files.
    pub entries: Vec<Entry>,
    /// The common prefixes, each ending with a slash; empty unless [`Depth::OneLevel`]. A [`FileStore`] gives them as
    /// they begin its keys; a [`Files`](crate::Files) handle gives them without its namespace, as it takes them.
    ///
    /// [`FileStore`]: crate::FileStore
    pub prefixes: Vec<String>,
    /// Where the next page begins; none on the last. A page may have fewer entries than asked for and yet not be the last.
    pub next: Option<PageToken>,
    /// How many things the store came across while it made this page that are none of its files and were left out:
    /// links, devices, names that no key has, what cannot be read. The same thing may be counted by several pages.
    pub skipped: u64,
}

impl Page {
    /// A page, for authors of backends.
    #[must_use]
    pub const fn new(entries: Vec<Entry>, prefixes: Vec<String>, next: Option<PageToken>) -> Self {
        Self { entries, prefixes, next, skipped: 0 }
    }

    /// Sets how many foreign things were left out.
    ///
    /// ```
    /// use statehouse_filestore::Page;
    ///
    /// assert_eq!(Page::new(Vec::new(), Vec::new(), None).with_skipped(2).skipped, 2);
    /// ```
    #[must_use]
    pub const fn with_skipped(mut self, skipped: u64) -> Self {
        self.skipped = skipped;
        self
    }
}
