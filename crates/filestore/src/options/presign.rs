use std::fmt;
use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Result};

use crate::digest::Digest;

/// The longest time for which a request is signed in advance: S3's.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What a request does that is signed in advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verb {
    /// Reads the file, or parts of it.
    Get,
    /// Stores the file.
    Put,
}

/// Options of a request that is signed in advance, for the store's own server to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PresignOptions {
    /// What the request does.
    pub verb: Verb,
    /// How long it is good for: some time, and at most 7 days.
    pub valid_for: Duration,
    /// Of a put: the type that it must have and that is stored.
    pub content_type: Option<String>,
    /// Of a put: how many bytes it must have. On S3 only with its digest.
    pub len: Option<u64>,
    /// Of a put: the SHA-256 that its content must have; it is recorded.
    pub sha256: Option<Digest>,
    /// Of a put: whether it only makes a file that is not there.
    pub create: bool,
    /// Of a get: the header `Content-Disposition` of the answer.
    pub disposition: Option<String>,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl PresignOptions {
    /// A request that does this, good for so long.
    #[must_use]
    pub const fn new(verb: Verb, valid_for: Duration) -> Self {
        Self {
            verb,
            valid_for,
            content_type: None,
            len: None,
            sha256: None,
            create: false,
            disposition: None,
            deadline: None,
        }
    }

    statehouse_core::with_deadline!();

    /// Refuses what no backend signs. Every backend that signs calls this before anything else.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput), naming the rule.
    pub fn check(&self) -> Result<()> {
        if self.valid_for.is_zero() || self.valid_for > LONGEST {
            return Err(Error::invalid_input("a signed URL is good for more than no time and at most 7 days"));
        }
        crate::described::check_type(self.content_type.as_deref())
    }
}

/// A request that is signed in advance: whoever has it can send it, until it expires.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Presigned {
    /// Where it is sent to.
    pub url: String,
    /// The headers that it must have, with these values.
    pub headers: Vec<(String, String)>,
}

impl Presigned {
    /// A signed request, for authors of backends.
    #[must_use]
    pub const fn new(url: String, headers: Vec<(String, String)>) -> Self {
        Self { url, headers }
    }

    /// The error of a store that signs nothing in advance.
    #[must_use]
    pub fn unsupported() -> Error {
        let message = "this store has no server that answers requests which are signed in advance";
        Error::new(ErrorKind::Unsupported, message)
    }
}

impl fmt::Debug for Presigned {
    /// The URL is as good as a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Presigned").field("headers", &names).finish_non_exhaustive()
    }
}
