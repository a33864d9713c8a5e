use statehouse_core::{Error, Key, Namespace, Result};

/// Where the stores keep their own things, beside the namespaces.
pub(crate) const RESERVED: &str = ".statehouse";

/// The name of a file inside a store: `p42/chest.dcm`.
///
/// A [`Key`] (UTF-8, no control characters, no `.` or `..` segment) that every disk and every S3 server takes: besides
/// a `Key`'s rules it has no empty segment, so neither begins nor ends with a slash; it is at most 400 bytes, because
/// some S3 servers fail from 480 bytes on with an error that looks temporary; no segment is longer than 255 bytes,
/// because S3 servers that keep plain files take no longer one; it has none of the characters that S3's listings, which
/// are XML, cannot write or write in place of broken text (U+FFFD to U+FFFF); and its first segment is not
/// `.statehouse`, where the stores keep their own things. Case and Unicode form are kept exactly.
///
/// Slashes are only part of the name: `a` and `a/b` can both be files, and there are no directories to create.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileKey(Key);

impl FileKey {
    /// The longest key, in bytes, including a handle's namespace and the slash behind it.
    pub const MAX_LEN: usize = 400;

    /// The longest part between slashes, in bytes.
    pub const MAX_SEGMENT_LEN: usize = 255;

    /// Checks the text and takes it as a key.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput), saying which rule the text breaks.
    pub fn new(text: impl AsRef<str>) -> Result<Self> {
        let text = text.as_ref();
        let reason = if text.len() > Self::MAX_LEN {
            "a file key must not be longer than 400 bytes, its namespace included"
        } else if !text.is_empty() && text.split('/').any(str::is_empty) {
            "a file key must not begin or end with a slash or contain two in a row"
        } else if text.len() > Self::MAX_SEGMENT_LEN
            && text.split('/').any(|segment| segment.len() > Self::MAX_SEGMENT_LEN)
        {
            "no segment of a file key may be longer than 255 bytes"
        } else if !text.is_ascii() && text.contains(['\u{fffd}', '\u{fffe}', '\u{ffff}']) {
            "a file key must not contain U+FFFD, U+FFFE or U+FFFF: listings cannot tell them from broken text"
        } else if text.split('/').next() == Some(RESERVED) {
            "file keys below .statehouse are reserved"
        } else {
            return Key::new(text).map(Self);
        };
        Err(Error::invalid_input(reason).with_key(text))
    }

    /// The key of a file in a namespace: `<namespace>/<name>`.
    ///
    /// # Errors
    /// As [`FileKey::new`], for the whole.
    pub fn within(namespace: &Namespace, name: &str) -> Result<Self> {
        Self::new(format!("{namespace}/{name}"))
    }
}

statehouse_core::checked_text!(FileKey);

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use statehouse_core::ErrorKind;

    use super::*;

    #[test]
    fn ordinary_names_are_kept_as_given() {
        let long = format!("{}/{}", "x".repeat(255), "y".repeat(144));
        for text in ["a", "p42/chest.dcm", "Ärzte/É e.txt", "...", "a/.b", "CON", "a b#?%\\", &long] {
            assert_eq!(FileKey::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn names_that_some_backend_would_refuse_or_change_are_refused() {
        let (long, segment, huge) = ("x/".repeat(200) + "x", "x".repeat(256), "x".repeat(5000));
        let reserved = [".statehouse", ".statehouse/stage"];
        let bad = [
            "",
            "\u{fffd}",
            "a\u{ffff}",
            "/",
            "/a",
            "a/",
            "a//b",
            "..",
            "a/../b",
            "./a",
            "a\0",
            "a\nb",
            &long,
            &segment,
            &huge,
        ];
        for text in bad.into_iter().chain(reserved) {
            assert_eq!(FileKey::new(text).unwrap_err().kind(), ErrorKind::InvalidInput, "{text:?}");
        }
    }

    #[test]
    fn a_namespace_cannot_be_left() {
        let namespace = Namespace::new("clinic.scans").unwrap();
        assert_eq!(FileKey::within(&namespace, "p42/a").unwrap().as_str(), "clinic.scans/p42/a");
        for name in ["", "../other/a", "/a", "a/", "..", &"x".repeat(395)] {
            assert!(FileKey::within(&namespace, name).is_err(), "{name:?}");
        }
    }
}
