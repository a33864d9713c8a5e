use statehouse_core::{Error, Key, Result};

/// The name of a record: `exports/nightly`.
///
/// A [`Key`] (UTF-8, no control characters, no `.` or `..` segment) that every backend takes: at most 200 bytes, no empty
/// segment, none that ends in `~`, and without U+FFFD to U+FFFF, which listings of some stores cannot write. Case and Unicode
/// form are kept exactly.
///
/// ```
/// use statehouse_coord::CoordKey;
///
/// assert_eq!(CoordKey::new("exports/nightly")?.as_str(), "exports/nightly");
/// assert!(CoordKey::new("exports//nightly").is_err());
/// # Ok::<(), statehouse_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoordKey(Key);

impl CoordKey {
    /// The longest key, in bytes.
    pub const MAX_LEN: usize = 200;

    /// Checks the text and takes it as a key.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput), saying which rule the text breaks.
    pub fn new(text: impl AsRef<str>) -> Result<Self> {
        let text = text.as_ref();
        let reason = if text.len() > Self::MAX_LEN {
            "a key must not be longer than 200 bytes"
        } else if !text.is_empty() && text.split('/').any(str::is_empty) {
            "a key must not begin or end with a slash or contain two in a row"
        } else if text.split('/').any(|segment| segment.ends_with('~')) {
            "no segment of a key may end in ~"
        } else if text.contains(['\u{fffd}', '\u{fffe}', '\u{ffff}']) {
            "a key must not contain U+FFFD, U+FFFE or U+FFFF"
        } else {
            return Key::new(text).map(Self);
        };
        Err(Error::invalid_input(reason).with_key(text))
    }

    /// The record of something of this kind. What is wrong is told of the name that was given.
    pub(crate) fn of(kind: &str, name: &str) -> Result<Self> {
        if name.is_empty() {
            return Err(Error::invalid_input("a name must not be empty"));
        }
        Self::new(format!("{kind}/{name}")).map_err(|error| error.with_key(name))
    }

    /// The first segment, which those that beat together have in common.
    pub(crate) fn group(&self) -> &str {
        self.as_str().split('/').next().unwrap_or_default()
    }

    /// As any service takes it.
    pub(crate) const fn as_key(&self) -> &Key {
        &self.0
    }
}

statehouse_core::checked_text!(CoordKey);

#[cfg(test)]
mod tests {
    use statehouse_core::ErrorKind;

    use super::*;

    #[test]
    fn names_that_some_backend_would_refuse_or_change_are_refused() {
        for text in ["a", "Ärzte/É e", "a~b", "...", &"x".repeat(200)] {
            assert_eq!(CoordKey::new(text).unwrap().as_str(), text);
        }
        assert_eq!(CoordKey::of("lock", "").unwrap_err().message(), "a name must not be empty");
        assert!(CoordKey::of("lock", "a/").unwrap_err().to_string().contains("\"a/\""));
        for text in ["", "/", "/a", "a/", "a//b", "..", "a/../b", "a\0", "a~", "a~/b", "\u{fffd}", &"x".repeat(201)] {
            assert_eq!(CoordKey::new(text).unwrap_err().kind(), ErrorKind::InvalidInput, "{text:?}");
        }
    }
}
