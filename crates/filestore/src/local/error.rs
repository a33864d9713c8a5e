use std::io;
use std::time::Duration;

use rustix::io::Errno;
use statehouse_core::{Error, ErrorKind, Retry};

/// The only place where an error of the operating system becomes ours.
pub(super) fn map_error(source: impl Into<io::Error>) -> Error {
    let source = source.into();
    let (kind, message) = match source.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT) => (ErrorKind::NotFound, "there is no such file"),
        Some(Errno::EXIST) => (ErrorKind::AlreadyExists, "there is such a file already"),
        Some(Errno::NOSPC) => return Error::full("the disk is full").with_source(source),
        Some(Errno::DQUOT) => return Error::full("the disk quota is used up").with_source(source),
        Some(Errno::FBIG) => (ErrorKind::TooLarge, "the file is larger than the system allows"),
        Some(Errno::MFILE | Errno::NFILE) => (ErrorKind::Unavailable, "too many files are open"),
        Some(Errno::NOMEM) => (ErrorKind::Unavailable, "the system is out of memory"),
        Some(Errno::IO) => (ErrorKind::Unavailable, "the disk failed"),
        Some(Errno::STALE) => (ErrorKind::Unavailable, "the mounted directory has gone away"),
        Some(Errno::ACCESS | Errno::PERM) => (ErrorKind::PermissionDenied, "the system denies access to the directory"),
        Some(Errno::ROFS) => (ErrorKind::PermissionDenied, "the file system is read-only"),
        // What the kernel answers when a path would leave the root or pass through a symbolic link.
        Some(Errno::XDEV | Errno::LOOP | Errno::NOTDIR) => {
            (ErrorKind::PermissionDenied, "the path passes through a symbolic link or leaves the root")
        }
        Some(Errno::ISDIR) => (ErrorKind::Corrupt, "something else than a file lies in the file's place"),
        Some(Errno::NAMETOOLONG) => (ErrorKind::InvalidInput, "the file system does not take so long a name"),
        Some(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => {
            (ErrorKind::Unsupported, "the file system lacks something that the store needs")
        }
        _ => (ErrorKind::Unexpected, "the operating system reports an error"),
    };
    Error::new(kind, message).with_retry(retry(&source, kind)).with_source(source)
}

/// Open files are closed by others in a moment; a failed disk needs somebody.
fn retry(source: &io::Error, kind: ErrorKind) -> Retry {
    match source.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => Retry::After(Duration::from_millis(100)),
        _ if kind == ErrorKind::Unavailable => Retry::Never,
        _ => Error::new(kind, "").retry(),
    }
}

/// A write that is visible but whose sync failed: it may not survive a crash.
pub(super) fn not_synced(source: Errno) -> Error {
    let message = "the change is visible, and syncing it to the disk failed: it may not survive a crash";
    Error::new(ErrorKind::OutcomeUnknown, message).with_source(io::Error::from(source))
}

#[cfg(test)]
mod tests {
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
            (Errno::IO, ErrorKind::Unavailable, Retry::Never),
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
    }
}
