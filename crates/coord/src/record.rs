pub(crate) mod format;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use statehouse_core::{Error, ErrorKind, Result, Version, hex};

/// One record as a store has it.
///
/// Two are equal if they are the same write: how long they still live is not looked at.
#[derive(Clone)]
#[non_exhaustive]
pub struct Record {
    /// The version of its last put.
    pub version: Version,
    /// The id of its last put.
    pub id: WriteId,
    /// The value.
    pub value: Bytes,
    /// After how long it is gone, as of the answer; it stays if none.
    pub expires_in: Option<Duration>,
}

impl Record {
    /// The most bytes that a value may have.
    pub const MAX_VALUE: usize = 1 << 20;

    /// A record, for authors of backends.
    #[must_use]
    pub const fn new(version: Version, id: WriteId, value: Bytes) -> Self {
        Self { version, id, value, expires_in: None }
    }

    /// Sets after how long it is gone.
    ///
    /// ```
    /// # fn main() -> statehouse_core::Result<()> {
    /// use std::time::Duration;
    /// use statehouse_coord::{Record, WriteId};
    /// use statehouse_core::Version;
    ///
    /// let record = Record::new(Version::new(1), WriteId::generate()?, "7".into());
    /// assert_eq!(record.with_expires_in(Some(Duration::from_secs(15))).expires_in, Some(Duration::from_secs(15)));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub const fn with_expires_in(mut self, expires_in: Option<Duration>) -> Self {
        self.expires_in = expires_in;
        self
    }

    /// Refuses a value that is too large. Every backend calls this before anything else.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] above [`MAX_VALUE`](Self::MAX_VALUE).
    pub fn check(value: &[u8]) -> Result<()> {
        if value.len() <= Self::MAX_VALUE {
            return Ok(());
        }
        let message = format!("the value has {} bytes; a record has at most {}", value.len(), Self::MAX_VALUE);
        Err(Error::new(ErrorKind::TooLarge, message))
    }
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        (self.version, self.id, &self.value) == (other.version, other.id, &other.value)
    }
}

impl Eq for Record {}

/// Says how long the value is, and not what.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("version", &self.version)
            .field("id", &self.id)
            .field("len", &self.value.len())
            .field("expires_in", &self.expires_in)
            .finish()
    }
}

/// Which put it is: 16 random bytes, kept with the record, so that whoever does not know what became of a put finds out.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct WriteId([u8; 16]);

impl WriteId {
    /// An id that no other put has.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the system has no random bytes.
    pub fn generate() -> Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| {
            Error::new(ErrorKind::Unavailable, "the system gives no random bytes").with_source(error)
        })?;
        Ok(Self(bytes))
    }

    /// An id from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriteId({})", hex::encode(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_not_printed_and_how_long_it_lives_makes_no_difference() {
        let record = Record::new(Version::new(7), WriteId::from_bytes([1; 16]), Bytes::from_static(b"secret"));
        assert!(!format!("{record:?}").contains("secret"));
        assert_eq!(record.clone().with_expires_in(Some(Duration::from_secs(1))), record);
    }
}
