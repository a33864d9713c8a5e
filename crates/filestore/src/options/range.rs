use std::ops::{Bound, Range, RangeBounds};

use statehouse_core::{Error, Result};

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
