use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use statehouse_core::{Error, Result, Timestamp, hex};

use crate::digest::Digest;
use crate::key::FileKey;

/// A store's name for one state of one file. Compare it, hand it back in a condition, and nothing else.
///
/// It changes whenever the content does. Whether storing the same content again changes it is up to the backend, which
/// says so by [`ETAG_PER_PUT`](crate::capability::ETAG_PER_PUT): in memory and on a disk it does, on S3 it does not. There
/// a file that was A, then B, and is A again has the etag of the first A, and a condition on it holds (A-B-A). Where that
/// matters, require the capability, or put something into the content that is different each time.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ETag(Arc<str>);

impl ETag {
    /// The etag of one put: in quotes, as HTTP writes it and S3 gives it out.
    pub(crate) fn of_put(nonce: &[u8; 16]) -> Self {
        let mut text = String::with_capacity(2 * nonce.len() + 2);
        text.push('"');
        hex::push(&mut text, nonce);
        text.push('"');
        Self(text.into())
    }

    /// An etag that a store gave out before.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The etag's text. In memory, on a disk and on S3 it is what HTTP's header `ETag` has, quotes included; a store that
    /// is brought along may write it otherwise.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ETag({})", self.0)
    }
}

/// What is known about a file besides its content.
///
/// For authors of backends:
///
/// ```
/// use std::collections::BTreeMap;
/// use statehouse_core::Timestamp;
/// use statehouse_filestore::{Digest, ETag, FileKey, Meta};
///
/// # fn main() -> statehouse_core::Result<()> {
/// let written = Timestamp::from_micros(1_800_000_000_000_000);
/// let meta = Meta::new(FileKey::new("clinic/p42/chest.dcm")?, 4, ETag::new("\"7\""), written)
///     .with_sha256(Some(Digest::of(b"DICM")))
///     .with_content_type(Some("application/dicom".into()))
///     .with_user(BTreeMap::from([("modality".into(), "ct".into())]));
/// assert_eq!((meta.len, meta.user["modality"].as_str()), (4, "ct"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Meta {
    /// The file's key.
    pub key: FileKey,
    /// The content's length in bytes.
    pub len: u64,
    /// The store's name for this state of the file.
    pub etag: ETag,
    /// The content's SHA-256. None for a file that something else wrote into the bucket, and for one that has lost its
    /// digest, as after a partial restore: such a file is read unverified.
    pub sha256: Option<Digest>,
    /// The media type, if one was given. One that no put takes, which something else has written, is left out.
    pub content_type: Option<String>,
    /// When the file was last written, by the store's clock. S3 counts in seconds.
    pub modified: Timestamp,
    /// The application's own metadata. Pairs that no put takes, which something else has written, are left out.
    pub user: BTreeMap<String, String>,
}

impl Meta {
    /// The metadata of a file, for authors of backends.
    #[must_use]
    pub const fn new(key: FileKey, len: u64, etag: ETag, modified: Timestamp) -> Self {
        Self { key, len, etag, sha256: None, content_type: None, modified, user: BTreeMap::new() }
    }

    /// Sets the digest.
    #[must_use]
    pub const fn with_sha256(mut self, digest: Option<Digest>) -> Self {
        self.sha256 = digest;
        self
    }

    /// Sets the content type.
    #[must_use]
    pub fn with_content_type(mut self, content_type: Option<String>) -> Self {
        self.content_type = content_type;
        self
    }

    /// Sets the application's own metadata.
    #[must_use]
    pub fn with_user(mut self, user: BTreeMap<String, String>) -> Self {
        self.user = user;
        self
    }
}

/// What a listing says about a file: less than [`Meta`], because S3's listings have no more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The file's key.
    pub key: FileKey,
    /// The content's length in bytes.
    pub len: u64,
    /// The store's name for this state of the file.
    pub etag: ETag,
    /// When the file was last written, by the store's clock.
    pub modified: Timestamp,
}

impl Entry {
    /// One line of a listing, for authors of backends.
    #[must_use]
    pub const fn new(key: FileKey, len: u64, etag: ETag, modified: Timestamp) -> Self {
        Self { key, len, etag, modified }
    }
}

/// What a put or a copy stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// The store's name for the new state of the file.
    pub etag: ETag,
    /// The content's length in bytes.
    pub len: u64,
    /// The content's SHA-256; none only for a copy of a file that something else wrote into the bucket.
    pub sha256: Option<Digest>,
}

impl Stored {
    /// The outcome of a put, for authors of backends.
    #[must_use]
    pub const fn new(etag: ETag, len: u64, sha256: Option<Digest>) -> Self {
        Self { etag, len, sha256 }
    }
}

/// The most bytes of user metadata, names and encoded values together: what S3's 2 KiB leave beside our own.
const MAX_USER: usize = 1536;

/// The most pairs of it: HTTP clients, ours among them, take no answer of more than a hundred headers.
const MAX_PAIRS: usize = 64;

/// Whether a text can be a content type.
fn is_type(text: &str) -> bool {
    let visible = text.bytes().all(|b| (b' '..=b'~').contains(&b)) && text.trim() == text;
    visible && (1..=255).contains(&text.len())
}

/// Whether a text can be the name of a pair of metadata.
fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with("statehouse-")
}

/// Whether a text can be the value of one.
fn is_value(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// What of a content type and user metadata could have been stored by us. Something else may have written the rest, and
/// whoever hands it on as headers would hand on headers that somebody else has chosen.
pub(crate) fn sound(
    content_type: Option<String>,
    mut user: BTreeMap<String, String>,
) -> (Option<String>, BTreeMap<String, String>) {
    user.retain(|name, value| is_name(name) && is_value(value));
    (content_type.filter(|text| is_type(text)), user)
}

/// Refuses a content type or user metadata that some backend could not keep.
pub(crate) fn check_described(content_type: Option<&str>, user: &BTreeMap<String, String>) -> Result<()> {
    if content_type.is_some_and(|text| !is_type(text)) {
        return Err(Error::invalid_input("a content type is 1 to 255 visible ASCII characters"));
    }
    if user.len() > MAX_PAIRS {
        return Err(Error::invalid_input("a file has at most 64 pairs of metadata"));
    }
    if !user.keys().all(|name| is_name(name)) {
        let rule = "a metadata name is 1 to 64 of a-z, 0-9 and -, and does not begin with statehouse-";
        return Err(Error::invalid_input(rule));
    }
    if !user.values().all(|value| is_value(value)) {
        return Err(Error::invalid_input("a metadata value must not contain control characters"));
    }
    // Backends that send metadata as headers write a byte outside visible ASCII as three.
    let cost = |b| if (b'!'..=b'~').contains(&b) && b != b'%' { 1 } else { 3 };
    let size: usize = user.iter().map(|(name, value)| name.len() + value.bytes().map(cost).sum::<usize>()).sum();
    if size > MAX_USER {
        let message = "the metadata is longer than 1536 bytes, counting three for each byte outside visible ASCII";
        return Err(Error::invalid_input(message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn metadata_that_fits_into_headers_is_taken() {
        let fits = "x".repeat(1535);
        assert!(check_described(Some("application/dicom"), &user(&[("patient-id", "Zoë 100 %")])).is_ok());
        assert!(check_described(None, &user(&[("a", &fits)])).is_ok());
    }

    #[test]
    fn other_metadata_is_refused() {
        for content_type in ["", " text/plain", "text/plain\r\nx: y", "tëxt", &"x".repeat(256)] {
            assert!(check_described(Some(content_type), &BTreeMap::new()).is_err(), "{content_type:?}");
        }
        let (long, wide) = ("x".repeat(1536), "é".repeat(257));
        let bad =
            [("", "x"), ("A", "x"), ("a_b", "x"), ("statehouse-x", "x"), ("a", "x\n"), ("a", &long), ("a", &wide)];
        for (name, value) in bad {
            assert!(check_described(None, &user(&[(name, value)])).is_err(), "{name:?}");
        }
    }
}
