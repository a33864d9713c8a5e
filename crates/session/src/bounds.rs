//! How much an embedded store keeps.

use statehouse_core::{Error, ErrorKind, Result, ServiceUrl};

const MAX_SESSIONS: &str = "a number of sessions above zero";
const CAPACITY: &str = "a size of at least 64KiB, such as 256MiB";

/// What no longer holds a few sessions is a slip.
const LEAST_BYTES: u64 = 64 << 10;

/// The most that a store keeps at once. Where another session does not fit, the oldest ones that nobody is logged in to
/// make room; if there are none, it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) sessions: usize,
    pub(crate) bytes: u64,
}

impl Bounds {
    /// Reads the parameters `capacity` and `max_sessions`, where the URL has them.
    pub(crate) fn with_parameters_of(self, url: &mut ServiceUrl) -> Result<Self> {
        let sessions = url.take_parsed("max_sessions", MAX_SESSIONS)?.unwrap_or(self.sessions);
        let bytes = url.take_size("capacity")?.unwrap_or(self.bytes);
        if sessions == 0 {
            return Err(url.refuse("max_sessions", MAX_SESSIONS));
        }
        if bytes < LEAST_BYTES {
            return Err(url.refuse("capacity", CAPACITY));
        }
        Ok(Self { sessions, bytes })
    }

    pub(crate) fn with_sessions(self, sessions: usize) -> Result<Self> {
        if sessions == 0 {
            return Err(Error::invalid_config("max_sessions", format!("must be {MAX_SESSIONS}")));
        }
        Ok(Self { sessions, ..self })
    }

    pub(crate) fn with_bytes(self, bytes: u64) -> Result<Self> {
        if bytes < LEAST_BYTES {
            return Err(Error::invalid_config("capacity", format!("must be {CAPACITY}")));
        }
        Ok(Self { bytes, ..self })
    }

    /// # Errors
    /// [`ErrorKind::TooLarge`] for a session that an empty store has no room for: no other need go for it.
    pub(crate) fn check(self, bytes: u64) -> Result<()> {
        if bytes > self.bytes {
            let message = "the session alone is larger than what the store may keep (setting capacity)";
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        Ok(())
    }

    /// Whether so many sessions of so many bytes in all are not too many.
    pub(crate) const fn hold(self, sessions: usize, bytes: u64) -> bool {
        sessions <= self.sessions && bytes <= self.bytes
    }
}
