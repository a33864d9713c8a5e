use std::fmt;
use std::time::Duration;

/// What went wrong, coarsely enough to decide what to do about it.
///
/// | a caller that sees | does |
/// | --- | --- |
/// | `NotFound`, `AlreadyExists`, `Conflict` | answers its own user, or reads again and decides |
/// | `Fenced` | stops what it does under the lock: somebody else has it |
/// | `InvalidInput`, `TooLarge`, `Unsupported` | fixes the call |
/// | `InvalidConfig`, `Unauthenticated`, `PermissionDenied` | pages somebody: retrying will not help |
/// | `Unavailable`, `Timeout`, `RateLimited` | retries later, as [`Error::retry`](crate::Error::retry) says |
/// | `OutcomeUnknown` | reads back what happened: the write may or may not have been applied |
/// | `Corrupt` | treats the stored value as lost and reports it |
/// | `LoadFailed` | looks at the source: it is the error that its own code returned |
///
/// **A store that is full** is one state with one spelling, whatever is full: a disk or a quota, the memory or the disk of a
/// server, or what a store may keep by its own settings. It is `Unavailable`, what was asked for did not happen, and the
/// advice is [`Retry::FULL`]. Reads and deletes go on. What would not fit into an empty store is `TooLarge`, and what is
/// to come more slowly is `RateLimited`. An author of a backend makes it with [`Error::full`](crate::Error::full).
///
/// **A disk that failed**, a folder that is gone and a mount that is away are `Unavailable` too, with the advice
/// [`Retry::DISK_FAILED`]. What the system refuses, because the process has no right to it or the file system is read-only,
/// is `PermissionDenied` and `Never`. All stores on a disk say so alike, see [`folder::map_error`](crate::folder::map_error).
///
/// What a web application answers its user, while the error itself goes into the log:
///
/// ```
/// use statehouse_core::{Error, ErrorKind};
///
/// fn status(error: &Error) -> u16 {
///     match error.kind() {
///         ErrorKind::NotFound => 404,
///         ErrorKind::AlreadyExists | ErrorKind::Conflict => 409,
///         ErrorKind::TooLarge => 413,
///         ErrorKind::InvalidInput => 422,
///         ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::RateLimited | ErrorKind::OutcomeUnknown => 503,
///         // `Unauthenticated` and `PermissionDenied` too: a server refused this program, and no user can log in against that
///         _ => 500,
///     }
/// }
/// assert_eq!(status(&Error::new(ErrorKind::Unauthenticated, "wrong password for Redis")), 500);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A create found something under the same name.
    AlreadyExists,
    /// A precondition failed, or a concurrent writer won.
    Conflict,
    /// Stored bytes cannot be what was written: truncated, changed, or of an unknown format.
    Corrupt,
    /// The write was made under a lock that somebody else has acquired since: see [`Fence`](crate::Fence). Nothing was changed,
    /// and nothing will be with the same token. That tells it from a [`Conflict`](Self::Conflict), for which a loop reads again
    /// and tries once more.
    Fenced,
    /// A setting is wrong. The message names the setting and what it accepts.
    InvalidConfig,
    /// An argument is outside what the operation accepts. Nothing was sent or written.
    InvalidInput,
    /// The application's own loader failed; its error is the source.
    LoadFailed,
    /// The named thing does not exist.
    NotFound,
    /// The request was sent and its answer was lost: the write may have been applied.
    OutcomeUnknown,
    /// The credentials are good and do not allow this operation. On a disk, the rights of the process are what counts, and that
    /// the file system can be written.
    PermissionDenied,
    /// The server asks for fewer requests.
    RateLimited,
    /// A deadline passed before the operation began to take effect, or it has no effect.
    Timeout,
    /// A size limit was exceeded.
    TooLarge,
    /// The server refused the credentials.
    Unauthenticated,
    /// The server cannot be reached or cannot serve now, the disk failed, the store is full, or another process has the
    /// folder: in every service alike.
    Unavailable,
    /// None of the others: most likely a defect in statehouse or in the server.
    Unexpected,
    /// The backend lacks a capability that the call needs.
    Unsupported,
}

impl ErrorKind {
    /// The kind as one lowercase word with underscores, for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AlreadyExists => "already_exists",
            Self::Conflict => "conflict",
            Self::Corrupt => "corrupt",
            Self::Fenced => "fenced",
            Self::InvalidConfig => "invalid_config",
            Self::InvalidInput => "invalid_input",
            Self::LoadFailed => "load_failed",
            Self::NotFound => "not_found",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::PermissionDenied => "permission_denied",
            Self::RateLimited => "rate_limited",
            Self::Timeout => "timeout",
            Self::TooLarge => "too_large",
            Self::Unauthenticated => "unauthenticated",
            Self::Unavailable => "unavailable",
            Self::Unexpected => "unexpected",
            Self::Unsupported => "unsupported",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether and when the failed operation is worth trying again, as decided by the backend that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// The same call will fail the same way.
    Never,
    /// The same call may succeed at once, for example on another connection.
    Now,
    /// The same call may succeed after this long.
    After(Duration),
    /// The backend has retried already, up to its budget. Outer layers should give up.
    Exhausted,
}

impl Retry {
    /// What is advised where a store is full: after ten seconds. It has room again when something expires, when somebody
    /// deletes or makes the disk larger, and no store can say when that will be. So it is not `Never`, for then the same call
    /// succeeds; not `Now`, which would load a server that is in trouble; and not `Exhausted`, for no backend tries again by
    /// itself what failed so.
    pub const FULL: Self = Self::After(Duration::from_secs(10));

    /// What is advised where a disk failed, or the folder or its mount is gone: after ten seconds, as where it is full and for
    /// the same reasons. The same call succeeds when the mount is back, and until then nobody should ask a disk in trouble at
    /// once.
    pub const DISK_FAILED: Self = Self::After(Duration::from_secs(10));
}
