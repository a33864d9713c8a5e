use std::io;

use statehouse_core::folder::is_full;
use statehouse_core::{Error, ErrorKind, Retry};

/// What an I/O error means to a caller. The path is left out: it holds the session's key.
pub(super) fn map_error(source: io::Error) -> Error {
    let (kind, retry, message) = match source.kind() {
        _ if is_full(&source) => return Error::full("the disk of the session folder is full").with_source(source),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            (ErrorKind::PermissionDenied, Retry::Never, "the session folder cannot be accessed")
        }
        io::ErrorKind::InvalidFilename => {
            (ErrorKind::InvalidConfig, Retry::Never, "the session folder's name is longer than the system takes")
        }
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            (ErrorKind::Unavailable, Retry::Exhausted, "the session folder is gone")
        }
        _ => (ErrorKind::Unavailable, Retry::Now, "the session folder cannot be read or written"),
    };
    Error::new(kind, message).with_retry(retry).with_source(source)
}

/// A second process, or a second store in this one.
pub(super) fn in_use() -> Error {
    Error::new(ErrorKind::Unavailable, "the session folder is in use by another store; a folder belongs to one process")
}

/// A folder that is not one for sessions.
pub(super) fn refused(setting: &str, why: &str) -> Error {
    Error::invalid_config(setting, format!("the session folder is refused: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_says_what_to_do() {
        use io::ErrorKind as Io;
        let table = [
            (Io::PermissionDenied, ErrorKind::PermissionDenied, Retry::Never),
            (Io::ReadOnlyFilesystem, ErrorKind::PermissionDenied, Retry::Never),
            (Io::StorageFull, ErrorKind::Unavailable, Retry::FULL),
            (Io::QuotaExceeded, ErrorKind::Unavailable, Retry::FULL),
            (Io::InvalidFilename, ErrorKind::InvalidConfig, Retry::Never),
            (Io::NotFound, ErrorKind::Unavailable, Retry::Exhausted),
            (Io::Interrupted, ErrorKind::Unavailable, Retry::Now),
            (Io::Other, ErrorKind::Unavailable, Retry::Now),
        ];
        for (io, kind, retry) in table {
            let error = map_error(io.into());
            assert_eq!((error.kind(), error.retry()), (kind, retry), "{io:?}");
            assert!(error.to_string().starts_with("the "), "{error}");
        }
        let files = io::Error::from_raw_os_error(24);
        assert_eq!(map_error(files).kind(), ErrorKind::Unavailable, "too many open files");
    }
}
