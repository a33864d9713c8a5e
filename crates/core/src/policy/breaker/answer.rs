use std::time::Duration;

use crate::{Error, ErrorKind, Retry};

/// What a [`Breaker`](crate::policy::Breaker) does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakerState {
    /// Everything passes.
    Closed,
    /// Everything is refused.
    Open {
        /// For how long so far.
        since: Duration,
        /// How long until a probe may pass.
        next_probe: Duration,
    },
    /// One probe is under way, everything else is refused.
    HalfOpen {
        /// For how long the breaker has not been closed.
        since: Duration,
    },
}

impl BreakerState {
    /// The state as one lowercase word with underscores, for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen { .. } => "half_open",
        }
    }
}

/// The answer of a [`Breaker`](crate::policy::Breaker) that is not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Refused {
    pub(super) after: Duration,
}

impl Refused {
    /// How long until it is worth asking again.
    #[must_use]
    pub const fn after(self) -> Duration {
        self.after
    }

    /// [`ErrorKind::Unavailable`] about `what`, with the advice when to come again.
    #[must_use]
    pub fn error(self, what: &str) -> Error {
        let message = format!("{what} is away: it is not asked before it answers a probe");
        Error::new(ErrorKind::Unavailable, message).with_retry(Retry::After(self.after))
    }
}
