use std::sync::Arc;

use statehouse_core::{Error, Result};

/// The name of one entry of a cache.
///
/// 1 to 1,024 bytes of UTF-8 without control characters (Unicode category Cc). Nothing else is special: a key is no
/// path, so `..`, `a/../b` and `//` are keys like any other, and no key leads out of its cache, whatever it looks like.
/// Kept exactly as given: no case folding and no Unicode normalisation.
///
/// Cloning is cheap: the text is shared.
///
/// ```
/// use statehouse_cache::CacheKey;
///
/// assert_eq!(CacheKey::new("a/../b")?.as_str(), "a/../b");
/// assert!(CacheKey::new("two\nlines").is_err());
/// # Ok::<(), statehouse_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheKey(Arc<str>);

impl CacheKey {
    /// The longest key, in bytes.
    pub const MAX_LEN: usize = 1024;

    /// Checks the text and takes it as a key.
    ///
    /// # Errors
    /// [`InvalidInput`](statehouse_core::ErrorKind::InvalidInput), saying which rule the text breaks.
    pub fn new(text: impl AsRef<str>) -> Result<Self> {
        let text = text.as_ref();
        match Self::refusal(text) {
            Some(reason) => Err(Error::invalid_input(reason).with_key(text)),
            None => Ok(Self(text.into())),
        }
    }

    fn refusal(text: &str) -> Option<&'static str> {
        if text.is_empty() {
            Some("a cache key must not be empty")
        } else if text.len() > Self::MAX_LEN {
            Some("a cache key must not be longer than 1024 bytes")
        } else if text.chars().any(char::is_control) {
            Some("a cache key must not contain control characters")
        } else {
            None
        }
    }
}

statehouse_core::checked_text!(CacheKey);

#[cfg(test)]
mod tests {
    use statehouse_core::ErrorKind;

    use super::*;

    #[test]
    fn what_looks_like_a_path_is_a_key_as_given() {
        for text in ["a", ".", "..", "a/../b", "../../etc/passwd", "/", "//", "ключ", "{a}", "%", &"x".repeat(1024)]
        {
            assert_eq!(CacheKey::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn empty_long_and_unprintable_keys_are_refused() {
        for text in ["", "a\0", "a\nb", "\u{85}", &"x".repeat(1025), &"é".repeat(513)] {
            assert_eq!(CacheKey::new(text).unwrap_err().kind(), ErrorKind::InvalidInput, "{text:?}");
        }
    }
}
