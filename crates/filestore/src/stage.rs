//! What is stored out of sight until it is committed.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Result, hex};

use crate::digest::{Digest, nonce};
use crate::key::FileKey;
use crate::meta::ETag;

/// The name of one stage: 32 hex digits that no other has. What a database keeps with the row that the file belongs to.
///
/// ```
/// use statehouse_filestore::StageId;
///
/// let id: StageId = "00112233445566778899aabbccddeeff".parse()?;
/// assert_eq!(id.to_string(), "00112233445566778899aabbccddeeff");
/// assert!("0011".parse::<StageId>().is_err());
/// # Ok::<(), statehouse_core::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageId([u8; 16]);

impl StageId {
    pub(crate) fn random() -> Result<Self> {
        nonce().map(Self)
    }

    #[cfg(unix)]
    pub(crate) const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The etag of the file that this stage becomes, where each put has one of its own: so it is known for what it is.
    pub(crate) fn etag(&self) -> ETag {
        ETag::of_put(&self.0)
    }
}

impl fmt::Display for StageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for StageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StageId({self})")
    }
}

impl FromStr for StageId {
    type Err = Error;

    /// Reads 32 lowercase hex digits.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for anything else.
    fn from_str(text: &str) -> Result<Self> {
        let id = hex::decode(text.as_bytes()).map(Self);
        id.ok_or_else(|| Error::invalid_input("a stage is named by 32 lowercase hex digits"))
    }
}

/// What was staged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Staged {
    /// The stage's name.
    pub id: StageId,
    /// The content's length in bytes.
    pub len: u64,
    /// The content's SHA-256.
    pub sha256: Digest,
}

impl Staged {
    /// What was staged, for authors of backends.
    #[must_use]
    pub const fn new(id: StageId, len: u64, sha256: Digest) -> Self {
        Self { id, len, sha256 }
    }

    pub(crate) fn unsupported() -> Error {
        Error::new(ErrorKind::Unsupported, "this store cannot stage files")
    }
}

/// A stage that has been neither committed nor discarded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stage {
    /// The key of the file that it will be.
    pub key: FileKey,
    /// The stage's name.
    pub id: StageId,
    /// How long ago it was complete, by the store's clock.
    pub age: Duration,
}

impl Stage {
    /// A stage, for authors of backends.
    #[must_use]
    pub const fn new(key: FileKey, id: StageId, age: Duration) -> Self {
        Self { key, id, age }
    }
}
