use std::sync::Arc;

use crate::{Error, Result};

/// Keeps applications, environments and tenants apart on one Redis, bucket or OpenSearch.
///
/// One or more segments joined by dots, each of `a`–`z`, `0`–`9`, `_` and `-`, beginning with a letter or digit; at
/// most 100 bytes in all, so that it fits into every backend's names (an OpenSearch index name is lowercase and at
/// most 255 bytes).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// The longest namespace, in bytes.
    pub const MAX_LEN: usize = 100;

    /// Checks the text and takes it as a namespace.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for anything but dotted lowercase segments.
    pub fn new(text: impl AsRef<str>) -> Result<Self> {
        let text = text.as_ref();
        if text.len() > Self::MAX_LEN {
            return Err(Error::invalid_input("a namespace must not be longer than 100 bytes").with_key(text));
        }
        if !text.split('.').all(is_segment) {
            let rule = "a namespace is one or more segments of a-z, 0-9, _ and - joined by dots, each beginning with \
                        a letter or digit";
            return Err(Error::invalid_input(rule).with_key(text));
        }
        Ok(Self(text.into()))
    }

    /// The namespace below this one, of one segment: else `clinic` and `clinic.prod` had some below them in common.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for more than one segment, and as [`Namespace::new`] for
    /// the whole.
    pub fn child(&self, segment: &str) -> Result<Self> {
        if segment.contains('.') {
            return Err(Error::invalid_input("a name below a namespace has no dot").with_key(segment));
        }
        Self::new(format!("{}.{segment}", self.0))
    }
}

crate::checked_text!(Namespace);

fn is_segment(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.bytes().next().is_some_and(plain) && text.bytes().all(|b| plain(b) || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_lowercase_segments_are_accepted() {
        assert_eq!(Namespace::new("clinic").unwrap().child("prod-1").unwrap().as_str(), "clinic.prod-1");
    }

    #[test]
    fn everything_else_is_refused() {
        assert!(Namespace::new("clinic").unwrap().child("prod.documents").is_err(), "that is below clinic.prod");
        let long = "a".repeat(101);
        for text in ["", ".", "a.", ".a", "A", "a b", "a/b", "-a", "_a", "a:b", "{a}", "é", &long] {
            assert!(Namespace::new(text).is_err(), "{text:?}");
        }
    }
}
