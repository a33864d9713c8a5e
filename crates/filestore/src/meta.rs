use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use statehouse_core::{Timestamp, hex};

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

    /// Whether a store can be asked for the state that has it: a store that is brought along may give none, or a weak one.
    pub(crate) fn names_a_state(&self) -> bool {
        !self.0.is_empty() && !self.0.starts_with("W/")
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
///     .with_content_disposition(Some("attachment".into()))
///     .with_cache_control(Some("private, max-age=60".into()))
///     .with_expires(Some(written + std::time::Duration::from_secs(3600)))
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
    /// What the header `Content-Disposition` says of it, if that was given. What no put takes is left out.
    pub content_disposition: Option<String>,
    /// What the header `Cache-Control` says of it, if that was given. What no put takes is left out.
    pub cache_control: Option<String>,
    /// When the file was last written, by the store's clock. S3 counts in seconds.
    pub modified: Timestamp,
    /// The application's own metadata. Pairs that no put takes, which something else has written, are left out.
    pub user: BTreeMap<String, String>,
    /// From when on a sweep removes it; never if none. Until one does, it is read as every other file is.
    pub expires: Option<Timestamp>,
}

impl Meta {
    /// The metadata of a file, for authors of backends.
    #[must_use]
    pub const fn new(key: FileKey, len: u64, etag: ETag, modified: Timestamp) -> Self {
        Self {
            key,
            len,
            etag,
            sha256: None,
            content_type: None,
            content_disposition: None,
            cache_control: None,
            modified,
            user: BTreeMap::new(),
            expires: None,
        }
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

    /// Sets the content disposition.
    #[must_use]
    pub fn with_content_disposition(mut self, content_disposition: Option<String>) -> Self {
        self.content_disposition = content_disposition;
        self
    }

    /// Sets the cache control.
    #[must_use]
    pub fn with_cache_control(mut self, cache_control: Option<String>) -> Self {
        self.cache_control = cache_control;
        self
    }

    /// Sets from when on a sweep removes it: its time to live behind [`modified`](Self::modified).
    #[must_use]
    pub const fn with_expires(mut self, expires: Option<Timestamp>) -> Self {
        self.expires = expires;
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
