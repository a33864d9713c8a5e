use std::io;

use rustix::io::Errno;
use statehouse_core::{Error, ErrorKind, Retry, folder};

use crate::digest::corrupt;

/// The only place where an error of the operating system becomes ours.
pub(super) fn map_error(source: impl Into<io::Error>) -> Error {
    let source = source.into();
    let (kind, message) = match source.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT) => (ErrorKind::NotFound, "there is no such file"),
        Some(Errno::EXIST) => (ErrorKind::AlreadyExists, "there is such a file already"),
        // What the kernel answers when a path would leave the root or pass through a symbolic link.
        Some(Errno::XDEV | Errno::LOOP | Errno::NOTDIR) => {
            (ErrorKind::PermissionDenied, "the path passes through a symbolic link or leaves the root")
        }
        Some(Errno::ISDIR) => (ErrorKind::Corrupt, SOMETHING_ELSE),
        Some(Errno::NOLCK) => (ErrorKind::Unsupported, "the file system lacks something that the store needs"),
        _ => return folder::map_error(source),
    };
    Error::new(kind, message).with_source(source)
}

pub(super) const SOMETHING_ELSE: &str = "something else than a file lies in the file's place";

/// Why a file cannot be opened. Of a socket, and of a device that is none, the system says what it says of a disk that is gone;
/// but a disk is not what is opened here.
pub(super) fn not_opened(source: Errno) -> Error {
    match source {
        Errno::NXIO => Error::new(ErrorKind::Corrupt, SOMETHING_ELSE).with_source(io::Error::from(source)),
        _ => map_error(source),
    }
}

/// The error of a store whose directory was removed: what is missing then is not known to be missing.
pub(super) fn gone() -> Error {
    Error::new(ErrorKind::Unavailable, "the folder is gone").with_retry(Retry::DISK_FAILED)
}

const NOT_SYNCED: &str = "the change is visible, and syncing it to the disk failed: it may not survive a crash";

/// A write that is visible but whose sync failed: it may not survive a crash.
pub(super) fn not_synced(source: Errno) -> Error {
    Error::new(ErrorKind::OutcomeUnknown, NOT_SYNCED).with_source(io::Error::from(source))
}

/// What failed when the change was visible already.
pub(super) fn visible(error: Error) -> Error {
    Error::new(ErrorKind::OutcomeUnknown, NOT_SYNCED).with_source(error)
}

/// Why the directory itself cannot be made or opened: where it is none, somebody named the wrong one.
pub(super) fn no_folder(source: io::Error) -> Error {
    let message = match source.kind() {
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => "it, or a part of its path, is not a directory",
        io::ErrorKind::InvalidFilename => "its name is longer than the system takes",
        _ => return map_error(source),
    };
    Error::new(ErrorKind::InvalidConfig, message).with_source(source)
}

/// Says what to do about a directory that cannot be written.
pub(super) fn only_readable(error: Error) -> Error {
    let cause = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>());
    match cause.and_then(io::Error::raw_os_error).map(Errno::from_raw_os_error) {
        Some(Errno::ROFS | Errno::ACCESS | Errno::PERM) => {
            let message = "the directory cannot be written; a store that is only read is opened with access=read";
            Error::new(ErrorKind::PermissionDenied, message).with_source(error)
        }
        _ => error,
    }
}

/// Of a read that ends before the length that was told.
pub(super) fn cut_short(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => corrupt("the file was cut short while it was read"),
        _ => map_error(error),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_system_error_has_its_kind_and_advice() {
        let soon = Retry::After(Duration::from_millis(100));
        let table = [
            (Errno::NOENT, ErrorKind::NotFound, Retry::Never),
            (Errno::EXIST, ErrorKind::AlreadyExists, Retry::Never),
            (Errno::NOSPC, ErrorKind::Unavailable, Retry::FULL),
            (Errno::DQUOT, ErrorKind::Unavailable, Retry::FULL),
            (Errno::FBIG, ErrorKind::TooLarge, Retry::Never),
            (Errno::MFILE, ErrorKind::Unavailable, soon),
            (Errno::NFILE, ErrorKind::Unavailable, soon),
            (Errno::NOMEM, ErrorKind::Unavailable, soon),
            (Errno::IO, ErrorKind::Unavailable, Retry::DISK_FAILED),
            (Errno::STALE, ErrorKind::Unavailable, Retry::DISK_FAILED),
            (Errno::NODEV, ErrorKind::Unavailable, Retry::DISK_FAILED),
            (Errno::PERM, ErrorKind::PermissionDenied, Retry::Never),
            (Errno::ACCESS, ErrorKind::PermissionDenied, Retry::Never),
            (Errno::ROFS, ErrorKind::PermissionDenied, Retry::Never),
            (Errno::LOOP, ErrorKind::PermissionDenied, Retry::Never),
            (Errno::ISDIR, ErrorKind::Corrupt, Retry::Never),
            (Errno::XDEV, ErrorKind::PermissionDenied, Retry::Never),
            (Errno::NAMETOOLONG, ErrorKind::InvalidInput, Retry::Never),
            (Errno::NOLCK, ErrorKind::Unsupported, Retry::Never),
            (Errno::DEADLK, ErrorKind::Unexpected, Retry::Never),
        ];
        for (errno, kind, retry) in table {
            let error = map_error(errno);
            assert_eq!((error.kind(), error.retry()), (kind, retry), "{errno:?}");
            assert!(std::error::Error::source(&error).is_some());
        }
        assert_eq!(not_opened(Errno::NXIO).kind(), ErrorKind::Corrupt);
        assert_eq!(not_opened(Errno::NOENT).kind(), ErrorKind::NotFound);
    }
}
