use std::fmt;

use bytes::Bytes;
use statehouse_core::{CodecId, Timestamp, Version};

/// A stored value with what its store knows about it.
///
/// For authors of backends:
///
/// ```
/// # use std::time::Duration;
/// use statehouse_cache::Entry;
/// use statehouse_core::{CodecId, Timestamp, Version};
///
/// let now = Timestamp::from_micros(1_800_000_000_000_000);
/// let entry = Entry::new("1.08".into(), Version::new(7))
///     .with_codec(CodecId::JSON)
///     .with_times(now, now + Duration::from_secs(60));
/// assert_eq!((entry.codec, entry.expires.since(entry.created)), (CodecId::JSON, Duration::from_secs(60)));
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The value.
    pub value: Bytes,
    /// How the value is encoded, as said when it was set.
    pub codec: CodecId,
    /// The version that the store gave it.
    pub version: Version,
    /// When it was set, by the store's clock; of a value that was loaded under a lease, when that was given out.
    pub created: Timestamp,
    /// When it ends, by the store's clock.
    pub expires: Timestamp,
}

impl Entry {
    /// An entry of plain bytes with this version and with the times at zero.
    #[must_use]
    pub const fn new(value: Bytes, version: Version) -> Self {
        let zero = Timestamp::from_micros(0);
        Self { value, codec: CodecId::RAW, version, created: zero, expires: zero }
    }

    /// With the codec.
    #[must_use]
    pub const fn with_codec(mut self, codec: CodecId) -> Self {
        self.codec = codec;
        self
    }

    /// With the time it was set and the time it ends.
    #[must_use]
    pub const fn with_times(mut self, created: Timestamp, expires: Timestamp) -> Self {
        self.created = created;
        self.expires = expires;
        self
    }
}

/// Shows the length of the value, not the value.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("length", &self.value.len())
            .field("codec", &self.codec)
            .field("version", &self.version)
            .field("created", &self.created)
            .field("expires", &self.expires)
            .finish()
    }
}

/// The right to store what is being loaded, until the key is set, removed or cleared by somebody else.
///
/// Given by [`Cache::reserve_with`](crate::Cache::reserve_with) *before* the load begins and shown with
/// [`SetOptions::lease`](crate::SetOptions::lease) when its result is stored. This is how a value that was loaded before
/// an invalidation is never stored after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    token: Version,
}

impl Lease {
    /// A lease as a backend issues it: a token that is unique for the key.
    #[must_use]
    pub const fn new(token: Version) -> Self {
        Self { token }
    }

    /// What makes this lease different from every other lease of the key.
    #[must_use]
    pub const fn token(&self) -> Version {
        self.token
    }
}
