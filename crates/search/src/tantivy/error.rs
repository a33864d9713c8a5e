//! The only place where tantivy's errors become ours.

use std::io;
use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Retry, folder};
use tantivy::TantivyError;
use tantivy::directory::error::{LockError, OpenDirectoryError, OpenReadError, OpenWriteError};

pub(super) const BACKEND: &str = "tantivy";

pub(super) fn map_error(error: TantivyError) -> Error {
    if let Some(cause) = io_cause(&error) {
        return of_the_disk(cause, place(&error)).with_source(error);
    }
    if matches!(error, TantivyError::LockFailure(LockError::LockBusy, _)) {
        return in_use();
    }
    let (kind, message) = match &error {
        TantivyError::OpenDirectoryError(_) => (ErrorKind::InvalidConfig, "the folder cannot be opened"),
        TantivyError::OpenReadError(_) | TantivyError::DataCorruption(_) | TantivyError::DeserializeError(_) => {
            (ErrorKind::Corrupt, "the index is damaged; rebuild it from its source")
        }
        TantivyError::IncompatibleIndex(_) => {
            (ErrorKind::Corrupt, "the index was written by another version of tantivy; rebuild it from its source")
        }
        TantivyError::SchemaError(_) => {
            (ErrorKind::Conflict, "the index was made by another release; build it anew from its source")
        }
        TantivyError::InvalidArgument(_) => (ErrorKind::InvalidConfig, "tantivy refused a setting"),
        TantivyError::ErrorInThread(_) | TantivyError::Poisoned => {
            (ErrorKind::Unavailable, "a thread that writes the index failed")
        }
        _ => (ErrorKind::Unexpected, "tantivy failed"),
    };
    let retry = if kind == ErrorKind::Unavailable { Retry::Now } else { Retry::Never };
    Error::new(kind, message).with_backend(BACKEND).with_retry(retry).with_source(error)
}

/// Who has it may be about to end, as when a program is replaced by its next release.
fn in_use() -> Error {
    let message = "the folder is in use by another process or index handle; it belongs to one at a time";
    Error::new(ErrorKind::Unavailable, message).with_backend(BACKEND).with_retry(Retry::After(Duration::from_secs(1)))
}

pub(super) fn map_io(error: io::Error) -> Error {
    of_the_disk(&error, "the index").with_source(error)
}

/// What an error of the disk means; its cause is to be added by whoever has it.
fn of_the_disk(cause: &io::Error, place: &str) -> Error {
    let mapped = match cause.kind() {
        // No document makes a long name: the folder's own is.
        io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename => {
            Error::new(ErrorKind::InvalidConfig, cause.to_string())
        }
        _ => folder::map_error(alike(cause)),
    };
    mapped.within(place).with_backend(BACKEND)
}

/// The same error once more: tantivy lends its own.
fn alike(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

/// What could not be used.
const fn place(error: &TantivyError) -> &'static str {
    match error {
        TantivyError::LockFailure(..) => "the lock of the folder",
        TantivyError::OpenDirectoryError(_) => "the folder",
        TantivyError::OpenReadError(_) => "a file of the index, to read",
        TantivyError::OpenWriteError(_) => "a file of the index, to write",
        _ => "the index",
    }
}

fn io_cause(error: &TantivyError) -> Option<&io::Error> {
    match error {
        TantivyError::LockFailure(LockError::IoError(cause), _)
        | TantivyError::IoError(cause)
        | TantivyError::OpenDirectoryError(OpenDirectoryError::IoError { io_error: cause, .. })
        | TantivyError::OpenReadError(OpenReadError::IoError { io_error: cause, .. })
        | TantivyError::OpenWriteError(OpenWriteError::IoError { io_error: cause, .. }) => Some(cause),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn each_failure_has_its_kind() {
        let io = |kind: io::ErrorKind| TantivyError::IoError(Arc::new(io::Error::from(kind)));
        let failed = || io::Error::from_raw_os_error(5);
        let open = OpenWriteError::wrap_io_error(failed(), "x".into());
        let gone = OpenWriteError::wrap_io_error(io::ErrorKind::NotFound.into(), "x".into());
        let (unavailable, soon) = (ErrorKind::Unavailable, Retry::After(Duration::from_millis(100)));
        let table = [
            (TantivyError::LockFailure(LockError::LockBusy, None), unavailable, Retry::After(Duration::from_secs(1))),
            (TantivyError::LockFailure(LockError::wrap_io_error(failed()), None), unavailable, Retry::DISK_FAILED),
            (io(io::ErrorKind::PermissionDenied), ErrorKind::PermissionDenied, Retry::Never),
            (io(io::ErrorKind::ReadOnlyFilesystem), ErrorKind::PermissionDenied, Retry::Never),
            (io(io::ErrorKind::StorageFull), unavailable, Retry::FULL),
            (io(io::ErrorKind::QuotaExceeded), unavailable, Retry::FULL),
            (io(io::ErrorKind::StaleNetworkFileHandle), unavailable, Retry::DISK_FAILED),
            (TantivyError::IoError(Arc::new(failed())), unavailable, Retry::DISK_FAILED),
            (TantivyError::IoError(Arc::new(io::Error::from_raw_os_error(24))), unavailable, soon),
            (TantivyError::OpenWriteError(open), unavailable, Retry::DISK_FAILED),
            (TantivyError::OpenWriteError(gone), unavailable, Retry::DISK_FAILED),
            (io(io::ErrorKind::UnexpectedEof), ErrorKind::Corrupt, Retry::Never),
            (io(io::ErrorKind::InvalidFilename), ErrorKind::InvalidConfig, Retry::Never),
            (
                TantivyError::OpenReadError(OpenReadError::FileDoesNotExist("x".into())),
                ErrorKind::Corrupt,
                Retry::Never,
            ),
            (TantivyError::InvalidArgument("memory".into()), ErrorKind::InvalidConfig, Retry::Never),
            (TantivyError::ErrorInThread("gone".into()), unavailable, Retry::Now),
            (TantivyError::InternalError("odd".into()), ErrorKind::Unexpected, Retry::Never),
        ];
        for (error, kind, retry) in table {
            let shown = format!("{error:?}");
            let mapped = map_error(error);
            assert_eq!((mapped.kind(), mapped.retry()), (kind, retry), "{shown}");
            assert_eq!(mapped.backend(), Some(BACKEND));
            // That the folder is in use says all.
            assert_eq!(std::error::Error::source(&mapped).is_none(), shown.contains("LockBusy"), "{shown}");
        }
        assert_eq!(map_io(failed()).retry(), Retry::DISK_FAILED);
        assert_eq!(map_io(io::ErrorKind::StorageFull.into()).retry(), Retry::FULL);
    }
}
