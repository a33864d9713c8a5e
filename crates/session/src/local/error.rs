use std::{fmt, io};

use statehouse_core::{Error, ErrorKind, folder};

use super::room::Room;

/// Why the folder of a file that was renamed or removed could not be synced.
#[derive(Debug)]
struct NotSynced(io::Error);

impl fmt::Display for NotSynced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the folder cannot be synced: {}", self.0)
    }
}

impl std::error::Error for NotSynced {}

/// The error of a change that is visible and may not survive a crash.
pub(super) fn not_synced(source: io::Error) -> io::Error {
    io::Error::other(NotSynced(source))
}

/// Whether it is of such a change.
pub(super) fn is_visible(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<NotSynced>())
}

/// What an I/O error means to a caller. The path is left out: it holds the session's key.
pub(super) fn map_error(source: io::Error) -> Error {
    let mapped = match source.kind() {
        _ if is_visible(&source) => {
            let message = "the change is visible, and syncing it to the disk failed: it may not survive a crash";
            Error::new(ErrorKind::OutcomeUnknown, message).with_source(source)
        }
        // No key makes a long name: the folder's own is.
        io::ErrorKind::InvalidFilename => {
            Error::new(ErrorKind::InvalidConfig, "its name is longer than the system takes").with_source(source)
        }
        _ => folder::map_error(source),
    };
    mapped.within("the session folder")
}

/// A second process, or a second store in this one.
pub(super) fn in_use() -> Error {
    Error::new(ErrorKind::Unavailable, "the session folder is in use by another store; a folder belongs to one process")
}

/// A folder that is not one for sessions.
pub(super) fn refused(setting: &str, why: &str) -> Error {
    Error::invalid_config(setting, format!("the session folder is refused: {why}"))
}

/// Why work on the folder failed.
pub(super) enum Failure {
    Io(io::Error),
    /// The store's own bounds: that it needs this room.
    Full(Room),
    Other(Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl Failure {
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Io(source) => map_error(source),
            Self::Full(_) => {
                Error::full("the session folder is full of live sessions (settings max_sessions and capacity)")
            }
            Self::Other(error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use statehouse_core::Retry;

    use super::*;

    #[test]
    fn every_failure_says_what_to_do() {
        use io::ErrorKind as Io;
        let soon = Retry::After(Duration::from_millis(100));
        let number = |number| io::Error::from_raw_os_error(number);
        let table: [(io::Error, _, _); 13] = [
            (not_synced(number(5)), ErrorKind::OutcomeUnknown, Retry::Never),
            (Io::PermissionDenied.into(), ErrorKind::PermissionDenied, Retry::Never),
            (Io::ReadOnlyFilesystem.into(), ErrorKind::PermissionDenied, Retry::Never),
            (Io::StorageFull.into(), ErrorKind::Unavailable, Retry::FULL),
            (Io::QuotaExceeded.into(), ErrorKind::Unavailable, Retry::FULL),
            (Io::InvalidFilename.into(), ErrorKind::InvalidConfig, Retry::Never),
            (Io::NotFound.into(), ErrorKind::Unavailable, Retry::DISK_FAILED),
            (Io::NotADirectory.into(), ErrorKind::Unavailable, Retry::DISK_FAILED),
            (Io::StaleNetworkFileHandle.into(), ErrorKind::Unavailable, Retry::DISK_FAILED),
            (number(5), ErrorKind::Unavailable, Retry::DISK_FAILED),
            (number(24), ErrorKind::Unavailable, soon),
            (Io::Interrupted.into(), ErrorKind::Unavailable, Retry::Now),
            (Io::Other.into(), ErrorKind::Unavailable, Retry::DISK_FAILED),
        ];
        for (source, kind, retry) in table {
            let shown = format!("{source:?}");
            let error = map_error(source);
            assert_eq!((error.kind(), error.retry()), (kind, retry), "{shown}");
            assert!(error.message().starts_with("the session folder: "), "{error}");
        }
    }
}
