use std::sync::Arc;

use crate::{Error, Result};

/// The name of one stored thing inside a namespace.
///
/// 1 to 1,024 bytes of UTF-8, without control characters (Unicode category Cc) and without a `.` or `..` segment
/// between slashes. Checked once, when made; everything that takes a `Key` does no further checks. Kept exactly as
/// given: no case folding and no Unicode normalisation, so `é` as one code point and as two are different keys.
///
/// Cloning is cheap: the text is shared.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// The longest key, in bytes: the limit of S3.
    pub const MAX_LEN: usize = 1024;

    /// Checks the text and takes it as a key.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), saying which rule the text breaks.
    pub fn new(text: impl AsRef<str>) -> Result<Self> {
        let text = text.as_ref();
        if let Some(reason) = Self::refusal(text) {
            return Err(Error::invalid_input(reason).with_key(text));
        }
        Ok(Self(text.into()))
    }

    fn refusal(text: &str) -> Option<&'static str> {
        if text.is_empty() {
            Some("a key must not be empty")
        } else if text.len() > Self::MAX_LEN {
            Some("a key must not be longer than 1024 bytes")
        } else if text.chars().any(char::is_control) {
            Some("a key must not contain control characters")
        } else if text.split('/').any(|segment| segment == "." || segment == "..") {
            Some("a key must not contain a \".\" or \"..\" segment")
        } else {
            None
        }
    }
}

crate::checked_text!(Key);

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn ordinary_keys_are_kept_as_given() {
        for text in ["a", "EUR/USD", "p42/chest.dcm", "ключ", "a//b", "...", "a/..b", &"x".repeat(1024)] {
            assert_eq!(Key::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn bad_keys_are_refused() {
        for text in ["", "..", "a/../b", "./a", "a/.", "a\0", "a\nb", "\u{85}", &"x".repeat(1025), &"x".repeat(5000)] {
            assert_eq!(Key::new(text).unwrap_err().kind(), ErrorKind::InvalidInput, "{text:?}");
        }
    }
}
