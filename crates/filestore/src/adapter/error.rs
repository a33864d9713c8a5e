//! Our errors as `object_store` tells them.

use object_store::path::Path;
use statehouse_core::{Error, ErrorKind};

use crate::files::NoDigest;
use crate::options::{BeyondEnd, Condition};

/// What errors call it.
pub(super) const NAME: &str = "statehouse";

type Told = object_store::Error;

/// What a file's error is called there. Ours stands behind it, as its source.
pub(super) fn told(error: Error, location: &Path) -> Told {
    // It names the file as the application does, without the namespace.
    let error = if error.key().is_some() { error.with_key(location.as_ref()) } else { error };
    let path = location.to_string();
    match error.kind() {
        ErrorKind::NotFound => object_store::Error::NotFound { path, source: error.into() },
        ErrorKind::AlreadyExists => object_store::Error::AlreadyExists { path, source: error.into() },
        // One that says to try again is of a condition that nobody has looked at, and one of a file without a digest would be met each time.
        ErrorKind::Conflict if !error.is_retryable() && !has_no_digest(&error) => {
            object_store::Error::Precondition { path, source: error.into() }
        }
        ErrorKind::PermissionDenied => object_store::Error::PermissionDenied { path, source: error.into() },
        ErrorKind::Unauthenticated => object_store::Error::Unauthenticated { path, source: error.into() },
        ErrorKind::Unsupported => not_implemented(error.to_string()),
        ErrorKind::InvalidInput if BeyondEnd::of(&error).is_none() => refused(error),
        _ => generic(error),
    }
}

fn has_no_digest(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<NoDigest>())
}

/// The same of a file whose name and options were taken already: that it cannot be done now is nothing that the store lacks.
pub(super) fn told_later(error: Error, location: &Path) -> Told {
    match error.kind() {
        ErrorKind::InvalidInput => generic(error),
        _ => told(error, location),
    }
}

/// What their stores take and no file of ours has.
pub(super) fn refused(error: Error) -> Told {
    object_store::Error::NotSupported { source: error.into() }
}

/// What this store cannot do at all.
pub(super) fn not_implemented(operation: impl Into<String>) -> Told {
    object_store::Error::NotImplemented { operation: operation.into(), implementer: NAME.to_owned() }
}

pub(super) fn generic(error: Error) -> Told {
    object_store::Error::Generic { store: NAME, source: error.into() }
}

/// A condition that does not hold.
pub(super) fn conflict(condition: &Condition, location: &Path) -> Told {
    let path = location.to_string();
    match condition {
        Condition::Match(_) => {
            let source = Error::new(ErrorKind::Conflict, "the file does not have the expected etag").into();
            object_store::Error::Precondition { path, source }
        }
        Condition::Absent | Condition::Always => {
            let source = Error::new(ErrorKind::AlreadyExists, "there is a file of this name").into();
            object_store::Error::AlreadyExists { path, source }
        }
    }
}

#[cfg(test)]
mod tests {
    use statehouse_core::Retry;

    use super::*;
    use crate::options::ByteRange;

    #[test]
    fn each_error_is_told_as_what_it_is_with_ours_behind_it() {
        let path = Path::from("p42/a");
        let name = |error: &Told| format!("{error:?}").split([' ', '(']).next().unwrap().to_owned();
        for (kind, expected) in [
            (ErrorKind::NotFound, "NotFound"),
            (ErrorKind::AlreadyExists, "AlreadyExists"),
            (ErrorKind::Conflict, "Precondition"),
            (ErrorKind::PermissionDenied, "PermissionDenied"),
            (ErrorKind::Unauthenticated, "Unauthenticated"),
            (ErrorKind::Unsupported, "NotImplemented"),
            (ErrorKind::InvalidInput, "NotSupported"),
            (ErrorKind::OutcomeUnknown, "Generic"),
            (ErrorKind::Unavailable, "Generic"),
            (ErrorKind::Corrupt, "Generic"),
        ] {
            let told = told(Error::new(kind, "x").with_key("clinic.scans/p42/a"), &path);
            assert_eq!(name(&told), expected, "{kind:?}");
            assert!(!told.to_string().contains("clinic.scans"), "{told}");
            let ours = std::error::Error::source(&told).and_then(|source| source.downcast_ref::<Error>());
            assert_eq!(ours.map(Error::kind), (expected != "NotImplemented").then_some(kind));
        }
        let again = Error::new(ErrorKind::Conflict, "x").with_retry(Retry::Now);
        assert_eq!(name(&told(again, &path)), "Generic");
        let unknown = Error::new(ErrorKind::Conflict, "x").with_source(NoDigest);
        assert_eq!(name(&told(unknown, &path)), "Generic", "it would be met each time");
        assert_eq!(name(&told_later(Error::invalid_input("x"), &path)), "Generic");
        assert_eq!(name(&told_later(Error::new(ErrorKind::NotFound, "x"), &path)), "NotFound");
        let beyond = ByteRange::from(9..12).within(4).unwrap_err();
        assert_eq!(name(&told(beyond, &path)), "Generic");
    }
}
