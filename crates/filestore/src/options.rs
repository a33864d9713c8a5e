use std::collections::BTreeMap;
use std::ops::{Bound, Range, RangeBounds};
use std::time::Duration;

use statehouse_core::{Error, Result};

use crate::digest::{Digest, Intake};
use crate::key::FileKey;
use crate::meta::{ETag, Entry};

/// What must hold for a write to happen; `Match` is of an etag. On S3 an etag is the content's: see [`ETag`].
pub type Condition = statehouse_core::Condition<ETag>;

/// How a file is stored.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PutOptions {
    /// What must hold for the put to happen.
    pub condition: Condition,
    /// The media type, 1 to 255 visible ASCII characters.
    pub content_type: Option<String>,
    /// The application's own metadata: names of `a-z`, `0-9` and `-`, values without control characters, at most
    /// 1,536 bytes in all, counting three for each byte of a value outside visible ASCII.
    pub user: BTreeMap<String, String>,
    /// The SHA-256 that the content must have; else the put fails and nothing becomes visible.
    pub expected_digest: Option<Digest>,
    /// The most bytes that the content may have; a longer stream is cut off with an error, and nothing becomes visible.
    pub max_len: Option<u64>,
    /// How long this call may take, its body included; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl PutOptions {
    /// Sets the condition.
    #[must_use]
    pub fn with_condition(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }

    /// Sets the media type.
    #[must_use]
    pub fn with_content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// Adds a pair of the application's own metadata.
    #[must_use]
    pub fn with_metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.user.insert(name.into(), value.into());
        self
    }

    /// Sets the digest that the content must have.
    #[must_use]
    pub const fn with_expected_digest(mut self, digest: Digest) -> Self {
        self.expected_digest = Some(digest);
        self
    }

    /// Sets the most bytes that the content may have.
    #[must_use]
    pub const fn with_max_len(mut self, bytes: u64) -> Self {
        self.max_len = Some(bytes);
        self
    }

    /// Sets how long this call may take.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Refuses what no backend takes. Every backend calls this before anything else.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput), naming the rule.
    pub fn check(&self) -> Result<()> {
        crate::meta::check_described(self.content_type.as_deref(), &self.user)
    }

    /// What takes the content in, of so many bytes if that is declared.
    pub(crate) fn intake(&self, declared: Option<u64>) -> Result<Intake> {
        Intake::new(self.max_len, declared, self.expected_digest)
    }
}

/// How a file is read.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct GetOptions {
    /// The bytes to read; all of them if none.
    pub range: Option<ByteRange>,
    /// The etag that the file must have; else the get fails with `Conflict`.
    pub if_match: Option<ETag>,
    /// How long this call may take until the content begins; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl GetOptions {
    /// Sets the range.
    #[must_use]
    pub fn with_range(mut self, range: impl Into<ByteRange>) -> Self {
        self.range = Some(range.into());
        self
    }

    /// Sets the etag that the file must have.
    #[must_use]
    pub fn with_if_match(mut self, etag: ETag) -> Self {
        self.if_match = Some(etag);
        self
    }

    /// Sets how long this call may take.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

/// How metadata is read.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HeadOptions {
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl HeadOptions {
    /// Sets how long this call may take.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

/// How a file is deleted.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DeleteOptions {
    /// The etag that the file must have; else nothing is deleted.
    pub if_match: Option<ETag>,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl DeleteOptions {
    /// Sets the etag that the file must have.
    #[must_use]
    pub fn with_if_match(mut self, etag: ETag) -> Self {
        self.if_match = Some(etag);
        self
    }

    /// Sets how long this call may take.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

/// How a file is copied.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CopyOptions {
    /// What must hold for the target.
    pub condition: Condition,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl CopyOptions {
    /// Sets the condition on the target.
    #[must_use]
    pub fn with_condition(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }

    /// Sets how long this call may take.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

/// Which files a listing has.
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
    /// Behind this text, in the order of bytes. A common prefix is behind the text if it is greater than it, so one
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

    /// Sets the depth.
    #[must_use]
    pub const fn with_depth(mut self, depth: Depth) -> Self {
        self.depth = depth;
        self
    }

    /// Sets where the listing begins.
    #[must_use]
    pub fn with_start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Sets the most entries and prefixes of the page.
    #[must_use]
    pub const fn with_limit(mut self, limit: u16) -> Self {
        self.limit = limit;
        self
    }

    /// Sets how long this call may take.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

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
    #[must_use]
    pub const fn with_skipped(mut self, skipped: u64) -> Self {
        self.skipped = skipped;
        self
    }
}

/// Which bytes of a file are read. Made from `a..b`, `a..=b`, `a..`, `..b` and `..`, or [`ByteRange::last`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ByteRange {
    /// From an offset up to another, which may lie behind the end.
    Bounded {
        /// The first byte.
        start: u64,
        /// Behind the last byte.
        end: u64,
    },
    /// From an offset to the end.
    From(u64),
    /// As many bytes at the end, or all if there are fewer.
    Last(u64),
}

impl ByteRange {
    /// As many bytes at the end.
    #[must_use]
    pub const fn last(bytes: u64) -> Self {
        Self::Last(bytes)
    }

    fn of(range: &impl RangeBounds<u64>) -> Self {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        match range.end_bound() {
            Bound::Included(end) => Self::Bounded { start, end: end.saturating_add(1) },
            Bound::Excluded(end) => Self::Bounded { start, end: *end },
            Bound::Unbounded => Self::From(start),
        }
    }

    /// Refuses a range that is empty whatever the file.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput).
    pub fn check(self) -> Result<()> {
        match self {
            Self::Bounded { start, end } if start >= end => Err(Error::invalid_input("a range of bytes is empty")),
            Self::Last(0) => Err(Error::invalid_input("a range of bytes is empty")),
            _ => Ok(()),
        }
    }

    /// The bytes of a file of this length that the range means.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput) if there are none, with [`BeyondEnd`] if
    /// that is because of the file's length.
    pub fn within(self, len: u64) -> Result<Range<u64>> {
        self.check()?;
        let range = match self {
            Self::Bounded { start, end } => start..end.min(len),
            Self::From(start) => start..len,
            Self::Last(bytes) => len.saturating_sub(bytes)..len,
        };
        if range.start >= range.end {
            return Err(
                Error::invalid_input("the range begins behind the file's last byte").with_source(BeyondEnd { len })
            );
        }
        Ok(range)
    }
}

/// What stands behind the error of a read whose range is a good one but begins behind the file's last byte.
///
/// So an HTTP server can tell 416 from 400:
///
/// ```
/// use statehouse_filestore::{BeyondEnd, ByteRange};
///
/// let error = ByteRange::from(10..20).within(10).unwrap_err();
/// let beyond = BeyondEnd::of(&error).expect("a good range");
/// assert_eq!(format!("Content-Range: bytes */{}", beyond.file_len()), "Content-Range: bytes */10");
/// let error = ByteRange::from(5..5).within(10).unwrap_err();
/// assert_eq!(BeyondEnd::of(&error), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeyondEnd {
    len: u64,
}

impl BeyondEnd {
    /// What stands behind this error, if it is that.
    #[must_use]
    pub fn of(error: &Error) -> Option<Self> {
        std::error::Error::source(error).and_then(|source| source.downcast_ref()).copied()
    }

    /// The file's length in bytes.
    #[must_use]
    pub const fn file_len(self) -> u64 {
        self.len
    }
}

impl std::fmt::Display for BeyondEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the file has {} bytes", self.len)
    }
}

impl std::error::Error for BeyondEnd {}

macro_rules! byte_range_from {
    ($($range:ty),*) => {$(
        impl From<$range> for ByteRange {
            fn from(range: $range) -> Self {
                Self::of(&range)
            }
        }
    )*};
}

byte_range_from!(
    Range<u64>,
    std::ops::RangeFrom<u64>,
    std::ops::RangeInclusive<u64>,
    std::ops::RangeTo<u64>,
    std::ops::RangeToInclusive<u64>
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_file_and_refused_when_empty() {
        let cases: [(ByteRange, Option<Range<u64>>); 11] = [
            ((0..4).into(), Some(0..4)),
            ((2..=3).into(), Some(2..4)),
            ((4..99).into(), Some(4..10)),
            ((..3).into(), Some(0..3)),
            ((7..).into(), Some(7..10)),
            (ByteRange::last(3), Some(7..10)),
            (ByteRange::last(99), Some(0..10)),
            ((10..).into(), None),
            ((5..5).into(), None),
            ((..0).into(), None),
            (ByteRange::last(0), None),
        ];
        for (range, expected) in cases {
            assert_eq!(range.within(10).ok(), expected, "{range:?}");
        }
        assert!(ByteRange::last(1).within(0).is_err(), "an empty file has no last byte");
    }
}
