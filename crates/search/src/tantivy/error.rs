//! The only place where tantivy's errors become ours.

use std::io;
use std::time::Duration;

use statehouse_core::folder::is_full;
use statehouse_core::{Error, ErrorKind, Retry};
use tantivy::TantivyError;
use tantivy::directory::error::{LockError, OpenDirectoryError, OpenReadError, OpenWriteError};

pub(super) const BACKEND: &str = "tantivy";

pub(super) fn map_error(error: TantivyError) -> Error {
    if io_cause(&error).is_some_and(is_full) {
        return full().with_source(error);
    }
    let (kind, message) = match &error {
        TantivyError::LockFailure(LockError::LockBusy, _) => (
            ErrorKind::Unavailable,
            "the folder is in use by another process or index handle; it belongs to one at a time",
        ),
        TantivyError::LockFailure(LockError::IoError(cause), _) => (io_kind(cause), "the folder cannot be locked"),
        TantivyError::IoError(cause) => (io_kind(cause), "the index cannot be read or written"),
        TantivyError::OpenDirectoryError(OpenDirectoryError::IoError { io_error, .. }) => {
            (io_kind(io_error), "the folder cannot be opened")
        }
        TantivyError::OpenDirectoryError(_) => (ErrorKind::InvalidConfig, "the folder cannot be opened"),
        TantivyError::OpenReadError(OpenReadError::IoError { io_error, .. }) => {
            (io_kind(io_error), "a file of the index cannot be read")
        }
        TantivyError::OpenReadError(_) | TantivyError::DataCorruption(_) | TantivyError::DeserializeError(_) => {
            (ErrorKind::Corrupt, "the index is damaged; rebuild it from its source")
        }
        TantivyError::OpenWriteError(OpenWriteError::IoError { io_error, .. }) => {
            (io_kind(io_error), "a file of the index cannot be written")
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
    let retry = match (&error, kind) {
        // Who has it may be about to end, as when a program is replaced by its next release.
        (TantivyError::LockFailure(LockError::LockBusy, _), _) => Retry::After(Duration::from_secs(1)),
        (_, ErrorKind::Unavailable) => Retry::Now,
        _ => Retry::Never,
    };
    Error::new(kind, message).with_backend(BACKEND).with_retry(retry).with_source(error)
}

pub(super) fn map_io(error: io::Error) -> Error {
    let mapped = match is_full(&error) {
        true => full(),
        false => Error::new(io_kind(&error), "the index cannot be read or written").with_backend(BACKEND),
    };
    mapped.with_source(error)
}

fn full() -> Error {
    Error::full("the disk of the index is full").with_backend(BACKEND)
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

fn io_kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::PermissionDenied,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => ErrorKind::Corrupt,
        io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename => ErrorKind::InvalidConfig,
        _ => ErrorKind::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn each_failure_has_its_kind() {
        let io = |kind: io::ErrorKind| TantivyError::IoError(Arc::new(io::Error::from(kind)));
        let table = [
            (TantivyError::LockFailure(LockError::LockBusy, None), ErrorKind::Unavailable),
            (io(io::ErrorKind::PermissionDenied), ErrorKind::PermissionDenied),
            (io(io::ErrorKind::StorageFull), ErrorKind::Unavailable),
            (io(io::ErrorKind::UnexpectedEof), ErrorKind::Corrupt),
            (TantivyError::OpenReadError(OpenReadError::FileDoesNotExist("x".into())), ErrorKind::Corrupt),
            (TantivyError::InvalidArgument("memory".into()), ErrorKind::InvalidConfig),
            (TantivyError::ErrorInThread("gone".into()), ErrorKind::Unavailable),
            (TantivyError::InternalError("odd".into()), ErrorKind::Unexpected),
        ];
        for (error, kind) in table {
            let shown = format!("{error:?}");
            let mapped = map_error(error);
            assert_eq!(mapped.kind(), kind, "{shown}");
            assert_eq!(mapped.is_retryable(), kind == ErrorKind::Unavailable, "{shown}");
            assert_eq!(mapped.backend(), Some(BACKEND));
            assert_eq!(mapped.retry() == Retry::FULL, shown.contains("StorageFull"), "{mapped}");
        }
    }
}
